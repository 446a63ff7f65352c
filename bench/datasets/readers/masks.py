"""Folders of label maps as NIfTI or PNG files: which there are, and each as an array with its geometry."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.datasets.readers.files import check_label, read_nifti, readable
from bench.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".png")
MOST_IDS = 256  # label maps are uint8
MOST_PIXELS = 2**28  # a file of a few kB can ask for gigabytes
# What Pillow's readers of headers raise beside `files.DAMAGE`.
_DAMAGE = (SyntaxError, struct.error, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError)


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map as its file has it.

    Attributes:
        labels: (D, H, W) uint8, axes (z, y, x); of a PNG, and of a volume of a single slice, (H, W).
        spacing: mm along the axes of `labels`; None where the file has none (PNG).
        affine: (4, 4), voxel (x, y, z) to mm; None where the file has none (PNG).
    """

    labels: np.ndarray
    spacing: tuple[float, ...] | None
    affine: np.ndarray | None


def list_masks(folder: Path) -> tuple[dict[str, Path], int]:
    """Name without suffix -> file, in order of name, and how many files are neither NIfTI nor PNG.

    Hidden files are passed over; folders below are not looked into.

    Raises:
        UserError: no such folder, no label maps in it, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"Expected {folder} to be a folder of NIfTI or PNG label maps, but there is no such folder.")
    found: dict[str, Path] = {}
    others = 0
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
        if suffix is None:
            others += 1
            continue
        name = path.name[: -len(suffix)]
        if name in found:
            raise UserError(f"Expected one file a case in {folder}, but {found[name].name} and {path.name} are of one.")
        found[name] = path
    if not found:
        raise UserError(f"Expected label maps (.nii.gz, .nii or .png) in {folder}, but it has none; {others} others.")
    return found, others


def read_mask(path: Path) -> Mask:
    """One label map, its values as they are in the file: integers from 0 to 255.

    Raises:
        UserError: an unreadable file, values that are no such integers (NaN too), a PNG of several channels that
            differ, or more pixels than `MOST_PIXELS`.
    """
    if path.name.lower().endswith(".png"):
        array = _read_png(path)
        return Mask(check_label(path, array, array.shape, MOST_IDS), None, None)
    array, spacing = read_nifti(path)
    labels = check_label(path, array, array.shape, MOST_IDS)
    affine = _read_affine(path)
    # a single slice is a plane: as a volume all of a mask would be border
    return Mask(labels[0], spacing[1:], affine) if len(labels) == 1 else Mask(labels, spacing, affine)


def _read_affine(path: Path) -> np.ndarray:
    import nibabel

    with readable(path):
        return np.asarray(nibabel.load(path).affine, dtype=float)


def _read_png(path: Path) -> np.ndarray:
    """(H, W) of the file's own values; of a palette its indices."""
    from PIL import Image

    with readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of a size that is refused below
        try:
            with Image.open(path, formats=("PNG",)) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise ValueError(f"{file.width} x {file.height} pixels")
                file.verify()  # the checksum of every chunk
            with Image.open(path, formats=("PNG",)) as file:
                array, bands = np.asarray(file), file.getbands()
        except (Image.UnidentifiedImageError, Image.DecompressionBombError, *_DAMAGE) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
    if array.ndim == 3:
        array = array[..., : len(bands) - (bands[-1] == "A")]
        if (array != array[..., :1]).any():
            raise UserError(f"Expected {path} to have one channel of class ids, but it is a picture in colours.")
        array = array[..., 0]
    return array
