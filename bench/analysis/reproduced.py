"""What a cell that was trained again says of its record: the same bytes, the same within its interval, or another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis import classification, segmentation
from bench.analysis.certainty import Measure, scores_of
from bench.analysis.sheet import Sheet
from bench.analysis.shown import DEFAULT, shown_cases
from bench.analysis.statistics import Interval, figure, interval
from bench.records import store
from bench.records.rows import task_of

IDENTICAL, WITHIN, DIFFERENT, NOT_RUN = "bit-identical", "equal within its interval", "different", "not reproduced"
# Of an environment: what says where and by which code a cell was trained.
COMPARED = ("python", "platform", "cpu", "gpu", "device", "threads", "threads_in_effect", "cuda", "commit", "dirty")


@dataclass(frozen=True)
class Reproduced:
    """One cell beside its record.

    Attributes:
        name: dataset, model and seed. measure: what both figures are of.
        recorded, again: the figures, nan where there is none.
        low, high: the recorded one's 95 % interval over patients.
        verdict: `bit-identical`, `equal within its interval`, `different` or `not reproduced`.
        differences: what of the environment differs, in words.
    """

    name: str
    measure: str
    recorded: float
    again: float
    low: float
    high: float
    verdict: str
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the record is confirmed."""
        return self.verdict in (IDENTICAL, WITHIN)


def reproduced(folder: Path, record: dict[str, Any], new_folder: Path) -> Reproduced:
    """A record beside the one of the same cell that was trained again."""
    new, name = store.read_record(new_folder), _name(record)
    measure, before = _interval(folder, record)
    if new is None or new["status"] != record["status"]:
        why = "it was not finished" if new is None else f"{new['status']}: {new['error']}"
        return _row(name, measure, before, math.nan, NOT_RUN, [why, *differences(record, new or {})])
    after = _figure(new_folder, new, measure)
    return _row(name, measure, before, after, _verdict(folder, record, new_folder, new, before, after),
                list(differences(record, new)))  # fmt: skip


def refused(folder: Path, record: dict[str, Any], why: str) -> Reproduced:
    """A record that was not trained again, and why."""
    measure, before = _interval(folder, record)
    return _row(_name(record), measure, before, math.nan, NOT_RUN, [why.rstrip(".")])


def _name(record: dict[str, Any]) -> str:
    cell = record["cell"]
    fold = "" if cell["fold"] is None else f" / fold {cell['fold']}"
    return f"{record['dataset']['name']} / {record['model']['name']} / seed {cell['seed']}{fold}"


def _row(name: str, measure: Measure, before: Interval, after: float, verdict: str, said: list[str]) -> Reproduced:
    return Reproduced(name, measure.name, before.value, after, before.low, before.high, verdict, tuple(said))


def _verdict(
    folder: Path, record: dict[str, Any], again: Path, new: dict[str, Any], before: Interval, after: float
) -> str:
    """Scores of each case and losses of each round are compared as bytes, then the figure with the interval."""
    if record["cases_sha256"] == new["cases_sha256"] and _history(folder) in (None, _history(again)):
        return IDENTICAL
    return WITHIN if before.low <= after <= before.high else DIFFERENT


def _history(folder: Path) -> bytes | None:
    path = folder / "history.csv"
    return path.read_bytes().replace(b"\r\n", b"\n") if path.is_file() else None


def _rows(folder: Path, record: dict[str, Any]) -> pd.DataFrame:
    """The rows of cases.csv that tables show."""
    cases = store.read_cases(folder, record)
    assert cases is not None
    rows = shown_cases(cases.assign(key=record["key"]), DEFAULT).assign(seed=0)
    return _task(record).counted(rows)


def _task(record: dict[str, Any]) -> Any:
    return segmentation if task_of(record) == "segmentation" else classification


def _interval(folder: Path, record: dict[str, Any]) -> tuple[Measure, Interval]:
    """The main measure of a record and its figure, with its interval over patients alone: it has one seed."""
    rows = _rows(folder, record)
    measure: Measure = _task(record).measures(DEFAULT, rows)[0]
    scores = scores_of(rows, measure)
    if scores.sums.shape[1] < 2:  # one patient: no interval
        return measure, Interval(value := figure(scores), value, value)
    twice = replace(scores, sums=np.repeat(scores.sums, 2, axis=0), counts=np.repeat(scores.counts, 2, axis=0))
    return measure, interval(twice).within(0.0, measure.most)


def _figure(folder: Path, record: dict[str, Any], measure: Measure) -> float:
    return figure(scores_of(_rows(folder, record), measure))


def differences(record: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What of two records' environments differs: `torch 2.13.0 -> 2.15.0`, and in what stretches they were trained."""
    old, now = record.get("environment") or {}, new.get("environment") or {}
    if not now:
        return
    for what in COMPARED:
        if what in old and old.get(what) != now.get(what):
            yield f"{what} {_short(old.get(what))} -> {_short(now.get(what))}"
    versions, new_versions = old.get("versions") or {}, now.get("versions") or {}
    for package in sorted({*versions, *new_versions}):
        if versions.get(package) != new_versions.get(package):
            yield f"{package} {_short(versions.get(package))} -> {_short(new_versions.get(package))}"
    if (trained := _stretches(record)) != (again := _stretches(new)):
        yield f"training: {trained} -> {again}"


def _stretches(record: Mapping[str, Any]) -> str:
    """`from step 0 on NVIDIA H100, from step 300 on cpu`, its batches' pieces where they were in some; `in one go`."""
    stretches = (record.get("training") or {}).get("stretches", ())
    return ", ".join(map(_stretch, stretches)) or "in one go"


def _stretch(stretch: Mapping[str, Any]) -> str:
    pieces = f", batches in {stretch['pieces']} parts" if stretch["pieces"] > 1 else ""
    return f"from step {stretch['from_step']} on {_short(stretch['device'])} ({_short(stretch['cpu'])}{pieces})"


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 40 else text[:60]


def reproduced_sheet(rows: Sequence[Reproduced]) -> Sheet:
    """A row for each cell that was trained again."""
    frame = pd.DataFrame(
        {
            "cell": [row.name for row in rows],
            "measure": [row.measure for row in rows],
            "recorded": [_number(row.recorded) for row in rows],
            "95 % interval": [f"{_number(row.low)} to {_number(row.high)}" for row in rows],
            "again": [_number(row.again) for row in rows],
            "verdict": [row.verdict for row in rows],
        }
    )
    notes = [f"{row.name}: {_said(row)}." for row in rows if row.differences]
    shared = {row.differences for row in rows}
    if len(rows) > 1 and len(shared) == 1 and notes:
        notes = [f"All: {_said(rows[0])}."]
    notes += [] if notes else ["Nothing differs in versions, threads, CPU and commit."]
    count = sum(row.holds for row in rows)
    caption = f"{count} of {len(rows)} cells reproduced; intervals are over patients, of the recorded run"
    return Sheet(caption, frame, tuple(notes), left=("measure", "verdict"), details=("measure",))


def _said(row: Reproduced) -> str:
    """What differs between a record and the new one, or why there is none."""
    return f"{'' if row.verdict == NOT_RUN else 'differs in '}{'; '.join(row.differences)}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"
