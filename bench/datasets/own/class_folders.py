"""A folder of images for each class, with or without folders of parts above them, however deep the images lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bench.datasets.own.dicom import is_dicom
from bench.datasets.own.items import DICOM, FOREIGN_IMAGES, IMAGES, PART_WORDS, Found, Item
from bench.datasets.readers.files import check_name, is_listed
from bench.datasets.readers.folders import plain, visible, walk
from bench.errors import UserError

_MASK = re.compile(r"(.+)_mask(_[0-9]+)?", re.IGNORECASE)
_SHOWN = 3
DEPTH = 6  # of folders below a class's
PATIENT_FOLDERS = "if each is a patient's, say --patient-pattern '([^/]+)/[^/]+$'"
PICTURES = (*IMAGES, *FOREIGN_IMAGES, *DICOM)
Classes = dict[str, list[tuple[str | None, Path]]]  # class -> its folders, each with the part it stands in


def class_folders(folder: Path, chosen: Collection[str] = ()) -> Classes:
    """Class -> its folders, each with the part it stands in; {} where there are not such folders.

    A class folder lies in `folder` itself, or in its folders of parts (`train`, `val`, `test`); a folder that only
    wraps the others is passed through.

    Args:
        chosen: names of folders that are classes whatever they are called, `test` too.

    Raises:
        UserError: folders of parts beside others with pictures.
    """
    return _divided(folder, chosen)[0]


def _divided(folder: Path, chosen: Collection[str]) -> tuple[Classes, list[Path], list[Path]]:
    """As `class_folders`, and what lies beside those with pictures: folders without any, and pictures."""
    children = [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []
    full = [path for path in children if any(pictures(path, DEPTH + (path.name.lower() in PART_WORDS)))]
    parts = [path for path in full if path.name.lower() in PART_WORDS]
    if len(parts) < len(full):  # `valid` and `invalid`, with pictures right inside, are classes
        parts = [path for path in parts if _is_part(path)]
    named: list[tuple[str | None, Path]]
    if parts and not (chosen and {path.name for path in full}.issuperset(chosen)):
        if len(parts) < len(full):
            others = [path.name for path in full if path not in parts]
            raise UserError(
                f"Expected folders of parts or of classes in {folder}, but got both "
                f"({_few([path.name for path in parts])} and {_few(others)}): move the others away, or name the "
                "folders of classes with --classes, or list the images in a .csv of path and label."
            )
        named = [(PART_WORDS[place.name.lower()], path) for place in parts for path in visible(place) if path.is_dir()]
    else:
        named = [(None, path) for path in children]
        if len(children) == 1 and not any(map(is_picture, visible(folder))):
            inner = _divided(children[0], chosen)
            if inner[0]:
                return inner
    classes: Classes = {}
    for part, path in named:
        if any(pictures(path)):
            classes.setdefault(path.name, []).append((part, path))
    within = {path.parent for _, path in named} - {folder}
    empty = [path for path in children if path not in full]
    empty += [path for _, path in named if path.parent in within and not any(pictures(path))]
    loose = [path for place in (folder, *sorted(within)) for path in visible(place) if is_picture(path)]
    return classes, empty, loose


def _is_part(path: Path) -> bool:
    """Whether a folder that is called like a part has folders of classes, or is called `train`, as no class is."""
    return path.name.lower().startswith("train") or any(
        inner.is_dir() and any(pictures(inner)) for inner in visible(path)
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def find_class_folders(folder: Path, chosen: Mapping[str, str]) -> Found:
    """The images of class folders as cases; a case is named by its way from the class folders on.

    Args:
        chosen: class -> folder's name, in the order of the labels; {}: all folders in the order of their names.

    Raises:
        UserError: as `class_folders`; no class folders, a folder that was chosen and is not there, or two images of
            one name.
    """
    places, empty, loose = _divided(folder, chosen.values())
    if not places:
        raise UserError(f"Found no class folders with images in {folder}: expected a folder of images for each class.")
    classes = chosen or {name: name for name in sorted(places, key=str.lower)}
    absent = [name for name in classes.values() if name not in places]
    if absent:
        raise UserError(
            f"Expected a class folder {absent[0]!r} in {folder}, but it has {', '.join(sorted(places))}: NAME=FOLDER "
            "in --classes gives one another name."
        )
    left_out = sorted(set(places) - set(classes.values()))

    def named(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    items: dict[str, Item] = {}
    masks: list[Path] = []
    for label, name in enumerate(classes.values()):
        for part, place in places[name]:
            files, of_class = _without_masks(sorted(pictures(place)))
            masks += of_class
            stems = Counter(_named(path.relative_to(place)) for path in files)
            for path in files:
                check_name(path)
                within = path.relative_to(place)
                stem = _named(within) if stems[_named(within)] == 1 else within.as_posix()  # 1.png beside 1.jpg
                case = "/".join(filter(None, (part, name, stem)))
                if case in items:
                    raise UserError(f"Expected each image once, but {items[case].image} and {path} have one name.")
                items[case] = Item(case, path, label, part=part)
    notes = [f"left out: the folder{'s' * (len(left_out) > 1)} {', '.join(left_out)}"] if left_out else []
    few = _few([named(path) for path in empty])
    notes += [f"left out: the folder{'s' * (len(empty) > 1)} {few}, without images"] if empty else []
    some = f"{len(loose)} image{'s' * (len(loose) > 1)}"
    notes += [f"left out: {some} beside the class folders, such as {named(loose[0])}"] if loose else []
    notes += _alike(list(classes.values()))
    inner = {item.case.rpartition("/")[0] for item in items.values()} - {
        "/".join(filter(None, (part, name))) for name, of_class in places.items() for part, _ in of_class
    }
    notes += [f"{len(inner)} folders lie inside the classes: {PATIENT_FOLDERS}"] if inner else []
    notes += [f"left out: {len(masks)} files that are named as the masks of others"] if masks else []
    told = (*masks, *loose, *(place for name in left_out for _, place in places[name]))
    return Found("class-folders", "classification", tuple(classes), tuple(items.values()), tuple(notes), told=told)


def _alike(folders: Sequence[str]) -> list[str]:
    """A note on each group of class folders that one class may have been spelled as."""
    spellings: dict[str, list[str]] = {}
    for name in folders:
        spellings.setdefault(plain(name), []).append(name)
    return [
        f"the classes {', '.join(names)} differ in case, blanks, - and _ alone: where they are one, join their folders"
        for names in spellings.values()
        if len(names) > 1
    ]


def _named(path: Path) -> str:
    """A way without the suffix; what scanners write behind a last dot is none."""
    return (path.with_suffix("") if path.suffix.lower() in PICTURES else path).as_posix()


def pictures(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """All pictures of a folder and those inside it."""
    return (path for place in walk(folder, depth) for path in visible(place) if is_picture(path))


def is_picture(path: Path) -> bool:
    """Whether a file is named as an image, also of a kind to be converted, or is DICOM under a scanner's name."""
    if path.suffix.lower() in PICTURES:
        return is_listed(path)
    return (path.suffix[1:].isdecimal() and is_dicom(path)) or (not path.suffix and is_dicom(path))


def _without_masks(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files without `x_mask.png` and `x_mask_1.png` beside `x.png`, and these."""
    stems = {path.with_suffix("") for path in files}
    named = {path: _MASK.fullmatch(path.stem) for path in files}
    kept = [path for path, match in named.items() if not (match and path.with_name(match[1]) in stems)]
    return kept, sorted(set(files).difference(kept))
