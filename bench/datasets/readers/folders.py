"""Class folders of image datasets: found by their names, however deep and doubled an archive leaves them."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from bench.datasets.base import RawImage, Row
from bench.datasets.readers.files import check_name, check_present
from bench.datasets.readers.images import SUFFIXES, file_facts, kept_levels, read_image
from bench.errors import UserError

# What file managers and archives leave beside images.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
Places = list[tuple[Path, dict[int, Path]]]


def class_places(folder: Path, labels: Mapping[str, int], depth: int = 4) -> Places:
    """Folders that hold class folders, each with label -> the class's folder; a class folder is not searched.

    `COVID/COVID`, as unpacking may double it, is one class folder: the inner one.

    Args:
        labels: a class folder's name in lower case without hyphens, underscores and blanks -> its label.
        depth: how many folders lie on the longest way to a class folder.

    Raises:
        UserError: no folder, or one with two folders of one class.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder, but {folder} is not a folder.")
    places = ((place, _classes(place, labels)) for place in walk(folder, depth, labels))
    return [(place, folders) for place, folders in places if folders]


def single_place(folder: Path, places: Places, classes: Sequence[str], title: str, layout: str) -> dict[int, Path]:
    """Label -> class folder of the only place that `class_places` found.

    Args:
        classes: names of the classes that must be there, by label; folders of further classes are left out.
        title: what the files are, as `MSLD photographs`.
        layout: how the files lie, for the line that says so.

    Raises:
        UserError: no place, several, or one without the folder of a class.
    """
    if not places:
        raise UserError(f"Found no {title} in {folder}. Known layout is {layout}.")
    if len(places) > 1:
        raise UserError(f"Expected one set of class folders in {folder}, but found {places[0][0]} and {places[1][0]}.")
    ((place, folders),) = places
    missing = [name for label, name in enumerate(classes) if label not in folders]
    if missing:
        raise UserError(f"Expected a folder of each class in {place}, but {' and '.join(missing)} is missing.")
    return {label: folders[label] for label in range(len(classes))}


def plain(name: str) -> str:
    """A folder's name as `class_places` compares it."""
    return re.sub("[-_ ]", "", name.lower())


def visible(folder: Path) -> list[Path]:
    """What a folder holds, in order of the names, without hidden files and litter."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _LITTER)


def walk(folder: Path, depth: int, skipped: Container[str] = ()) -> Iterator[Path]:
    """A folder and those inside it, without hidden ones and litter; `depth` folders lie on the longest way.

    Args:
        skipped: names of folders, as `plain` has them, that are left out with all that is in them.
    """
    yield folder
    for child in visible(folder) if depth > 1 else ():
        if child.is_dir() and plain(child.name) not in skipped:
            yield from walk(child, depth - 1, skipped)


def all_files(folder: Path) -> list[Path]:
    """Every file below a folder, in order of the paths; linked folders are followed, each once."""
    files, visited = [], set()
    for place, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders.sort()
        files += [path for path in (Path(place) / name for name in names) if path.is_file()]
    return sorted(files)


def find_table(folder: Path, name: str, depth: int = 6) -> Path | None:
    """The table of this name in a folder or one inside it, not in hidden ones; None without any.

    Raises:
        UserError: two that differ: which one is meant, nothing tells.
    """
    tables = [path for place in walk(folder, depth) for path in visible(place) if path.name == name]
    for path in tables:
        check_present(path)
        if not filecmp.cmp(path, tables[0], shallow=False):
            raise UserError(f"Expected one {name} in {folder}, but {tables[0]} and {path} differ: move one away.")
    return tables[0] if tables else None


def is_litter(path: Path) -> bool:
    """Whether a file manager left a file in a folder that was looked into."""
    return path.name.lower() in _LITTER | {".ds_store"} or path.name.startswith("._")


def image_files(place: Path, title: str) -> list[Path]:
    """The image files of a class folder; `title` is the class's name.

    Raises:
        UserError: none, or something else beside them.
    """
    files = visible(place)
    for path in files:
        if path.is_dir() or path.suffix.lower() not in SUFFIXES:
            raise UserError(f"Expected only {', '.join(SUFFIXES)} files in {place}, but found {path}: move it away.")
        check_name(path)
    if not files:
        raise UserError(
            f"Expected images of the class {title} in {place}, but it has none: copy them from the original data set."
        )
    return files


def read_image_case(path: Path, channels: int, row: Row) -> RawImage:
    """The image of a case; the file's own facts come before those of its row."""
    image, facts = read_image(path, channels), {**file_facts(path), **row.facts}
    return RawImage(row.case, row.patient, image, row.label, (path,), facts, kept_levels(path))


def _classes(place: Path, labels: Mapping[str, int]) -> dict[int, Path]:
    """Label -> the innermost of the class folders in a folder, by label."""
    folders: dict[int, Path] = {}
    for child in visible(place):
        label = labels.get(plain(child.name))
        if label is None or not child.is_dir():
            continue
        if label in folders:
            raise UserError(f"Expected one folder of each class, but both {folders[label]} and {child} exist.")
        folders[label] = child
    return {label: _innermost(class_folder) for label, class_folder in sorted(folders.items())}


def _innermost(folder: Path) -> Path:
    """The folder itself, or the one of its name that is all it holds."""
    content = visible(folder)
    doubled = len(content) == 1 and content[0].is_dir() and plain(content[0].name) == plain(folder.name)
    return _innermost(content[0]) if doubled else folder
