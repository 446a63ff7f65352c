"""Label maps as PNG files: what a pixel means is what its colour says, or the file is refused.

A grey level is a value, however it is written: in 1, 2, 4, 8 or 16 bits, as three equal channels, or by a palette of
greys in any order (tools that save bits write 0 and 255 so). Of a palette of colours the index is the value where no
other reading is possible. What stands in the transparency is no label: a mask that needs it is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.readers.images import decoded, turned
from bench.datasets.readers.png import damaged
from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Colours = dict[int, tuple[int, int, int]]
MOST_PIXELS = 2**28  # a file of a few kB can ask for gigabytes
_WAY_OUT = "write class ids as grey levels"


def read_png_mask(path: Path) -> tuple[np.ndarray, Colours]:
    """Reads a label map: values (H, W), and the colours that occur by their index where a palette of colours is kept.

    It is turned as its EXIF tag says, like an image. Levels of 16 bits that are all multiples of 257 are 8 bits
    widened, and are narrowed again.

    Raises:
        UserError: damaged, another format, several frames, too large, colours, or labels that are not opaque.
    """
    with decoded(path, ("PNG",), MOST_PIXELS, _WAY_OUT) as file:
        return _values(path, turned(file))


def _values(path: Path, file: Image) -> tuple[np.ndarray, Colours]:
    """What `read_png_mask` gives, of a decoded file."""
    array = np.asarray(file)
    colours: Colours = {}
    if file.mode == "P":
        values, colours = _by_palette(path, array, np.array(file.getpalette() or [], np.uint8).reshape(-1, 3))
    elif array.ndim == 3:
        values = _one_channel(path, array[..., : 3 if file.mode.startswith("RGB") else 1])
    elif file.mode == "1":
        values = array * np.uint8(255)
    else:
        values = array // 257 if array.max() > 255 and not (array % 257).any() else array
    _check_opaque(path, values, _opacity(file, array))
    return values, colours


def _by_palette(path: Path, indices: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, Colours]:
    """Values and colours: the greys of a palette, or its indices where nothing else can be meant.

    Indices are class ids where 0 is the background's and each colour in use has no other index: black at another index
    than 0, or one colour twice, is a palette that a tool made of the picture.
    """
    used = np.flatnonzero(np.bincount(indices.ravel()))
    if used[-1] >= len(palette):
        raise damaged(path, f"its chunk PLTE has {len(palette)} colours, but index {used[-1]} is used")
    entries = [(int(r), int(g), int(b)) for r, g, b in palette]
    grey = [len(set(entry)) == 1 for entry in entries]
    in_order = all(entries.index(entries[i]) == i and (i == 0 or any(entries[i])) for i in used)
    if not all(grey) and in_order:
        return indices, {int(i): entries[i] for i in used}
    if all(grey[i] for i in used):
        return palette[indices, 0], {}
    raise UserError(
        f"Expected {path} to have a palette of greys, or one whose indices are class ids, but the order of its "
        f"colours ({listed({int(i): entries[i] for i in used})}) is not that of classes: {_WAY_OUT}."
    )


def _one_channel(path: Path, array: np.ndarray) -> np.ndarray:
    """The values (H, W) of channels that are all equal; other pictures are refused."""
    if (array == array[..., :1]).all():
        return array[..., 0]
    packed, counts = np.unique(array.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32), return_counts=True)
    shown = [f"#{colour:06x}" for colour in packed[np.argsort(-counts, kind="stable")][:6]]
    more = f" and {len(packed) - len(shown):,} more" if len(packed) > len(shown) else ""
    raise UserError(
        f"Expected {path} to have one channel of class ids, but it is a picture in colours: {', '.join(shown)}{more}. "
        f"Which class each is, nothing tells: {_WAY_OUT}."
    )


def _opacity(file: Image, array: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 255 where a pixel is opaque: by its alpha channel, or by the chunk tRNS."""
    if file.mode in ("LA", "RGBA"):
        return array[..., -1]
    opacity = np.full(array.shape[:2], 255, np.uint8)
    key = file.info.get("transparency")
    if isinstance(key, bytes):
        table = np.full(256, 255, np.uint8)
        table[: len(key[:256])] = np.frombuffer(key[:256], np.uint8)
        return table[array]
    if key is not None:
        hidden = array * 255 == key if file.mode == "1" else array == key
        opacity[hidden.all(axis=-1) if hidden.ndim == 3 else hidden] = 0
    return opacity


def _check_opaque(path: Path, values: np.ndarray, opacity: np.ndarray) -> None:
    """Raises UserError where the transparency says something that the values do not: only background may be clear."""
    seen, clear = values.ravel(), opacity.ravel()
    if (seen == seen[0]).all() and (clear != clear[0]).any():
        raise UserError(
            f"Expected the mask of {path} in its grey levels, but they are {seen[0]} throughout and the transparency "
            "(alpha) differs: save that channel as grey levels."
        )
    hidden = int(np.count_nonzero((values != 0) & (opacity < 255)))
    if hidden:
        raise UserError(
            f"Expected the labels of {path} to be opaque, but {hidden:,} pixels that are no background are transparent "
            f"or partly so: {_WAY_OUT} without transparency."
        )


def listed(colours: Colours) -> str:
    """`0 #000000, 1 #c80a0a`, at most eight of them."""
    shown = [f"{index} #{r:02x}{g:02x}{b:02x}" for index, (r, g, b) in sorted(colours.items())]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
