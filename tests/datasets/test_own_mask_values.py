"""What the values of one's own label maps stand for: palettes, volumes of 0 and 255, ids with gaps, further maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_folders import SIDE, added, disc, nifti, picture, save, understood, write_pairs
from PIL import Image

from bench.datasets.own.adding import add
from bench.datasets.own.description import read_description
from bench.errors import UserError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def write_palette(path: Path, indices: np.ndarray, *colours: tuple[int, int, int]) -> Path:
    """A label map of indices whose colours are black and these."""
    file = Image.fromarray(indices, "P")
    file.putpalette([0, 0, 0, *(level for colour in colours for level in colour)])
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def two_discs(i: int, first: int, second: int) -> np.ndarray:
    mask = disc(i, (0, first))
    mask[-2:, -2:] = second
    return mask


def write_palettes(folder: Path, swapped: int | None = None) -> Path:
    """Red and green structures; in the file that is swapped their indices are."""
    write_pairs(folder, 4)
    for i in range(4):
        first, second = (2, 1) if i == swapped else (1, 2)
        colours = (GREEN, RED) if i == swapped else (RED, GREEN)
        write_palette(folder / "masks" / f"c{i}.png", two_discs(i, first, second), *colours)
    return folder


def test_an_id_of_two_colours_is_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_palettes(tmp_path / "raw", swapped=2)
    line = r"one palette in all label maps .* found 1 #00ff00 in .*masks/c2.png, but 1 #ff0000 in .*masks/c0.png: write"
    for classes in (None, "background,liver,spleen", "background=0,liver=1,spleen=2"):
        with pytest.raises(UserError, match=line):
            understood(root, raw, classes=classes)
    assert added(root, write_palettes(tmp_path / "same")).spec.classes == ("background", "class 1", "class 2")


def test_further_maps_of_another_palette_are_one_line(root: Path, tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "raw" / f"x{i}.png", picture(i))
        write_palette(tmp_path / "raw" / f"x{i}_mask.png", disc(i, (0, 1)), RED)
        write_palette(tmp_path / "raw" / f"x{i}_mask_1.png", disc(i + 4, (0, 1)), GREEN)
    with pytest.raises(UserError, match=r"found 1 #00ff00 in .*x0_mask_1.png, but 1 #ff0000 in .*x0_mask.png"):
        understood(root, tmp_path / "raw")


def test_palettes_that_change_before_the_files_are_read_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_palettes(tmp_path / "raw")
    seen = understood(root, raw)
    write_palettes(tmp_path / "raw", swapped=3)
    with pytest.raises(UserError, match=r"one palette in all label maps .* in .*masks/c3.png"):
        add(seen, root, False)
    assert not (root / "mine").exists()


def test_grey_and_coloured_maps_of_one_image_are_laid_over_each_other(root: Path, tmp_path: Path) -> None:
    corner = np.zeros((SIDE, SIDE, 3), np.uint8)
    corner[-3:, -3:] = RED
    for i in range(3):
        save(tmp_path / "raw" / f"x{i}.png", picture(i))
        save(tmp_path / "raw" / f"x{i}_mask.png", disc(i))
        save(tmp_path / "raw" / f"x{i}_mask_1.png", corner)
    prepared = added(root, tmp_path / "raw", classes="background=#000000,white=#ffffff,red=#ff0000")
    expected = disc(1) // 255
    expected[-3:, -3:] = 2
    np.testing.assert_array_equal(prepared.label(1)[0], expected)


def write_volumes(folder: Path, values: tuple[int, ...], count: int = 3) -> Path:
    """`images/0.nii.gz` and `masks/0.nii.gz`; each value but the first fills a slice's disc."""
    for i in range(count):
        depth = max(4, len(values))
        nifti(folder / "images" / f"{i}.nii.gz", picture(i, (depth, SIDE, SIDE)).astype(np.int16))
        slices = [disc(i, (values[0], value)) for value in values[1:]]
        slices += [np.full((SIDE, SIDE), values[0], np.uint8)] * (depth - len(slices))
        nifti(folder / "masks" / f"{i}.nii.gz", np.stack(slices))
    return folder


