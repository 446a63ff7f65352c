"""One .npz of MedMNIST or MedSegBench, and tables of paths, as data sets of a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_folders import SIDE, added, disc, picture, save, understood, write_classes, write_pairs

from bench.datasets.base import PARTS
from bench.datasets.splits.assignment import assign, make_split
from bench.errors import UserError
from bench.zoo.registry import dataset_spec

SIZES = {"train": 9, "val": 4, "test": 6}


def archive(path: Path, channels: int = 1, **replaced: np.ndarray) -> Path:
    """As MedMNIST writes them: labels (N, 1)."""
    arrays: dict[str, np.ndarray] = {}
    for k, (part, count) in enumerate(SIZES.items()):
        shape = (28, 28) if channels == 1 else (28, 28, 3)
        arrays[f"{part}_images"] = np.stack([picture(100 * k + i, shape) for i in range(count)])
        if f"{part}_label" in replaced:
            continue
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    np.savez(path, **{**arrays, **replaced})
    return path


def test_medmnist_is_read_with_its_own_division(root: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = archive(tmp_path / "raw" / "breastmnist.npz")
    (tmp_path / "raw" / "other.txt").write_text("beside it")
    prepared = added(root, source, classes="malignant,normal")
    assert prepared.spec.classes == ("malignant", "normal")
    split = make_split(prepared.spec, prepared, "given")
    assert {part: len(of) for part, of in assign(prepared.cases, split).indices.items()} == SIZES
    case = next(i for i, case in enumerate(prepared.cases) if case.case == "test/5")
    np.testing.assert_array_equal(prepared.image(case), picture(205, (28, 28))[None])
    assert prepared.cases[case].label == 1
    assert dataset_spec("mine", root).default_split == {"npz": "given"}
    assert [case.case for case in prepared.cases[:3]] == ["test/0", "test/2", "test/4"]


def test_colours_of_an_archive_are_kept(root: Path, tmp_path: Path) -> None:
    prepared = added(root, archive(tmp_path / "path.npz", 3))
    assert (prepared.spec.channels, prepared.image(0).shape) == (3, (3, 28, 28))
    assert prepared.spec.classes == ("class 0", "class 1")


def test_medsegbench_is_read(root: Path, tmp_path: Path) -> None:
    maps = {
        f"{part}_label": np.stack([np.pad(disc(i, (0, 1)), 2) for i in range(count)]) for part, count in SIZES.items()
    }
    prepared = added(root, archive(tmp_path / "seg.npz", **maps))
    assert prepared.spec.task == "segmentation"
    np.testing.assert_array_equal(prepared.label(0)[0], np.pad(disc(0, (0, 1)), 2))
    assert make_split(prepared.spec, prepared, "given").parts.keys() == set(PARTS)


@pytest.mark.parametrize(
    ("replaced", "line"),
    [
        ({"train_labels": np.zeros((9, 14), np.uint8)}, r"one label an image .* several \(uint8 \(9, 14\)\)"),
        ({"train_images": np.zeros((9, 28, 28, 28), np.uint8)}, "are volumes .*: not read here"),
        ({"train_images": np.zeros((9, 28, 28), np.float32)}, "as 8 bits"),
        ({"val_labels": np.zeros((3, 1), np.uint8)}, "a label for each image of val"),
        ({"val_labels": np.array([[0], [1], [-1], [0]])}, "whole labels from 0 on"),
        ({"val_labels": np.array([[0], [1], [20240101], [0]])}, r"classes from 0 on in .*, but it has 20240101"),
    ],
)
def test_other_archives_are_one_line(root: Path, tmp_path: Path, replaced: dict[str, np.ndarray], line: str) -> None:
    with pytest.raises(UserError, match=line):
        understood(root, archive(tmp_path / "a.npz", **replaced))


def test_an_archive_of_other_keys_is_one_line(root: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(UserError, match=r"to have the keys train_images and train_labels .*, but it has x"):
        understood(root, tmp_path / "a.npz")


def table(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_of_paths_labels_patients_and_parts(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_classes(raw / "img", {"a": 6, "b": 6})
    rows = ["Path,Label,Patient,Part"]
    for i, path in enumerate(sorted((raw / "img").rglob("*.png"))):
        rows.append(f"{path.relative_to(raw)},{'sick' if 'a' in path.parent.name else 'well'},{path.stem[:2]},")
        rows[-1] += ("train", "train", "validation", "validation", "test", "test")[i % 6]
    table(raw / "cases.csv", rows)
    for source in (raw, raw / "cases.csv"):
        found = understood(root, source).found
        assert (found.layout, found.classes, len(found.items)) == ("table", ("sick", "well"), 12)
    prepared = added(root, raw / "cases.csv")
    assert {case.patient for case in prepared.cases} == {"a0", "a1", "a2", "b0", "b1", "b2"}
    assert {
        part: len(names) for part, names in make_split(prepared.spec, prepared, "given").parts.items()
    } == dict.fromkeys(PARTS, 4)


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "NA", "None", "null"])
def test_a_table_that_leaves_some_without_a_patient_is_one_line(root: Path, tmp_path: Path, nothing: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 6, "b": 6})
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    rows = [f"{name},{name[0]},{name[2:4] if name[0] == 'a' else nothing}" for name in names]
    cases = table(raw / "cases.csv", ["path,label,patient", *rows])
    with pytest.raises(UserError, match=r"of every case in .*, or of none, but 6 of 12 have none, such as 'b/b0_a'"):
        understood(root, cases)
    found = understood(root, cases, patient_pattern="^..").found
    assert len({item.patient for item in found.items}) == 6


def test_a_table_of_bare_names_finds_the_pictures_below(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for i in range(6):
        save(raw / "images" / f"ISIC_{i}.jpg", picture(i, (24, 24, 3)), quality=95)
    table(raw / "truth.csv", ["image_id,dx", *(f"ISIC_{i},{'mel' if i % 2 else 'nv'}" for i in range(6))])
    found = understood(root, raw).found
    assert (found.layout, found.classes) == ("table", ("mel", "nv"))
    assert found.items[1].case == "images/ISIC_1"
    save(raw / "copies" / "ISIC_3.jpg", picture(3, (24, 24, 3)))
    with pytest.raises(UserError, match=r"one picture of the name 'ISIC_3' in .*, but there are"):
        understood(root, raw)


def test_a_table_that_tells_nothing_is_named(root: Path, tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.png", picture(1))
    table(tmp_path / "raw" / "gt.csv", ["image,MEL,NV", "a,0,1"])
    with pytest.raises(UserError, match=r"gt.csv has the columns image, MEL, NV\). Known:"):
        understood(root, tmp_path / "raw")


@pytest.mark.parametrize("end", ["\r", "\r\n"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_a_table_of_any_systems_line_ends_is_read(root: Path, tmp_path: Path, end: str, mark: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    lines = ["path,label", *(f"{name},{name[0]}" for name in names)]
    (raw / "cases.csv").write_bytes(end.join(lines).replace(",", mark).encode())
    found = understood(root, raw).found
    assert (found.layout, found.classes, len(found.items)) == ("table", ("a", "b"), 6)


@pytest.mark.parametrize("content", [b"", b"x" * 200_000, b"path,label\r" + b"x" * 200_000, b"\0\r\0", b"path,lab\rel"])
def test_what_is_no_table_is_no_obstacle_beside_class_folders(root: Path, tmp_path: Path, content: bytes) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    (raw / "notes.csv").write_bytes(content)
    assert understood(root, raw).found.layout == "class-folders"


def test_a_header_of_one_endless_field_is_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.csv").write_bytes(b"x" * 200_000)
    for source in (tmp_path / "raw", tmp_path / "raw" / "notes.csv"):
        with pytest.raises(UserError, match=r"notes.csv cannot be read, copy it anew. \(line 1: field larger"):
            understood(root, source)


def test_a_table_of_images_and_maps(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 4)
    rows = ["image,mask,subject", *(f"images/c{i}.png,masks/c{i}.png,s{i // 2}" for i in range(4))]
    prepared = added(root, table(raw / "list.csv", rows))
    assert prepared.spec.task == "segmentation"
    assert [case.patient for case in prepared.cases] == ["s0", "s0", "s1", "s1"]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["path,label", "a/a0_a.png,x", "../up.png,y"], "to lead into .* but got '../up.png'"),
        (["path,label", "a/a0_a.png,x", "a/none.png,y"], "none.png is missing"),
        (
            ["path,label", "a/a0_a.png,x", "a/a0_a.png,y"],
            "each image once in .* a/a0_a is there twice",
        ),
        (["path,label,part", "a/a0_a.png,x,exam"], "Expected train, val, test as the part of a case .* but got 'exam'"),
        (["path,label", "a/a0_a.png,x"], "Expected two classes or more"),
    ],
)
def test_bad_tables_are_one_line(root: Path, tmp_path: Path, rows: list[str], line: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 2})
    with pytest.raises(UserError, match=line):
        understood(root, table(raw / "cases.csv", rows))


def test_tables_that_do_not_fit_the_folder_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    lacking = table(tmp_path / "p.csv", ["case,patient", "a/a0_a,1"])
    with pytest.raises(UserError, match=r"a patient of every case in .*, but 5 of 6 have none \(a/a0_b"):
        understood(root, raw, patients=lacking)
    strange = table(tmp_path / "s.csv", ["case,part", "a/a0_a,train", "c/x,test"])
    with pytest.raises(UserError, match=r"1 of 2 are none \(c/x\): cases are named like 'a/a0_a'"):
        understood(root, raw, split=strange)
    with pytest.raises(UserError, match=r"Expected columns case and patient in .*, but it has case, part"):
        understood(root, raw, patients=strange)
    twice = table(tmp_path / "t.csv", ["case,patient", "a/a0_a,1", "a/a0_a,2"])
    with pytest.raises(UserError, match=r"one patient of a/a0_a in .*, but it has 1 and 2"):
        understood(root, raw, patients=twice)


def test_pictures_of_other_kinds_say_what_to_do(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    save(raw / "b" / "more.bmp", picture(50))
    with pytest.raises(UserError, match=r"more.bmp to be PNG|a PNG image or a JPEG image, but it is a BMP image"):
        added(root, raw)
    (raw / "b" / "more.bmp").unlink()
    save(raw / "b" / "small.png", picture(51)[:4, :4])
    with pytest.raises(UserError, match="to have 8 pixels a side or more, but it has 4 x 4"):
        added(root, raw)


def test_sixteen_bits_in_a_class_folder_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    save(raw / "a" / "deep.png", (picture(60).astype(np.uint16) + 300).astype(np.uint16))
    with pytest.raises(UserError, match=r"to use the range of its 16 bits .* Convert it to 8 bit with the window"):
        added(root, raw)


def test_side_is_what_the_drawn_folders_have() -> None:
    assert picture(1).shape == (SIDE, SIDE)
