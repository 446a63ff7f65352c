"""How the cells of a request are run: where, how many at a time, how often a failing one is tried, for how long."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Literal

from bench.errors import UserError
from bench.runs.arguments import Taken, whole

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# A cell that takes so many times its estimate, and half an hour, hangs; a guess from MACs alone may be far off.
TIMES, TIMES_OF_A_GUESS, LEAST = 10.0, 40.0, 1800.0
Executor = Literal["local", "ray"]


@dataclass(frozen=True)
class Execution:
    """How cells are run. Nothing here is part of a cell's key, and none of it but `on_oom` changes a result.

    Attributes:
        jobs: cells at a time, each in a process of its own: a number, or `auto`, cores by threads (GPUs, if cells run
            on them); None: one after another in this process, which a death takes along.
        executor: `local`, this machine's processes, or `ray`, tasks of a Ray cluster.
        address: of the Ray cluster, as `ray.init` takes it (`auto`: the one that this machine belongs to); None: a new
            one of this machine alone.
        gpus_per_cell: share of a GPU that a cell takes of the Ray cluster. memory_per_cell: GB that it takes of it.
        retries: how often a cell is begun again that raised, ran out of memory, hung, or whose process or node died.
        cell_timeout: how long a cell may take: `90s`, `30m`, `2h`, `1d`; `auto`: ten times its estimate, and half an
            hour at least; `none`. A cell in this process has none.
        on_oom: what follows where memory ran out: `fail`, or `halve`: batches in twice as many parts.
    """

    jobs: str | int | None = None
    executor: str = "local"
    address: str | None = None
    gpus_per_cell: float = 0.0
    memory_per_cell: float = 0.0
    retries: int = 1
    cell_timeout: str = "auto"
    on_oom: str = "fail"

    def __post_init__(self) -> None:
        at_once(self.jobs, 1, 0, 1)
        seconds_of(self.cell_timeout)
        for name, allowed in (("executor", ("local", "ray")), ("on_oom", ("fail", "halve"))):
            if getattr(self, name) not in allowed:
                shown = f"Expected {name.replace('_', '-')} to be {' or '.join(allowed)}"
                raise UserError(f"{shown}, but got {getattr(self, name)!r}.")
        if self.executor == "local" and (self.address or self.gpus_per_cell or self.memory_per_cell):
            raise UserError("Expected --address, --gpus-per-cell and --memory-per-cell with --executor ray alone.")

    @property
    def in_this_process(self) -> bool:
        """Whether cells run here, without a process of their own that could be lost or stopped."""
        return self.jobs is None and self.executor == "local" and self.cell_timeout in ("auto", "none")

    def cells_at_once(self, threads: int, cells: int, device: str = "cpu") -> int:
        """How many cells run at a time on this machine, of so many cells of so many threads each."""
        gpus = gpu_count() if device == "cuda" else int(device != "cpu")  # `cuda:1` is that one for all
        return at_once(self.jobs, threads, gpus, cells)


def execution(workers: int | Execution) -> Execution:
    """What a number of worker processes says: one means none beside this process."""
    if isinstance(workers, Execution):
        return workers
    if workers < 1:
        raise UserError(f"Expected at least one worker, but got {workers}.")
    return Execution(None if workers == 1 else workers)


def _workers(value: Any) -> int | Execution:
    return value if isinstance(value, Execution) else whole().read(value)


WORKERS = Taken("a whole number, 1 or more, or an Execution", _workers)


def at_once(jobs: str | int | None, threads: int, gpus: int, cells: int) -> int:
    """A number of cells at a time: as asked for, or by cores and threads (by GPUs, where there are some).

    Raises:
        UserError: neither a number from 1 on nor `auto`.
    """
    if jobs is None:
        return 1
    if jobs == "auto":
        return max(1, min(cells, gpus or usable_cores() // threads))
    try:
        number = int(jobs)
    except ValueError:
        number = 0
    if number < 1:
        raise UserError(f"Expected --jobs to be a number from 1 on, or auto, but got {jobs!r}.")
    return number


def usable_cores() -> int:
    """The cores that this process may run on: what a queue gave it, not all that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count()


def seconds_of(text: str) -> float | None:
    """Seconds of `90s`, `30m`, `2h`, `1d` or a number of seconds; None for `auto` and `none`.

    Raises:
        UserError: another text, or no time at all.
    """
    if text in ("auto", "none"):
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    seconds = float(found[1]) * UNITS[found[2] or "s"] if found else 0.0
    if not seconds:
        raise UserError(f"Expected --cell-timeout to be a time (90s, 30m, 2h, 1d), auto or none, but got {text!r}.")
    return seconds


def limit_of(how: Execution, planned: Any) -> float | None:
    """Seconds that a planned cell (`estimate.PlannedCell`) may take, from its start; None: as long as it likes."""
    if how.cell_timeout != "auto":
        return seconds_of(how.cell_timeout)
    return max(LEAST, planned.seconds * (TIMES_OF_A_GUESS if "rough" in planned.basis else TIMES))
