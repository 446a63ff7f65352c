"""Tables of a user's: of cases and their patients or parts, and of paths that make a data set by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace
from pathlib import Path

from bench.datasets.base import PARTS, Task
from bench.datasets.own.class_folders import pictures
from bench.datasets.own.items import PART_WORDS, Found, Item
from bench.datasets.readers.files import check_name, check_present
from bench.datasets.readers.metadata import read_table, said, table_columns
from bench.errors import UserError

# What a column of each kind may be called, in small letters; the first is the one that messages name.
PATHS = ("path", "image", "file", "filename", "file name", "image_path", "img", "image_id", "imageid")
CASES = ("case", *PATHS, "name", "id")
LABELS = ("label", "class", "diagnosis", "category", "dx")
MASKS = ("mask", "mask_path", "segmentation", "label_path")
PATIENTS = ("patient", "patient_id", "patientid", "patient id", "subject", "subject_id", "subjectid", "subject id")
PARTS_NAMES = ("part", "split", "set", "subset", "partition")
MOST_SHOWN = 3


def column_of(path: Path, names: Sequence[str]) -> str | None:
    """The table's column that is called one of these names, as the table spells it; None without any."""
    columns = {column.lower(): column for column in reversed(table_columns(path))}
    return next((columns[name] for name in names if name in columns), None)


def is_path_table(path: Path) -> bool:
    """Whether a table names files, and what each shows: its class or its label map."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return False
    try:
        column = column_of(path, PATHS)
        if column is None or column_of(path, (*LABELS, *MASKS)) is None:
            return False
        _file_of(path, read_table(path, (column,))[0][column], {})
    except UserError:
        return False
    return True


def find_table_cases(table: Path, task: Task | None, chosen: dict[str, str]) -> Found:
    """The cases of a table of paths, which lie beside the table or below.

    Args:
        task: where the table has both classes and label maps, which are meant.
        chosen: class -> what the table calls it; {}: all values of its column, in their order.

    Raises:
        UserError: a column that lacks, a row without a path, class or label map, a path that leads elsewhere or to
            nothing, or a case twice.
    """
    columns = {"path": column_of(table, PATHS), "label": column_of(table, LABELS), "mask": column_of(table, MASKS)}
    columns |= {"patient": column_of(table, PATIENTS), "part": column_of(table, PARTS_NAMES)}
    task = task or ("segmentation" if columns["mask"] else "classification")
    shown = "mask" if task == "segmentation" else "label"
    if not columns["path"] or not columns[shown]:
        raise UserError(f"Expected columns path and {shown} in {table}, but it has {', '.join(table_columns(table))}.")
    rows = read_table(table, tuple(column for column in columns.values() if column))
    lines = [{key: row[column] for key, column in columns.items() if column} for row in rows]
    _check_filled(table, lines, "path")
    if not (chosen and shown == "label"):  # rows of other labels, also of none, are left out, and told
        _check_filled(table, lines, shown)
    named = sorted({line[shown] for line in lines}, key=lambda text: (text.isdecimal() and len(text), text))
    classes = (chosen or {name: name for name in named}) if task == "classification" else {}
    label_of = {stands: label for label, stands in enumerate(classes.values())}
    items: dict[str, Item] = {}
    left_out, index = 0, _index(table)
    for line in lines:
        if task == "classification" and line["label"] not in label_of:
            left_out += 1
            continue
        image = _file_of(table, line["path"], index)
        case = image.relative_to(table.parent).with_suffix("").as_posix()
        if case in items:
            raise UserError(f"Expected each image once in {table}, but {case} is there twice.")
        mask = _file_of(table, line["mask"], {}) if task == "segmentation" else None
        label = label_of[line["label"]] if task == "classification" else None
        part = _part(table, line["part"]) if line.get("part") else None
        items[case] = Item(case, image, label, mask, patient=said(line.get("patient", "")) or None, part=part)
    notes = [f"left out: {left_out} rows of other classes"] if left_out else []
    named_files = {path for item in items.values() for path in (item.image, item.mask)}
    unnamed = sorted({path for paths in index.values() for path in paths} - named_files) if not left_out else []
    some = f"{len(unnamed)} image{'s' * (len(unnamed) > 1)}"
    notes += [f"left out: {some} that the table does not name, such as {unnamed[0].name}"] if unnamed else []
    return Found("table", task, tuple(classes), tuple(items.values()), tuple(notes))


def _check_filled(table: Path, lines: Sequence[dict[str, str]], key: str) -> None:
    """Raises UserError where rows of a table of paths have an empty cell; a class may be called `none`."""
    empty = [line for line in lines if line[key].lower() in ("", "nan")]
    if empty:
        first = f"that of {empty[0]['path']}" if empty[0]["path"] else f"the one of {', '.join(empty[0].values())}"
        raise UserError(
            f"Expected a {key} in every row of {table}, but {len(empty)} of {len(lines)} have none, such as {first}: "
            "fill that column, or remove the rows."
        )


def _index(table: Path) -> dict[str, list[Path]]:
    """File name, and name without suffix -> the pictures of that name below the table's folder."""
    index: dict[str, list[Path]] = {}
    for path in pictures(table.parent):
        for name in (path.name, path.stem):
            index.setdefault(name, []).append(path)
    return index


def _file_of(table: Path, text: str, index: dict[str, list[Path]]) -> Path:
    """The file that a row names by its path, or by its name alone where one picture below has it.

    Args:
        index: as `_index` makes it; empty: made where it is needed.
    """
    try:
        return _inside(table, text)
    except UserError:
        found = (index or _index(table)).get(text, [])
        if len(found) > 1:
            raise UserError(
                f"Expected one picture of the name {text!r} in {table}, but there are {found[0]} and {found[1]}."
            ) from None
        if not found:
            raise
        return found[0]


