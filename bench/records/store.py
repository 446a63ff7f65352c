"""Results on disk: a cell's record is written once and last; all results are a view of those files.

    <results>/units/<dataset>-<fingerprint>.json   which cases count as one in an interval
    <results>/titles.json                          what tables call models, where a user said so
    <results>/runs/<dataset>/<model>/<seed>-<key>/
        cell.json            first: what the cell is
        sources/             of a third party's model: its own code, from which it can be built again
        history.csv          one row per validation round
        checkpoint.pt        while the cell is unfinished
        cases.csv            one row per part, weights, case and class, with the task's columns; or cases.csv.xz
        weights.safetensors  the weights with the best validation score
        predictions.npz      what these predict of the test part (`bench.records.predicted`), unless told not to
        record.json          last, renamed into place: the cell is finished

Phantom cells live under `<results>/runs/phantom/`. A folder of records without weights (`results/example/records`)
has the same layout; where `<results>/records/` lies beside `runs/`, both are read.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from bench.errors import UserError
from bench.records.case_rows import CASE_COLUMNS, SCORE_COLUMNS, parse_cases
from bench.records.damage import CRLF, STATUSES, Damaged, check_record, read_cases_of, read_json
from bench.records.filenames import file_name
from bench.records.garbage import no_collection
from bench.records.leases import NAME, Lease, hold
from bench.records.one_rate import one_rate_each
from bench.records.packed import cases_file
from bench.records.places import RECORDS, RUNS, cell_folder, find_records, linked_folders
from bench.records.rows import COLUMNS, key_of, record_rows, task_of
from bench.records.scores import fold_cases, odd_scores, tested_as, tested_otherwise
from bench.records.titles import retitled
from bench.records.together import groups_of, read_together

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
LARGEST_SOURCES = 2**21  # bytes of a model's own code that are copied beside a record


def check_writable(results: Path) -> None:
    """Raises UserError when the results folder cannot be made or written to."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results) as probe:
            probe.write(b"0" * 4096)
    except OSError as error:
        raise UserError(
            f"Cannot write to the results folder {results}: {error.strerror}. Name another with --results DIR."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes beside and renames into place, so that no reader ever sees half a file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    with written(path) as file:
        file.write(data)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A new file, which is renamed to its place when all is in it; after an error nothing of it stays."""
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")  # one id on two machines
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Canonical, readable JSON; NaN is an error here, never in a reader."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_sources(folder: Path, sources: Mapping[str, bytes]) -> None:
    """Writes a model's own code below `sources`, if it is not large."""
    if sum(map(len, sources.values())) > LARGEST_SOURCES:
        return
    for name, content in sources.items():
        path = folder / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV with these columns; floats by their shortest exact text, None as a blank."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def units_path(results: str | Path, dataset: str, fingerprint: str) -> Path:
    """Where the table of `bench.datasets.splits.unit_table` lies; `dataset` as results call it."""
    return Path(results) / "units" / f"{file_name(f'{dataset}-{fingerprint}')}.json"


def write_units(results: str | Path, table: dict[str, Any]) -> Path:
    """Writes a table of units, unless it is there."""
    path = units_path(results, table["dataset"], table["fingerprint"])
    if not path.is_file() or path.read_bytes() != as_json(table).encode():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, table)
    return path


def read_units(results: str | Path, dataset: str, fingerprint: str) -> dict[str, Any] | None:
    """A table of units, or None where none was written. Raises Damaged for one that cannot be read."""
    path = units_path(results, dataset, fingerprint)
    return _read_units(path) if path.exists() else None


