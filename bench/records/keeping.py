"""Order in a results folder: what lies there, what is taken away, what comes in from another one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records import store
from bench.records.choice import ALL, UNFINISHED, Choice
from bench.records.damage import STATUSES, Damaged, read_json
from bench.records.keys import cell_key, dataset_label
from bench.records.leases import NAME
from bench.records.packed import cases_file
from bench.records.places import MERGING, RECORDS, RUNS, bases, find_cells
from bench.records.rows import COLUMNS, record_row

if TYPE_CHECKING:
    import pandas as pd

DAY = 86_400.0  # seconds
WEIGHTS = ("weights.safetensors", "average.safetensors")
BESIDE = ("units", "audits", "profiles")  # what tables take beside records


@dataclass(frozen=True)
class Merged:
    """What a merge did: keys of cells by what became of them, and lines on what was left or left out.

    Attributes:
        copied: came in. replaced: took the place of one that had failed or was not finished. kept: were there.
        left: could not come in, since their place is being run, not finished, or a link.
    """

    copied: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...]


def kept_cells(
    results: Path, choice: Choice = ALL, older: float | None = None, newer: float | None = None
) -> pd.DataFrame:
    """The cells of a folder that are meant, finished or not: the columns of `load_cells`, and of the files.

    `folder`; `age`, days since the last of its files was written; `bytes`; `has_weights`. What was left out stands in
    `.attrs["notes"]`.

    Args:
        older, newer: than so many days.

    Raises:
        UserError: no such folder, or no cell that is meant.
    """
    import pandas as pd

    check_folder(results)
    found = store.read_records(results)
    rows = [{**record_row(record), **_files_of(folder)} for folder, record in found.records]
    rows += [row for folder in _unfinished(results) if (row := _begun_row(folder)) is not None]
    cells = pd.DataFrame(rows, columns=[*COLUMNS, "age", "bytes", "has_weights"])
    cells = choice.of(cells)
    if older is not None:
        cells = cells[cells["age"] > older]
    if newer is not None:
        cells = cells[cells["age"] < newer]
    cells = cells.sort_values(["dataset", "preset", "split", "model", "seed"], kind="stable").reset_index(drop=True)
    cells.attrs["notes"] = found.notes
    return cells


def check_folder(results: Path) -> None:
    """Raises UserError where there is no such folder."""
    if not results.is_dir():
        raise UserError(f"No results folder {str(results)!r}. Name one with --results DIR.")


def _files_of(folder: Path) -> dict[str, Any]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    stats = [path.stat() for path in files]
    last = max((stat.st_mtime for stat in stats), default=0.0)
    weights = any((folder / name).is_file() for name in WEIGHTS)
    return {
        "folder": folder,
        "age": (time.time() - last) / DAY,
        "bytes": sum(stat.st_size for stat in stats),
        "has_weights": weights,
    }


def _unfinished(results: Path) -> list[Path]:
    """The folders of cells that were begun and have no record."""
    return [folder for folder in find_cells(results, "cell.json") if not (folder / "record.json").exists()]


def _begun_row(folder: Path) -> dict[str, Any] | None:
    """What is known of a cell without a record; None where its file says nothing."""
    try:
        cell = read_json(folder / "cell.json")
        known = {"dataset": dataset_label(cell["dataset"], cell["source"]), "source": cell["source"]["kind"]}
        known |= {"key": cell_key(cell), "split": cell["split"], "seed": cell["seed"], "fold": cell["fold"]}
        model = {"model": folder.parent.name, "version": cell["model"]["version"], "family": ""}
    except (Damaged, OSError, KeyError, TypeError):
        return None
    return {**known, **model, "status": UNFINISHED, "preset": "", **_files_of(folder)}


def folders_of(results: Path, cells: pd.DataFrame) -> list[Path]:
    """All folders of these cells: of a cell that was copied, every copy that ended in the same way."""
    ended, folders = set(zip(cells["key"], cells["status"], strict=True)), list(cells["folder"])
    for folder in store.find_records(results):
        try:
            record = store.read_record(folder)
        except Damaged:
            continue
        if record is not None and (record["key"], record["status"]) in ended and folder not in folders:
            folders.append(folder)
    return folders


def remove_folders(results: Path, folders: Iterable[Path]) -> tuple[list[Path], list[str], list[str]]:
    """Deletes cells' folders and what is left empty above them.

    Links are not followed: a folder that is one, or lies behind one, is left.

    Returns:
        What was deleted; lines on what is left, which is running or linked; lines on what the system did not let go.
    """
    removed, notes, faults = list[Path](), list[str](), list[str]()
    home = results.resolve()
    for folder in folders:
        if folder.is_symlink() or not folder.resolve().is_relative_to(home):
            notes.append(f"Left: {folder} is, or lies behind, a link out of {results}.")
            continue
        if not folder.is_dir():
            notes.append(f"{folder} is gone: another process deleted or moved it.")
            continue
        try:
            with store.lock(folder, wait=False) as held:
                if not held:
                    notes.append(f"Left: {folder} is being run, or deleted, by another process.")
                    continue
                shutil.rmtree(folder)
        except OSError as error:
            faults.append(f"Left: {folder}, or a part of it, cannot be deleted: {error.strerror}.")
            continue
        removed.append(folder)
        _remove_empty(folder, home)
    return removed, notes, faults


def _remove_empty(folder: Path, home: Path) -> None:
    """Deletes the empty folders above one that was deleted, up to the results folder."""
    with suppress(OSError):  # another process writes there, or has deleted it
        for above in folder.parents:
            if above.resolve() == home:
                break
            above.rmdir()


def merge_results(results: Path, others: Sequence[Path]) -> Merged:
    """Takes whole cells from other folders: those that are not here, and better ones in a failed one's place.

    What is there already, and complete, is never touched; nor is what a process is running. The place of a cell that is
    not finished is taken by a complete one alone. Damaged records of the others are left out and named. Their units,
    audits and profiles come too where there is none here.

    Raises:
        UserError: another folder that is not there or holds no record.
    """
    for other in others:
        check_folder(other)
        if other.resolve() == results.resolve():
            raise UserError(f"{other} is the folder to merge into: name another one.")
    store.check_writable(results)
    here = {record["key"]: (folder, record) for folder, record in store.read_records(results).records}
    became: dict[str, list[str]] = {"copied": [], "replaced": [], "kept": [], "left": []}
    notes, lines = list[str](), list[str]()
    for other in others:
        found = store.read_records(other)
        notes += found.notes
        if not found.records:
            raise UserError(f"No records in {str(other)!r}: nothing to merge.{' ' + notes[-1] if notes else ''}")
        for folder, record in found.records:
            key, own = record["key"], here.get(record["key"])
            if own is not None and _rank(own[1]) <= _rank(record):
                became["kept"].append(key)
                continue
            links = [path for path in sorted(folder.rglob("*")) if path.is_symlink()]
            notes += [f"Left out: {path} is a link, and what it leads to is no part of a cell." for path in links]
            if {folder / "record.json", cases_file(folder)} & {*links}:
                continue
            target = own[0] if own is not None else _place(results, record)
            what, line = _take_cell(folder, record, target)
            became[what].append(key)
            lines += [line] if line else []
            if what in ("copied", "replaced"):
                here[key] = (target, record)
        _copy_beside(other, results)
    return Merged(**{what: tuple(dict.fromkeys(keys)) for what, keys in became.items()}, notes=(*lines, *notes))


def _take_cell(folder: Path, record: dict[str, Any], target: Path) -> tuple[str, str]:
    """Copies a cell to its place under that place's lease; what became of it, and a line where it is left."""
    if target.is_symlink():
        return "left", f"Left: {target} is a link."
    try:
        with store.lock(target, wait=False) as held:
            if not held:
                return "left", f"Left: {target} is being run by another process."
            try:
                own = store.read_record(target)
            except Damaged:
                own = None
            if own is not None and _rank(own) <= _rank(record):  # ended since, or left out of tables
                return "kept", ""
            is_begun = any((target / name).exists() for name in ("cell.json", "checkpoint.pt", "record.json"))
            if own is None and is_begun and record["status"] != "complete":
                why = f"is not finished, and a {record['status']} cell ({folder}) does not take its place."
                return "left", f"Left: {target} {why}"
            _copy_cell(folder, target)
            return "replaced" if is_begun else "copied", ""
    finally:
        with suppress(OSError):  # it holds something, but for a copy that failed
            target.rmdir()


