"""What a user's folder or file is, by its structure alone: nothing is asked, and what is ambiguous is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from bench.datasets.base import Task
from bench.datasets.own import class_folders, image_masks, npz_archives, pairing, tables
from bench.datasets.own.class_folders import Classes
from bench.datasets.own.description import Description, check_pattern, patient_of
from bench.datasets.own.items import Found, Item
from bench.datasets.own.left_over import LAYOUTS, left_over
from bench.datasets.readers.folders import plain, visible
from bench.datasets.readers.metadata import table_columns
from bench.errors import UserError, printable

KNOWN = (
    "a folder of images for each class; images/ and masks/; nnU-Net's imagesTr, labelsTr and dataset.json; an .npz of "
    "MedMNIST or MedSegBench; a .csv of path and label (or mask), with patient and part where they are known"
)


def recognise(source: Path, description: Description) -> Found:
    """The cases of a folder, archive or table, with what the description's tables and pattern say of them.

    Args:
        source: a folder, or the one .npz or .csv that holds or names everything.

    Raises:
        UserError: none of the known structures, another task than the description's, a table that does not fit, or
            names that are no printable UTF-8.
    """
    layout = description.layout or _layout(source, description)
    found = _FINDERS[layout](source, description)
    if description.task and found.task != description.task:
        raise UserError(
            f"Expected {source} to hold what a {description.task} needs, but it is {_words(found)}, a {found.task}: "
            f"leave out --task, or give another folder."
        )
    if not found.items:
        raise UserError(f"Found no images in {source}.")
    items = _with_patients(found.items, description)
    if description.split:
        items = tables.with_parts(items, Path(description.split))
    _check_names(source, found.classes, items)
    items = with_distinct_patients(items)
    notes = left_over(source, found) if found.layout in LAYOUTS else []
    return replace(found, items=tuple(items), notes=tuple(map(printable, (*found.notes, *notes))))


def _check_names(source: Path, classes: Sequence[str], items: Sequence[Item]) -> None:
    """Raises UserError for a way to a file, a class or a patient that cannot stand in a table: it is no text."""
    for item in items:
        for path in filter(None, (item.image, item.mask, *item.more_masks)):
            way = str(path.relative_to(source)) if path.is_relative_to(source) else str(path)
            if printable(way) != way:
                raise UserError(f"Expected names of printable UTF-8, but found {path}: rename it.")
    for what, names in (("classes", classes), ("patients", [item.patient or "" for item in items])):
        for name in names:
            if printable(name) != name:
                raise UserError(f"Expected names of {what} in printable UTF-8, but found {printable(name)}: rename it.")


def with_distinct_patients(items: Sequence[Item]) -> list[Item]:
    """The cases, with patients whose id is a case's own name called `patient ID`.

    A patient of a case's own name would else stand for one that is unknown (`base.Case.patient`), and be one with
    the unknown patient of the case that is called so.
    """
    patients = {item.patient for item in items if item.patient}
    own = {item.case for item in items if item.patient in (None, item.case)}
    taken = patients | {item.case for item in items}
    named: dict[str, str] = {}
    for patient in sorted(patients & own):
        name = f"patient {patient}"
        while name in taken:
            name = f"patient {name}"
        named[patient] = name
        taken.add(name)
    return [replace(item, patient=named.get(item.patient or "", item.patient)) for item in items]


def _words(found: Found) -> str:
    from bench.datasets.own.description import LAYOUTS

    return LAYOUTS[found.layout]


def _layout(source: Path, description: Description) -> str:
    """The layout of a source by its structure; that of label maps before class folders, which `images/` looks like."""
    if source.is_file():
        suffix = source.suffix.lower()
        if suffix == ".npz":
            return "npz"
        if suffix in (".csv", ".tsv"):
            return "table"
        raise UserError(f"Expected a folder, .zip, .npz or .csv, but {source} is none. Known: {KNOWN}.")
    if not source.is_dir():
        raise UserError(f"Expected a folder, .zip, .npz or .csv, but {source} does not exist.")
    if image_masks.find_nnunet(source):
        return "nnunet"
    if _only(source, tables.is_path_table):
        return "table"
    if _only(source, npz_archives.is_archive):
        return "npz"
    if description.task != "classification" and image_masks.has_pairs(source):
        return "images-masks"
    classes = class_folders.class_folders(source, _chosen(description).values())
    if classes:
        _reject_maps(source, classes, description)
        return "class-folders"
    if image_masks.find_pairs(source, ()).items:  # raises the line of what cannot be paired
        return "images-masks"
    raise UserError(f"Found nothing that is known in {source}{_of_tables(source)}. Known: {KNOWN}.")


def _reject_maps(source: Path, classes: Classes, description: Description) -> None:
    """Raises UserError where what looks like class folders are images and label maps that cannot be told apart."""
    if description.task == "classification":
        return
    maps = [name for name in classes if plain(name) in image_masks.MASK_FOLDERS]
    if maps:
        listed = ", ".join(sorted(classes))
        raise UserError(
            f"Expected a folder of images beside the label maps in {source / maps[0]}, but got {listed}: "
            "name it images, or pass --task classification where these are classes."
        )
    everywhere = [(name, place) for name, places in classes.items() for _, place in places]
    for name, images in everywhere:
        beside = [place for _, place in everywhere if place.parent == images.parent and place != images]
        beside = beside if plain(name) in image_masks.IMAGE_FOLDERS else []
        for place in beside:
            if pairing.pair_by_name(images, place):
                raise UserError(
                    f"Expected a folder of label maps to be called masks, but {place} is not, and its files are named "
                    f"as those in {images}: rename it, or pass --task classification where these are classes."
                )


def _of_tables(source: Path) -> str:
    """What the first table of a folder has, for the line that says that nothing is known in it."""
    found = next((path for path in visible(source) if path.suffix.lower() in (".csv", ".tsv") and path.is_file()), None)
    return f" ({found.name} has the columns {', '.join(table_columns(found)[:8])})" if found else ""


def _only(folder: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The only file of a folder that fits, or None."""
    files = [path for path in visible(folder) if path.is_file() and fits(path)]
    return files[0] if len(files) == 1 else None


