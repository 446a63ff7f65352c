"""Reading the array files of datasets: every damaged file ends in one line that names it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.errors import UserError

Spacing = tuple[float, float, float]
# What numpy, h5py, nibabel and gzip raise for bytes that are not what the file's name promises.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    MemoryError,
    OverflowError,
    zlib.error,
    zipfile.BadZipFile,
)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what a truncated, damaged or foreign file raises into one line.

    Raises:
        UserError: the file is missing, empty, or broke off while being read.
    """
    if not path.is_file():
        raise UserError(f"File {path} is missing: copy it from the original data set.")
    if path.stat().st_size == 0:
        raise UserError(f"File {path} is empty (0 bytes): copy it anew from the original data set.")
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"File {path} cannot be read, it may be truncated: copy it anew. ({reason[:160]})") from error


def read_h5(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays under these keys of an HDF5 file.

    Raises:
        UserError: unreadable file, or a key that is missing or no array.
    """
    import h5py

    with readable(path), h5py.File(path, "r") as file:
        _require(path, keys, [key for key in file if isinstance(file.get(key), h5py.Dataset)])
        return [np.asarray(file[key][()]) for key in keys]


def read_npz(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays under these keys of an .npz archive; pickled objects are refused.

    Raises:
        UserError: unreadable file, or a missing key.
    """
    with readable(path), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"Expected {path} to be an .npz archive, but it is a single array.")
        _require(path, keys, archive.files)
        return [archive[key] for key in keys]


def _require(path: Path, keys: tuple[str, ...], present: list[str]) -> None:
    missing = [key for key in keys if key not in present]
    if missing:
        raise UserError(
            f"Expected {path} to have the keys {', '.join(keys)}, but {', '.join(missing)} is missing "
            f"(it has: {', '.join(sorted(present)) or 'none'})."
        )


def read_nifti(path: Path) -> tuple[np.ndarray, Spacing]:
    """A NIfTI volume (x, y, z) as (D, H, W) = (z, y, x), and its spacing (z, y, x) in mm; a plane (x, y) has D = 1.

    Units that the header leaves unknown are taken as mm, which NIfTI tools do; the raw header is read for the
    spacing because nibabel silently replaces a zero by 1.

    Raises:
        UserError: unreadable file, not three axes, a spacing that is not positive, or units other than mm.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.openers import ImageOpener
    from nibabel.spatialimages import HeaderDataError

    with readable(path):
        try:
            with ImageOpener(path) as file:
                header = nibabel.Nifti1Header.from_fileobj(file, check=False)
            zooms = tuple(round(float(zoom), 6) for zoom in header["pixdim"][1:4])
            if header["dim"][0] == 2:  # tools leave what a plane has no axis for at 0
                zooms = (*zooms[:2], 1.0)
            units = header.get_xyzt_units()[0]
            _check_spacing(path, zooms, units)
            array = np.asanyarray(nibabel.load(path).dataobj)
        except (ImageFileError, HeaderDataError, KeyError) as error:
            raise ValueError(str(error)) from error
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise UserError(f"Expected {path} to be a volume of 3 axes, but it has shape {array.shape}.")
    return array.transpose(2, 1, 0), (zooms[2], zooms[1], zooms[0])


def _check_spacing(path: Path, zooms: tuple[float, ...], units: str) -> None:
    if not all(np.isfinite(zoom) and zoom > 0 for zoom in zooms):
        raise UserError(f"Expected {path} to have a positive voxel size, but its header has {zooms} (x, y, z).")
    if units not in ("mm", "unknown"):
        raise UserError(f"Expected {path} to give its voxel size in mm, but its header says {units!r}.")


def check_image(path: Path, image: np.ndarray, axes: int) -> np.ndarray:
    """The image as float32, its intensities untouched.

    Raises:
        UserError: not a real number array of so many axes, no voxels, or voxels that are NaN or infinite.
    """
    _check_array(path, "image", image, axes)
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(image, dtype=np.float32)
    bad = int(np.count_nonzero(~np.isfinite(image)))
    if bad:
        raise UserError(f"Expected {path} to have finite intensities, but {bad} of {image.size} are NaN or infinite.")
    return image


def check_label(path: Path, label: np.ndarray, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """The label map as uint8.

    Raises:
        UserError: another shape than the image's, a value that is no integer, or one outside 0..classes-1.
    """
    _check_array(path, "label", label, len(shape))
    if label.shape != shape:
        raise UserError(f"Expected the label in {path} to have the image's shape {shape}, but it has {label.shape}.")
    fractional = label[label != np.round(label)]
    if fractional.size:
        raise UserError(f"Expected integer labels in {path}, but found {fractional[0]:g} ({fractional.size} voxels).")
    outside = label[(label < 0) | (label >= classes)]
    if outside.size:
        raise UserError(
            f"Expected labels from 0 to {classes - 1} in {path}, but found {outside[0]:g} ({outside.size} voxels)."
        )
    return np.ascontiguousarray(label, dtype=np.uint8)


def _check_array(path: Path, what: str, array: np.ndarray, axes: int) -> None:
    if array.dtype.kind not in "biuf":
        raise UserError(f"Expected numbers as {what} in {path}, but its type is {array.dtype}.")
    if array.ndim != axes or array.size == 0:
        raise UserError(
            f"Expected the {what} in {path} to have {axes} axes and voxels, but its shape is {array.shape}."
        )
