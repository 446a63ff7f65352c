"""A user's class folders: recognised, prepared, divided by patients or near-duplicates, opened again by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from own_folders import added, picture, save, understood, write_classes
from PIL import Image

from bench.datasets.base import PARTS
from bench.datasets.cache.manifest import fingerprint
from bench.datasets.cache.prepared import open_prepared, verify
from bench.datasets.own.adding import Addition, add, understand
from bench.datasets.own.description import read_description
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.overlap import leak_figures
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.zoo.registry import dataset_spec, own_names


def test_a_folder_becomes_a_data_set_that_is_found_by_name(root: Path, tmp_path: Path) -> None:
    prepared = added(root, write_classes(tmp_path / "raw", {"benign": 8, "malignant": 6}), title="My lesions")
    assert [case.label for case in prepared.cases] == [0] * 8 + [1] * 6
    assert prepared.cases[0].case == "benign/b0_a"
    np.testing.assert_array_equal(prepared.image(0), picture(1)[None])
    assert own_names(root) == ["mine"]
    spec = dataset_spec("mine", root)
    assert (spec.title, spec.task, spec.channels, spec.classes) == (
        "My lesions",
        "classification",
        1,
        ("benign", "malignant"),
    )
    assert verify(open_prepared(spec, root)) == []
    with pytest.raises(UserError, match=r"Unknown dataset 'mine'.*data add mine --from DIR"):
        dataset_spec("mine", tmp_path / "elsewhere")


def test_a_table_of_parts_says_whose_the_cases_are_too(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 8, "malignant": 8})
    names = sorted(path.name for path in raw.rglob("*.png"))
    part_of = dict(zip(sorted({name[:2] for name in names}), ["train", "val", "test", "train"] * 2, strict=True))
    table = tmp_path / "parts.csv"
    rows = [f"{name},{name[:2]},{part_of[name[:2]]}\n" for name in names]
    table.write_text("case,patient,part\n" + "".join(rows))
    found = understood(root, raw, split=table).found.items
    assert {item.patient for item in found} == set(part_of)
    assert all(item.part == part_of[str(item.patient)] for item in found)
    table.write_text("case,patient,part\n" + "".join([*rows[:-1], rows[-1].replace("train", "test")]))
    with pytest.raises(UserError, match="Expected each patient in one part, but 1 of 8 stand in several"):
        understood(root, raw, split=table)
    unknown = rows[0].replace(f",{names[0][:2]},", ",NaN,")
    for lacking in (rows[1:], [unknown, *rows[1:]]):
        table.write_text("case,patient,part\n" + "".join(lacking))
        with pytest.raises(UserError, match="Expected a patient of every case"):
            understood(root, raw, split=table)


def test_patients_of_a_table_stay_in_one_part(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 16, "malignant": 12})
    table = tmp_path / "subjects.csv"
    names = [path.name for path in raw.rglob("*.png")]
    table.write_text("File name;Subject ID\n" + "".join(f"{name};{name[:2]}\n" for name in names))
    prepared = added(root, raw, patients=table)
    assert {case.patient for case in prepared.cases} == {name[:2] for name in names}
    split = make_split(prepared.spec, prepared, "patient")
    indices = assign(prepared.cases, split).indices
    parts_of: dict[str, set[str]] = {}
    for part in PARTS:
        for i in indices[part]:
            parts_of.setdefault(prepared.cases[i].patient, set()).add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert sum(map(len, indices.values())) == 28
    assert split.note == "" and unit_table(prepared, "mine") is None  # noqa: PT018
    table.unlink()  # its copy lies beside the cache
    described = read_description(root / "mine.toml")
    assert (root / described.patients).read_text().startswith("File name;Subject ID")


def test_one_image_under_two_patients_names_stays_in_one_part(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 20, "malignant": 20})
    for i in range(8):
        save(raw / "benign" / f"n{i}_a.png", picture(1 + 2 * i))  # the first image of benign's patient i
    prepared = added(root, raw, patient_pattern="^..")
    split = make_split(prepared.spec, prepared, "patient")
    part_of = {patient: part for part in PARTS for patient in split.parts[part]}
    assert len({part_of[f"n{i}"] for i in range(8)}) > 1
    assert all(part_of[f"n{i}"] == part_of[f"b{i}"] for i in range(8))
    assert split.groups == {f"n{i}": f"b{i}" for i in range(8)}
    folds = [make_split(prepared.spec, prepared, "patient/3", fold).parts["test"] for fold in range(3)]
    assert all(({f"n{i}", f"b{i}"} <= set(fold)) == (f"n{i}" in fold) for fold in folds for i in range(8))


def test_a_pattern_finds_patients_as_a_table_does(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 6, "malignant": 6})
    found = understood(root, raw, patient_pattern="^([a-z][0-9]+)_").found
    assert {item.case: item.patient for item in found.items}["benign/b2_b"] == "b2"
    with pytest.raises(UserError, match=r"to find a patient in every name, but not in 12 of 12, such as 'benign/b0_a'"):
        understood(root, raw, patient_pattern="P[0-9]")
    with pytest.raises(UserError, match="is none \\(missing \\)"):
        understood(root, raw, patient_pattern="(P")


def test_a_pattern_of_several_groups_takes_the_one_that_took_part(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 6, "malignant": 6})
    found = understood(root, raw, patient_pattern="^(b[0-9]+)|^(m[0-9]+)").found
    assert {item.patient for item in found.items} == {"b0", "b1", "b2", "m0", "m1", "m2"}
    for nothing in ("^(b[0-9]+)|^m", "^(b[0-9])?", "^(?:(b[0-9])|.*)", "(b[0-9]|)"):
        with pytest.raises(UserError, match="to find a patient in every name, but not in 6 of 12, such as 'malignant/"):
            understood(root, raw, patient_pattern=nothing)
    with pytest.raises(UserError, match="but not in 12 of 12, such as 'benign/b0_a'"):
        understood(root, raw, patient_pattern="P*")


def test_without_patients_near_duplicates_stay_together(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 9, "malignant": 9})
    for i in range(3):
        save(raw / "benign" / f"copy{i}.png", np.clip(picture(1).astype(int) + i + 1, 0, 255).astype(np.uint8))
    prepared = added(root, raw)
    split = make_split(prepared.spec, prepared, "patient")
    assert split.note == "patients unknown"
    assert leak_figures(prepared, assign(prepared.cases, split)) == {
        "patient": None,
        "near_duplicate": 0.0,
        "validation": 0.0,
    }
    kept = {"benign/b0_a", "benign/copy0", "benign/copy1", "benign/copy2"}
    assert any(kept <= set(split.parts[part]) for part in PARTS)
    table = unit_table(prepared, "mine")
    assert table is not None
    assert table["unit"] == "groups of near-duplicates (patients unknown)"
    assert set(table["cases"]) == {"benign/copy0", "benign/copy1", "benign/copy2"}


def test_a_division_of_ones_own_is_taken(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 6, "malignant": 6})
    table = tmp_path / "parts.csv"
    lines = [f"{name}{i},{part}\n" for name in "bm" for i, part in enumerate(("training", "valid", "test"))]
    table.write_text("patient,split\n" + "".join(lines))
    prepared = added(root, raw, patient_pattern="^..", split=table)
    split = make_split(prepared.spec, prepared, "given")
    assert prepared.spec.default_split == {"class-folders": "given"}
    assert {part: sorted({name.split("/")[1][:2] for name in split.parts[part]}) for part in PARTS} == {
        "train": ["b0", "m0"],
        "val": ["b1", "m1"],
        "test": ["b2", "m2"],
    }
    assert (split.flag, split.unpublished) == (None, True)


def test_a_division_without_a_test_part_is_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    table = tmp_path / "parts.csv"
    table.write_text("case,part\na/a0_a,train\nb/b0_a,val\n")
    with pytest.raises(UserError, match=r"Expected train, val and test in .*parts.csv, but it has no test"):
        understood(root, raw, split=table)


def test_an_archive_of_a_folder_is_read_as_it_is(root: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "raw" / "lesions", {"a": 3, "b": 3})
    archive = shutil.make_archive(str(tmp_path / "lesions"), "zip", tmp_path / "raw")
    assert len(added(root, Path(archive)).cases) == 6
    assert f'from = "{archive}"' in (root / "mine.toml").read_text()


def test_a_patient_in_two_parts_is_refused_or_flagged(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 6, "malignant": 6})
    table = tmp_path / "parts.csv"
    cases = [path.relative_to(raw).as_posix() for path in sorted(raw.rglob("*.png"))]
    parts = ("train", "val", "test", "train", "val", "test") * 2
    table.write_text("path,part\n" + "".join(f"{case},{part}\n" for case, part in zip(cases, parts, strict=True)))
    with pytest.raises(UserError, match=r"6 of 6 stand in several, such as 'b0' in train and val: .* --allow-leak"):
        understood(root, raw, patient_pattern="^..", split=table)
    with pytest.raises(UserError, match="Expected --allow-leak with --split"):
        understood(root, raw, patient_pattern="^..", allow_leak=True)
    prepared = added(root, raw, patient_pattern="^..", split=table, allow_leak=True)
    assert make_split(prepared.spec, prepared, "given").flag == "cases of one patient stand in several parts"


def test_a_link_to_an_image_that_is_not_there_is_not_passed_over(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 4, "malignant": 4})
    (raw / "benign" / "z.png").symlink_to(tmp_path / "annexed.png")
    with pytest.raises(UserError, match=r"z\.png is a link to a file that is not there"):
        added(root, raw)


def test_odd_names_and_files_are_read(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "Meine Bilder"
    for i in range(3):
        save(raw / "gutartig (ä)" / "deep" / f"Foto {i}.PNG", picture(i))
        save(raw / "bösartig" / f"bild_{i}.JPG", picture(10 + i, (24, 32, 3)), quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    save(raw / "bösartig" / "turned.jpeg", picture(20, (24, 32, 3)), quality=95, exif=turned)
    grey = picture(30)
    save(raw / "gutartig (ä)" / "rgb.png", np.stack([grey, grey, grey], -1))
    save(raw / "bösartig" / "bild_0.png", picture(40))
    prepared = added(root, raw)
    assert prepared.spec.classes == ("bösartig", "gutartig (ä)")
    assert prepared.spec.channels == 3
    shapes = {case.case: case.shape for case in prepared.cases}
    assert shapes["bösartig/turned"] == (3, 32, 24)
    assert shapes["bösartig/bild_0.JPG"] == (3, 24, 32)
    assert shapes["bösartig/bild_0.png"] == (3, 24, 24)
    assert shapes["gutartig (ä)/deep/Foto 0"] == (3, 24, 24)


def test_classes_are_chosen_renamed_and_put_in_order(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"1benign": 3, "2malignant": 3, "rest": 2})
    found = understood(root, raw, classes="malignant=2malignant,benign=1benign").found
    assert found.classes == ("malignant", "benign")
    assert {item.case.partition("/")[0]: item.label for item in found.items} == {"2malignant": 0, "1benign": 1}
    assert found.notes == ("left out: the folder rest",)


def test_what_lies_beside_class_folders_is_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign": 3, "malignant": 3})
    save(raw / "p9_stray.png", picture(50))
    (raw / "nothing").mkdir()
    found = understood(root, raw).found
    assert len(found.items) == 6
    assert found.notes == (
        "left out: the folder nothing, without images",
        "left out: 1 image beside the class folders, such as p9_stray.png",
    )
    for k, part in enumerate(("train", "test")):
        write_classes(tmp_path / "divided" / part, {"a": 3, "b": 3}, first=10 * k)
        save(tmp_path / "divided" / part / "overview.JPG", picture(60 + k))
    (tmp_path / "divided" / "test" / "c").mkdir()
    assert understood(root, tmp_path / "divided").found.notes[:2] == (
        "left out: the folder test/c, without images",
        "left out: 2 images beside the class folders, such as test/overview.JPG",
    )


def test_classes_that_may_be_one_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"benign lesion": 3, "Benign_Lesion": 3, "malignant": 3})
    line = "the classes benign lesion, Benign_Lesion differ in case, blanks, - and _ alone: "
    assert understood(root, raw).found.notes == (f"{line}where they are one, join their folders",)
    assert not [note for note in understood(root, raw, classes="benign lesion,malignant").found.notes if line in note]


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"benign": 4}, "Expected two classes or more, but there is only benign"),
        ({"benign": 4, "rare": 1, "worse": 3}, "each class, .* but rare has 1: .* --classes benign,worse"),
        ({"benign": 4, "rare": 2}, "Expected 3 images or more of each class, one for each part, but rare has 2"),
        ({}, "Found nothing that is known in"),
    ],
)
def test_what_cannot_be_told_apart_is_one_line(root: Path, tmp_path: Path, counts: dict[str, int], line: str) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match=line):
        understood(root, write_classes(tmp_path / "raw", counts))


def test_three_images_a_class_make_three_parts(root: Path, tmp_path: Path) -> None:
    prepared = added(root, write_classes(tmp_path / "raw", {"a": 3, "b": 3}))
    split = make_split(prepared.spec, prepared, "patient")
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 2, "val": 2, "test": 2}


def test_a_division_without_validation_gets_one_of_its_training_part(root: Path, tmp_path: Path) -> None:
    for k, part in enumerate(("train", "test")):
        write_classes(tmp_path / "raw" / part, {"a": 10, "b": 10}, first=100 * k)
    prepared = added(root, tmp_path / "raw", patient_pattern="^(?:train|test)/./..")
    split = make_split(prepared.spec, prepared, "given")
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 16, "val": 4, "test": 20}
    assert {name.partition("/")[0] for name in split.parts["val"]} == {"train"}
    assert {case.patient for case in prepared.cases if case.case in split.parts["val"]}.isdisjoint(
        case.patient for case in prepared.cases if case.case in split.parts["train"]
    )
    assert split.note == "a fixed fifth of train, by patient or group, validates"


@pytest.mark.parametrize("name", ["acdc", "My Data", "x-phantom", "all", "../up", ""])
def test_names_that_cannot_be_had(root: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        understood(root, write_classes(tmp_path / "raw", {"a": 3, "b": 3}), name)


def test_a_description_needs_task_and_place_alone(root: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    shared = tmp_path / "shared.toml"
    shared.write_text('task = "classification"\nfrom = "raw"\n')
    prepared = add(understand(Addition(spec=shared), root, []), root, False)
    assert (prepared.name, len(prepared.cases)) == ("shared", 8)
    assert read_description(root / "shared.toml").classes == ("a", "b")
    again = understand(Addition(spec=root / "shared.toml"), root, [])
    assert add(again, root, False).kept


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('task = "classification"', r'to say `from = "..."`'),
        ('task = "regression"\nfrom = "x"', "Expected task to be classification or segmentation in"),
        ('tasks = "x"', "Unknown key of .* 'tasks'. Did you mean: task"),
        ('task = "classification"\nfrom = 3', "Expected from in .* to be a text, but got 3"),
        (
            'task = "classification"\nfrom = "x"\nclasses = ["a"]\n[values]\na = "0"\npatients = "p.csv"',
            r"\[values\] in .* of a, but it has 'patients', which is no class: other keys stand before \[values\]",
        ),
        ('task = "segmentation"\nfrom = "x"\nclasses = ["a", "b"]\n[values]\na = "0"', "but it has nothing for 'b'"),
        ('task = "segmentation"\nfrom = "x"\n[values]\na = "red"', "as NAME=LEVEL or NAME=#rrggbb, but got 'red'"),
        ("task = ", "to be a TOML file, but it cannot be read"),
    ],
)
def test_a_bad_description_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(UserError, match=line):
        read_description(tmp_path / "bad.toml")


def test_there_are_no_phantoms_of_it(root: Path, tmp_path: Path) -> None:
    from bench.datasets.cache.prepared import locate

    prepared = added(root, write_classes(tmp_path / "raw", {"a": 3, "b": 3}))
    with pytest.raises(UserError, match=r"No phantoms can be drawn of mine: .* Pass --data real."):
        locate(prepared.spec, "phantom", root)
    assert locate(prepared.spec, "auto", root).kind == "real"


def test_other_names_of_the_classes_are_another_data_set_to_results(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"1": 3, "2": 3})
    first = added(root, raw, classes="benign=1,malignant=2")
    other = added(root, raw, "other", classes="malignant=1,benign=2")
    assert first.fingerprint != other.fingerprint
    assert first.fingerprint == added(root, raw, "same", classes="benign=1,malignant=2").fingerprint


def test_a_cache_of_before_class_names_were_hashed_stays_what_it_is(root: Path, tmp_path: Path) -> None:
    prepared = added(root, write_classes(tmp_path / "raw", {"a": 3, "b": 3}))
    path = prepared.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["classes_hashed"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="contradicts itself"):
        open_prepared(prepared.spec, root, "real")
    manifest["fingerprint"] = fingerprint(manifest["cases"], "classification", manifest["groups"])
    path.write_text(json.dumps(manifest))
    assert open_prepared(prepared.spec, root, "real").fingerprint == manifest["fingerprint"]
