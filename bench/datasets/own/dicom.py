"""DICOM files by SimpleITK, an extra: a series as a volume with its voxel size, a single file as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.readers.files import MOST_VOXELS
from bench.datasets.readers.folders import visible
from bench.datasets.readers.kinds import head_of, kind_of
from bench.errors import UserError


def is_dicom(path: Path) -> bool:
    """Whether a file's first bytes are DICOM's."""
    return path.is_file() and kind_of(head_of(path)) == "DICOM"


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files and no other folder."""
    files = visible(folder) if folder.is_dir() else []
    return bool(files) and all(path.is_file() for path in files) and is_dicom(files[0])


def read_series(folder: Path) -> tuple[np.ndarray, tuple[float, float, float], tuple[np.ndarray, ...]]:
    """The only series of a folder: (D, H, W) float32 in the units of its rescale, spacing (z, y, x) in mm, its grid.

    Returns:
        Also a tuple of the grid as NIfTI has it (`nifti.Volume.grids`): (4, 4), voxel (x, y, z) to mm.

    Raises:
        UserError: SimpleITK is not installed, several series, or files that it cannot read.
    """
    sitk = _library(folder)
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise UserError(f"Expected one DICOM series in {folder}, but it has {len(series)}: give each a folder.")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    image = _read(sitk, folder, reader.Execute)
    array = sitk.GetArrayFromImage(image)
    if array.ndim != 3 or array.size > MOST_VOXELS:
        raise UserError(f"Expected the series in {folder} to be a grey volume, but its shape is {array.shape}.")
    x, y, z = image.GetSpacing()
    return array.astype(np.float32), (float(z), float(y), float(x)), (_grid(image),)


def slice_affine(folder: Path) -> np.ndarray:
    """Voxel (x, y, z) to mm by the header of a series' first file; the third axis may point either way.

    Raises:
        UserError: SimpleITK is not installed, or it cannot read the file.
    """
    sitk = _library(folder)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(visible(folder)[0]))
    _read(sitk, folder, reader.ReadImageInformation)
    return _grid(reader)


def turned_to(array: np.ndarray, grid: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A volume (D, H, W) and its grid with those axes mirrored that run the other way in a reference grid.

    Converters from DICOM to NIfTI mirror axes, so that a label map of the NIfTI file and the series differ so.
    """
    grid = grid.copy()
    for k, axis in enumerate((2, 1, 0)):
        if grid[:3, k] @ reference[:3, k] < 0:
            array = np.flip(array, axis)
            grid[:3, 3] += grid[:3, k] * (array.shape[axis] - 1)
            grid[:3, k] *= -1
    return array, grid


def _grid(image: Any) -> np.ndarray:
    """The voxel grid in NIfTI's axes: DICOM points to the left and the back, NIfTI to the right and the front."""
    grid = np.eye(4)
    grid[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    grid[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid


def read_picture(path: Path) -> np.ndarray:
    """A single DICOM image as (H, W) uint8, by the window that the file names, else from its least to its greatest.

    Raises:
        UserError: as `read_series`; colours, or several frames.
    """
    sitk = _library(path)
    image = _read(sitk, path, lambda: sitk.ReadImage(str(path)))
    array = sitk.GetArrayFromImage(image).astype(np.float64)
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2:
        raise UserError(f"Expected {path} to be one grey image, but its shape is {array.shape}: convert it to PNG.")
    low, high = _window(image, array)
    grey = np.clip((array - low) / max(high - low, 1e-12), 0, 1)
    inverted = image.HasMetaDataKey("0028|0004") and "MONOCHROME1" in image.GetMetaData("0028|0004")
    return np.round(255 * (1 - grey if inverted else grey)).astype(np.uint8)


def _window(image: Any, array: np.ndarray) -> tuple[float, float]:
    try:
        centre, width = (float(image.GetMetaData(tag).split("\\")[0]) for tag in ("0028|1050", "0028|1051"))
    except (RuntimeError, ValueError):
        return float(array.min()), float(array.max())
    return centre - width / 2, centre + width / 2


def _library(path: Path) -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise UserError(
            f"{path} is DICOM, which SimpleITK reads: install it with `pip install 'medbench[dicom]'`, or convert the "
            "files to NIfTI or PNG."
        ) from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _read(sitk: Any, path: Path, read: Any) -> Any:
    try:
        return read()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"DICOM {path} cannot be read: copy it anew, or convert it. ({reason[:160]})") from error
