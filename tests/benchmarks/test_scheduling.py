"""Cells without work: what scheduling one costs, and that the driver's memory does not grow with their number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cell_work
import psutil
import pytest
from cell_work import nothing, nothing_on_a_node
from fake_jobs import job

from bench.runs.attempts import Driver
from bench.runs.execution import Execution
from bench.runs.job import Job
from bench.runs.pools import LocalPool, Pool

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("MEDBENCH_EMPTY_CELLS", "10000"))
EARLY = COUNT // 5  # cells after which the driver's memory is looked at first
MB = 2**20


@dataclass(frozen=True)
class Scheduled:
    """What scheduling cost.

    Attributes:
        seconds, cpu: of each cell; of the driver's processor.
        jobs: bytes of each job, before anything ran.
        grown: MB by which the driver grew from a fifth of the cells to all.
    """

    seconds: float
    cpu: float
    jobs: float
    grown: float

    def __str__(self) -> str:
        return (
            f"{1000 * self.seconds:.2f} ms a cell ({1000 * self.cpu:.2f} ms of the driver's processor), "
            f"{self.jobs:.0f} bytes a job, {self.grown:+.1f} MB from {EARLY} cells to {COUNT}"
        )


def scheduled(open_pool: Callable[[list[Job]], Pool], count: int, folder: Path) -> Scheduled:
    """Runs so many cells that do nothing."""
    process, sizes = psutil.Process(), []
    before = process.memory_info().rss
    jobs = [job(seed=seed, folder=folder) for seed in range(count)]
    of_jobs = (process.memory_info().rss - before) / count
    pool = open_pool(jobs)
    try:
        list(Driver(pool, Execution("2"), lambda event: None).drive(jobs[:20], False, False))  # processes start
        start, cpu = time.perf_counter(), time.process_time()
        for i, _ in enumerate(Driver(pool, Execution("2"), lambda event: None).drive(jobs, False, False)):
            if i in (min(EARLY, count // 2), count - 1):
                sizes.append(process.memory_info().rss / MB)
        seconds, cpu = (time.perf_counter() - start) / count, (time.process_time() - cpu) / count
    finally:
        pool.close()
    return Scheduled(seconds, cpu, of_jobs, sizes[-1] - sizes[0])


def test_local_cells(tmp_path: Path) -> None:
    found = scheduled(lambda jobs: LocalPool([{}, {}], nothing), COUNT, tmp_path)
    print(f"local: {found}")
    assert found.seconds < 0.003
    assert found.grown < 10


@pytest.mark.parametrize(("fresh", "count"), [(False, COUNT), (True, 20)])
def test_ray_cells(fresh: bool, count: int, tmp_path: Path) -> None:
    """A process of its own for each cell costs its start, which a cell of minutes does not feel."""
    ray = pytest.importorskip("ray")
    from bench.runs.ray_pool import RayPool

    ray.cloudpickle.register_pickle_by_value(cell_work)  # which no node can import

    class Empty(RayPool):
        def start(self, job: Job, force: bool, wait: bool) -> Future[str]:
            return self.threads.submit(lambda: "complete" if self.trained(job) else "failed")

    def opened(jobs: list[Job]) -> Any:
        return Empty(Execution("2", executor="ray"), [one_thread(jobs[0])], nothing_on_a_node, fresh)

    found = scheduled(opened, count, tmp_path)
    print(f"ray, {'a process each' if fresh else 'processes kept'}: {found}")
    if not fresh:
        assert found.seconds < 0.010
        assert found.grown < 20


def one_thread(of: Job) -> Job:
    """The job with a cell of one thread, so that two run on two cores."""
    of.cell.protocol["threads"] = 1
    return of