def _chosen(description: Description) -> dict[str, str]:
    """Class -> what stands for it, where the description names classes; else {}."""
    values: Mapping[str, str] = description.values or {}
    return {name: values.get(name, name) for name in description.classes}


def _npz(source: Path, description: Description) -> Found:
    archive = source if source.is_file() else _only(source, npz_archives.is_archive)
    if archive is None:
        raise UserError(f"Expected one .npz with images of parts in {source}.")
    return npz_archives.find_archive_cases(archive, description.classes)


def _table(source: Path, description: Description) -> Found:
    table = source if source.is_file() else _only(source, tables.is_path_table)
    if table is None:
        raise UserError(f"Expected one .csv of paths in {source}, with columns path and label (or mask).")
    return tables.find_table_cases(table, cast(Task | None, description.task or None), _chosen(description))


_FINDERS: dict[str, Callable[[Path, Description], Found]] = {
    "class-folders": lambda source, description: class_folders.find_class_folders(source, _chosen(description)),
    "images-masks": lambda source, description: image_masks.find_pairs(source, description.classes),
    "nnunet": lambda source, description: image_masks.find_nnunet_cases(source),
    "npz": _npz,
    "table": _table,
}


def _with_patients(items: tuple[Item, ...], description: Description) -> list[Item]:
    """The cases with their patients: by the user's table of them or of parts, or by the pattern on the cases' names."""
    if description.patients:
        return tables.with_patients(items, Path(description.patients))
    if not description.patient_pattern:
        names_both = description.split and tables.names_cases_and_patients(Path(description.split))
        return tables.with_patients(items, Path(description.split)) if names_both else _all_or_none(items, description)
    pattern = check_pattern(description.patient_pattern)
    found = [patient_of(pattern, item.case) for item in items]
    missing = [item.case for item, patient in zip(items, found, strict=True) if not patient]
    if missing:
        raise UserError(
            f"Expected the pattern {description.patient_pattern!r} to find a patient in every name, but not in "
            f"{len(missing)} of {len(items)}, such as {missing[0]!r}."
        )
    return [replace(item, patient=patient) for item, patient in zip(items, found, strict=True)]


def _all_or_none(items: tuple[Item, ...], description: Description) -> list[Item]:
    """The cases as they are; raises UserError where the data's own table leaves some without a patient."""
    without = [item.case for item in items if item.patient is None]
    if 0 < len(without) < len(items):
        raise UserError(
            f"Expected a patient of every case in {description.source}, or of none, but {len(without)} of {len(items)} "
            f"have none, such as {without[0]!r}: fill that column, or pass --patients or --patient-pattern."
        )
    return list(items)
