"""A user's images for a trained network: which files there are, and each as the network's data set would hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.readers.files import check_image, check_name
from bench.datasets.readers.folders import visible
from bench.datasets.readers.images import SUFFIXES, read_image
from bench.datasets.readers.nifti import is_nifti, nifti_files, read_nifti
from bench.errors import UserError


def list_inputs(folder: Path, task: str) -> dict[str, Path]:
    """Name without suffix -> file, in order of the names: NIfTI and PNG of a segmentation, else PNG and JPEG.

    Raises:
        UserError: no such folder, no images in it, or two of one name.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder of images, but there is no folder {folder}.")
    volumes = nifti_files(folder) if task == "segmentation" else {}
    suffixes = (".png",) if task == "segmentation" else SUFFIXES
    files = dict(volumes)
    for path in visible(folder):
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        if (twin := files.setdefault(path.stem, path)) != path:
            raise UserError(f"Expected one file of each name in {folder}, but {twin.name} and {path.name} are of one.")
    for path in files.values():
        check_name(path)
    if not files:
        kinds = ".nii.gz, .nii or .png" if task == "segmentation" else ", ".join(SUFFIXES)
        raise UserError(f"Expected images ({kinds}) in {folder}, but it has none.")
    return dict(sorted(files.items()))


def read_input(path: Path, task: str, channels: int) -> np.ndarray:
    """A file as an array: of a segmentation (D, H, W) float32, of a PNG (H, W), its own size; else (C, H, W) uint8.

    Raises:
        UserError: a file that is missing, unreadable or of another kind.
    """
    if not path.is_file():
        raise UserError(f"Expected an image file, but there is no file {path}.")
    if task == "classification":
        return read_image(path, channels)
    if is_nifti(path):
        return check_image(path, read_nifti(path).array, axes=3)
    if path.suffix.lower() == ".png":
        image = read_image(path, channels, longest=None)
        return image[0].astype(np.float32) if channels == 1 else image
    raise UserError(f"Expected {path} to be NIfTI (.nii.gz, .nii) or PNG.")
