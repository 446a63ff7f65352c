"""What each run's training left: its history by validation round."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bench.records.damage import Damaged, read_whole
from bench.records.store import find_records

AVERAGED = "average_val_score"


def find_folders(results: str | Path, keys: Collection[str]) -> dict[str, Path]:
    """Key -> the folder of that cell, whose name ends in its key, of the keys that are found; of copies the first."""
    wanted, found = set(keys), dict[str, Path]()
    for folder in find_records(Path(results)):
        key = folder.name.rpartition("-")[2]
        if key in wanted:
            found.setdefault(key, folder)
    return found


def read_history(folder: Path) -> dict[str, list[float]]:
    """Column -> values of a cell's history; {} where there is none, or one that cannot be read."""
    try:
        text = read_whole(folder / "history.csv").decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else ())}
    except (Damaged, OSError, ValueError, TypeError, KeyError, csv.Error):
        return {}


def selecting_column(history: Mapping[str, Sequence[float]]) -> str:
    """The column that the best weights are chosen by: the averaged weights' score where there is one."""
    return AVERAGED if any(not math.isnan(score) for score in history.get(AVERAGED, ())) else "val_score"
