"""A command for each cell of a request, for queues that know nothing of cells (Slurm arrays, GNU parallel, make)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bench.runs.request import Request
from bench.zoo.registry import placed_name

if TYPE_CHECKING:
    from bench.runs.job import Job

OPTIONS = {"settings": "--set"}  # where an option is not called as its field
APART = ("models", "dataset", "seeds")  # a cell's own


def cell_commands(request: Request, jobs: Sequence[Job], force: bool = False) -> Iterator[str]:
    """A line of the shell for each job, which trains that cell alone.

    Models, data set and seed are the cell's own; where that leaves several cells, as of a cross-validation, its key
    names the one.
    """
    alike = Counter(_own(job) for job in jobs)
    shared = list(_shared(request))
    for job in jobs:
        model, dataset, seed = _own(job)
        words = ["medbench", "run", "--models", model, "--dataset", dataset, "--seeds", f"{seed},", *shared]
        if alike[_own(job)] > 1 or job.cell.fold is not None:
            words += ["--only", job.cell.key]
        yield shlex.join([*words, *(["--force"] if force else [])])


def _own(job: Job) -> tuple[str, str, int]:
    return placed_name(job.entry(), job.cell.model["config"]), job.cell.dataset, job.cell.seed


def _shared(request: Request) -> Iterator[str]:
    """The options of a request that all its cells share, those at their defaults left out."""
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name in APART or value == field.default:
            continue
        option = OPTIONS.get(field.name, f"--{field.name.replace('_', '-')}")
        for part in value if isinstance(value, tuple | list) else (value,):
            yield from _words(option, part)


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option if value else f"--no-{option.removeprefix('--')}"]
    return [option, str(value)]