def test_volumes_of_0_and_255_are_two_classes(root: Path, tmp_path: Path) -> None:
    raw = write_volumes(tmp_path / "raw", (0, 255))
    found = understood(root, raw)
    assert found.found.classes == ("background", "foreground")
    assert found.found.holding == (3, 3)
    prepared = added(root, raw, classes="background,liver")
    assert prepared.spec.classes == ("background", "liver")
    np.testing.assert_array_equal(prepared.label(1)[0], disc(1) // 255)
    assert dict(read_description(root / "mine.toml").values or {}) == {"background": "0", "liver": "255"}


@pytest.mark.parametrize(
    ("values", "classes", "line"),
    [
        ((0, 1, 200), None, r"1 to 200 they hold 2 ids \(1, 200\) alone; .*'background=0,class1=1,class2=200', or num"),
        ((0, 10), "liver", r"from 1 to 10 they hold 1 id \(10\) alone; the rarest .*'background=0,liver=10'"),
        ((0, 1, 255), None, r"they hold 2 ids \(1, 255\) alone; .*'background=0,class1=1,class2=255'"),
        ((0, *range(100, 114)), None, r"hold 14 ids \(100, .*, 111, ...\) alone; .*class11=110,...', or number them"),
    ],
)
def test_ids_of_which_most_occur_nowhere_are_one_line(
    root: Path, tmp_path: Path, values: tuple[int, ...], classes: str | None, line: str
) -> None:
    raw = write_volumes(tmp_path / "raw", values)
    with pytest.raises(UserError, match=rf"ids without gaps \(0, 1, 2, ...\), but .*{line}"):
        understood(root, raw, classes=classes)


def test_ids_with_gaps_are_taken_by_their_names(root: Path, tmp_path: Path) -> None:
    raw = write_volumes(tmp_path / "raw", (0, 1, 200))
    prepared = added(root, raw, classes="background=0,liver=1,spleen=200")
    assert [int(prepared.label(0)[z].max()) for z in range(3)] == [1, 2, 0]
    names = "background,a,b,c,d,e,f"
    few = write_volumes(tmp_path / "few", (0, 1, 5))
    assert understood(root, few, classes=names).found.classes == tuple(names.split(","))
    assert understood(root, write_volumes(tmp_path / "brats", (0, 1, 2, 4))).found.holding == (3, 3, 3, 0, 3)


def write_with_further_maps(folder: Path, **further: object) -> Path:
    for i in range(3):
        nifti(folder / f"c{i}.nii.gz", picture(i, (4, SIDE, SIDE)).astype(np.int16))
        nifti(folder / f"c{i}_mask.nii.gz", np.stack([disc(i, (0, 1))] * 4))
        corner = np.zeros((4, SIDE, SIDE), np.uint8)
        corner[:, :3, :3] = 2
        nifti(folder / f"c{i}_mask_1.nii.gz", corner, **further)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("further", [{"x": -1.5}, {"axes": "LAS"}, {"x": 2.0}])
def test_further_volumes_of_labels_on_another_grid_are_one_line(
    root: Path, tmp_path: Path, further: dict[str, object]
) -> None:
    raw = write_with_further_maps(tmp_path / "raw", **further)
    with pytest.raises(UserError, match=r"c0_mask_1.nii.gz to have the affine of .*c0.nii.gz, but an entry differs"):
        added(root, raw)
    assert not (root / "mine").exists()


def test_further_volumes_of_labels_on_the_images_grid_are_laid_over_it(root: Path, tmp_path: Path) -> None:
    prepared = added(root, write_with_further_maps(tmp_path / "raw"))
    expected = disc(1, (0, 1))
    expected[:3, :3] = 2
    np.testing.assert_array_equal(prepared.label(1)[3], expected)


@pytest.mark.parametrize("shape", [(4, 24), (24, 4)])
def test_pictures_under_8_pixels_are_one_line(root: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    save(raw / "images" / "c1.png", picture(1)[: shape[0], : shape[1]])
    save(raw / "masks" / "c1.png", disc(1)[: shape[0], : shape[1]])
    line = rf"images/c1.png to have 8 pixels a side or more, but it has {shape[0]} x {shape[1]} \(height x width\)"
    with pytest.raises(UserError, match=line):
        added(root, raw)
