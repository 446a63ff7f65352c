"""The same N trials of learning rate and weight decay for every model, on validation data, before its cells are run.

A trial is a cell of its own, with a seed that no other cell has, trained like any other and scored on the validation
part alone: its record lies under `<results>/tuning/`, the test part is not read. The protocol's own values are the
first trial; the others are drawn once, for all models, more trials extending fewer. The best validation score decides,
the first on ties. Ranges are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.records import store
from bench.records.filenames import TUNING
from bench.runs.job import Job

SEED = 20261124
# Powers of ten: of the rate over the protocol's own, and of the weight decay.
RATE, DECAY = (-1.0, 0.5), (-3.0, -0.5)


def trial_values(protocol: dict[str, Any], trials: int) -> list[dict[str, float]]:
    """lr and weight_decay of each trial, to three digits."""
    rng = np.random.default_rng(SEED)
    drawn = rng.uniform((RATE[0], DECAY[0]), (RATE[1], DECAY[1]), (max(trials - 1, 0), 2))
    values = [{"lr": protocol["lr"], "weight_decay": protocol["weight_decay"]}]
    for rate, decay in drawn.tolist():
        values.append({"lr": float(f"{protocol['lr'] * 10**rate:.3g}"), "weight_decay": float(f"{10**decay:.3g}")})
    return values


def trial_jobs(jobs: Sequence[Job], trials: int) -> list[Job]:
    """The trials that tuning the jobs' models takes; each model's once for all its seeds, chance's never."""
    found: dict[str, Job] = {}
    for job in jobs:
        for trial in _trials(job, trials) if _is_trained(job) else ():
            found.setdefault(trial.cell.key, trial)
    return list(found.values())


def tuned_jobs(jobs: Sequence[Job], trials: int) -> list[Job]:
    """The jobs with the values that did best in their model's trials.

    Raises:
        UserError: a trial is not done, or none of a model's has a validation score.
    """
    return [_tuned(job, trials) for job in jobs]


def pending_jobs(jobs: Sequence[Job], trials: int) -> list[Job]:
    """The jobs as they stand before their trials are done, for an estimate: cells that no record has."""
    unknown = {"trials": trials, "seed": SEED, "lr": None, "weight_decay": None}
    return [placed(job, replace(job.cell, tuned=unknown), job.preset, "") for job in jobs]


def are_done(jobs: Sequence[Job]) -> bool:
    """Whether all trials are."""
    return all(store.is_done(job.folder) for job in jobs)


def _is_trained(job: Job) -> bool:
    return job.entry().family != "chance"


def _trials(job: Job, trials: int) -> list[Job]:
    return [
        placed(job, replace(job.cell, seed=SEED, tuned={"trial": i, **values}), f"{job.preset}, trial {i}", TUNING)
        for i, values in enumerate(trial_values(job.cell.protocol, trials))
    ]


def _tuned(job: Job, trials: int) -> Job:
    settings = {key: job.cell.protocol[key] for key in ("lr", "weight_decay")}
    if _is_trained(job):
        scored = [(_score(trial), trial) for trial in _trials(job, trials)]
        best = max(scored, key=lambda pair: pair[0])
        if best[0] == -np.inf:
            raise UserError(f"No trial of {job.model} has a validation score: all diverged. Leave the model out.")
        settings = {key: best[1].cell.tuned[key] for key in settings}  # type: ignore[index]
    tuned = {"trials": trials, "seed": SEED, **settings}
    label = f"{job.preset}, learning rate and weight decay tuned in {trials} trials on validation data"
    return placed(job, replace(job.cell, tuned=tuned), label, "")


def _score(trial: Job) -> float:
    record = store.read_record(trial.folder)
    if record is None or record["status"] == "failed":
        raise UserError(f"Trial {trial.folder} is not done: give the same command again, or see its error.log.")
    training = record["training"] or {}  # of averaged weights, where there are some: tables show these
    score = (training.get("average") or training)["val_score"] if record["status"] == "complete" else None
    return -np.inf if score is None else float(score)


def placed(job: Job, cell: Any, preset: str, below: str) -> Job:
    """The job of another cell, its folder below a part of the results folder (`tuning`, or blank)."""
    folder = store.place_of(job.results / below if below else job.results, asdict(cell), job.model)
    return replace(job, cell=cell, preset=preset, folder=folder)
