"""What each run's training left: its history by validation round, and the record that says how it was made."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.damage import Damaged, read_whole
from bench.records.store import find_records, read_record

AVERAGED = "average_val_score"


@dataclass(frozen=True, eq=False)
class Kept:
    """What lies beside one cell's scores.

    Attributes:
        folder: of the cell. record: its `record.json`.
        history: column of `history.csv` -> values by validation round; blank where there is no such file.
    """

    folder: Path
    record: dict[str, Any]
    history: dict[str, list[float]]


def read_kept(results: str | Path, keys: Collection[str]) -> dict[str, Kept]:
    """Key -> what is kept of that cell, of the keys that are found; of copies the first.

    The folder's name ends in the key, so that no record is opened that was not asked for.
    """
    wanted, found = set(keys), dict[str, Kept]()
    for folder in find_records(Path(results)):
        key = folder.name.rpartition("-")[2]
        if key not in wanted or key in found:
            continue
        try:
            record = read_record(folder)
        except Damaged:  # `load_cells` names it
            continue
        if record is not None:
            found[key] = Kept(folder, record, read_history(folder))
    return found


def read_history(folder: Path) -> dict[str, list[float]]:
    """Column -> values of a cell's history; {} where there is none, or one that cannot be read."""
    try:
        text = read_whole(folder / "history.csv").decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else ())}
    except (Damaged, OSError, ValueError, TypeError, KeyError, csv.Error):
        return {}
