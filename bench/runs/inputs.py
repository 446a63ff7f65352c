"""A user's images for a trained network: which files there are, and each as the network's data set would hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.own import dicom
from bench.datasets.own.class_folders import is_picture
from bench.datasets.own.items import DICOM, FOREIGN_IMAGES
from bench.datasets.own.reading import read_picture, read_segmented_picture
from bench.datasets.readers.files import check_image, check_name, check_present, is_listed
from bench.datasets.readers.folders import visible
from bench.datasets.readers.images import SUFFIXES
from bench.datasets.readers.nifti import is_nifti, nifti_files, read_nifti
from bench.errors import UserError


def list_inputs(folder: Path, task: str) -> dict[str, Path]:
    """Name without suffix -> image, in order of the names: what `medbench data add` takes as one.

    Of a segmentation NIfTI, PNG, JPEG and folders of DICOM series; else PNG, JPEG and single DICOM files.

    Raises:
        UserError: no such folder, no images in it, two of one name, an empty file, or a link to one that is not there.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder of images, but there is no folder {folder}.")
    files = nifti_files(folder) if task == "segmentation" else {}
    for path in visible(folder):
        if not _is_input(path, task):
            continue
        name = path.stem if path.suffix.lower() in (*SUFFIXES, *DICOM) else path.name
        if (twin := files.setdefault(name, path)) != path:
            raise UserError(f"Expected one file of each name in {folder}, but {twin.name} and {path.name} are of one.")
    for path in files.values():
        check_name(path)
        if not path.is_dir():
            check_present(path)
    if not files:
        kinds = ".nii.gz, .nii, a folder for each DICOM series" if task == "segmentation" else "DICOM"
        raise UserError(f"Expected images ({', '.join(SUFFIXES)}, {kinds}) in {folder}, but it has none.")
    return dict(sorted(files.items()))


def _is_input(path: Path, task: str) -> bool:
    """Whether a file, or the folder of a series, is an image; NIfTI aside.

    A single DICOM file is none of a segmentation, since it may be a slice of a volume, which is read in other units.
    """
    if path.is_dir():
        return task == "segmentation" and dicom.is_series(path)
    if path.suffix.lower() in SUFFIXES or task == "segmentation":
        return path.suffix.lower() in SUFFIXES and is_listed(path)
    return is_picture(path) and path.suffix.lower() not in FOREIGN_IMAGES


def read_input(path: Path, task: str, channels: int) -> np.ndarray:
    """A file as an array, by the readers of `medbench data add`.

    Returns:
        Of a segmentation (D, H, W) float32, of a picture (H, W), or (3, H, W) uint8 of colours; else (C, H, W) uint8.

    Raises:
        UserError: a file that is missing, unreadable or of another kind.
    """
    if not path.exists():
        raise UserError(f"Expected an image file, but there is no file {path}.")
    if task == "classification":
        return read_picture(path, channels)
    if is_nifti(path) and path.is_file():
        return check_image(path, read_nifti(path).array, axes=3)
    if not _is_input(path, task):
        raise UserError(f"Expected {path} to be NIfTI (.nii.gz, .nii), PNG, JPEG or a folder of a DICOM series.")
    if path.is_dir():
        return check_image(path, dicom.read_series(path)[0], axes=3)
    picture = read_segmented_picture(path, channels)[0]
    return picture if channels == 1 else np.ascontiguousarray(picture.transpose(2, 0, 1))
