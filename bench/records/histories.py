"""What each run's training left: its history by validation round."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.records.damage import STATUSES, Damaged, read_whole
from bench.records.places import find_records
from bench.records.store import read_record

AVERAGED = "average_val_score"
AGAIN = "copy it again from where the cell was run."
REST = "more fields than columns"


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


def check_history(folder: Path, record: dict[str, Any]) -> None:
    """Raises Damaged where a cell's history is cut, holds no numbers, or ends before its training did; none is fine."""
    path = folder / "history.csv"
    try:
        text = read_whole(path).decode("utf-8").replace("\r\n", "\n")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey=REST))
        numbers = [{name: float(value or "nan") for name, value in row.items()} for row in rows]
    except FileNotFoundError:
        return
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, csv.Error):
        raise Damaged(path, f"is no history of a training: {AGAIN}") from None
    if not text.endswith("\n") or any(None in row.values() for row in rows):
        raise Damaged(path, f"is cut short: {AGAIN}")
    if not text.startswith("step,"):
        raise Damaged(path, f"is no history of a training: {AGAIN}")
    steps = (record["training"] or {}).get("steps")
    last = numbers[-1]["step"] if numbers else 0
    if record["status"] == "complete" and steps is not None and last != steps:
        raise Damaged(path, f"ends at step {last:g}, where its record has {steps}: {AGAIN}")


def selecting_column(history: Mapping[str, Sequence[float]]) -> str:
    """The column that the best weights are chosen by: the averaged weights' score where there is one."""
    return AVERAGED if any(not math.isnan(score) for score in history.get(AVERAGED, ())) else "val_score"
