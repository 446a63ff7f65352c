"""Reading one case of a user's own data: an image with its class, or with its label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.datasets.base import RawCase, RawImage, Row
from bench.datasets.own import dicom
from bench.datasets.own.items import Item
from bench.datasets.own.mask_files import check_size, mask_array, mask_paths
from bench.datasets.own.mask_values import class_ids
from bench.datasets.own.npz_archives import part_arrays
from bench.datasets.readers.files import check_image
from bench.datasets.readers.folders import read_image_case, visible
from bench.datasets.readers.images import SHORTEST_SIDE, decoded, read_image, turned
from bench.datasets.readers.nifti import check_same_grid, is_nifti, read_nifti
from bench.errors import UserError

MOST_PIXELS = 2**26
_DEEP = "convert it to 8 bit"
SAMPLED = 48  # images that are looked at for colour


def read_own_image(item: Item, channels: int) -> RawImage:
    """An image and its class. Raises UserError as the readers of its kind."""
    assert item.label is not None
    patient = item.patient or item.case
    row = Row(item.case, patient, item.label)
    if item.row:
        image = _with_channels(_archived(item), channels)
        case = RawImage(item.case, patient, image, item.label, (item.image,))
    elif dicom.is_dicom(item.image):
        case = RawImage(item.case, patient, read_picture(item.image, channels), item.label, (item.image,))
    else:
        case = read_image_case(item.image, channels, row)
    if min(case.image.shape[1:]) < SHORTEST_SIDE:
        raise UserError(f"Expected {item.image} to have {SHORTEST_SIDE} pixels a side or more: {case.image.shape[1:]}.")
    return replace(case, part=item.part)


def read_picture(path: Path, channels: int) -> np.ndarray:
    """A picture to be classified, (C, H, W) uint8: DICOM by its window, else as `read_image`."""
    if dicom.is_dicom(path):
        return _with_channels(dicom.read_picture(path), channels)
    return read_image(path, channels)


def _archived(item: Item) -> np.ndarray:
    assert item.row is not None
    part, index = item.row
    return part_arrays(item.image, part)[0][index]


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 -> (C, H, W) uint8."""
    from PIL import Image

    array = np.asarray(Image.fromarray(image).convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def read_own_volume(item: Item, channels: int, classes: Sequence[str], values: Mapping[str, str]) -> RawCase:
    """A volume, a DICOM series or a picture, and its label map.

    Raises:
        UserError: unreadable files, sizes or headers that differ, or values that stand for no class.
    """
    assert item.mask is not None
    stored, spacing, doubt = mask_array(item), None, ""
    files: tuple[Path, ...] = (item.image, *mask_paths(item))
    if is_nifti(item.image) or item.image.is_dir():
        if is_nifti(item.image):
            volume = read_nifti(item.image)
            array, spacing, grids, doubt = volume.array, volume.spacing, volume.grids, volume.doubt
        else:
            array, spacing, grids = dicom.read_series(item.image)
            files = (*visible(item.image), *mask_paths(item))
        check_size(item, array.shape, stored.shape)
        for path in filter(is_nifti, mask_paths(item)):
            of_mask = read_nifti(path).grids
            if item.image.is_dir() and of_mask and path == item.mask:  # further maps have to be turned like the first
                array, grid = dicom.turned_to(array, grids[0], of_mask[0])
                grids = (grid,)
            check_same_grid(path, of_mask, item.image, grids, "label map")
        image = check_image(item.image, array, axes=3)
    else:
        size = (stored.shape[1], stored.shape[2])
        archived = _of_channels(_archived(item), channels) if item.row else None
        image = read_segmented_picture(item.image, channels, size) if archived is None else archived
        check_size(item, image.shape[1:3], stored.shape[1:])
    if min(image.shape[1:3]) < SHORTEST_SIDE:
        sides = f"{image.shape[1]} x {image.shape[2]} (height x width)"
        raise UserError(f"Expected {item.image} to have {SHORTEST_SIDE} pixels a side or more, but it has {sides}.")
    label = class_ids(item, stored, classes, values)
    return RawCase(item.case, item.patient or item.case, image, label, spacing, files, doubt, item.part)


def read_segmented_picture(path: Path, channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as (1, H, W) float32, its own grey levels, or of colours (1, H, W, 3) uint8.

    It is turned as EXIF says, unless its label map has the size that it has unturned.

    Args:
        size: (H, W) of its label map; None: it has none.

    Raises:
        UserError: no PNG, JPEG or DICOM, damaged, or 16 bits where colours are read.
    """
    if dicom.is_dicom(path):
        return _of_channels(dicom.read_picture(path), channels)
    with decoded(path, ("PNG", "JPEG"), MOST_PIXELS, _DEEP) as file:
        seen = turned(file)
        chosen = file if file.size[::-1] == size and seen.size[::-1] != size else seen
        if chosen.mode in ("I", "F") or chosen.mode.startswith("I;"):
            if channels > 1:
                raise UserError(f"Expected {path} to have 8 bits, as images in colour do, but it has 16: {_DEEP}.")
            return np.asarray(chosen).astype(np.float32)[None]
        if chosen.has_transparency_data:
            from PIL import Image

            black = Image.new("RGBA", chosen.size, (0, 0, 0, 255))
            chosen = Image.alpha_composite(black, chosen.convert("RGBA"))
        return _of_channels(np.asarray(chosen.convert("RGB")), channels)


def _of_channels(image: np.ndarray, channels: int) -> np.ndarray:
    array = _with_channels(image, channels)
    return array.astype(np.float32) if channels == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))[None]


def seen_channels(items: Sequence[Item]) -> int:
    """3 where any of a sample of the images shows colours, 1 where all are grey, whatever their files' modes."""
    step = max(1, len(items) // SAMPLED)
    return 3 if any(_is_coloured(item) for item in items[::step]) else 1


def _is_coloured(item: Item) -> bool:
    if item.row:
        array = _archived(item)
    elif is_nifti(item.image) or item.image.is_dir() or dicom.is_dicom(item.image):
        return False
    else:
        with decoded(item.image, ("PNG", "JPEG"), MOST_PIXELS, _DEEP) as file:
            if file.mode in ("1", "L", "LA", "I", "F") or file.mode.startswith("I;"):
                return False
            array = np.asarray(file.convert("RGB"))
    return array.ndim == 3 and not bool((array == array[..., :1]).all())
