"""Which label map is an image's: by names that say so alone, never another patient's or another frame's."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_folders import disc, picture, save, understood

from bench.datasets.own.pairing import pair, paired_by_name
from bench.errors import UserError


def paired(images: list[str], masks: list[str]) -> dict[str, str]:
    found, _ = paired_by_name({name: Path(name) for name in images}, {name: Path(name) for name in masks})
    return {name: mask.as_posix() for name, (_, mask) in found.items()}


def test_images_of_a_patient_without_maps_get_nobody_elses(root: Path, tmp_path: Path) -> None:
    for p in range(1, 5):
        for i in range(1, 3):
            save(tmp_path / "raw" / "images" / f"p{p}" / f"{i:03}.png", picture(10 * p + i))
            save(tmp_path / "raw" / "masks" / f"p{p + 1}" / f"{i:03}.png", disc(i))
    with pytest.raises(UserError, match=r"a label map for every image in .*images, but 2 of 8 have none \(p1/001, p1/"):
        understood(root, tmp_path / "raw")


@pytest.mark.parametrize("image", ["frame_{:04}", "{:04}", "p1/frame{:04}"])
@pytest.mark.parametrize("mask", ["{}", "{}_mask"])
def test_the_frame_0000_is_no_channel(image: str, mask: str) -> None:
    images = [image.format(i) for i in range(8)]
    assert paired(images, [mask.format(name) for name in images[1:]]).keys() == set(images[1:])
    every = {name: mask.format(name) for name in images}
    assert paired(images, [*every.values(), mask.format(image.format(8))]) == every


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["p1", "p1_1", "p1_2"], ["p1_1", "p1_2", "p1_3"]),
        (["p1", "p1_1", "p1_2"], ["p1_mask_1", "p1_mask_2", "p1_mask_3"]),
        (["p1", "p2"], ["p1_slice3", "p2"]),
        (["a_0000", "b_0000"], ["a_0001", "b"]),
        (["p1/001", "p2/001"], ["001", "001_mask"]),
        (["p1/x", "p2/x"], ["p2/x", "p3/x"]),
        (["p1/x", "p2/x"], ["p2/x", "p1_old/x"]),
    ],
)
def test_what_may_be_another_cases_is_not_taken(images: list[str], masks: list[str]) -> None:
    missing = [name for name in images if name not in paired(images, masks)]
    assert images[0] in missing
    with pytest.raises(UserError, match=f"but {len(missing)} of {len(images)} have none"):
        pair({name: Path(name) for name in images}, {name: Path(name) for name in masks}, Path("images"))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["c_1_0000", "c_2_0000"], ["c_1", "c_2"]),  # nnU-Net's first channel
        (["c_1_0000"], ["c_1_0000_mask"]),
        (["img_0000", "img_0001"], ["mask_0000", "mask_0001"]),
        (["img9001_0000", "img9002_0000"], ["label9001_totalseg117", "label9002_totalseg117"]),
        (["x", "y"], ["x_mask", "y_mask_1"]),
        (["x", "y"], ["x_mask2", "y_mask2"]),
        (["Image_01L", "Image_01R"], ["Image_01L_1stHO", "Image_01R_1stHO"]),
        (["im0001", "im0002"], ["im0001.ah", "im0002.ah"]),
        (["volume-0", "volume-10"], ["segmentation-0", "segmentation-10"]),
        (["a/x", "b/y"], ["x_mask", "y_mask"]),  # maps in one folder
        (["p1/001", "p2/001"], ["p1_001", "p2_001"]),
        (["p1_img/1", "p2_img/1"], ["p1_mask/1", "p2_mask/1"]),
    ],
)
def test_names_that_say_whose_they_are(images: list[str], masks: list[str]) -> None:
    assert paired(images, masks) == dict(zip(images, masks, strict=True))
