"""Images with label maps: paired by folders and names, their values told or asked for, sizes and colours checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_folders import SIDE, added, disc, nifti, picture, save, understood, write_pairs
from PIL import Image

from bench.datasets.audit.findings import audit
from bench.datasets.cache.prepared import open_prepared, verify
from bench.datasets.loading import network_input
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.report.own_data import understood_text
from bench.runs.protocol import PRESETS
from bench.zoo.registry import dataset_spec


def volumes(folder: Path, image: str, mask: str, count: int = 3) -> Path:
    for i in range(count):
        nifti(folder / image.format(i), picture(i, (4, SIDE, SIDE)).astype(np.int16))
        nifti(folder / mask.format(i), np.stack([disc(i, (0, 1 + i % 2))] * 4))
    return folder


def test_grey_pictures_with_black_and_white_maps(root: Path, tmp_path: Path) -> None:
    prepared = added(root, write_pairs(tmp_path / "raw" / "wrapped", 8), "polyps", classes="polyp")
    assert prepared.spec.classes == ("background", "polyp")
    assert prepared.image(2).dtype == np.float32
    np.testing.assert_array_equal(prepared.image(2)[0], picture(2))
    np.testing.assert_array_equal(prepared.label(2)[0], disc(2) // 255)
    split = make_split(prepared.spec, prepared, "patient")
    assert split.note == "patients unknown"
    assert [len(part) for part in assign(prepared.cases, split).indices.values()] == [5, 1, 2]
    assert (unit_table(prepared, "polyps") or {})["unit"] == "groups of near-duplicates (patients unknown)"
    assert '"polyp" = "255"' in (root / "polyps.toml").read_text()


def turned_volumes(folder: Path, axes: list[str], tilts: list[float]) -> Path:
    for i, (way, tilt) in enumerate(zip(axes, tilts, strict=True)):
        nifti(folder / "images" / f"c{i}.nii.gz", picture(i, (4, SIDE, SIDE)).astype(np.int16), axes=way, tilt=tilt)
        nifti(folder / "masks" / f"c{i}.nii.gz", np.stack([disc(i, (0, 1))] * 4), axes=way, tilt=tilt)
    return folder


def test_volumes_of_several_orders_of_axes_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = turned_volumes(tmp_path / "raw", ["RAS", "PIR", "RAS", "PIR", "RAS"], [0, 0, 20, 20, 0])
    with pytest.raises(UserError, match=r"3 have xyz, such as .*c0.nii.gz, and 2 yzx, such as .*c1.nii.gz .*canonical"):
        understood(root, raw)
    oblique = turned_volumes(tmp_path / "oblique", ["RAS"] * 4, [40, 44, 46, 50])  # nearest to y, or to z
    assert not [note for note in understood(root, oblique).found.notes if "axes" in note]


def test_mirrored_volumes_are_told_and_read_as_they_are(root: Path, tmp_path: Path) -> None:
    raw = turned_volumes(tmp_path / "raw", ["RAS", "LPS", "RAS"], [0, 0, 0])
    assert understood(root, raw).found.notes == (
        "axes point to RAS in 2, LPS in 1 volumes: they are read as they are, some mirrored against others",
    )
    mirrored = added(root, raw).image(1)
    np.testing.assert_array_equal(mirrored[:, ::-1, ::-1], picture(1, (4, SIDE, SIDE)))


def test_what_lies_beside_folders_of_parts_is_told(root: Path, tmp_path: Path) -> None:
    for part in ("train", "test", "extra"):
        write_pairs(tmp_path / "raw" / part, 3)
    (tmp_path / "raw" / "docs").mkdir()
    found = understood(root, tmp_path / "raw").found
    assert {item.part for item in found.items} == {"train", "test"}
    assert "left out: extra, beside the folders of parts" in found.notes


def test_pictures_in_colour_keep_their_colours(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 6, (0, 1), colour=True)
    prepared = added(root, raw)
    assert prepared.spec.channels == 3
    np.testing.assert_array_equal(prepared.image(4), picture(4, (SIDE, SIDE, 3)).transpose(2, 0, 1)[None])
    prepared = open_prepared(dataset_spec("mine", root), root)
    assert verify(prepared) == []
    settings = PRESETS["smoke"].of("segmentation")
    assert network_input(prepared.image(0), settings).shape == (1, 3, settings.image_size, settings.image_size)
    assert audit(prepared).figures["pictures"] == 6
    with (root / "mine" / "images.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    assert len(verify(open_prepared(dataset_spec("mine", root), root))) == 1


def test_interrupted_colour_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 4, colour=True)
    save(raw / "masks" / "c3.png", disc(3)[:12])
    with pytest.raises(UserError, match=r"masks/c3.png to have the size of .*images/c3.png, .* 12 x 24 and 24 x 24"):
        added(root, raw)
    save(raw / "masks" / "c3.png", disc(3))
    assert len(added(root, raw).cases) == 4


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/v{}.nii.gz", "labels/v{}.nii.gz"),
        ("img900{}.nii.gz", "label900{}_totalseg117.nii.gz"),
        ("Volumes/case_{}_0000.nii", "Segmentations/case_{}_seg.nii.gz"),
        ("train/images/p{}.nii.gz", "train/masks/p{}_mask.nii.gz"),
    ],
)
def test_volumes_are_paired_by_their_names(root: Path, tmp_path: Path, image: str, mask: str) -> None:
    prepared = added(root, volumes(tmp_path / "raw", image, mask))
    assert [case.shape for case in prepared.cases] == [(4, SIDE, SIDE)] * 3
    assert prepared.cases[0].spacing == (4.0, 1.5, 1.5)
    assert prepared.spec.classes == ("background", "class 1", "class 2")
    split = make_split(prepared.spec, prepared, "patient")
    assert (split.note, [len(split.parts[part]) for part in split.parts]) == ("", [1, 1, 1])


def test_two_volumes_make_two_parts(root: Path, tmp_path: Path) -> None:
    prepared = added(root, volumes(tmp_path / "raw", "images/{}.nii.gz", "masks/{}.nii.gz", 2))
    split = make_split(prepared.spec, prepared, "patient")
    assert split.parts["train"] == split.parts["val"] != split.parts["test"]
    assert split.note == "of two patients one trains and validates, the other tests"


def test_nnunets_tree_brings_its_classes(root: Path, tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw" / "Dataset001", "imagesTr/c_{}_0000.nii.gz", "labelsTr/c_{}.nii.gz")
    nifti(raw / "imagesTr" / "c_0_0001.nii.gz", picture(0, (4, SIDE, SIDE)).astype(np.int16))
    (raw / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 2}}))
    found = understood(root, tmp_path / "raw").found
    assert (found.layout, found.classes) == ("nnunet", ("background", "liver", "spleen"))
    assert [item.case for item in found.items] == ["c_0", "c_1", "c_2"]
    assert found.notes == ("left out: the further channels of 1 files: 0000 alone is read",)
    (raw / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 2}}))
    with pytest.raises(UserError, match=r"to be 0, 1, 2, ..., but got \[0, 2\]"):
        understood(root, tmp_path / "raw")


@pytest.mark.parametrize("labels", [{"background": 0, "liver": 1, "ignore": 2}, {"0": "background", "255": "Ignore"}])
def test_nnunets_partly_annotated_data_are_one_line(root: Path, tmp_path: Path, labels: dict[str, object]) -> None:
    raw = volumes(tmp_path / "raw", "imagesTr/c_{}_0000.nii.gz", "labelsTr/c_{}.nii.gz")
    (raw / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(UserError, match=r"dataset.json has a label '[iI]gnore', .* not read here. Remove that label"):
        understood(root, raw)


def test_names_with_words_in_one_folder(root: Path, tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "raw" / f"benign ({i}).png", picture(i))
        save(tmp_path / "raw" / f"benign ({i})_mask.png", disc(i))
    assert [item.case for item in understood(root, tmp_path / "raw").found.items] == [f"benign ({i})" for i in range(3)]


def test_folders_of_images_with_maps_are_classes_where_that_is_said(root: Path, tmp_path: Path) -> None:
    for k, name in enumerate(("benign", "malignant")):
        for i in range(3):
            save(tmp_path / "raw" / name / f"{name} ({i}).png", picture(10 * k + i))
            save(tmp_path / "raw" / name / f"{name} ({i})_mask.png", disc(i))
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[-3:, -3:] = 255
    save(tmp_path / "raw" / "benign" / "benign (0)_mask_1.png", corner)
    found = understood(root, tmp_path / "raw").found
    assert (found.task, len(found.items)) == ("segmentation", 6)
    assert found.notes[:2] == (
        "the folders benign, malignant may be classes: --task classification",
        "the maps of 1 images with several are laid over each other",
    )
    prepared = added(root, tmp_path / "raw")
    np.testing.assert_array_equal(prepared.label(0)[0], np.maximum(disc(0), corner) // 255)
    found = understood(root, tmp_path / "raw", task="classification").found
    assert (found.classes, len(found.items)) == (("benign", "malignant"), 6)
    assert found.notes == ("left out: 7 files that are named as the masks of others",)


def test_the_other_of_two_folders_is_the_images_whatever_it_is_called(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    (raw / "images").rename(raw / "CXR_png")
    assert [item.image.parent.name for item in understood(root, raw).found.items] == ["CXR_png"] * 3
    write_pairs(tmp_path / "more", 3)
    (tmp_path / "more" / "images").rename(raw / "third")
    with pytest.raises(UserError, match=r"a folder of images beside the label maps in .*masks, but got CXR_png, masks"):
        understood(root, raw)
    flat = tmp_path / "flat"
    save(flat / "a.png", picture(1))
    save(flat / "a_mask.png", disc(1))
    save(flat / "b.png", picture(2))
    with pytest.raises(UserError, match=r"a label map for every image in .*flat, but 1 of 2 have none \(b\)"):
        understood(root, flat)


@pytest.mark.parametrize("place", ["", "train"])
@pytest.mark.parametrize("name", ["{}", "{}_mask", "GT_{}"])
def test_a_folder_of_maps_of_a_wrong_name_makes_no_classes(root: Path, tmp_path: Path, name: str, place: str) -> None:
    raw = write_pairs(tmp_path / "raw" / place, 4)
    for i in range(4):
        (raw / "masks" / f"c{i}.png").rename(raw / "masks" / f"{name.format(f'c{i}')}.png")
    (raw / "masks").rename(raw / "maks")
    line = r"label maps to be called masks, but .*maks is not, and its files are named as those in .*images: rename it"
    for task in (None, "segmentation"):
        with pytest.raises(UserError, match=line):
            understood(root, tmp_path / "raw", task=task)
    assert understood(root, tmp_path / "raw", task="classification").found.classes == ("images", "maks")
    for i in range(3):
        (raw / "images" / f"c{i}.png").rename(raw / "images" / f"another{i}.png")
    assert understood(root, tmp_path / "raw").found.task == "classification"


def test_an_image_without_a_map_is_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    (raw / "masks" / "c1.png").unlink()
    with pytest.raises(UserError, match=r"in .*images, but 1 of 3 have none \(c1\): a map has its image's name"):
        understood(root, raw)
    (raw / "images" / "c1.png").unlink()
    save(raw / "masks" / "more.png", disc(9))
    assert understood(root, raw).found.notes == ("left out: 1 label maps without an image, such as more.png",)


def test_colours_are_offered_as_a_mapping_which_is_then_taken(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    for i in range(3):
        red = np.zeros((SIDE, SIDE, 3), np.uint8)
        red[disc(i) > 0] = (255, 0, 0)
        save(raw / "masks" / f"c{i}.png", red)
    with pytest.raises(UserError, match=r"hold colours .* --classes 'background=#000000,class1=#ff0000'"):
        understood(root, raw)
    prepared = added(root, raw, classes="background=#000000,polyp=#ff0000")
    np.testing.assert_array_equal(prepared.label(1)[0], disc(1) // 255)
    with pytest.raises(UserError, match=r"values of classes alone .* but found #ff0000"):
        added(root, raw, "other", classes="background=#000000,polyp=#00ff00")


def test_levels_are_offered_as_a_mapping(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3, (0, 90))
    with pytest.raises(UserError, match=r"hold grey levels \(0, 90, .* --classes 'background=0,class1=90'"):
        understood(root, raw)
    assert added(root, raw, classes="background=0,wound=90").label(0).max() == 1
    with pytest.raises(UserError, match="as NAME=LEVEL or NAME=#rrggbb, but got '300'"):
        understood(root, raw, classes="background=0,wound=300")


def test_ids_in_some_maps_and_black_and_white_in_others_are_offered_as_one_class(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 4)
    save(raw / "masks" / "c2.png", disc(2, (0, 1)))
    held = r"levels \(0, 255, 1, .*; 1 in 1 of 4, such as .*masks/c2.png\): "
    for classes, offered in ((None, "class1"), ("polyp", "polyp"), ("background,polyp", "polyp")):
        with pytest.raises(UserError, match=rf"{held}.* --classes 'background=0,{offered}=1\|255'"):
            understood(root, raw, classes=classes)
    prepared = added(root, raw, classes="background=0,polyp=1|255")
    assert [int((prepared.label(i) == 1).sum()) for i in range(4)] == [int((disc(i) > 0).sum()) for i in range(4)]
    mask = disc(2, (0, 1))
    mask[0] = 255  # a border, or a second class
    save(raw / "masks" / "c2.png", mask)
    with pytest.raises(UserError, match="--classes 'background=0,class1=255,class2=1'"):
        understood(root, raw)


def test_more_names_than_levels_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    line = r"names of 2 classes, since label maps have the values 0, 255, but got 3: background, polyp, foo; leave out"
    with pytest.raises(UserError, match=line):
        understood(root, raw, classes="background,polyp,foo")
    assert added(root, raw, classes="background=0,polyp=255,foo=128").spec.classes == ("background", "polyp", "foo")


def test_a_stray_value_of_one_map_is_named_and_counted(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 4, (0, 1))
    mask = disc(2, (0, 1))
    mask[0, 0] = 2
    save(raw / "masks" / "c2.png", mask)
    line = r"names of 3 classes, .* go up to 2, but got background, polyp: the rarest value, 2, stands in 1 of 4 masks "
    with pytest.raises(UserError, match=rf"{line}\(.*masks/c2.png, 1 pixel\)\."):
        understood(root, raw, classes="background,polyp")
    listed = "classes    0 background in 4, 1 class 1 in 4, 2 class 2 in 1 of 4 masks\n"
    assert listed in understood_text(understood(root, raw))
    mask[0, 0] = 13  # beyond the classes that are listed
    save(raw / "masks" / "c2.png", mask)
    assert " 11 class 11 in 0 of 4 masks and 2 more, such as 13 class 13 in 1\n" in understood_text(
        understood(root, raw)
    )
    assert "in 4" not in understood_text(understood(root, raw, classes="background=0,polyp=1|13"))


def test_a_class_between_black_and_white_may_have_no_pixel_or_two_levels(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    for i, level in enumerate((127, 128)):
        mask = disc(i)
        mask[0, 0] = level
        save(raw / "masks" / f"c{i}.png", mask)
    prepared = added(root, raw, classes="background,rim,polyp")
    assert [int((prepared.label(i) == 1).sum()) for i in range(3)] == [1, 1, 0]
    mask[0, 0] = 85
    for i in range(3):
        save(raw / "masks" / f"c{i}.png", mask)
    described = understood(root, raw, classes="background,rim,core,polyp").description
    assert described.values == {"background": "0", "rim": "85", "core": "170", "polyp": "255"}


def test_maps_that_are_pictures_or_empty_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 2)
    save(raw / "masks" / "c1.png", picture(5))
    line = r"like .*masks/c1.png to have few values, but they have \d+ \(.*as pictures and resampled maps do"
    with pytest.raises(UserError, match=line):
        understood(root, raw)
    with pytest.raises(UserError, match="more than background, but all are 0 throughout"):
        understood(root, write_pairs(tmp_path / "empty", 2, (0, 0)))


def test_jpeg_maps_of_two_classes_are_read(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    for i in range(3):
        (raw / "masks" / f"c{i}.png").unlink()
        block = np.zeros((SIDE, SIDE), np.uint8)
        block[8:16, 8:16] = 255
        save(raw / "masks" / f"c{i}.jpg", np.stack([block] * 3, -1), quality=90)
    prepared = added(root, raw)
    assert prepared.cases[0].voxels == (SIDE**2 - 64, 64)
    save(raw / "masks" / "c1.jpg", picture(3))
    with pytest.raises(UserError, match="to be black and white"):
        understood(root, raw)


def test_images_turned_by_exif_fit_their_maps(root: Path, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    for i, size in enumerate(((32, 24), (24, 32))):  # a map as the picture is seen, and one as it is stored
        save(tmp_path / "raw" / "images" / f"c{i}.JPG", picture(i, (24, 32, 3)), quality=95, exif=turned)
        mask = np.zeros(size, np.uint8)
        mask[:8, :8] = 1
        save(tmp_path / "raw" / "masks" / f"c{i}.png", mask)
    assert [case.shape for case in added(root, tmp_path / "raw").cases] == [(1, 32, 24), (1, 24, 32)]


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("kind", ["jpeg", "grey", "binary", "palette", "colour"])
def test_maps_are_turned_by_exif_as_their_images_are(root: Path, tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(3):
        mask = np.zeros((24, 32), np.uint8)
        mask[:8, :16] = 255
        save(tmp_path / "raw" / "images" / f"c{i}.png", np.maximum(picture(i, (24, 32)) // 2, mask), exif=exif)
        file = Image.fromarray(mask)
        if kind == "palette":
            file = Image.fromarray(mask // 255, "P")
            file.putpalette([0, 0, 0, 255, 0, 0])
        elif kind == "colour":
            file = Image.fromarray(np.stack([mask, 0 * mask, 0 * mask], -1))
        elif kind == "binary":
            file = file.convert("1")
        place = tmp_path / "raw" / "masks" / f"c{i}.{'jpg' if kind == 'jpeg' else 'png'}"
        place.parent.mkdir(exist_ok=True)
        file.save(place, exif=exif)
    colours = "background=#000000,bright=#ff0000" if kind == "colour" else None
    prepared = added(root, tmp_path / "raw", classes=colours)
    for i in range(3):
        np.testing.assert_array_equal(prepared.label(i), prepared.image(i) == 255)


def test_sixteen_bits_of_grey_among_colours_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 4, colour=True)
    save(raw / "images" / "c2.png", picture(2).astype(np.uint16) * 16)
    with pytest.raises(UserError, match=r"images/c2.png to have 8 bits, .* but it has 16: convert it to 8 bit"):
        added(root, raw)


def test_sixteen_bits_of_grey_are_kept_whole(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    deep = (picture(1).astype(np.uint16) * 3 + 1000).astype(np.uint16)
    save(raw / "images" / "c1.png", deep)
    np.testing.assert_array_equal(added(root, raw).image(1)[0], deep)


def test_volumes_whose_headers_differ_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = volumes(tmp_path / "raw", "images/{}.nii.gz", "masks/{}.nii.gz", 2)
    nifti(raw / "masks" / "1.nii.gz", np.stack([disc(1, (0, 1))] * 4), x=-1.5)
    with pytest.raises(UserError, match=r"to have the affine of .* x mirrored"):
        added(root, raw)
    nifti(raw / "masks" / "1.nii.gz", np.stack([disc(1, (0, 1))] * 3))
    with pytest.raises(UserError, match=r"to have the size of .* but they have 3 x 24 x 24 and 4 x 24 x 24"):
        added(root, raw)
