"""The driver: cells that are not done, begun where a place is free, tried again where they fail, recorded as failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from dataclasses import asdict, dataclass, replace

from bench.records import store
from bench.runs.estimate import plan_cells
from bench.runs.execution import Execution, gpu_count, limit_of
from bench.runs.job import Event, Job, Report, conclude, ended, make_record, run_cell
from bench.runs.pools import LOG, LocalPool, Lost, Pool

LOOK = 0.1  # seconds between two looks at what was told, while no cell ends


def outcomes(jobs: list[Job], how: Execution, force: bool, wait: bool, report: Report) -> Iterator[tuple[Job, str]]:
    """Each job with what became of it, as they end."""
    if not jobs:
        return
    if how.in_this_process:
        for job in jobs:
            yield job, _in_turn(job, how, force, wait, report)
        return
    pool = open_pool(how, jobs)
    try:
        yield from Driver(pool, how, report).drive(jobs, force, wait)
    finally:  # after an interrupt too: unfinished cells go on from their checkpoints another time
        pool.close()


def open_pool(how: Execution, jobs: Sequence[Job]) -> Pool:
    """The place where cells run."""
    if how.executor == "ray":
        from bench.runs.ray_pool import RayPool

        return RayPool(how, jobs)
    threads = max(job.cell.protocol["threads"] for job in jobs)
    at_once = min(how.cells_at_once(threads, len(jobs), jobs[0].device), len(jobs))
    gpus = gpu_count() if jobs[0].device == "cuda" else 0
    return LocalPool([{"CUDA_VISIBLE_DEVICES": _visible(i % gpus)} if gpus else {} for i in range(at_once)])


def _visible(i: int) -> str:
    """The i-th of the GPUs that this process may use, as CUDA names it."""
    import os

    listed = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return listed[i] if listed else str(i)


def _in_turn(job: Job, how: Execution, force: bool, wait: bool, report: Report) -> str:
    """Runs a cell in this process, as often as it may be tried."""
    while True:
        outcome = run_cell(job, force, wait, lambda event: None if event.kind == "failed" else report(event))
        again = next_attempt(job, failure_of(job), how) if outcome == "failed" else None
        if again is None:
            if outcome == "failed":  # which was held back until it was known whether it is tried again
                report(ended(job, outcome))
            return outcome
        report(retried(again, _error_of(job)))
        job, force = again, False


def failure_of(job: Job) -> str:
    """The kind of a failure that was recorded."""
    failure = (store.read_record(job.folder) or {}).get("failure") or {}
    return str(failure.get("kind", "raised"))


def _error_of(job: Job) -> str:
    return str((store.read_record(job.folder) or {}).get("error"))


def next_attempt(job: Job, kind: str, how: Execution) -> Job | None:
    """The job as it is begun again after a failure of this kind; None where it was tried often enough.

    Batches that are halved do not count: there are few halves of a batch.
    """
    most = (job.cell.protocol["batch_size"] + 1) // 2  # a part has two images, for norms over a batch
    if kind == "memory" and how.on_oom == "halve" and job.pieces < most:
        return replace(job, pieces=min(2 * job.pieces, most))
    return replace(job, attempt=job.attempt + 1) if job.attempt <= how.retries else None


def retried(job: Job, line: str) -> Event:
    """The event of a cell that is begun again."""
    return Event("retried", job, text=f"{line.rstrip('.')}; {_again(job)}")


def _again(job: Job) -> str:
    if job.pieces > 1:
        return (
            f"its batches now pass in {job.pieces} parts, gradients summed (equal in expectation, but norms over a "
            "batch see a part of it; the record says so)"
        )
    return f"begun again (attempt {job.attempt})"


@dataclass
class Running:
    """A cell that runs: until when it may, once it has started."""

    job: Job
    until: float | None = None


class Driver:
    """Keeps a pool's places filled.

    Args:
        report: takes what is told of all cells; called in the driver's own thread alone.
    """

    def __init__(self, pool: Pool, how: Execution, report: Report) -> None:
        self.pool, self.how, self.report = pool, how, report
        self.running: dict[Future[str], Running] = {}
        self.limits: dict[str, float | None] = {}

    def drive(self, jobs: list[Job], force: bool, wait: bool) -> Iterator[tuple[Job, str]]:
        """Runs all jobs, the longest first; yields each with what became of it."""
        planned = sorted(plan_cells(jobs, jobs[0].results, force), key=lambda cell: -cell.seconds)
        self.limits = {cell.job.cell.key: limit_of(self.how, cell) for cell in planned}
        waiting = deque(cell.job for cell in planned)
        while waiting or self.running:
            while waiting and len(self.running) < self.pool.slots():
                job = waiting.popleft()
                first = job.attempt == 1 and job.pieces == 1
                self.running[self.pool.start(job, force and first, wait)] = Running(job)
            done, _ = wait_for(self.running, timeout=LOOK, return_when=FIRST_COMPLETED)
            self._hear()
            for future in done:
                job = self.running.pop(future).job
                outcome, again = self._settle(job, future)
                if again is not None:
                    waiting.appendleft(again)
                else:
                    if outcome != "busy":
                        self.report(ended(job, outcome))
                    yield job, outcome

    def _hear(self) -> None:
        """Passes on what was told, and stops what takes too long."""
        of_key = {running.job.cell.key: running for running in self.running.values()}
        for event in self.pool.events():
            running = of_key.get(event.job.cell.key) if event.job else None
            if event.kind == "started" and running is not None:
                limit = self.limits.get(running.job.cell.key)
                running.until = None if limit is None else time.monotonic() + limit
            self.report(event)
        for running in self.running.values():
            if running.until is not None and time.monotonic() > running.until:
                running.until = None
                limit = self.limits[running.job.cell.key]
                self.pool.stop(running.job, f"it took longer than {limit:.0f} s (--cell-timeout)")

    def _settle(self, job: Job, future: Future[str]) -> tuple[str, Job | None]:
        """What became of a cell, and the job where it is begun again."""
        try:
            outcome = future.result()
        except Lost as lost:
            again = next_attempt(job, lost.kind, self.how)
            if again is not None:
                self.report(retried(again, lost.line))
                return "", again
            return record_death(job, lost), None
        if outcome != "failed" or (again := next_attempt(job, failure_of(job), self.how)) is None:
            return outcome, None
        self.report(retried(again, _error_of(job)))
        return "", again


def record_death(job: Job, lost: Lost) -> str:
    """Records a cell as failed whose process was lost, unless it is done all the same; returns what became of it."""
    with store.lock(job.folder, wait=False) as lease:
        if lease is None:  # another command went on with it
            return "busy"
        if store.is_done(job.folder):
            return "reused"
        store.write_json(job.folder / "cell.json", asdict(job.cell))
        log = job.folder / LOG
        seen = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        store.write_text(log, f"{lost.line}\n{seen}")
        conclude(job, make_record(job, "failed", error=lost.line, failure={"kind": lost.kind, "attempts": job.attempt}))
    return "failed"
