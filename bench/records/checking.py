"""What of a results folder is damaged: every file of every cell is opened, also of those that choose something."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.records import store
from bench.records.damage import Damaged, read_json
from bench.records.filenames import DEVELOPMENT, TUNING
from bench.records.histories import check_history
from bench.records.keeping import WEIGHTS, check_folder
from bench.records.places import find_records
from bench.records.predicted import read_predictions
from bench.records.profiles import load_profiles


def damage_in(results: Path) -> tuple[int, list[str]]:
    """How many cells are whole, and what is not, a line each: files of cells, units, profiles.

    Hashes are computed anew, keys too; of weights, which have none, the file must be as long as its header says;
    histories and predictions are read to their end. The cells of `tuning` and `development` below the folder count too.
    """
    check_folder(results)
    cells = store.load_cells(results)
    notes = [*cells.attrs["notes"], *load_profiles(results).attrs["notes"]]
    found = list(store.read_records(results).records)
    for name in (TUNING, DEVELOPMENT):
        if (results / name).is_dir():
            chosen, damaged = _choosing(results / name)
            found, notes = found + chosen, notes + damaged
    whole = 0
    for folder, record in found:
        lines = list(_odd_files(folder, record))
        notes, whole = notes + lines, whole + (not lines)
    return whole, notes


def _choosing(results: Path) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """The cells of a folder in which several rates and designs stand side by side, and lines on damaged ones."""
    found, notes = list[tuple[Path, dict[str, Any]]](), list[str]()
    for folder in find_records(results):
        try:
            record = store.read_record(folder)
            if record is not None:
                store.read_cases(folder, record)
                found.append((folder, record))
        except Damaged as error:
            notes.append(str(error))
    return found, notes


def _odd_files(folder: Path, record: dict[str, Any]) -> Iterator[str]:
    """Why files beside a record cannot be used, or are not its own."""
    yield from (line for name in WEIGHTS if (line := _odd_weights(folder / name)))
    yield from (line for line in [_odd_cell(folder, record)] if line)
    try:
        check_history(folder, record)
    except Damaged as error:
        yield str(error)
    try:
        if predicted := read_predictions(folder, record):
            predicted.check()
    except Damaged as error:
        yield str(error)


def _odd_weights(path: Path) -> str | None:
    """Why a file of weights cannot be used; None where it is not there or as long as its header says."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, size)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return f"{path} is no file of weights: run its cell anew with --force, or copy it again."
    expected = 8 + length + max(ends, default=0)
    if size == expected:
        return None
    return f"{path} has {size} bytes, where its header says {expected}: copy it again from where the cell was run."


def _odd_cell(folder: Path, record: dict[str, Any]) -> str | None:
    """Why a cell's first file is not what its record says; None where it is, or is not there."""
    try:
        cell = read_json(folder / "cell.json")
    except FileNotFoundError:
        return None
    except Damaged as error:
        return str(error)
    return None if cell == record["cell"] else f"{folder / 'cell.json'} is not the cell of its record."
