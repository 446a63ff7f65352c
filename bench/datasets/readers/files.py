"""Reading the array files of datasets: every damaged or foreign file ends in one line that names it."""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.readers.kinds import FOREIGN, NAMES, head_of, kind_of
from bench.errors import UserError, printable

if TYPE_CHECKING:
    import h5py

# Errors that numpy, h5py, nibabel and gzip raise for bytes that are not what the file's name promises.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    MemoryError,
    OverflowError,
    KeyError,
    NotImplementedError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
MOST_VOXELS = 2**30  # a CT of 1,000 slices has a quarter; a file of a few kB can ask for more than the memory holds
MOST_BYTES = 2**29  # of a table or picture; the largest picture that is accepted has less, unpacked
MOST_LINKS = 16  # soft ones on the way to one array of an HDF5 file; HDF5's own limit
NOISE = 1e-3  # labels that are no farther from whole numbers are rounding errors of a computation in floats


@contextmanager
def readable(path: Path, *kinds: str) -> Iterator[None]:
    """Turns what a truncated, damaged or foreign file raises into one line.

    Args:
        kinds: those of `kinds.NAMES` that the file may be, where the reader takes no other.

    Raises:
        UserError: the file is missing, empty, by its first bytes another kind, or broke off while being read.
    """
    check_present(path)
    head = b""
    try:
        head = head_of(path)
        check_kind(path, head, kinds)
        yield
    except PermissionError as error:
        raise UserError(f"File {path} cannot be read: {error.strerror}.") from error
    except DAMAGE as error:
        check_kind(path, head, kinds, strict=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"File {path} cannot be read, it may be truncated or damaged: copy it anew. ({reason[:160]})"
        ) from error


def is_listed(path: Path) -> bool:
    """Whether a path is a file, or a link to one that is not there: what reads it then says so, and skips nothing."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def check_present(path: Path) -> None:
    """Raises UserError for a file that is missing, a link to nothing, or empty."""
    if path.is_symlink() and not path.exists():
        raise UserError(f"File {path} is a link to a file that is not there: fetch it (git-annex: `git annex get`).")
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise UserError(f"Expected {path} to be a file, but it is {kind}: put the file in its place.")
    if not path.is_file():
        raise UserError(f"File {path} is missing: copy it from the original data set.")
    if path.stat().st_size == 0:
        raise UserError(f"File {path} is empty (0 bytes): copy it anew from the original data set.")


def read_whole(path: Path) -> bytes:
    """All bytes of a file that is read at once; one with a hole of gigabytes is refused before memory is asked for."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"Expected {path} to have at most {MOST_BYTES:,} bytes, but it has {size:,}.")
    return path.read_bytes()


def check_name(path: Path) -> None:
    """Raises UserError for a file whose name cannot stand in a table: it is no UTF-8."""
    if printable(path.name) != path.name:
        raise UserError(f"Expected names of printable UTF-8, but found {path}: rename it.")


def check_kind(path: Path, head: bytes, kinds: tuple[str, ...], packed: str = "", strict: bool = False) -> None:
    """Raises UserError where a file's first bytes tell that it is of none of these kinds.

    Args:
        packed: how the bytes were got, as `unpacked `.
        strict: bytes that tell no kind at all are refused, too.
    """
    kind = kind_of(head)
    if kind is None and kinds and strict:
        raise UserError(
            f"File {path} cannot be read: {packed}it begins with {head[:12]!r}, not as {_listed(kinds)}; copy it anew."
        )
    if kind is None or kind in kinds or not (kinds or kind in FOREIGN):
        return
    wanted = _listed(kinds) or "a file of the data set"
    advice = _RENAMED.get((kind, *kinds), "")
    raise UserError(f"Expected {path} to be {wanted}, but {packed}it is {NAMES[kind]}{advice}.")


def _listed(kinds: tuple[str, ...]) -> str:
    """The names of kinds, without what to do about them."""
    return " or ".join(NAMES[kind].split(":")[0] for kind in kinds)


_RENAMED: dict[tuple[str, ...], str] = {
    ("gzip", "NIfTI"): ": if it holds NIfTI, name it .nii.gz",
    ("NIfTI", "gzip"): ": name it .nii",
    ("JPEG", "PNG"): ": label maps bear no loss, save them as PNG",
}


