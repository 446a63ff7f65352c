"""Folders of label maps as NIfTI or PNG files: which there are, and each as an array with its geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.datasets.readers.files import check_label, read_nifti, readable
from bench.datasets.readers.png_masks import Colours, read_png_mask
from bench.errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".png")
MOST_IDS = 256  # label maps are uint8


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map as its file has it.

    Attributes:
        labels: (D, H, W) uint8, axes (z, y, x); of a PNG (H, W).
        spacing: mm along the axes of `labels`; None where the file has none (PNG).
        affine: (4, 4), voxel (x, y, z) to mm; None where the file has none (PNG).
        colours: of a palette of colours, whose indices are the labels, those that occur; else empty.
    """

    labels: np.ndarray
    spacing: tuple[float, ...] | None
    affine: np.ndarray | None
    colours: Colours = field(default_factory=dict)


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
    """One label map, integers from 0 to 255: of a NIfTI file its values, of a PNG what `read_png_mask` says.

    Raises:
        UserError: an unreadable file, values that are no such integers (NaN too), or a PNG whose values are not clear.
    """
    if path.name.lower().endswith(".png"):
        array, colours = read_png_mask(path)
        return Mask(check_label(path, array, array.shape, MOST_IDS), None, None, colours)
    array, spacing = read_nifti(path)
    return Mask(check_label(path, array, array.shape, MOST_IDS), spacing, _read_affine(path))


def _read_affine(path: Path) -> np.ndarray:
    import nibabel

    with readable(path):
        return np.asarray(nibabel.load(path).affine, dtype=float)
