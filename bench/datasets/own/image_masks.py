"""Images with a label map each: two folders, one folder with words in the names, or nnU-Net's tree."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.datasets.own.class_folders import PICTURES, is_picture
from bench.datasets.own.dicom import is_series
from bench.datasets.own.items import PART_WORDS, Found, Item
from bench.datasets.own.pairing import further_mask, is_named_as_mask, pair, paired_by_name, unpaired
from bench.datasets.readers.files import check_name, is_listed, readable
from bench.datasets.readers.folders import plain, visible, walk
from bench.datasets.readers.nifti import is_nifti, without_suffix
from bench.errors import UserError

# Names of the two folders, as `folders.plain` has them.
IMAGE_FOLDERS = {
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "original",
    "originals",
    "volumes",
    "scans",
    "data",
    "imagestr",
}
MASK_FOLDERS = {"masks", "mask", "labels", "label", "segmentations", "segmentation", "segs", "seg", "annotations"}
MASK_FOLDERS |= {"groundtruth", "groundtruths", "gt", "manual", "1stmanual", "segmentationclass", "labelstr"}
_IGNORE = "ignore"  # of nnU-Net v2, the label of voxels that no loss and no metric looks at
Place = tuple[str | None, Path, Path]  # part, folder of images, folder of label maps


class Places(NamedTuple):
    """Where images and label maps lie in folders of their own.

    Attributes:
        pairs: the pairs of folders.
        beside: folders with images that lie beside those of parts.
        lacking: folders of parts with images and without a folder of label maps.
    """

    pairs: list[Place]
    beside: list[Path]
    lacking: list[Path]


class Mixed(NamedTuple):
    """What lies in folders of images beside their label maps.

    Attributes:
        items: the images with a label map.
        spare: label maps without an image.
        missing: names of images without a label map.
        is_pair: in a folder at least every image has its label map, or at least half of all images have one.
        is_doubtful: a folder has images and files that are named as label maps.
    """

    items: list[Item]
    spare: list[Path]
    missing: list[str]
    is_pair: bool
    is_doubtful: bool


def has_pairs(folder: Path) -> bool:
    """Whether a folder has folders of images and of label maps, or images beside maps that are named as theirs."""
    if _places(folder).pairs:
        return True
    try:
        return _mixed(folder).is_pair
    except UserError:
        return False


def find_pairs(folder: Path, classes: Sequence[str]) -> Found:
    """Each image with its label map, by their names.

    Raises:
        UserError: an image without a label map, or with several.
    """
    items: list[Item] = []
    spare: list[Path] = []
    pairs, beside, lacking = _places(folder)
    for part, images, masks in pairs:
        paired, unused = pair(_named(images), _named(masks), images)
        spare += unused
        for name, (image, mask) in paired.items():
            first = name.partition("/")[0].lower()
            own_part = part or (PART_WORDS.get(first) if "/" in name else None)
            items.append(Item(f"{part}/{name}" if part else name, image, mask=mask, part=own_part))
    for path in lacking:
        _, images, masks = pairs[0]
        names = [*_named(path)]
        like = f", or bring the maps into a folder as {masks.relative_to(folder)} beside {images.relative_to(folder)}"
        raise unpaired(path, names, len(names), like)
    several: list[str] = []
    if not items:
        mixed = _mixed(folder)
        items, spare = mixed.items, mixed.spare
        if mixed.missing and (items or mixed.is_doubtful):
            or_else = ", or pass --task classification where folders are classes" if _folders(items) else ""
            raise unpaired(folder, mixed.missing, len(items) + len(mixed.missing), or_else)
        folders = _folders(items)
        several += [f"the folders {', '.join(folders)} may be classes: --task classification"] if folders[1:] else []
        laid = sum(bool(item.more_masks) for item in items)
        several += [f"the maps of {laid} images with several are laid over each other"] if laid else []
    notes = [f"left out: {len(spare)} label maps without an image, such as {spare[0].name}"] if spare else []
    notes += [f"left out: {', '.join(path.name for path in beside)}, beside the folders of parts"] if beside else []
    notes += several
    return Found("images-masks", "segmentation", tuple(classes), tuple(items), tuple(notes), told=(*spare, *beside))


def _folders(items: Sequence[Item]) -> list[str]:
    return sorted({item.case.rpartition("/")[0] for item in items})


def _places(folder: Path) -> Places:
    """The pairs of folders in a folder, or in its folders of parts, or in the only one that wraps them."""
    children = {plain(path.name): path for path in visible(folder) if path.is_dir()} if folder.is_dir() else {}
    images = [path for name, path in children.items() if name in IMAGE_FOLDERS]
    masks = [path for name, path in children.items() if name in MASK_FOLDERS]
    if not images and len(masks) == 1:  # whatever the other of two is called
        images = [path for name, path in children.items() if path != masks[0] and name not in PART_WORDS]
        images = images if any(_named(path) for path in images) else []
    if len(images) == 1 and len(masks) == 1:
        return Places([(None, images[0], masks[0])], [], [])
    if len(images) > 1 or len(masks) > 1:
        return Places([], [], [])
    parts = [(PART_WORDS[name], path) for name, path in children.items() if name in PART_WORDS]
    if parts:
        within = {path: _places(path).pairs for _, path in parts}
        found: list[Place] = [(part, image, mask) for part, path in parts for _, image, mask in within[path]]
        others = [path for name, path in children.items() if name not in PART_WORDS]
        lacking = [
            path for path, of_part in within.items() if found and not of_part and _holds_images(path, masks=False)
        ]
        return Places(found, [path for path in others if found and _holds_images(path)], lacking)
    return _places(next(iter(children.values()))) if len(children) == 1 else Places([], [], [])


def _holds_images(folder: Path, masks: bool = True) -> bool:
    """Whether images lie in a folder, or below.

    Args:
        masks: those in folders of label maps count, too.
    """
    places = walk(folder, 4, () if masks else MASK_FOLDERS)
    return any(is_nifti(path) or is_picture(path) for place in places for path in visible(place))


def _named(folder: Path) -> dict[str, Path]:
    """Way from the folder without suffix -> picture, NIfTI file, or folder of a DICOM series."""
    files: dict[str, Path] = {}
    for place in walk(folder, 4):
        for path in visible(place):
            if path.is_dir() and is_series(path):
                name = path.relative_to(folder).as_posix()
            elif is_listed(path) and (is_nifti(path) or path.suffix.lower() in PICTURES):
                within = path.relative_to(folder)
                name = (within.parent / (without_suffix(path.name) if is_nifti(path) else path.stem)).as_posix()
            else:
                continue
            if place != folder and is_series(place):
                continue
            check_name(path)
            if name in files:
                raise UserError(f"Expected one file of each name in {folder}, but {files[name]} and {path} are of one.")
            files[name] = path
    return files


def _mixed(folder: Path) -> Mixed:
    """Images and label maps that lie in one folder, or in each of several: a map is what a word in its name says."""
    items: list[Item] = []
    spare: list[Path] = []
    missing: list[str] = []
    is_whole = is_doubtful = False
    for place in walk(folder, 3):
        if is_series(place):
            continue
        files = {name: path for name, path in _named(place).items() if "/" not in name}
        masks = {name: path for name, path in files.items() if is_named_as_mask(name)}
        named = {name: first for name in files if (first := further_mask(name)) in masks}
        more = {masks[first]: tuple(files[m] for m in named if named[m] == first) for first in named.values()}
        masks = {name: path for name, path in masks.items() if name not in named}
        images = {name: path for name, path in files.items() if name not in {*masks, *named}}
        paired, unused = paired_by_name(images, masks)
        prefix = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        items += [
            Item(f"{prefix}{name}", image, mask=mask, more_masks=more.get(mask, ()))
            for name, (image, mask) in paired.items()
        ]
        spare += [path for mask in unused for path in (mask, *more.get(mask, ()))]
        missing += [f"{prefix}{name}" for name in images if name not in paired]
        is_whole |= bool(paired) and len(paired) == len(images)
        is_doubtful |= bool(images and masks)
    return Mixed(items, spare, missing, is_whole or len(items) > len(missing), is_doubtful)


# -- nnU-Net -------------------------------------------------------------------------------------------------


def find_nnunet(folder: Path) -> Path | None:
    """The folder of nnU-Net's raw data set: this one, or the only one inside it; None where there is none."""
    if not folder.is_dir():
        return None
    if (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir() and (folder / "dataset.json").is_file():
        return folder
    children = [path for path in visible(folder) if path.is_dir()]
    return find_nnunet(children[0]) if len(children) == 1 else None


def find_nnunet_cases(source: Path) -> Found:
    """The training cases of nnU-Net's raw data set, with the classes that dataset.json names.

    Raises:
        UserError: no such data set, or a dataset.json whose labels are no consecutive numbers, or mark voxels that are
            to be ignored.
    """
    folder = find_nnunet(source)
    if folder is None:
        raise UserError(f"Expected imagesTr, labelsTr and dataset.json in {source}.")
    path = folder / "dataset.json"
    with readable(path):
        text = path.read_text(encoding="utf-8-sig")
    try:
        described = json.loads(text)
        labels = described["labels"]
        ids = {int(k): str(v) for k, v in labels.items()} if "0" in labels else {int(v): k for k, v in labels.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"Expected {path} to have labels such as background: 0, liver: 1 ({error}).") from None
    ignored = next((name for name in ids.values() if name.lower() == _IGNORE), None)
    if ignored:
        raise UserError(
            f"Expected every voxel to be labelled, but {path} has a label {ignored!r}, as nnU-Net names voxels that "
            "nobody labelled: partly annotated data are not read here. Remove that label from it, and the cases that "
            "hold it, or label their voxels."
        )
    if sorted(ids) != list(range(len(ids))):
        raise UserError(f"Expected the labels in {path} to be 0, 1, 2, ..., but got {sorted(ids)}.")
    images = _named(folder / "imagesTr")
    first = {name: file for name, file in images.items() if not re.search(r"_000[1-9]$", name)}
    paired, spare = pair(first, _named(folder / "labelsTr"), folder / "imagesTr")
    items = [Item(re.sub("_0000$", "", name), image, mask=mask) for name, (image, mask) in paired.items()]
    notes = [f"left out: the further channels of {len(images) - len(first)} files: 0000 alone is read"]
    notes = notes if len(images) > len(first) else []
    notes += [f"left out: {len(spare)} label maps without an image"] if spare else []
    notes += ["left out: imagesTs, which have no labels here"] if (folder / "imagesTs").is_dir() else []
    told = (*spare, folder / "imagesTs", *(file for name, file in images.items() if name not in first))
    items.sort(key=lambda item: item.case)
    return Found("nnunet", "segmentation", tuple(ids[k] for k in sorted(ids)), tuple(items), tuple(notes), told=told)