def _read_units(path: Path) -> dict[str, Any]:
    table = read_json(path)
    try:
        return {"unit": str(table["unit"]), "cases": dict(table["cases"])}
    except (KeyError, TypeError, ValueError):
        raise Damaged(path, "is no table of units: `medbench run` and `medbench data units` write it anew.") from None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a cell's folder, or None when the cell is unfinished.

    Raises:
        Damaged: the file cannot be read, or is no record of this schema.
    """
    path = folder / "record.json"
    try:
        record = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    check_record(path, record, SCHEMA)
    if record["key"] != key_of(record):
        raise Damaged(path, "holds a cell that is not the one of its key: it was changed by hand.")
    return record


def is_done(folder: Path) -> bool:
    """Whether a cell needs no more work: complete, or diverged, which it would be again.

    Raises:
        UserError: its record is damaged, and nobody asked to run the cell anew.
    """
    try:
        record = read_record(folder)
    except Damaged as error:
        raise UserError(
            f"{error} To run its cell anew in its place: the same command with --force, for this model and seed alone."
        ) from None
    if record is None or record["status"] in ("failed", "pruned"):
        return False
    unscored = record["metrics"] is None  # diverged, or a trial
    return unscored or cases_file(folder).exists()


def place_of(results: Path, cell: Mapping[str, Any], model_name: str) -> Path:
    """Where a cell is to be run: `cell_folder`, or below `records` where it is done, or was begun, there alone.

    So an archive that was unpacked is gone on with, and none of its cells is run a second time.
    """
    folder = cell_folder(results, cell, model_name)
    archived = results / RECORDS / folder.relative_to(results / RUNS)
    if archived.is_dir() and not _is_surely_done(folder):
        return archived if _is_surely_done(archived) or (archived / "checkpoint.pt").exists() else folder
    return folder


def _is_surely_done(folder: Path) -> bool:
    """As `is_done`; a damaged record is none."""
    try:
        return is_done(folder)
    except UserError:
        return False


@contextmanager
def lock(folder: Path, wait: bool) -> Iterator[Lease | None]:
    """Holds a cell's lease; yields None when another process has it and `wait` is off. A kill ends it."""
    with hold(folder / NAME, wait) as lease:
        if lease:
            for leftover in folder.glob("*.tmp-*"):  # of a killed process
                if not leftover.name.startswith(NAME):
                    leftover.unlink(missing_ok=True)
        yield lease


class Found(NamedTuple):
    """What a folder of results holds: each cell once, with its folder; and what was left out or mended, in lines."""

    records: list[tuple[Path, dict[str, Any]]]
    notes: tuple[str, ...]


def read_records(results: str | Path) -> Found:
    """The records below a folder (`find_records`), each cell's once: of copies a complete one, and one with weights.

    A record that is damaged, or whose cases.csv is, is left out and named in the notes; so is one that was tested on
    other cases than those of its comparison.
    """
    return _read_results(results)[0]


def _read_results(results: str | Path) -> tuple[Found, list[pd.DataFrame]]:
    """The records as `read_records` gives them, and the rows of their cases.csv, with the cell's `key`."""
    found: list[tuple[Path, dict[str, Any]]] = []
    contents: dict[Path, bytes] = {}
    faults: dict[Path, str] = {}
    mended = 0
    for folder in find_records(Path(results)):
        try:
            record = read_record(folder)
            if record is None:
                continue
            if _has_cases(record):
                contents[folder], taken_back = read_cases_of(folder, record["cases_sha256"])
                mended += taken_back
        except Damaged as error:
            faults[folder] = str(error)
        else:
            found.append((folder, record))
    scored = [(folder, record) for folder, record in found if folder in contents]
    rows, tested = _all_rows(scored, contents, faults)
    by_key: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder, record in found:
        if folder not in faults:
            by_key.setdefault(record["key"], []).append((folder, record))
    left_out = [f"Left out: {faults[folder]}" for folder in sorted(faults)]
    if mended:
        left_out.append(f"{mended} cases.csv have {CRLF}; with their own taken back they are what was written.")
    records = [min(copies, key=_standing) if len(copies) > 1 else copies[0] for copies in by_key.values()]
    folds = {n: record["key"] for n, (_, record) in enumerate(scored) if record["cell"]["fold"] is not None}
    compared = ((record, tested[folder]) for folder, record in records if folder in tested)
    strange = tested_otherwise(compared, fold_cases(rows, folds))
    kept = [(folder, record) for folder, record in records if record["key"] not in strange]
    kept, superseded = one_rate_each(kept)
    left_out += superseded
    links = linked_folders(Path(results))
    left_out += [f"Left out: {path} is a link, and cells behind links are not read: move them here." for path in links]
    places = {record["key"]: cases_file(folder) for folder, record in records}
    left_out += [f"Left out: {places[key]} {why}: move its folder away." for key, why in strange.items()]
    numbers = {folder: number for number, (folder, _) in enumerate(scored)}
    wanted = {numbers[folder] for folder, _ in kept if folder in numbers}
    return Found(kept, tuple(left_out)), [_of_cells(part, wanted, scored) for part in rows]


def _all_rows(
    scored: Sequence[tuple[Path, dict[str, Any]]], contents: Mapping[Path, bytes], faults: dict[Path, str]
) -> tuple[list[pd.DataFrame], dict[Path, int]]:
    """The rows of all cells, with `cell`, their number, and what each was tested on; `faults` gets what is damaged."""
    rows, tested = list[Any](), dict[Path, int]()
    for numbers in groups_of([record for _, record in scored], [contents[folder] for folder, _ in scored]):
        records, texts = [scored[n][1] for n in numbers], [contents[scored[n][0]] for n in numbers]
        together = read_together(records, texts, parse_cases, SCORE_COLUMNS[task_of(records[0])])
        plain = [] if together is None else together.plain.tolist()
        if together is not None:
            part = together.rows.assign(cell=np.repeat(numbers, together.counts))
            rows.append(part if all(plain) else part[np.repeat(together.plain, together.counts)])
            tested |= {scored[n][0]: int(t) for n, t, ok in zip(numbers, together.tested_as, plain, strict=True) if ok}
        for n, text in zip(numbers, texts, strict=True):
            folder, record = scored[n]
            if folder not in tested:
                try:
                    alone = _checked_cases(folder, record, text)
                except Damaged as error:
                    faults[folder] = str(error)
                else:
                    rows.append(alone.assign(cell=n))
                    tested[folder] = tested_as(alone)
    return rows, tested


