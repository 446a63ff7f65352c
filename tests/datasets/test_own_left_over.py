"""What a user's folder holds and no case is made of: nothing of it is lost without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_folders import added, disc, nifti, picture, save, understood, write_classes, write_pairs
from PIL import Image

from bench.errors import UserError


def write_mixed(folder: Path, maps: dict[str, int], images: int = 3) -> Path:
    """`p0/s0.png` and `p0/s0_mask.png`; `maps`: folder -> how many of its images have one."""
    for k, (name, count) in enumerate(maps.items()):
        for i in range(images):
            save(folder / name / f"s{i}.png", picture(10 * k + i))
            if i < count:
                save(folder / name / f"s{i}_mask.png", disc(i))
    return folder


@pytest.mark.parametrize("lacking", [{"p4": 0, "p5": 0}, {"p4": 1, "p5": 0}])
def test_folders_whose_maps_are_missing_are_one_line(root: Path, tmp_path: Path, lacking: dict[str, int]) -> None:
    raw = write_mixed(tmp_path / "raw", dict.fromkeys(["p0", "p1", "p2", "p3"], 3) | lacking)
    count = 6 - sum(lacking.values())
    line = rf"a label map for every image in .*raw, but {count} of 18 have none \(p4/s.* --task classification"
    for task in (None, "segmentation"):
        with pytest.raises(UserError, match=line):
            understood(root, raw, task=task)
    assert len(understood(root, raw, task="classification").found.items) == 18


def test_a_map_without_an_image_among_mixed_files_is_told(root: Path, tmp_path: Path) -> None:
    raw = write_mixed(tmp_path / "raw", {"p0": 3, "p1": 3})
    save(raw / "p1" / "s7_mask.png", disc(7))
    save(raw / "maps" / "s8_mask.png", disc(8))
    assert "left out: 2 label maps without an image, such as s8_mask.png" in understood(root, raw).found.notes


def test_a_part_without_maps_is_one_line(root: Path, tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_pairs(tmp_path / "raw" / part, 3)
    for i in range(3):
        (tmp_path / "raw" / "test" / "masks" / f"c{i}.png").unlink()
    with pytest.raises(UserError, match=r"every image in .*test/images, but 3 of 3 have none"):
        understood(root, tmp_path / "raw")
    (tmp_path / "raw" / "test" / "masks").rmdir()
    line = r"every image in .*test, but 3 of 3 have none \(images/c0.* as train/masks beside train/images"
    with pytest.raises(UserError, match=line):
        understood(root, tmp_path / "raw")
    (tmp_path / "raw" / "test" / "images").rename(tmp_path / "raw" / "test" / "masks")
    assert "left out: 3 images, such as test/masks/c0.png, that stand where no case is looked for" in (
        understood(root, tmp_path / "raw").found.notes
    )


def test_images_beside_images_and_masks_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    save(raw / "unlabelled" / "u.png", picture(9))
    note = "left out: 1 image, such as unlabelled/u.png, that stand where no case is looked for"
    assert understood(root, raw).found.notes == (note,)


def test_images_deeper_than_is_looked_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    deep = save(raw / "a" / "1" / "2" / "3" / "4" / "5" / "6" / "7" / "deep.png", picture(9)).relative_to(raw)
    assert [note for note in understood(root, raw).found.notes if f"1 image, such as {deep.as_posix()}" in note]


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("x.jfif", "JPEG", r"b/x.jfif is a JPEG image: name it .jpg, or move it away"),
        ("x.PNG_", "PNG", r"b/x.PNG_ is a PNG image: name it .png"),
        ("x.ppm", "PPM", r"b/x.ppm is .ppm of another kind: convert it to PNG"),
        ("x.img", "TIFF", r"b/x.img is a TIFF image: convert it"),
        ("x.jp2", "", r"b/x.jp2 is .jp2 of another kind: convert it"),
        ("x.nrrd", "", r"b/x.nrrd is .nrrd of another kind: convert it to PNG, or to NIfTI"),
    ],
)
def test_images_of_kinds_that_are_not_read_are_one_line(
    root: Path, tmp_path: Path, name: str, kind: str, line: str
) -> None:
    for raw in (write_classes(tmp_path / "raw", {"a": 3, "b": 3}), write_pairs(tmp_path / "pairs", 3)):
        path = raw / "b" / name
        path.parent.mkdir(exist_ok=True)
        if kind:
            Image.fromarray(picture(1)).save(path, kind)
        else:
            path.write_bytes(b"whatever")
        with pytest.raises(UserError, match=line):
            understood(root, raw)
    (raw / "b" / f"2{name}").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"but 2 files are none, such as .*, which is "):
        understood(root, raw)


@pytest.mark.parametrize("name", ["x.tif", "x.tiff", "x.bmp", "x.gif", "x.webp"])
def test_pictures_to_be_converted_are_one_line(root: Path, tmp_path: Path, name: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    Image.fromarray(picture(1)).save(raw / "b" / name)
    with pytest.raises(UserError, match=rf"{name} to be a PNG image or a JPEG image, but it is a .*: convert it"):
        added(root, raw)


def test_volumes_in_class_folders_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    nifti(raw / "b" / "v.nii.gz", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(UserError, match=r"b/v.nii.gz is a volume, and pictures alone are classified: save slices"):
        understood(root, raw, task="classification")


def test_documents_are_passed_over_and_other_files_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "README",
        "LICENSE.md",
        "notes.txt",
        "a/labels.csv",
        ".git/x.jfif",
        "b/._x.jfif",
    ):
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(b"x")
    assert understood(root, raw).found.notes == ()
    (raw / "a" / "features.npy").write_bytes(b"x")
    assert understood(root, raw).found.notes == ("left out: 1 other file, such as a/features.npy",)


def test_images_that_a_table_does_not_name_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    (raw / "t.csv").write_text("path,label\n" + "".join(f"{name},{name[0]}\n" for name in names[1:]))
    assert understood(root, raw).found.notes == ("left out: 1 image that the table does not name, such as a0_a.png",)
