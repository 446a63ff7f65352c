"""How a run shows itself: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bench.runs.job import Event, Job, Report

EVERY = 30.0  # seconds between two plain lines of one cell
ENDS = ("complete", "failed", "diverged", "pruned", "reused")


@contextmanager
def show_progress(console: Console, jobs: list[Job]) -> Iterator[Report]:
    """Yields the function that takes a run's events; bars only where the output is a terminal."""
    if not console.is_terminal:
        yield PlainLines(console, len(jobs))
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        steps = bars.add_task("all steps", total=sum(_steps(job) for job in jobs))
        cell = bars.add_task("", total=1, visible=False)
        done: dict[str, int] = {}

        def report(event: Event) -> None:
            if event.job is None:
                bars.console.print(event.text, style="dim", markup=False)
            elif event.kind == "step":
                done[event.job.cell.key] = event.step
                bars.update(cell, completed=event.step)
            elif event.kind == "started":
                bars.reset(cell, total=_steps(event.job), description=_name(event.job), visible=True)
            else:
                bars.console.print(f"{event.kind:9} {_name(event.job)}", markup=False)
                if event.kind in ENDS:
                    done[event.job.cell.key] = _steps(event.job)
            bars.update(steps, completed=sum(done.values()))

        yield report


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function of (name, done, total): a line on a terminal, elsewhere one every half minute."""
    if console.is_terminal:
        with console.status("") as status:
            yield lambda name, done, total: status.update(f"{done:,} of {total:,} {what} {name}")
        return
    last = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            console.print(f"{done:,} of {total:,} {what}", highlight=False, markup=False)

    yield report


class PlainLines:
    """One line when a cell starts and ends, and one every half minute between, with the time left."""

    def __init__(self, console: Console, cells: int) -> None:
        self.console, self.cells, self.ended = console, cells, 0
        self.last = self.begin = time.monotonic()
        self.running = ""
        self.first = 0

    def __call__(self, event: Event) -> None:
        if event.job is None:
            self._print(event.text)
            return
        now, name = time.monotonic(), _name(event.job)
        if event.kind == "step":
            self._step(event.job, event.step, now)
        elif event.kind == "started":
            self.begin = self.last = now
            self.running, self.first = name, 0
            self._print(f"started   {name}")
        elif event.kind == "waiting":
            self._print(f"waiting   {name}: another process is running it")
        elif event.kind in ENDS:
            self.ended += 1
            seconds = f" ({now - self.begin:.0f} s)" if self.running == name else ""
            self._print(f"{event.kind:9} {name}{seconds}, {self.ended} of {self.cells} cells")

    def _step(self, job: Job, step: int, now: float) -> None:
        """The first step seen of a resumed cell is not step 1: the rate is that of the steps seen."""
        self.first = self.first or step
        if now - self.last >= EVERY:
            left = (now - self.begin) / (step - self.first + 1) * (_steps(job) - step)
            self._print(f"          {_name(job)}: step {step} of {_steps(job)}, {left:.0f} s left in this cell")
            self.last = now

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _steps(job: Job) -> int:
    return job.cell.protocol["steps"]


def _name(job: Job) -> str:
    fold = "" if job.cell.fold is None else f" / fold {job.cell.fold} of {job.cell.split.partition('/')[2]}"
    return f"{job.cell.dataset_label} / {job.model} / seed {job.cell.seed}{fold}"