def read_h5(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays under these keys of an HDF5 file.

    Raises:
        UserError: unreadable file, or a key that is missing or no array.
    """
    import h5py

    with readable(path, "HDF5"), h5py.File(path, "r") as file:
        _require(path, keys, [str(key) for key in file if _is_inside(file, key)])
        for key in keys:
            _check_stored(path, key, file[key])
            _check_size(path, key, file[key].size or 0)
        return [np.asarray(file[key][()]) for key in keys]


def _is_inside(file: h5py.File, key: str) -> bool:
    """Whether an array lies under a key, and in this file: a link into another file is not followed."""
    import h5py

    return _stays(file, b"", os.fsencode(key), []) and isinstance(file.get(key), h5py.Dataset)


def _stays(file: h5py.File, place: bytes, way: bytes, followed: list[bytes]) -> bool:
    """Whether a way leads to something in the file itself: no link on it, or on what a link on it names, is external.

    Args:
        place: the group that the way begins in, from the root on; empty: the root.
        followed: the soft links on the way here, to which further ones are added.
    """
    import h5py

    place = b"" if way.startswith(b"/") else place
    for name in way.split(b"/"):
        if name in (b"", b"."):
            continue
        here, place = place, place + b"/" + name
        try:
            link = file.id.links.get_info(place)  # whatever bytes a name has
        except (KeyError, RuntimeError):  # a link to nothing
            return False
        if link.type == h5py.h5l.TYPE_SOFT:
            followed.append(place)
            if len(followed) > MOST_LINKS or not _stays(file, here, file.id.links.get_val(place), followed):
                return False
        elif link.type != h5py.h5l.TYPE_HARD:
            return False
    return True


def _check_stored(path: Path, key: str, array: h5py.Dataset) -> None:
    """Raises UserError for values that lie in other files, or that were packed by a filter which is not here."""
    import h5py

    if array.is_virtual or array.external:
        raise UserError(f"Expected {key} in {path} to lie in that file, but its values are in others: copy them in.")
    settings = array.id.get_create_plist()
    filters = [settings.get_filter(i) for i in range(settings.get_nfilters())]
    lacking = [
        name.decode(errors="replace") or str(code) for code, _, _, name in filters if not h5py.h5z.filter_avail(code)
    ]
    if lacking:
        raise UserError(
            f"Expected {key} in {path} to be unpacked by HDF5 alone, but it needs the filter {', '.join(lacking)}: "
            "save it with gzip, or without compression."
        )


def read_npz(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """The arrays under these keys of an .npz archive; pickled objects are refused.

    Raises:
        UserError: unreadable file, or a missing key.
    """
    with readable(path, "npz", "npy"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"Expected {path} to be an .npz archive, but it is a single array.")
        _require(path, keys, archive.files)
        assert archive.zip is not None
        sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.zip.infolist()}
        for key in keys:
            _check_size(path, key, sizes.get(key, 0) // 8)
        arrays = [archive[key] for key in keys]
    for key, array in zip(keys, arrays, strict=True):
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of a member that does not begin as an array
            raise UserError(f"Expected {key} in {path} to be an array, but it is damaged: copy the file anew.")
    return arrays


def _check_size(path: Path, key: str, values: int) -> None:
    if values > MOST_VOXELS:
        raise UserError(f"Expected {key} in {path} to have at most {MOST_VOXELS:,} values, but it has {values:,}.")


def _require(path: Path, keys: tuple[str, ...], present: list[str]) -> None:
    missing = [key for key in keys if key not in present]
    if missing:
        raise UserError(
            f"Expected {path} to have the keys {', '.join(keys)}, but {', '.join(missing)} is missing "
            f"(it has: {', '.join(sorted(present)) or 'none'})."
        )


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


def check_label(path: Path, label: np.ndarray, shape: tuple[int, ...], classes: int, scaling: str = "") -> np.ndarray:
    """The label map as uint8.

    Args:
        scaling: how the file's header scales what is stored, to be named beside a value that is no integer.

    Raises:
        UserError: another shape than the image's, a value that is no integer, or one outside 0..classes-1.
    """
    _check_array(path, "label", label, len(shape))
    if label.shape != shape:
        raise UserError(f"Expected the label in {path} to have the image's shape {shape}, but it has {label.shape}.")
    _check_whole(path, label, scaling)
    outside = label[(label < 0) | (label >= classes)]
    if outside.size:
        raise UserError(
            f"Expected labels from 0 to {classes - 1} in {path}, but found {outside[0]:g} ({outside.size} voxels)."
        )
    return np.ascontiguousarray(label, dtype=np.uint8)


def _check_whole(path: Path, label: np.ndarray, scaling: str) -> None:
    """Raises UserError for the label that is farthest from a whole number, with the digits that show it."""
    with np.errstate(invalid="ignore"):
        gaps = np.abs(label - np.round(label)) if label.dtype.kind == "f" else np.zeros(1)
    count = int(np.count_nonzero(~(gaps == 0)))
    if not count:
        return
    worst = int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps)))
    value, gap = float(label.flat[worst]), float(gaps.flat[worst])
    digits = f"{value:.9g}" if not float(f"{value:.9g}").is_integer() else repr(value)
    fault = f"Expected integer labels in {path}, but found {digits} ({count} voxels{scaling and f', {scaling}'})"
    if gap <= NOISE:
        raise UserError(
            f"{fault}: at most {gap:.1g} from whole numbers, rounding noise of a computation in floats: round them "
            "(numpy.rint) and save them as uint8."
        )
    raise UserError(
        f"{fault}: save class ids, not probabilities or interpolated labels"
        f"{', and without a scale' if scaling else ''} (resample labels by nearest neighbour)."
    )


def _check_array(path: Path, role: str, array: np.ndarray, axes: int) -> None:
    if array.dtype.kind not in "biuf":
        raise UserError(f"Expected numbers as {role} in {path}, but its type is {array.dtype}.")
    if array.ndim != axes or array.size == 0:
        raise UserError(
            f"Expected the {role} in {path} to have {axes} axes and voxels, but its shape is {array.shape}."
        )