def _of_cells(
    rows: pd.DataFrame, wanted: Collection[int], scored: Sequence[tuple[Path, dict[str, Any]]]
) -> pd.DataFrame:
    """The rows of some cells, with their keys in the place of their numbers."""
    numbers = rows["cell"].unique().tolist()
    if not set(numbers) <= {*wanted}:
        rows = rows[rows["cell"].isin(list(wanted))]
    return rows.assign(key=rows["cell"].map({n: scored[n][1]["key"] for n in numbers})).drop(columns="cell")


def _has_cases(record: dict[str, Any]) -> bool:
    return record["status"] == "complete" and record["metrics"] is not None


def _standing(copy: tuple[Path, dict[str, Any]]) -> tuple[int, bool, Path]:
    """What a copy of a cell comes before others by."""
    folder, record = copy
    return STATUSES.index(record["status"]), not (folder / "weights.safetensors").is_file(), folder


def load_cells(results: str | Path) -> pd.DataFrame:
    """One row per finished, failed or diverged cell; of copies one. What was left out stands in `.attrs["notes"]`.

    Columns: those of `bench.records.rows.COLUMNS`, also where there is no cell.
    """
    return load_cells_and_cases(results)[0]


def load_cells_and_cases(results: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `load_cells` and `load_cases` give, each file read once."""
    import pandas as pd

    if not Path(results).is_dir():
        raise UserError(
            f"No results folder {str(results)!r}. Run `medbench run` first, or name one with --results DIR."
        )
    with no_collection():
        found, frames = _read_results(results)
        rows_of_cells = pd.DataFrame(record_rows(found.records), columns=COLUMNS)
    cells, notes_on_titles = retitled(rows_of_cells, Path(results))
    cells.attrs["notes"] = (*found.notes, *notes_on_titles, *_unit_notes(Path(results)))
    columns = list(dict.fromkeys((*CASE_COLUMNS["segmentation"], *CASE_COLUMNS["classification"], "key")))
    rows = pd.concat(frames, ignore_index=True).reindex(columns=columns) if frames else pd.DataFrame(columns=columns)
    return cells, rows


def _unit_notes(results: Path) -> list[str]:
    """The tables of units that cannot be read: intervals take patients in their place."""
    notes = []
    for path in sorted((results / "units").glob("*.json")):
        try:
            _read_units(path)
        except Damaged as error:
            notes.append(f"Left out: {error} Intervals take each case's patient in its place.")
    return notes


def load_cases(results: str | Path) -> pd.DataFrame:
    """All cells' cases: the columns of cases.csv and the cell's key; those that a task lacks are nan in its rows."""
    return load_cells_and_cases(results)[1]


def read_cases(folder: Path, record: dict[str, Any]) -> pd.DataFrame | None:
    """The rows of a cell's cases.csv, not to be changed; None where it keeps none. Raises Damaged as `read_record`."""
    return None if record["cases_sha256"] is None else _cases_of(folder, record)[0]


def _cases_of(folder: Path, record: dict[str, Any]) -> tuple[pd.DataFrame, bool]:
    """The rows of a cell's cases.csv, and whether other line endings were taken back.

    Raises:
        Damaged: the file is not the one that the record was written with, or holds no rows of its task.
    """
    content, mended = read_cases_of(folder, record["cases_sha256"])
    return _checked_cases(folder, record, content), mended


def _checked_cases(folder: Path, record: dict[str, Any], content: bytes) -> pd.DataFrame:
    """The rows of a cases.csv. Raises Damaged where it holds none of its task, or a score that cannot be."""
    path = cases_file(folder)
    try:
        rows = _read_cases(content, task_of(record))
    except (KeyError, ValueError, TypeError) as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise Damaged(path, f"holds no rows of {task_of(record)} ({line}).") from None
    if odd := odd_scores(rows, record, SCORE_COLUMNS[task_of(record)]):
        raise Damaged(path, f"{odd}: it was changed by hand, or written by another version.")
    return rows


@lru_cache(maxsize=1024)
def _read_cases(content: bytes, task: str) -> pd.DataFrame:
    """As `parse_cases`; a search reads the same files again and again."""
    return parse_cases(content, task)
