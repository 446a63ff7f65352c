"""Cells without work: what scheduling one costs, and that the driver's memory does not grow with their number."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
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


def scheduled(open_pool: Callable[[list[Job]], Pool], count: int, folder: Path) -> tuple[float, float]:
    """Seconds a cell, and MB by which the driver grew after its first hundred cells."""
    jobs = [job(seed=seed, folder=folder) for seed in range(count)]
    pool = open_pool(jobs)
    process, sizes = psutil.Process(), []
    try:
        list(Driver(pool, Execution("2"), lambda event: None).drive(jobs[:20], False, False))  # processes start
        start = time.perf_counter()
        for i, _ in enumerate(Driver(pool, Execution("2"), lambda event: None).drive(jobs, False, False)):
            if i in (100, count - 1):
                sizes.append(process.memory_info().rss / 2**20)
        seconds = (time.perf_counter() - start) / count
    finally:
        pool.close()
    return seconds, sizes[-1] - sizes[0]


def test_local_cells(tmp_path: Path) -> None:
    seconds, grown = scheduled(lambda jobs: LocalPool([{}, {}], nothing), COUNT, tmp_path)
    print(f"local: {1000 * seconds:.2f} ms a cell, {grown:+.1f} MB, {COUNT} cells")
    assert seconds < 0.003
    assert grown < 20


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

    seconds, grown = scheduled(opened, count, tmp_path)
    print(f"ray, {'a process each' if fresh else 'processes kept'}: {1000 * seconds:.2f} ms a cell, {grown:+.1f} MB")
    if not fresh:
        assert seconds < 0.010
        assert grown < 50


def one_thread(of: Job) -> Job:
    """The job with a cell of one thread, so that two run on two cores."""
    of.cell.protocol["threads"] = 1
    return of
