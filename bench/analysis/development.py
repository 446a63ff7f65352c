"""What candidates reach on the folds of training patients that they are judged by (`bench.runs.development`).

A figure is of the end of training, of the raw weights (`last`) and of their average (`average-last`) where there is
one, and the mean over folds of the mean over seeds; a candidate of which a cell did not end has none. Differences are
paired: fold by fold, with an interval over the held-out units where the cells keep their cases, else over folds, which
says little with two of them; Student's in both.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.held_out import unit_values
from bench.analysis.statistics import Interval, mean_interval
from bench.errors import UserError
from bench.records import store
from bench.runs.arguments import FLAG, REPORT, make_request, read_arguments, whole
from bench.runs.development import Candidate, Development, all_jobs, candidates
from bench.runs.job import Job, Report, silent
from bench.runs.runner import run_jobs
from bench.zoo.registry import dataset_spec

if TYPE_CHECKING:
    import pandas as pd

RAW, AVERAGE = "last", "average-last"
Figures = dict[str, dict[str, dict[int, float]]]
UnitFigures = dict[str, dict[str, dict[str, float]]]
DEVELOP = {"workers": whole(), "force": FLAG, "report": REPORT}


@dataclass(frozen=True)
class Measure:
    """A figure of the validation part: its column, its name in a record, by what it is shown, and which way is better.

    Attributes:
        merit: 1 where higher is better, -1 where lower is.
    """

    title: str
    name: str
    factor: float
    decimals: int
    merit: int


# The first decides.
MEASURES = {
    "segmentation": (Measure("Dice %", "dice_strict", 100.0, 2, 1),),
    "classification": (Measure("Accuracy %", "accuracy", 100.0, 2, 1), Measure("Loss", "loss", 1.0, 4, -1)),
}


@dataclass(frozen=True)
class Judged:
    """A candidate with its figures.

    Attributes:
        task: of its dataset.
        figures: weights -> measure -> fold -> mean over seeds; only what every cell has.
        gaps: weights -> measure -> its difference to the reference, paired.
        by_unit: weights -> measure -> held-out patient (or group) -> mean over seeds; {} where cells keep no cases.
        statuses: of each cell: `complete`, `diverged`, `failed` or `not run`.
        seconds: of training, mean over the cells that ended; nan where none did.
        ended: number of these.
    """

    candidate: Candidate
    task: str
    figures: Figures
    gaps: dict[str, dict[str, Interval]]
    by_unit: UnitFigures
    statuses: tuple[str, ...]
    seconds: float
    ended: int

    @property
    def units(self) -> int:
        """So many patients (or groups) the intervals are over; 0: they are over folds."""
        return max((len(values) for measures in self.by_unit.values() for values in measures.values()), default=0)

    @property
    def total_seconds(self) -> float:
        """Of training, of all cells that ended."""
        return 0.0 if math.isnan(self.seconds) else self.seconds * self.ended

    def mean(self, weights: str, measure: str) -> float:
        """The mean over folds; nan where it has none."""
        values = self.figures.get(weights, {}).get(measure)
        return float(np.mean(list(values.values()))) if values else float("nan")


def judge(found: Sequence[Candidate]) -> list[Judged]:
    """The candidates of one dataset with their figures, as far as their cells have ended.

    The reference of a difference is the first variant of the same model; where nothing varies, the first model.
    """
    records = {job.cell.key: store.read_record(job.folder) for job in all_jobs(found)}
    first_job = found[0].jobs[0]
    task = dataset_spec(first_job.cell.dataset, first_job.data_root).task
    figures = [_figures(candidate, records, task) for candidate in found]
    units = [_unit_values(candidate, records, own) for candidate, own in zip(found, figures, strict=True)]
    judged = []
    for k, candidate in enumerate(found):
        of_model = [other.model == candidate.model for other in found]
        first = of_model.index(True) if sum(of_model) > 1 else 0
        gaps = {} if first == k else _gaps(figures[k], figures[first], units[k], units[first])
        cells = [records[job.cell.key] for job in candidate.jobs]
        seconds = [float(record["training"]["seconds"]) for record in cells if record and record["training"]]
        judged.append(
            Judged(
                candidate,
                task,
                figures[k],
                gaps,
                units[k],
                tuple("not run" if record is None else str(record["status"]) for record in cells),
                float(np.mean(seconds)) if seconds else math.nan,
                len(seconds),
            )
        )
    return judged


def shown_weights(judged: Sequence[Judged], asked: str | None = None) -> str:
    """The weights whose figures decide: those asked for, else the average, else the weights themselves.

    Raises:
        UserError: no candidate has the weights that were asked for.
    """
    there = {weights for one in judged for weights in one.figures}
    if asked is not None and there and asked not in there:
        raise UserError(f"Expected --weights to be one of {', '.join(sorted(there))}, but got {asked!r}.")
    return asked or (AVERAGE if AVERAGE in there else RAW)


def validation_figures(job: Job, record: dict[str, Any] | None, task: str) -> dict[str, dict[str, float]]:
    """Weights -> measure -> the figure of a cell at the end of training; {} where it has none.

    Older records tell no more than the scores of the raw weights' validation rounds: Dice, or minus the loss.
    """
    if record is None or record["status"] != "complete":
        return {}
    measures = MEASURES[task]
    stored = {name: dict(own) for name, own in (record.get("validation") or {}).items() if name in (RAW, AVERAGE)}
    rounds = _last_round(job, record)
    if rounds is not None:
        stored.setdefault(RAW, {}).setdefault(measures[-1].name, rounds * measures[-1].merit)
    names = [measure.name for measure in measures]
    return {
        weights: {name: float(own[name]) for name in names if own.get(name) is not None and math.isfinite(own[name])}
        for weights, own in stored.items()
    }


def _last_round(job: Job, record: dict[str, Any]) -> float | None:
    """The score of the last validation round; of what is not trained, its only one."""
    try:
        with (job.folder / "history.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        last = float(rows[-1]["val_score"]) if rows else None
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        last = None
    found = record["training"]["val_score"] if last is None else last
    return None if found is None else float(found)


def _figures(candidate: Candidate, records: Mapping[str, dict[str, Any] | None], task: str) -> Figures:
    of_cells = [(job, validation_figures(job, records[job.cell.key], task)) for job in candidate.jobs]
    found: Figures = {}
    for weights in (RAW, AVERAGE):
        for measure in (measure.name for measure in MEASURES[task]):
            values = [(job.cell.fold or 0, own.get(weights, {}).get(measure)) for job, own in of_cells]
            known = [(fold, value) for fold, value in values if value is not None]
            if len(known) == len(of_cells):
                found.setdefault(weights, {})[measure] = _means(known)
    return found


def _means(values: Sequence[tuple[Any, float]]) -> dict[Any, float]:
    """The mean of the values of each name, in the names' order."""
    names = sorted({name for name, _ in values})
    return {name: float(np.mean([value for other, value in values if other == name])) for name in names}


