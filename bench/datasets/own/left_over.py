"""What a user's folder holds beside its cases: images of kinds that are not read are refused, the rest is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.datasets.own.class_folders import is_picture
from bench.datasets.own.items import Found
from bench.datasets.readers.folders import all_files, is_litter
from bench.datasets.readers.kinds import NAMES, head_of, kind_of
from bench.datasets.readers.nifti import is_nifti
from bench.errors import UserError

LAYOUTS = ("class-folders", "images-masks", "nnunet")  # where folders say which files are cases
# What stands beside images and is none: documents, tables and programs, by their endings or whole names.
_DOCUMENT = re.compile(
    r"(?i).*\.(?:txt|md|rst|pdf|docx?|odt|rtf|tex|bib|csv|tsv|xlsx?|ods|jsonl?|xml|ya?ml|toml|ini|cfg|html?|py|ipynb|m|r"
    r"|sh|bat|log|md5|sha1|sha256|url|lnk)|"
    r"(?:readme|licen[cs]e|copying|changelog|citation|authors|notice|version|dicomdir)(?:\..*)?"
)
# Kind -> what to do with a file of it that is named otherwise; `kinds.NAMES` says it of those that are not read.
_RENAMED = {"PNG": ": name it .png", "JPEG": ": name it .jpg", "DICOM": ": name it .dcm", "NIfTI": ": name it .nii"}
_CONVERTED = {"GIF", "BMP", "WebP", "TIFF", "NRRD", "MetaImage", "MINC", "NIfTI pair", "Analyze"}
_UNREAD = re.compile(
    r"(?i)\.(?:jfif|jpe|jp2|j2k|jpx|heic|heif|avif|jxl|p[pgbn]m|tga|svs|ndpi|mrxs|scn|nrrd|nhdr|mh[ad]|mg[hz]|mnc)"
)


def left_over(source: Path, found: Found) -> list[str]:
    """Notes on the files of a folder that are no cases, that no other note tells of, and that are no documents.

    Raises:
        UserError: an image or volume of a kind that is not read, or that its name hides.
    """
    known = {*found.told}
    for item in found.items:
        known |= {item.image, *filter(None, (item.mask,)), *item.more_masks}
    rest = [path for path in all_files(source) if not _is_known(path, source, known)]
    images = [path for path in rest if is_nifti(path) or is_picture(path)]
    seen = {*images}
    others = [path for path in rest if path not in seen and not _DOCUMENT.fullmatch(path.name)]
    refused = {path: why for path in others if (why := _why_unread(path))}
    if found.layout == "class-folders":
        volume = "a volume, and pictures alone are classified: save slices as PNG"
        refused |= {path: volume for path in images if is_nifti(path)}
    if refused:
        first, why = next(iter(refused.items()))
        some = f"{len(refused)} files are none, such as {first}, which" if len(refused) > 1 else str(first)
        raise UserError(f"Expected images of kinds that are read, but {some} is {why}, or move it away.")
    return [*_told(source, images, "image", "stand where no case is looked for"), *_told(source, others, "other file")]


def _is_known(path: Path, source: Path, known: set[Path]) -> bool:
    """Whether a file is a case's, or hidden, or litter, or lies in a folder that is one of these."""
    way = [path, *path.parents]
    way = way[: way.index(source)]
    return any(place in known or place.name.startswith(".") or is_litter(place) for place in way)


def _why_unread(path: Path) -> str:
    """What kind of image a file is that is not read, and what to do; empty where it is none."""
    try:
        kind = kind_of(head_of(path))
    except OSError:
        kind = None
    if kind in _RENAMED:
        return NAMES[kind].split(":")[0].removesuffix(" that is not compressed") + _RENAMED[kind]
    if kind in _CONVERTED:
        return NAMES[kind]
    return f"{path.suffix} of another kind: convert it to PNG, or to NIfTI" if _UNREAD.fullmatch(path.suffix) else ""


def _told(source: Path, paths: Sequence[Path], what: str, why: str = "") -> list[str]:
    if not paths:
        return []
    first = paths[0].relative_to(source).as_posix()
    return [f"left out: {len(paths)} {what}{'s' * (len(paths) > 1)}, such as {first}{why and f', that {why}'}"]
