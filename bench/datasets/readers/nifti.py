"""NIfTI files (.nii, .nii.gz; NIfTI-1 and -2) by nibabel: the voxels, their size, and where the header puts them.

The voxel size is the header's pixdim. ACDC's published files have an sform of 1 mm beside a right pixdim, which is no
reason to refuse them: what a header says against itself is told (`Volume.doubt`).
"""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.readers.files import DAMAGE, MOST_VOXELS, check_image, check_kind, check_label, is_listed, readable
from bench.datasets.readers.kinds import HEAD, head_of, is_nifti2
from bench.errors import UserError

Spacing = tuple[float, float, float]
SUFFIXES = (".nii.gz", ".nii")
TOLERANCE = 1e-3  # of an entry of an affine, in mm; of a voxel size, as a share
_UNITS = ("unknown", "meter", "mm", "micron", "code 4", "code 5", "code 6", "code 7")  # of the lowest three bits


@dataclass(frozen=True, eq=False)
class Volume:
    """A NIfTI volume.

    Attributes:
        array: (D, H, W), axes (z, y, x), the file's own values.
        spacing: (z, y, x) in mm.
        grids: (4, 4) each, voxel (x, y, z) to mm: one, or all that a header in doubt gives; none of a faulty header.
        doubt: what the header says against itself; empty where nothing.
        scaling: how the header scales the stored values; empty where not.
    """

    array: np.ndarray
    spacing: Spacing
    grids: tuple[np.ndarray, ...]
    doubt: str
    scaling: str


def is_nifti(path: Path) -> bool:
    """Whether a name ends as NIfTI's."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, spacing: Sequence[float] | None = None) -> Volume:
    """Reads a volume. Units that the header leaves unknown are taken as mm, which NIfTI tools do.

    Args:
        spacing: mm along (z, y, x) or less of them, in place of what the header says, which then may be faulty.

    Raises:
        UserError: an unreadable or foreign file, not three axes (further ones of length 1 are dropped), no numbers, a
            voxel size that is not positive, or units other than mm.
    """
    import nibabel
    from nibabel import imageglobals

    kind = "gzip" if path.name.lower().endswith(".gz") else "NIfTI"
    with readable(path, kind), np.errstate(all="ignore"):  # a header may hold numbers that are none
        head, size = _unpacked(path)
        # nibabel would print what is wrong with a header and mend it; here it ends in one line
        imageglobals.logger.setLevel(logging.CRITICAL)
        try:
            form = nibabel.Nifti2Image if is_nifti2(head) else nibabel.Nifti1Image
            return _volume(
                path, form.from_file_map(form.make_file_map({"image": str(path)})), size, spacing is not None
            )
        except (UserError, *DAMAGE):
            raise
        except Exception as error:  # nibabel's own: HeaderDataError, ImageFileError, WrapStructError
            if not type(error).__module__.startswith("nibabel"):
                raise
            raise ValueError(str(error)) from error


def _volume(path: Path, image: Any, size: int, lenient: bool) -> Volume:
    header = _as_written(image)
    shape = _checked_shape(path, header, size)
    fault = _fault(path, header)
    if fault and not lenient:
        raise UserError(fault)
    affines = {} if fault else _affines(header)
    doubt = "" if fault else _doubt(header, affines)
    grids = tuple(grid for grid in affines.values() if np.isfinite(grid).all())
    if not fault and not doubt:
        grids = grids[:1] or (np.asarray(header.get_base_affine(), float),)
    x, y, z = _voxel_size(header)
    array = np.asanyarray(image.dataobj).reshape(shape).transpose(2, 1, 0)
    return Volume(array, (z, y, x), grids, doubt, _scaling(header))


def header_affine(path: Path) -> np.ndarray | None:
    """Voxel (x, y, z) to mm by a file's header alone; None where it does not say, or where `read_nifti` refuses it."""
    import nibabel
    from nibabel import imageglobals

    imageglobals.logger.setLevel(logging.CRITICAL)
    try:
        with np.errstate(all="ignore"):
            header = nibabel.load(path).header
            affines = _affines(header)
    except Exception:  # any of DAMAGE, and nibabel's own
        return None
    return next(iter(affines.values()), None)


