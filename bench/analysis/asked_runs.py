"""Which runs pictures of cases are drawn of: complete records of one comparison, with the predictions kept beside."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench.analysis.aside import name_versions
from bench.analysis.comparison import titles_of
from bench.errors import UserError, unknown
from bench.records import store
from bench.records.damage import Damaged
from bench.records.predicted import Predicted, read_predictions
from bench.records.rows import comparison_of
from bench.records.titles import retitled
from bench.zoo.registry import listed_names

ORDERS = ("worst", "best", "median")


@dataclass(frozen=True)
class Asked:
    """Which cases of which records.

    Attributes:
        dataset: as results call it, `acdc-phantom`.
        models: names and globs by commas or in a list; None: all but chance and arms of ablations.
        preset: as captions name it. split: its name. seed: of the runs; None: the lowest that all models have.
        worst, best, median: so many cases of that kind, by the mean over the models. cases: these by name. One of the
            four; without any the three worst.

    Raises UserError where several of them are given.
    """

    dataset: str
    models: str | Sequence[str] | None = None
    preset: str | None = None
    split: str | None = None
    seed: int | None = None
    worst: int | None = None
    best: int | None = None
    median: int | None = None
    cases: Sequence[str] = ()

    def __post_init__(self) -> None:
        if sum(getattr(self, order) is not None for order in ORDERS) + bool(self.cases) > 1:
            raise UserError("Expected one of --worst, --best, --median and --case, but got several.")

    @property
    def order(self) -> tuple[str, int]:
        """What comes first, and how many cases."""
        asked = ((order, getattr(self, order)) for order in ORDERS)
        return next(((order, count) for order, count in asked if count is not None), ("worst", 3))


class Run(NamedTuple):
    """A record with its kept predictions and its rows of cases.csv under their weights."""

    folder: Path
    record: dict[str, Any]
    kept: Predicted
    rows: pd.DataFrame


def runs_asked_for(results: Path, asked: Asked) -> tuple[dict[str, list[Run]], tuple[str, ...]]:
    """Title -> the runs of one seed, of a cross-validation one a fold; and what was left out, in lines."""
    found = store.read_records(results)
    complete = [(f, r) for f, r in found.records if r["status"] == "complete" and r["metrics"] is not None]
    if not complete:
        what = "finished runs in" if found.records else "records in" if results.is_dir() else "results folder"
        why = " ".join(["", *found.notes[:1]])
        raise UserError(
            f"No {what} {str(results)!r}. Run `medbench run` first, or name another with --results DIR.{why}"
        )
    names = {record["dataset"]["name"] for _, record in complete}
    if asked.dataset not in names:
        raise unknown("dataset among the records", asked.dataset, names)
    records = [(f, r) for f, r in complete if r["dataset"]["name"] == asked.dataset and _is_asked(r, asked)]
    _check_single(records, asked)
    runs, notes = with_predictions(_of_models(records, asked.models), asked.dataset)
    titles, unread = _titles([run.record for run in runs], results)
    return of_one_seed(runs, asked.seed, lambda record: titles[record["key"]]), (*found.notes, *notes, *unread)


def with_predictions(records: Sequence[tuple[Path, dict[str, Any]]], dataset: str) -> tuple[list[Run], tuple[str, ...]]:
    """The records with what they keep beside them, and what is left out, in lines. Raises UserError where none does."""
    runs, notes = [], []
    for folder, record in records:
        try:
            kept, rows = read_predictions(folder, record), store.read_cases(folder, record)
        except Damaged as error:
            notes.append(f"Left out: {error}")
            continue
        if kept is not None and rows is not None:
            rows = rows[(rows["part"] == "test") & (rows["weights"] == kept.weights)]
            runs.append(Run(folder, record, kept, rows))
    if not runs:
        raise UserError(
            f"None of the {len(records)} runs of {dataset} keeps its predictions (predictions.npz; runs of before "
            "they were kept, or with --no-predictions): run them anew with --force."
        )
    if without := len(records) - len(runs):
        notes.append(f"{without} of {len(records)} runs keep no predictions and are not shown.")
    return runs, tuple(notes)


def _is_asked(record: dict[str, Any], asked: Asked) -> bool:
    return asked.preset in (None, record["preset"]) and asked.split in (None, record["cell"]["split"])


def _check_single(records: Sequence[tuple[Path, dict[str, Any]]], asked: Asked) -> None:
    """Raises UserError unless the records are of one comparison: others were tested on other cases."""
    comparisons = {comparison_of(r): (r["preset"], r["cell"]["split"]) for _, r in records}
    if not comparisons:
        raise UserError(f"No finished runs of {asked.dataset} have that preset and split.")
    if len(comparisons) > 1:
        listed = "; ".join(f"--preset {preset!r} --split {split}" for preset, split in sorted(comparisons.values()))
        raise UserError(
            f"Expected one comparison of {asked.dataset}, but there are {len(comparisons)}: {listed[:400]}."
        )


def _of_models(
    records: Sequence[tuple[Path, dict[str, Any]]], models: str | Sequence[str] | None
) -> list[tuple[Path, dict[str, Any]]]:
    names = {record["model"]["name"] for _, record in records}
    if models is None:
        plain = [(f, r) for f, r in records if r["model"]["family"] != "chance" and "[" not in r["model"]["name"]]
        return plain or list(records)
    kept: set[str] = set()
    for pattern in listed_names(models):
        matching = {
            name for name in names if name == pattern or ("[" not in pattern and fnmatch.fnmatch(name, pattern))
        }
        if not matching:
            raise unknown("model among the records", pattern, names)
        kept |= matching
    return [(folder, record) for folder, record in records if record["model"]["name"] in kept]


def of_one_seed(runs: Sequence[Run], asked: int | None, title: Callable[[dict[str, Any]], str]) -> dict[str, list[Run]]:
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(title(run.record), set()).add(run.record["cell"]["seed"])
    common = set.intersection(*seeds.values())
    seed = min(common, default=None) if asked is None else asked
    if seed is None or seed not in common:
        listed = ", ".join(map(str, sorted(common))) or "none"
        raise UserError(f"Expected a seed that all models have with predictions ({listed}), but got {seed}.")
    titles: dict[str, list[Run]] = {}
    for run in runs:
        if run.record["cell"]["seed"] == seed:
            titles.setdefault(title(run.record), []).append(run)
    return titles


def _titles(records: Sequence[dict[str, Any]], results: Path) -> tuple[dict[str, str], list[str]]:
    """Key -> the model's title as tables have it, and a line where the results folder's titles cannot be read.

    Of an arm what differs stands in brackets, and of several versions of a network the number behind.
    """
    rows = [
        {
            "comparison": comparison_of(record),
            "model": record["model"]["name"],
            "version": record["cell"]["model"]["version"],
            "title": record["model"]["title"],
            "family": record["model"]["family"],
        }
        for record in records
    ]
    cells, unread = retitled(pd.DataFrame(rows), results)
    named = name_versions(cells)
    shown = titles_of(named)
    return {record["key"]: shown[name] for record, name in zip(records, named["model"], strict=True)}, unread
