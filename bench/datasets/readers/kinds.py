"""What a file is by its first bytes, whatever its name says: the true reason when a reader cannot read it."""

from __future__ import annotations

from pathlib import Path

HEAD = 1024  # bytes to look at; a header of NIfTI-1 has 348, of NIfTI-2 540, of DICOM 132
# Kind -> how an error calls it, and what to do about it.
NAMES = {
    "Git LFS pointer": "a Git LFS pointer, not the file itself: fetch the file with `git lfs pull`",
    "git-annex pointer": "a git-annex pointer, not the file itself: fetch the file with `git annex get`",
    "HTML": "an HTML page, as a download without a login leaves it: download the file anew",
    "zeros": "zeros from its first byte on, as a download that broke off leaves it: copy it anew",
    "gzip": "gzip data",
    "NIfTI": "a NIfTI file that is not compressed",
    "NIfTI pair": "the header of a NIfTI pair (.hdr and .img): convert the pair to one .nii.gz",
    "Analyze": "an Analyze 7.5 header (.hdr and .img): convert the pair to one .nii.gz",
    "DICOM": "a DICOM file: convert the series to NIfTI",
    "npz": "an .npz archive",
    "npy": "a single .npy array",
    "HDF5": "an HDF5 file",
    "zip": "a .zip archive: unpack it",
    "PNG": "a PNG image",
    "JPEG": "a JPEG image",
    "GIF": "a GIF image: convert it",
    "BMP": "a BMP image: convert it",
    "WebP": "a WebP image: convert it",
    "TIFF": "a TIFF image: convert it",
    "PDF": "a PDF document",
    "NRRD": "an NRRD volume: convert it to NIfTI",
    "MetaImage": "a MetaImage header (.mha or .mhd): convert it to NIfTI",
    "MINC": "a NetCDF or MINC file: convert it to NIfTI",
    "bzip2": "bzip2 data: unpack it",
    "xz": "xz data: unpack it",
    "Zstandard": "Zstandard data: unpack it",
    "7z": "a 7z archive: unpack it",
    "RAR": "a RAR archive: unpack it",
    "tar": "a tar archive: unpack it",
}
# Kinds that no reader here takes, whatever it reads.
FOREIGN = ("Git LFS pointer", "git-annex pointer", "HTML")
# (offset, bytes, kind): a file with these bytes at that offset is of that kind; the first row that fits decides.
_MARKS = (
    (0, b"version https://git-lfs.github.com/", "Git LFS pointer"),
    (0, b"/annex/objects/", "git-annex pointer"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"NRRD000", "NRRD"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"CDF\x01", "MINC"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "RAR"),
    (344, b"n+1\0", "NIfTI"),
    (4, b"n+2\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI pair"),
    (4, b"ni2\0", "NIfTI pair"),
    (8, b"WEBP", "WebP"),
    (128, b"DICM", "DICOM"),
    (257, b"ustar", "tar"),
)
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")
_SIZES = {(348).to_bytes(4, order) for order in ("little", "big")}  # of a header of Analyze 7.5 and NIfTI-1


def head_of(path: Path) -> bytes:
    """The first `HEAD` bytes of a file, or all it has."""
    with path.open("rb") as file:
        return file.read(HEAD)


def kind_of(head: bytes) -> str | None:
    """The kind, a key of `NAMES`, that a file's first bytes tell; None where they tell none."""
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_HTML):
        return "HTML"
    if head.startswith(b"PK\x03\x04"):
        length = int.from_bytes(head[26:28], "little")  # of the first name
        if len(head) < 30 + length:
            return None
        return "npz" if head[30 : 30 + length].endswith(b".npy") else "zip"
    for offset, mark, kind in _MARKS:
        if head.startswith(mark, offset):
            return kind
    if head[:4] in _SIZES and len(head) >= 348:
        return "Analyze"
    return "zeros" if len(head) >= 64 and not any(head) else None


def is_nifti2(head: bytes) -> bool:
    """Whether the first bytes of a NIfTI file are NIfTI-2's."""
    return head[4:8] == b"n+2\0"
