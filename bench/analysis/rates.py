"""Which learning rate of the grid did best for each network, on folds of training patients (`bench.runs.rates`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.development import MEASURES, Judged, shown_weights
from bench.errors import UserError
from bench.records.keys import digest
from bench.runs.development import Candidate
from bench.runs.division import base_parts
from bench.runs.job import training_part
from bench.runs.rates import GRID, Choice
from bench.zoo.registry import dataset_spec


def check_grid(found: Sequence[Candidate]) -> None:
    """Raises UserError unless the candidates differ in the rate alone, and their rates are the grid of the task."""
    for task in dict.fromkeys(_task(candidate) for candidate in found):
        rates = {candidate.jobs[0].cell.protocol["lr"] for candidate in found if _task(candidate) == task}
        if {name for candidate in found for name in candidate.values} != {"lr"} or rates != set(GRID[task]):
            grid = ",".join(f"{rate:g}" for rate in GRID[task])
            given = " ".join(dict.fromkeys(candidate.variant for candidate in found))
            raise UserError(f"Expected --vary lr={grid} alone with --store-rates ({task}), but got {given}.")


def choose_rates(judged: Sequence[Judged], weights: str | None = None) -> tuple[list[Choice], list[str]]:
    """The choice of each network of one dataset, and a line for each that has none.

    The highest mean over folds of the first measure at the end of training decides; of equals the lowest rate. A rate
    under which a cell diverged is no candidate. Arms have none: they take the rate of their base network.

    Args:
        weights: whose figures decide, `last` or `average-last`; None: as `shown_weights`.
    """
    shown, choices, lines = shown_weights(judged, weights), [], []
    for model in dict.fromkeys(one.candidate.model for one in judged):
        own = [one for one in judged if one.candidate.model == model]
        why = _why_none(own, shown)
        if why:
            lines.append(f"No rate stored for {model}: {why}.")
        else:
            choices.append(_choice(own, shown))
    return choices, lines


def _task(candidate: Candidate) -> str:
    first = candidate.jobs[0]
    return dataset_spec(first.cell.dataset, first.data_root).task


def _why_none(own: Sequence[Judged], weights: str) -> str:
    job, statuses = own[0].candidate.jobs[0], [status for one in own for status in one.statuses]
    if own[0].candidate.model != job.cell.model["name"]:
        return "an arm takes the rate of its base network"
    if job.entry().family == "chance" or not job.cost["params"]:
        return "it has nothing to train"
    if unfinished := [status for status in statuses if status not in ("complete", "diverged")]:
        return f"{len(unfinished)} of its {len(statuses)} cells are not done"
    return "" if any(_score(one, weights) is not None for one in own) else "it diverged under every rate"


def _score(one: Judged, weights: str) -> float | None:
    """By what a rate is chosen, the higher the better; None where a cell diverged."""
    measure = _measure(one, weights)
    values = one.figures.get(weights, {}).get(measure)
    merit = {known.name: known.merit for known in MEASURES[one.task]}[measure]
    return merit * one.mean(weights, measure) if values else None


def _measure(one: Judged, weights: str) -> str:
    """The task's first measure; of records that do not have it, the one that they have."""
    names = [measure.name for measure in MEASURES[one.task]]
    return next((name for name in names if name in one.figures.get(weights, {})), names[0])


def _choice(own: Sequence[Judged], weights: str) -> dict[str, Any]:
    by_rate = sorted(own, key=lambda one: one.candidate.jobs[0].cell.protocol["lr"])
    scores = [(score, -k) for k, one in enumerate(by_rate) if (score := _score(one, weights)) is not None]
    best = by_rate[-max(scores)[1]]
    job, jobs = best.candidate.jobs[0], [job for one in own for job in one.candidate.jobs]
    cell, measure = job.cell, _measure(best, weights)
    folds = sorted({job.cell.fold for job in jobs if job.cell.fold is not None})
    apart = ("lr", "rates")
    return {
        "task": best.task,
        "model": cell.model["name"],
        "version": cell.model["version"],
        "source": cell.source["kind"],
        "lr": cell.protocol["lr"],
        "weights": weights,
        "measure": measure,
        "figures": [_figures(one, weights, measure) for one in by_rate],
        "dataset": cell.dataset_label,
        "split": cell.split,
        "divided": base_parts(training_part(job)[0], cell.split),
        "folds": folds,
        "seeds": sorted({job.cell.seed for job in jobs}),
        "steps": cell.protocol["steps"],
        "seconds": round(sum(one.total_seconds for one in own), 1),
        "preset": job.preset,
        "protocol": digest({name: value for name, value in cell.protocol.items() if name not in apart}),
    }


def _figures(one: Judged, weights: str, measure: str) -> dict[str, Any]:
    """A rate with its figure in each fold; none where a cell diverged."""
    values = one.figures.get(weights, {}).get(measure, {})
    return {
        "lr": one.candidate.jobs[0].cell.protocol["lr"],
        "mean": one.mean(weights, measure) if values else None,
        "folds": list(values.values()),
    }
