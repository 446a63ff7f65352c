"""Decoding image files (PNG, JPEG) to 8-bit arrays: every colour mode ends in the dataset's channels.

The mode of a file may give away its class (in SARS-COV2-CT-Scan all COVID images are RGB and all others RGBA), so none
of it reaches the network. Colour profiles and gamma are ignored, as the literature's readers do.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.readers.files import readable
from bench.datasets.readers.png import BEFORE_PIXELS, Header, check_png, damaged, is_png, load_png
from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
LONGEST_SIDE = 512
SHORTEST_SIDE = 8
# A file of a few kB can ask for gigabytes; the largest slices and photographs have a tenth of this.
MOST_PIXELS = 2**26
# The share that the conversion of a 16-bit image must keep of the levels that 8 bits could show; data of 12 bits keep
# 16 of 256. Our choice.
LEAST_KEPT = 0.25
SIXTEEN_BITS = "grey level / 257, rounded: 65535 is 255, in every file alike"
_WINDOW_IT = "convert it to 8 bit with the window it is to be seen in"
# What Pillow's readers of headers and tags raise beside `files.DAMAGE`.
_DAMAGE = (SyntaxError, struct.error, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError)


def read_image(path: Path, channels: int, longest: int | None = LONGEST_SIDE) -> np.ndarray:
    """An image file as (C, H, W) uint8.

    The file's content decides its format, not its name. It is turned as its EXIF tag says; transparency is laid over
    black; colour becomes grey by ITU-R 601 weights (equal channels keep their value); 16 bits are scaled by their full
    range, in every file alike; larger images are reduced by area.

    Args:
        channels: 1 for grey, 3 for RGB.
        longest: pixels of the longer side at most; None: whatever it has.

    Raises:
        UserError: no PNG or JPEG, damaged or truncated, too large or too small, several frames, 16 bits in several
            channels, or 16 bits of which 8 would keep little.
    """
    with decoded(path, ("PNG", "JPEG"), MOST_PIXELS, _WINDOW_IT) as file:
        if min(file.size) < SHORTEST_SIDE:
            size = f"{file.width} x {file.height}"
            raise UserError(f"Expected {path} to have {SHORTEST_SIDE} pixels a side or more, but it has {size}.")
        image = _eight_bit(path, turned(file), "L" if channels == 1 else "RGB")
        array = np.asarray(image if longest is None else _bounded(image, longest))
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def turned(file: Image) -> Image:
    """A decoded picture as its EXIF tag says that it is seen, an image and its label map alike."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(file)


def kept_levels(path: Path) -> tuple[int, int] | None:
    """How many grey levels a file of 16 bits has, and how many `read_image` keeps apart; None of another file."""
    with readable(path), path.open("rb") as file:
        if file.read(25)[24:] != b"\x10" or not is_png(path):  # IHDR's depth
            return None
    with decoded(path, ("PNG",), MOST_PIXELS, _WINDOW_IT) as image:
        levels = np.unique(np.asarray(image))
    return len(levels), len(np.unique(_scale(levels)))


@contextmanager
def decoded(path: Path, formats: tuple[str, ...], most_pixels: int, deep_colours: str) -> Iterator[Image]:
    """An image file that was found whole, its pixels loaded; all that Pillow raises ends as one line.

    Args:
        formats: of `kinds.NAMES`, those that the file's content may have.
        deep_colours: what to do with a file of several channels of 16 bits, of which Pillow drops the lower 8.
    """
    from PIL import Image

    def check_size(width: int, height: int) -> None:
        if width * height > most_pixels:
            raise UserError(f"Expected {path} to have at most {most_pixels:,} pixels, but it has {width} x {height}.")

    with readable(path, *formats), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, and of sizes that are refused here
        header = check_png(path, check_size) if is_png(path) else None
        try:
            with Image.open(path, formats=formats) as file:
                check_size(*file.size)
                if header:
                    _check_single(path, file, header, deep_colours)
                    load_png(path, file, header)
                file.load()
                yield file
        except Image.UnidentifiedImageError as error:
            if header:
                raise damaged(path, BEFORE_PIXELS) from error
            raise
        except Image.DecompressionBombError as error:
            raise UserError(f"Expected {path} to have at most {most_pixels:,} pixels, but {error}") from error
        except _DAMAGE as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_single(path: Path, file: Image, header: Header, deep_colours: str) -> None:
    """Refuses a PNG that Pillow would decode in part. A camera's JPEG may hold a preview behind the photograph."""
    if header.depth == 16 and header.channels > 1:
        channels = header.channels
        raise UserError(
            f"Expected {path} to have 8 bits, or 16 in one channel, but it has 16 in {channels}: {deep_colours}."
        )
    frames = getattr(file, "n_frames", 1)
    if frames > 1:
        raise UserError(f"Expected {path} to be one image, but it has {frames} frames.")


def file_facts(path: Path) -> dict[str, str | int]:
    """Format, colour mode, sides in pixels and size in bytes of a file that `read_image` has read.

    The audit asks whether these facts alone predict the label; no network sees them.
    """
    from PIL import Image

    with readable(path), Image.open(path, formats=("PNG", "JPEG")) as file:
        size = {"width": file.width, "height": file.height, "bytes": path.stat().st_size}
        return {"format": str(file.format), "mode": file.mode, **size}


def _eight_bit(path: Path, image: Image, mode: str) -> Image:
    """Any of Pillow's modes as `L` or `RGB`."""
    from PIL import Image as images

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        levels = np.asarray(image)
        hidden = levels == image.info.get("transparency", -1)
        image = images.fromarray(np.where(hidden, np.uint8(0), _scaled(path, levels)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = images.alpha_composite(images.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert(mode)


def _scaled(path: Path, levels: np.ndarray) -> np.ndarray:
    """16-bit grey levels -> 8 bit, 65535 to 255.

    Every file is scaled alike, so that the images of a data set stay comparable. Refused is what loses most of its
    levels, wherever they lie: the share of levels that are left falls without a step as the range in use does.
    """
    scaled = _scale(levels)
    distinct, kept = len(np.unique(levels)), len(np.unique(scaled))
    shown = min(distinct, 256)
    if kept < LEAST_KEPT * shown:
        raise UserError(
            f"Expected {path} to use the range of its 16 bits (0 to 65535), but it goes from {levels.min()} to "
            f"{levels.max()}: of {distinct:,} grey levels {kept} would be left, where 8 bits can show {shown}. "
            f"{_WINDOW_IT.capitalize()}."
        )
    return scaled


def _scale(levels: np.ndarray) -> np.ndarray:
    return ((levels.astype(np.int64) + 128) // 257).astype(np.uint8)


def _bounded(image: Image, most: int) -> Image:
    """The image, reduced by area where its longer side is over `most`."""
    from PIL.Image import Resampling

    longest = max(image.size)
    if longest <= most:
        return image
    width, height = (max(1, round(side * most / longest)) for side in image.size)
    return image.resize((width, height), Resampling.BOX)