def _inside(table: Path, text: str) -> Path:
    """The file that a row names; it has to lie in the table's folder, so that the two can be moved together."""
    folder = table.parent
    way = os.path.relpath(os.path.abspath(folder / text.replace("\\", "/")), os.path.abspath(folder))
    if way == os.curdir or way.split(os.sep)[0] == os.pardir:  # links inside the folder may lead anywhere
        raise UserError(f"Expected the paths in {table} to lead into {folder}, but got {text!r}: move the table there.")
    path = folder / way
    check_name(path)
    check_present(path)
    return path


def _part(table: Path, text: str) -> str:
    """A part by any of its names, as `valid` for `val`."""
    if text.lower() not in PART_WORDS:
        raise UserError(f"Expected {', '.join(PARTS)} as the part of a case in {table}, but got {text!r}.")
    return PART_WORDS[text.lower()]


# -- patients and parts beside what was found -----------------------------------------------------------------


def names_cases_and_patients(table: Path) -> bool:
    """Whether a table says whose the cases are, whatever else it is for."""
    return column_of(table, CASES) is not None and column_of(table, PATIENTS) is not None


def with_patients(items: Sequence[Item], table: Path) -> list[Item]:
    """The cases with the patients that a table names.

    Raises:
        UserError: a column that lacks, a case without a row, or with two that differ, or names that no case has.
    """
    patients = _column(table, CASES, PATIENTS, "patient")
    found = _of_cases(items, patients, table, "patient")
    missing = [item.case for i, item in enumerate(items) if not found.get(i)]
    if missing:
        raise UserError(
            f"Expected a patient of every case in {table}, but {len(missing)} of {len(items)} have none "
            f"({_few(missing)})."
        )
    return [replace(item, patient=found[i]) for i, item in enumerate(items)]


def with_parts(items: Sequence[Item], table: Path) -> list[Item]:
    """The cases with the parts that a table names, by case or by patient; those that it does not name have none.

    Raises:
        UserError: a column that lacks, a case with two parts, a word that is no part, or names that no case has.
    """
    by_case = column_of(table, CASES) is not None
    parts = _column(table, CASES if by_case else PATIENTS, PARTS_NAMES, "part")
    parts = {name: _part(table, word) if word else "" for name, word in parts.items()}
    if by_case:
        known = _of_cases(items, parts, table, "part")
        return [replace(item, part=known.get(i) or None) for i, item in enumerate(items)]
    patients = {item.patient for item in items}
    _check_known(table, parts, [name for name in parts if name not in patients], "patients", items[0].patient)
    return [replace(item, part=parts.get(item.patient or "") or None) for item in items]


def _check_known(table: Path, named: Sized, unknown: Sequence[str], what: str, like: str | None) -> None:
    """Raises UserError where a table names cases or patients that there are not."""
    if unknown:
        raise UserError(
            f"Expected {table} to name {what} of the data set, but {len(unknown)} of {len(named)} are none "
            f"({_few(unknown)}): {what} are named like {like!r}; remove the rows of others."
        )


def _column(table: Path, keys: Sequence[str], values: Sequence[str], what: str) -> dict[str, str]:
    key, value = column_of(table, keys), column_of(table, values)
    if key is None or value is None:
        raise UserError(
            f"Expected columns {keys[0]} and {values[0]} in {table}, but it has {', '.join(table_columns(table))}."
        )
    found: dict[str, str] = {}
    for row in read_table(table, (key, value)):
        text = said(row[value]) if what == "patient" else row[value]
        if found.setdefault(row[key], text) != text:
            both = f"{found[row[key]] or 'none'} and {text or 'none'}"
            raise UserError(f"Expected one {what} of {row[key]} in {table}, but it has {both}.")
    return found


def _of_cases(items: Sequence[Item], values: dict[str, str], table: Path, what: str) -> dict[int, str]:
    """Which item -> what a table says of it, by any of the case's names.

    Raises:
        UserError: a case that stands under two names with different values, or names that no case has.
    """
    names = _names_of(items)
    _check_known(table, values, [name for name in values if _plain(name) not in names], "cases", items[0].case)
    found: dict[int, tuple[str, str]] = {}
    for name, value in values.items():
        i = names[_plain(name)]
        earlier, of_earlier = found.setdefault(i, (name, value))
        if of_earlier != value:
            raise UserError(
                f"Expected one {what} of {items[i].case} in {table}, but it has {of_earlier or 'none'} as {earlier!r} "
                f"and {value or 'none'} as {name!r}: remove the wrong row."
            )
    return {i: value for i, (_, value) in found.items()}


def _names_of(items: Sequence[Item]) -> dict[str, int]:
    """Every name that a table may give a case, as far as only one case has it: its own, its file's, with their ends."""
    spellings: tuple[Callable[[Item], str], ...] = (
        lambda item: item.case,
        lambda item: f"{item.case}{item.image.suffix}",
        lambda item: item.image.name,
        lambda item: Path(item.case).name,
        lambda item: item.image.name.partition(".")[0],
    )
    names: dict[str, int] = {}
    for spelling in spellings:
        of_spelling: dict[str, list[int]] = {}
        for i, item in enumerate(items):
            of_spelling.setdefault(_plain(spelling(item)), []).append(i)
        names |= {name: i[0] for name, i in of_spelling.items() if len(i) == 1 and name not in names}
    return names


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").strip()


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:MOST_SHOWN]) + (", ..." if len(listed) > MOST_SHOWN else "")
