"""Decoding image files (PNG, JPEG) to 8-bit arrays: every colour mode ends in the dataset's channels.

The mode of a file may give away its class (in SARS-COV2-CT-Scan all COVID images are RGB and all others RGBA), so none
of it reaches the network. Colour profiles and gamma are ignored, as the literature's readers do.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.readers.files import readable
from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
LONGEST_SIDE = 512
SHORTEST_SIDE = 8
# A file of a few kB can ask for gigabytes; the largest slices and photographs have a tenth of this.
MOST_PIXELS = 2**26
# Under this highest level, 16 bits hold 12-bit data, of which 8 bits by the full range would leave 16 levels.
LOWEST_FULL_RANGE = 2**12
# What Pillow's readers of headers and tags raise beside `files.DAMAGE`.
_DAMAGE = (SyntaxError, struct.error, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError)


def read_image(path: Path, channels: int) -> np.ndarray:
    """An image file as (C, H, W) uint8, its longer side at most `LONGEST_SIDE`.

    The file's content decides its format, not its name. It is turned as its EXIF tag says; transparency is laid over
    black; colour becomes grey by ITU-R 601 weights (equal channels keep their value); 16 bits are scaled by their full
    range; larger images are reduced by area.

    Args:
        channels: 1 for grey, 3 for RGB.

    Raises:
        UserError: no PNG or JPEG, damaged or truncated, too large or too small, several frames, or 16 bits of which
            only the low ones are used.
    """
    from PIL import Image, ImageOps

    with readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of a size that `_check_header` refuses
        try:
            _check_checksums(path)
            with Image.open(path, formats=("PNG", "JPEG")) as file:
                _check_header(path, file)
                file.load()
                image = _eight_bit(path, ImageOps.exif_transpose(file), "L" if channels == 1 else "RGB")
        except Image.UnidentifiedImageError as error:
            raise UserError(f"Expected {path} to be a PNG or JPEG image, but its content is neither.") from error
        except Image.DecompressionBombError as error:
            raise UserError(f"Expected {path} to have at most {MOST_PIXELS:,} pixels, but {error}") from error
        except _DAMAGE as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
    array = np.asarray(_bounded(image))
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def file_facts(path: Path) -> dict[str, str | int]:
    """What a file says of itself beside its pixels: format, colour mode, sides in pixels, size in bytes.

    For a file that `read_image` has read; a label that these predict is not learnt from the picture alone.
    """
    from PIL import Image

    with readable(path), Image.open(path, formats=("PNG", "JPEG")) as file:
        size = {"width": file.width, "height": file.height, "bytes": path.stat().st_size}
        return {"format": str(file.format), "mode": file.mode, **size}


def _check_checksums(path: Path) -> None:
    """Reads a file through once without decoding it: of a PNG the checksum of every chunk is compared."""
    from PIL import Image

    with Image.open(path, formats=("PNG", "JPEG")) as file:
        _check_header(path, file)
        file.verify()


def _check_header(path: Path, file: Image) -> None:
    """Refuses, before any pixel is decoded, what is no single image of a usable size."""
    width, height = file.size
    if width * height > MOST_PIXELS:
        raise UserError(f"Expected {path} to have at most {MOST_PIXELS:,} pixels, but it has {width} x {height}.")
    if min(width, height) < SHORTEST_SIDE:
        raise UserError(
            f"Expected {path} to have {SHORTEST_SIDE} pixels a side or more, but it has {width} x {height}."
        )
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format == "PNG":  # a camera's JPEG may hold a preview behind the photograph
        raise UserError(f"Expected {path} to be one image, but it has {frames} frames.")


def _eight_bit(path: Path, image: Image, mode: str) -> Image:
    """Any of Pillow's modes as `L` or `RGB`."""
    from PIL import Image as images

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = images.fromarray(_scaled(path, np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = images.alpha_composite(images.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert(mode)


def _scaled(path: Path, levels: np.ndarray) -> np.ndarray:
    """16-bit grey levels -> 8 bit, 65535 to 255."""
    highest = int(levels.max())
    if highest < LOWEST_FULL_RANGE:
        raise UserError(
            f"Expected {path} to use the range of its 16 bits (0 to 65535), but its highest level is {highest}: "
            "convert it to 8 bit with the window it is to be seen in."
        )
    return ((levels.astype(np.int64) + 128) // 257).astype(np.uint8)


def _bounded(image: Image) -> Image:
    """The image, reduced by area where its longer side is over `LONGEST_SIDE`."""
    from PIL.Image import Resampling

    longest = max(image.size)
    if longest <= LONGEST_SIDE:
        return image
    width, height = (max(1, round(side * LONGEST_SIDE / longest)) for side in image.size)
    return image.resize((width, height), Resampling.BOX)
