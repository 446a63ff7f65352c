"""A request at several budgets, or with several numbers of training patients: whole runs, cells like any others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bench.errors import UserError
from bench.runs.arguments import BUDGETS, COUNTS, or_none, read_arguments
from bench.runs.job import Job, Report, silent
from bench.runs.request import Request
from bench.runs.runner import make_jobs

IMAGES, PATIENTS = "images_seen", "train_patients"
CURVES = {"budgets": or_none(BUDGETS), "train_patients": or_none(COUNTS)}


@dataclass(frozen=True)
class CurveRuns:
    """The cells behind curves.

    Attributes:
        axis: what the curves are over, `IMAGES` or `PATIENTS`.
        places: comparison key -> where on that axis its cells are: images seen, or training patients or groups.
    """

    axis: str
    jobs: list[Job]
    places: dict[str, int]


def curve_runs(request: Request, budgets: Any = None, train_patients: Any = None, report: Report = silent) -> CurveRuns:
    """The cells of a request at each of several budgets, or numbers of training patients; the smallest first.

    Args:
        budgets: images seen, each over a whole schedule: `4k,16k,48k`, or a list.
        train_patients: training patients or groups, `5,15,35`, or a list; in place of `budgets`.

    Raises:
        UserError: none of both lists, both, fewer than two numbers, two that are one run, or what the request refuses.
    """
    read = read_arguments({"budgets": budgets, "train_patients": train_patients}, CURVES)
    if (read["budgets"] is None) == (read["train_patients"] is None):
        got = "none" if read["budgets"] is None else "both"
        raise UserError(f"Expected --budgets or --train-patients, with two numbers or more, but got {got}.")
    axis, field = (IMAGES, "budget") if read["budgets"] else (PATIENTS, "train_patients")
    _reject_both(request, axis)
    numbers = sorted(read["budgets"] or read["train_patients"])
    if len(numbers) < 2:
        raise UserError(
            f"Expected two numbers or more for a curve, but got {numbers[0]} alone: give it to medbench run."
        )
    jobs: list[Job] = []
    asked: dict[str, int] = {}
    for number in numbers:
        own = make_jobs(replace(request, **{field: number}), silent if jobs else report)
        for job in own:
            if job.cell.comparison in asked:
                raise UserError(_equal(job, axis, asked[job.cell.comparison], number))
        asked |= {job.cell.comparison: number for job in own}
        jobs += own
    seen = {job.cell.comparison: job.cell.protocol["steps"] * job.cell.protocol["batch_size"] for job in jobs}
    return CurveRuns(axis, jobs, seen if axis == IMAGES else asked)


def _reject_both(request: Request, axis: str) -> None:
    """What a curve is over has no one value in the request as well."""
    if axis == IMAGES and request.budget is not None:
        raise UserError("Expected --budgets or --budget, but got both.")
    if axis == PATIENTS and request.subset is not None:
        raise UserError("Expected --train-patients or --train-fraction, but got both.")


def _equal(job: Job, axis: str, one: int, other: int) -> str:
    """That two of the numbers are one run."""
    if axis == PATIENTS or one == other:
        return f"Expected numbers that differ, but got {other} twice."
    steps, batch = job.cell.protocol["steps"], job.cell.protocol["batch_size"]
    return f"Expected budgets that differ, but {one} and {other} images are both {steps} steps of {batch}."