def nifti_files(folder: Path) -> dict[str, Path]:
    """Name without suffix -> NIfTI file of a folder, in order of the names; hidden ones are passed over.

    A folder that is named like a file and holds one, as unpacking leaves `c1.nii/c1.nii`, is that file.

    Raises:
        UserError: two files of one name.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not is_nifti(path):
            continue
        name = without_suffix(path.name)
        if path.is_dir():
            inner = [p for p in sorted(path.iterdir()) if is_nifti(p) and not p.name.startswith(".") and is_listed(p)]
            if len(inner) != 1:
                continue
            path = inner[0]
        if name in files:
            raise UserError(
                f"Expected one file of each name in {folder}, but {files[name].name} and {path.name} are of one."
            )
        files[name] = path
    return files


def without_suffix(name: str) -> str:
    """A file's name without NIfTI's ending."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def read_pair(image_path: Path, label_path: Path, classes: int) -> tuple[np.ndarray, np.ndarray, Volume]:
    """The intensities of an image (D, H, W) float32, its labels below `classes` as uint8, and the image's volume.

    Raises:
        UserError: as `read_nifti`, `check_image`, `check_label`; headers that put the same voxel at different places.
    """
    image, label = read_nifti(image_path), read_nifti(label_path)
    if label.array.shape == image.array.shape:  # another shape is refused below
        check_same_grid(label_path, label.grids, image_path, image.grids, "label map")
    intensities = check_image(image_path, image.array, axes=3)
    return intensities, check_label(label_path, label.array, intensities.shape, classes, label.scaling), image


def check_same_grid(
    path: Path, grids: Sequence[np.ndarray], reference: Path, reference_grids: Sequence[np.ndarray], role: str
) -> None:
    """Raises UserError where two files' headers put the same voxel at different places.

    A header in doubt has several grids: one that agrees is enough. Without any there is nothing to compare.

    Args:
        role: what the first file is, as `prediction`.
    """
    gaps = [float(np.abs(grid - reference_grid).max()) for grid in grids for reference_grid in reference_grids]
    if gaps and not min(gaps) <= TOLERANCE:
        mirrored = _mirrored_axes(grids[0], reference_grids[0])
        raise UserError(
            f"Expected {path} to have the affine of {reference}, but an entry differs by {min(gaps):.4g}{mirrored}: "
            f"resample the {role} to that grid, or copy the header if only that is lost."
        )


def _mirrored_axes(first: np.ndarray, second: np.ndarray) -> str:
    """`, x and y mirrored` for the axes along which two affines point apart."""
    axes = [name for k, name in enumerate("xyz") if first[:3, k] @ second[:3, k] < 0]
    return f", {' and '.join(axes)} mirrored" if axes else ""


def _unpacked(path: Path) -> tuple[bytes, int]:
    """First bytes and size of a file. A compressed one is unpacked to its end, where its checksum is compared.

    Nothing is kept, so that a header's promises are checked before memory is asked for.
    """
    if not path.name.lower().endswith(".gz"):
        return head_of(path), path.stat().st_size
    most = 16 * MOST_VOXELS
    with gzip.open(path) as file:
        head = file.read(HEAD)
        check_kind(path, head, ("NIfTI",), packed="unpacked ", strict=True)
        size = len(head)
        while size <= most and (part := file.read(2**20)):
            size += len(part)
    return head, size


def _as_written(image: Any) -> Any:
    """The header without nibabel's repairs, which replace a voxel size of 0 by 1."""
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        return image.header_class.from_fileobj(file, check=False)


