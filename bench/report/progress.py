"""How a run shows itself: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bench.runner import Event, Job, Report

EVERY = 30.0  # seconds between two plain lines of one cell


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
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        total = sum(job.cell.protocol["steps"] for job in jobs)
        steps = bars.add_task("all steps", total=total)
        cell = bars.add_task("", total=1, visible=False)
        done: dict[str, int] = {}

        def report(event: Event) -> None:
            if event.kind == "note":
                bars.console.print(event.text, style="dim")
                return
            assert event.job is not None
            length = event.job.cell.protocol["steps"]
            if event.kind == "step":
                done[event.job.cell.key] = event.step
                bars.update(cell, completed=event.step)
            elif event.kind == "started":
                bars.reset(cell, total=length, description=_name(event.job), visible=True)
            else:
                done[event.job.cell.key] = length
                bars.console.print(f"{event.kind:9} {_name(event.job)}")
            bars.update(steps, completed=sum(done.values()))

        yield report


class PlainLines:
    """One line when a cell starts and ends, and one every half minute between, with the time left."""

    def __init__(self, console: Console, cells: int) -> None:
        self.console, self.cells, self.ended = console, cells, 0
        self.begin = self.last = time.monotonic()
        self.first = 0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "note":
            self._print(event.text)
            return
        assert event.job is not None
        name = _name(event.job)
        if event.kind == "step":
            self.first = self.first or event.step
            if now - self.last >= EVERY:
                total = event.job.cell.protocol["steps"]
                left = (now - self.begin) / max(1, event.step - self.first + 1) * (total - event.step)
                self._print(f"          {name}: step {event.step} of {total}, {left:.0f} s left in this cell")
                self.last = now
        elif event.kind == "started":
            self.begin = self.last = now
            self.first = 0
            self._print(f"started   {name}")
        elif event.kind == "waiting":
            self._print(f"waiting   {name}: another process is running it")
        else:
            self.ended += 1
            self._print(f"{event.kind:9} {name} ({now - self.begin:.0f} s), {self.ended} of {self.cells} cells")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _name(job: Job) -> str:
    return f"{job.cell.dataset_label} / {job.model} / seed {job.cell.seed}"
