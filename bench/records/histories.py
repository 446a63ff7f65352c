"""What each run's training left: its history by validation round."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.records.damage import STATUSES, Damaged, read_whole
from bench.records.places import find_records
from bench.records.store import read_record

AVERAGED = "average_val_score"


def find_folders(results: str | Path, keys: Collection[str]) -> dict[str, Path]:
    """Key -> the folder of that cell, whose name ends in its key, of the keys that are found; a complete copy first."""
    wanted, found = set(keys), dict[str, list[Path]]()
    for folder in find_records(Path(results)):
        key = folder.name.rpartition("-")[2]
        if key in wanted:
            found.setdefault(key, []).append(folder)
    return {key: min(copies, key=_rank) if len(copies) > 1 else copies[0] for key, copies in found.items()}


def _rank(folder: Path) -> int:
    """What a copy of a cell comes before others by: its status; one whose record cannot be read is the last."""
    with suppress(Damaged):
        record = read_record(folder)
        return len(STATUSES) if record is None else STATUSES.index(record["status"])
    return len(STATUSES)


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