def _checked_shape(path: Path, header: Any, size: int) -> tuple[int, ...]:
    """Shape (x, y, z) of a volume, after checks that its voxels are numbers and that the file holds all of them.

    Args:
        size: bytes of the file, unpacked.
    """
    dtype, shape = header.get_data_dtype(), tuple(int(n) for n in header.get_data_shape())
    if dtype.kind not in "biuf":
        values = {"c": "complex numbers", "V": "colours (RGB)"}.get(dtype.kind, str(dtype))
        raise UserError(f"Expected {path} to have one real number a voxel, but it has {values}.")
    volume = shape[:3] if all(n == 1 for n in shape[3:]) else shape
    if len(volume) == 2:
        volume = (*volume, 1)
    if len(volume) != 3:
        raise UserError(f"Expected {path} to be a volume of 3 axes, but it has shape {shape}.")
    if min(volume) < 1:
        raise UserError(f"Expected {path} to have voxels, but it has shape {shape}.")
    voxels = math.prod(volume)
    if voxels > MOST_VOXELS:
        raise UserError(f"Expected {path} to have at most {MOST_VOXELS:,} voxels, but its header has shape {shape}.")
    needed = int(header.get_data_offset()) + voxels * dtype.itemsize
    if size < needed:
        raise ValueError(f"its header promises {needed:,} bytes, there are {size:,}")
    return volume


def _voxel_size(header: Any) -> Spacing:
    """(x, y, z) as written; z is 1 for a plane, since tools leave the size of an axis that is not there at 0."""
    x, y, z = (round(float(size), 6) for size in header["pixdim"][1:4])
    return x, y, 1.0 if int(header["dim"][0]) == 2 else z


def _fault(path: Path, header: Any) -> str:
    """Why a header gives no voxel size in mm; empty where it does."""
    sizes, advice = _voxel_size(header), "mend the header; `medbench evaluate` takes --spacing in its place"
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        return f"Expected {path} to have a positive voxel size, but its header has {sizes} (x, y, z): {advice}."
    units = _UNITS[int(header["xyzt_units"]) % 8]
    if units not in ("mm", "unknown"):
        return f"Expected {path} to give its voxel size in mm, but its header says {units!r}: {advice}."
    return ""


def _affines(header: Any) -> dict[str, np.ndarray]:
    """The affines that a header gives beside its voxel size: `sform`, `qform`, both or none."""
    coded = {"sform": header.get_sform(coded=True)[0], "qform": header.get_qform(coded=True)[0]}
    return {name: np.asarray(affine, float) for name, affine in coded.items() if affine is not None}


def _doubt(header: Any, affines: Mapping[str, np.ndarray]) -> str:
    """How the voxel size, the sform and the qform contradict each other; empty where they agree."""
    sizes = np.array(_voxel_size(header))
    for name, affine in affines.items():
        with np.errstate(all="ignore"):
            columns = np.linalg.norm(affine[:3, :3], axis=0)
        axes = min(3, int(header["dim"][0]))  # a plane has no third voxel size
        if not np.allclose(columns[:axes], sizes[:axes], rtol=TOLERANCE, atol=0):
            article = "an" if name == "sform" else "a"
            return f"voxels of {_listed(sizes)} mm (x, y, z) beside {article} {name} of {_listed(columns)}"
    if len(affines) < 2:
        return ""
    mirrored = _mirrored_axes(affines["sform"], affines["qform"])
    if mirrored:
        return f"an sform and a qform that differ{mirrored}"
    if int(header["sform_code"]) == int(header["qform_code"]):
        return _apart(affines["sform"] - affines["qform"], header.get_data_shape()[:3], sizes)
    return ""


def _apart(difference: np.ndarray, shape: Sequence[int], sizes: np.ndarray) -> str:
    """How far apart sform and qform put a corner of the volume; empty up to half a voxel."""
    corners = np.array(np.meshgrid(*((0, n - 1) for n in shape), [1])).reshape(4, -1)
    gap = float(np.linalg.norm((difference @ corners)[:3], axis=0).max())
    return f"an sform and a qform that put a voxel {gap:.3g} mm apart" if gap > 0.5 * sizes.min() else ""


def _listed(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)


def _scaling(header: Any) -> str:
    """How the header scales the stored values, in words; empty where it does not."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0 or (slope, inter) == (1.0, 0.0):
        return ""
    return f"stored values times scl_slope {slope:.9g} plus scl_inter {inter:.9g}"
