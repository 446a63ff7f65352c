"""Folders of label maps as NIfTI or PNG files: which there are, and each as an array with its geometry."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.datasets.readers.files import check_label, check_name, is_listed
from bench.datasets.readers.folders import visible
from bench.datasets.readers.nifti import nifti_files, read_nifti
from bench.datasets.readers.png_masks import Colours, read_png_mask
from bench.errors import UserError

# What tools call a case's label map beside other files in the case's folder.
_WORDS = ("", "seg", "segmentation", "label", "labels", "mask", "pred", "prediction")
MOST_IDS = 256  # label maps are uint8


@dataclass(frozen=True, eq=False)
class Mask:
    """A label map as its file has it.

    Attributes:
        labels: (D, H, W) uint8, axes (z, y, x); of a PNG (H, W).
        spacing: mm along the axes of `labels`; None where the file has none (PNG).
        grids: (4, 4) each, voxel (x, y, z) to mm (`nifti.Volume`); none of a PNG, and of a faulty header.
        doubt: what the header says against itself; empty where nothing.
        colours: of a palette of colours, whose indices are the labels, those that occur; else empty.
    """

    labels: np.ndarray
    spacing: tuple[float, ...] | None
    grids: tuple[np.ndarray, ...] = ()
    doubt: str = ""
    colours: Colours = field(default_factory=dict)


def list_masks(folder: Path) -> tuple[dict[str, Path], int]:
    """Name without suffix -> file, in order of name, and how many files are neither NIfTI nor PNG.

    Hidden files are passed over. Where no label map lies in the folder itself, those below are looked into: each is a
    case of the folder's name, or the only one wraps the files.

    Raises:
        UserError: no such folder, no label maps in it, two of one name, or a case's folder with several.
    """
    if not folder.is_dir():
        raise UserError(f"Expected {folder} to be a folder of NIfTI or PNG label maps, but there is no such folder.")
    masks = _masks_in(folder) or _masks_below(folder)
    others = [path for path in visible(folder) if path.is_file() and path not in masks.values()]
    if not masks:
        listed = ", ".join([*(path.name for path in others[:3]), *(["..."] if len(others) > 3 else [])])
        named = f" ({listed})" if others else ""
        raise UserError(
            f"Expected label maps (.nii.gz, .nii or .png) in {folder}, or one in a folder of each case, but it has "
            f"none; {len(others)} others{named}."
        )
    return masks, len(others)


def _masks_in(folder: Path) -> dict[str, Path]:
    masks = nifti_files(folder)
    for path in visible(folder):
        if path.suffix.lower() != ".png" or not is_listed(path):
            continue
        if (twin := masks.setdefault(path.stem, path)) != path:
            raise UserError(f"Expected one file of each name in {folder}, but {twin.name} and {path.name} are of one.")
    for path in masks.values():
        check_name(path)
    return _composed(folder, masks)


def _composed(folder: Path, masks: dict[str, Path]) -> dict[str, Path]:
    """The files by the composed form of their names: macOS writes the same name with its accents apart."""
    composed: dict[str, Path] = {}
    for name, path in sorted(masks.items()):
        if (twin := composed.setdefault(unicodedata.normalize("NFC", name), path)) != path:
            raise UserError(f"Expected one file of each name in {folder}, but {twin.name} stands there twice.")
    return composed


def _masks_below(folder: Path) -> dict[str, Path]:
    """The label map of each case's folder, by the folder's name; of a lone folder that wraps the files, these."""
    below = {child: masks for child in visible(folder) if child.is_dir() and (masks := _masks_in(child))}
    if len(below) == 1:
        ((child, masks),) = below.items()
        if len(masks) > 1 and not _label_maps(child.name, masks):
            return masks
    by_case = {}
    for child, masks in below.items():
        check_name(child)
        maps = _label_maps(child.name, masks)
        if len(maps) != 1:
            raise UserError(
                f"Expected one label map in the case's folder {child}, but it has "
                f"{', '.join(path.name for path in list(masks.values())[:4])}: leave one, or name it seg.nii.gz."
            )
        by_case[child.name] = maps[0]
    return _composed(folder, by_case)


def _label_maps(case: str, masks: dict[str, Path]) -> list[Path]:
    """The only file of a case's folder, or those that are named as label maps: `seg`, `c1_seg`, `c1`."""
    if len(masks) == 1:
        return list(masks.values())
    words = {name.lower().removeprefix(case.lower()).strip("_-. "): path for name, path in masks.items()}
    return [path for word, path in words.items() if word in _WORDS]


def read_mask(path: Path, spacing: Sequence[float] | None = None) -> Mask:
    """One label map, integers from 0 to 255: of a NIfTI file its values, of a PNG what `read_png_mask` says.

    Args:
        spacing: mm in place of what a NIfTI header says, which then may be faulty.

    Raises:
        UserError: an unreadable file, values that are no such integers (NaN too), or a PNG whose values are not clear.
    """
    if path.name.lower().endswith(".png"):
        array, colours = read_png_mask(path)
        return Mask(check_label(path, array, array.shape, MOST_IDS), None, colours=colours)
    volume = read_nifti(path, spacing)
    labels = check_label(path, volume.array, volume.array.shape, MOST_IDS, volume.scaling)
    return Mask(labels, volume.spacing, volume.grids, volume.doubt)