def _rank(record: dict[str, Any]) -> int:
    return STATUSES.index(record["status"])


def _place(results: Path, record: dict[str, Any]) -> Path:
    """Where a cell belongs: below `runs`, or below `records` in a folder that has these alone."""
    folder = store.place_of(results, record["cell"], record["model"]["name"])
    if bases(results) == [results / RECORDS] and folder.is_relative_to(results / RUNS):
        return results / RECORDS / folder.relative_to(results / RUNS)
    return folder


def _copy_cell(folder: Path, target: Path) -> None:
    """Copies a cell's files beside their place, then moves them in, the record last; then what the old cell had goes.

    The place is there at any time, with the lease in it: stopped anywhere, it holds the old cell's checkpoint still, or
    the whole new cell.
    """
    beside = target.with_name(f".{target.name}{MERGING}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        shutil.copytree(folder, beside, ignore=_no_part_of_a_cell)
        paths = sorted(beside.iterdir(), key=lambda path: path.name == "record.json")
        for path in paths:
            there = target / path.name
            if path.is_dir() or there.is_dir():
                _remove(there)
            path.replace(there)
        names = {path.name for path in paths}
        for path in list(target.iterdir()):
            if path.name not in names and not path.name.startswith(NAME):
                _remove(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _no_part_of_a_cell(folder: str, names: list[str]) -> set[str]:
    """Checkpoints, leases and half files; and links, pipes and devices: what they lead to is no result."""
    paths = [Path(folder, name) for name in names]
    odd = {path.name for path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())}
    return odd | shutil.ignore_patterns("checkpoint.pt*", ".lock", f"{NAME}*", "*.tmp-*")(folder, names)


def files_beside(results: Path) -> list[Path]:
    """The files below a results folder that tables take beside records: units, audits, profiles; no links."""
    found = [path for name in BESIDE for path in sorted((results / name).rglob("*.json"))]
    return [
        path for path in found if path.is_file() and path.resolve() == results.resolve() / path.relative_to(results)
    ]


def _copy_beside(other: Path, results: Path) -> None:
    for path in files_beside(other):
        target = results / path.relative_to(other)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            store.write_bytes(target, path.read_bytes())
