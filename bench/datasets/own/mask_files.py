"""A user's label maps as their files have them: ids, grey levels, colours, or the indices of a palette."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.datasets.cache.writing import read_ahead
from bench.datasets.own.items import Item
from bench.datasets.own.npz_archives import part_arrays
from bench.datasets.readers.files import check_label
from bench.datasets.readers.images import decoded, turned
from bench.datasets.readers.kinds import head_of
from bench.datasets.readers.meanings import check_palettes
from bench.datasets.readers.nifti import is_nifti, read_nifti
from bench.datasets.readers.png import is_png
from bench.datasets.readers.png_masks import MOST_PIXELS, Colours, read_png_mask
from bench.errors import UserError

MOST_IDS = 256
FAR, SURE = 64, 0.99  # levels from black or white, and the share of a JPEG's pixels that has to be nearer
WAY_OUT = "write class ids as grey levels of a PNG"
_PALETTE = b"\x03"  # PNG's colour type, behind the size and the depth
COLOUR = 2**24  # added to a packed colour, which tells it from a grey level


def mask_array(item: Item) -> np.ndarray:
    """A label map as its file has it: (D, H, W) of ids or grey levels, or of packed colours (uint32, 0x1rrggbb).

    A picture is turned as EXIF says, like its image. Of several maps of one image the greatest value stands.

    Raises:
        UserError: an unreadable file, one that is no label map, or maps of one image whose sizes differ.
    """
    return read_masks(item)[0]


def read_masks(item: Item) -> tuple[np.ndarray, list[tuple[Path, Colours]]]:
    """As `mask_array`; and of each file whose values are a palette's indices the colours that occur, by index."""
    paths = mask_paths(item)
    each = [_read(item, path) for path in paths]
    for path, (array, _) in zip(paths[1:], each[1:], strict=True):
        check_size(replace(item, mask=path), each[0][0].shape, array.shape)
    arrays = [array for array, _ in each]
    if any(array.dtype == np.uint32 for array in arrays):
        arrays = [array if array.dtype == np.uint32 else array * np.uint32(0x010101) + COLOUR for array in arrays]
    colours = [(path, colours) for path, (_, colours) in zip(paths, each, strict=True) if colours]
    return arrays[0] if len(arrays) == 1 else np.maximum.reduce(arrays), colours


def mask_paths(item: Item) -> tuple[Path, ...]:
    """The files of all label maps of an image."""
    assert item.mask is not None
    return (item.mask, *item.more_masks)


def _read(item: Item, path: Path) -> tuple[np.ndarray, Colours]:
    if item.row:
        part, index = item.row
        return part_arrays(path, part)[1][index][None], {}
    if is_nifti(path):
        volume = read_nifti(path)
        return check_label(path, volume.array, volume.array.shape, MOST_IDS, volume.scaling), {}
    if not is_png(path):
        return _two_levels(path)[None], {}
    coloured = _colours(path)
    if coloured is not None:
        return coloured[None], {}
    values, colours = read_png_mask(path)
    return values[None], colours


def check_palette_files(items: Sequence[Item]) -> None:
    """Raises UserError where an id is two colours, or a colour two ids, in label maps of palettes."""
    paths = [path for item in items if not item.row for path in mask_paths(item) if _has_palette(path)]
    check_palettes(zip(paths, _palettes(paths), strict=True))


def _palettes(paths: Sequence[Path]) -> Iterator[Colours]:
    for _, colours in read_ahead([partial(read_png_mask, path) for path in paths]):
        yield colours


def _has_palette(path: Path) -> bool:
    return path.is_file() and is_png(path) and head_of(path)[25:26] == _PALETTE


def _colours(path: Path) -> np.ndarray | None:
    """The packed colours of a picture in colours, (H, W); None of greys and of palettes."""
    with decoded(path, ("PNG",), MOST_PIXELS, WAY_OUT) as file:
        if file.mode not in ("RGB", "RGBA"):
            return None
        array = np.asarray(turned(file))[..., :3]
    if (array == array[..., :1]).all():
        return None
    return (array.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32)) + np.uint32(COLOUR)


def _two_levels(path: Path) -> np.ndarray:
    """A JPEG label map of two classes, 0 and 255: its loss spreads each level, so that more cannot be told apart."""
    with decoded(path, ("JPEG",), MOST_PIXELS, WAY_OUT) as file:
        grey = np.asarray(turned(file).convert("L"))
    between = float(((grey >= FAR) & (grey <= 255 - FAR)).mean())
    if between > 1 - SURE:
        raise UserError(
            f"Expected the label map {path} to be black and white, but {100 * between:.0f} % of its pixels lie "
            f"between: JPEG loses what tells several classes apart; {WAY_OUT}."
        )
    return np.where(grey < 128, np.uint8(0), np.uint8(255))


def check_size(item: Item, image: Sequence[int], mask: Sequence[int]) -> None:
    """Raises UserError where an image and its label map differ in size."""
    if tuple(image) != tuple(mask):
        raise UserError(
            f"Expected {item.mask} to have the size of {item.image}, but they have "
            f"{' x '.join(map(str, mask))} and {' x '.join(map(str, image))} (height last but one, width last)."
        )