def _unit_values(candidate: Candidate, records: Mapping[str, dict[str, Any] | None], figures: Figures) -> UnitFigures:
    """Weights -> measure -> held-out unit -> mean over seeds, of what has figures; {} where a cell keeps no cases."""
    found: UnitFigures = {}
    for weights, measures in figures.items():
        for measure in measures:
            of_cells = [
                unit_values(job.results, job.folder, records[job.cell.key] or {}, weights, measure)
                for job in candidate.jobs
            ]
            if all(of_cells):
                pairs = [pair for own in of_cells for pair in own.items()]
                found.setdefault(weights, {})[measure] = _means(pairs)
    return found


def _gaps(
    own: Figures, first: Figures, units: Mapping[str, Mapping[str, Any]], units_first: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Interval]]:
    """Weights -> measure -> the difference of two candidates, where both have the figure."""
    found: dict[str, dict[str, Interval]] = {}
    for weights, measures in own.items():
        for name in measures.keys() & first.get(weights, {}).keys():
            one, other = (known.get(weights, {}).get(name, {}) for known in (units, units_first))
            found.setdefault(weights, {})[name] = paired(measures[name], first[weights][name], one, other)
    return found


def paired(
    own: Mapping[int, float], first: Mapping[int, float], units: Mapping[str, float], units_first: Mapping[str, float]
) -> Interval:
    """The difference of two figures by fold; its interval is over units where both have the same, else over folds."""
    gap = mean_interval(differences(own, first))
    if not units or units.keys() != units_first.keys():
        return gap
    over = mean_interval(differences(units, units_first))
    return moved(over, gap.value)  # the figure is a mean over folds, of which one may have fewer units


def moved(interval: Interval, value: float) -> Interval:
    """An interval, as wide as it is, about another value."""
    return Interval(value, interval.low + value - interval.value, interval.high + value - interval.value)


def differences(one: Mapping[Any, float], other: Mapping[Any, float]) -> np.ndarray:
    """One less the other, for each name."""
    return np.array([one[name] - other[name] for name in one])


def by_dataset(found: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates of each dataset, in their order."""
    names = dict.fromkeys(candidate.jobs[0].cell.dataset for candidate in found)
    return [[c for c in found if c.jobs[0].cell.dataset == name] for name in names]


def develop(workers: int = 1, force: bool = False, report: Report = silent, **request: Any) -> pd.DataFrame:
    """Trains what a request compares and is not done, on folds of training patients; a row per candidate and figure.

    Columns: dataset, split, model, variant, weights, measure, value (mean over folds), folds (value of each), gap, low,
    high (the difference to the first variant), seconds (of a cell).

    Args:
        workers: processes; each cell keeps the protocol's threads.
        force: runs finished cells anew.
        request: the fields of `bench.runs.development.Development`: models, dataset, preset, vary, folds, use, ...

    Raises:
        UserError: any name, value or folder that is not right.
    """
    read_arguments({"workers": workers, "force": force, "report": report}, DEVELOP)
    found = candidates(make_request(Development, request, DEVELOP), report)
    run_jobs(all_jobs(found), workers, force, report)
    return long_frame([one for own in by_dataset(found) for one in judge(own)])


def long_frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """The figures as `develop` gives them."""
    import pandas as pd

    columns = ["dataset", "split", "model", "variant", "weights", "measure", "value", "folds", "gap", "low", "high"]
    rows = []
    for one in judged:
        cell = one.candidate.jobs[0].cell
        place = (cell.dataset_label, cell.split, one.candidate.model, one.candidate.variant)
        for weights, measures in one.figures.items():
            for name, values in measures.items():
                gap = one.gaps.get(weights, {}).get(name) or Interval(*[float("nan")] * 3)
                figures = (one.mean(weights, name), tuple(values.values()), gap.value, gap.low, gap.high)
                rows.append((*place, weights, name, *figures, one.seconds))
    return pd.DataFrame(rows, columns=[*columns, "seconds"])
