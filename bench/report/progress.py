"""How a run shows itself, with loss and validation score: bars and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.report.screen import Screen, wrap
from bench.zoo.registry import dataset_spec

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.runs.job import Event, Job, Report

EVERY = 30.0  # seconds between two plain lines of one cell
ENDS = ("complete", "failed", "diverged", "pruned", "reused")


@contextmanager
def show_progress(screen: Screen, jobs: Sequence[Job]) -> Iterator[Report]:
    """Yields the function that takes a run's events; bars only where the output is a terminal."""
    if not (screen.is_terminal and jobs):
        yield PlainLines(screen, len(jobs))
        return
    from rich.live import Live

    bars = Bars(screen, jobs)
    with Live(get_renderable=bars.render, console=screen):
        yield bars
        bars.finish()


@contextmanager
def counting(screen: Screen, what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function of (name, done, total): a line on a terminal, elsewhere one every half minute."""
    if screen.is_terminal:
        from rich.text import Text

        with screen.status("") as status:
            yield lambda name, done, total: status.update(
                Text(f"{done:,} of {total:,} {what} {name}", no_wrap=True, overflow="ellipsis")
            )
        return
    last = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            screen.print_lines(f"{done:,} of {total:,} {what}")

    yield report


class PlainLines:
    """One line when a cell starts and ends, and one every half minute between, with the time left."""

    def __init__(self, screen: Screen, cells: int) -> None:
        self.screen, self.cells, self.ended = screen, cells, 0
        self.last = self.begin = time.monotonic()
        self.running = ""
        self.first = 0
        self.loss: float | None = None
        self.score: float | None = None

    def __call__(self, event: Event) -> None:
        if event.job is None:
            self.screen.print_lines(event.text)
        elif event.kind == "step":
            self.loss = self.loss if event.loss is None else event.loss
            self.score = self.score if event.score is None else event.score
            self.step(event.job, event)
        elif event.kind == "started":
            self.begin = self.last = time.monotonic()
            self.running, self.first, self.loss, self.score = cell_name(event), 0, None, None
            self.start(event.job, event)
        elif event.kind == "waiting":
            self.screen.print_lines(f"waiting   {cell_name(event)}: another process is running it")
        elif event.kind in ENDS:
            self.ended += 1
            self.end(event.job, event)

    def start(self, job: Job, event: Event) -> None:
        """Says that a cell has started."""
        self.screen.print_lines(f"started   {self.running}")

    def step(self, job: Job, event: Event) -> None:
        """The first step seen of a resumed cell is not step 1: the rate is that of the steps seen."""
        now = time.monotonic()
        self.first = self.first or event.step
        if now - self.last >= EVERY:
            left = (now - self.begin) / (event.step - self.first + 1) * (_steps(job) - event.step)
            shown = [f"step {event.step} of {_steps(job)}", *figures(job, self.loss, self.score)]
            self.screen.print_lines(f"          {cell_name(event)}: {', '.join(shown)}, {left:.0f} s left in this cell")
            self.last = now

    def end(self, job: Job, event: Event) -> None:
        """What became of a cell, with its figures."""
        self.screen.print_lines(f"{self._end(job, event)}, {self.ended} of {self.cells} cells")

    def _end(self, job: Job, event: Event) -> str:
        name = cell_name(event)
        seconds = f" ({time.monotonic() - self.begin:.0f} s)" if self.running == name else ""
        shown = ", ".join(figures(job, event.loss, event.score, "best val"))
        return f"{event.kind:9} {name}{seconds}{f': {shown}' if shown else ''}"


class Bars(PlainLines):
    """The running cell's name, its bar and one of all steps, never over the terminal; what has ended stands above."""

    def __init__(self, screen: Screen, jobs: Sequence[Job]) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        super().__init__(screen, len(jobs))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self.bars = Progress(*columns, console=screen, expand=True)
        self.cell = self.bars.add_task("cell", visible=False, figures="")
        self.all = self.bars.add_task("all", total=sum(map(_steps, jobs)), figures=f"0 of {len(jobs)} cells")
        self.done: dict[str, int] = {}

    def render(self) -> RenderableType:
        """What stands at the bottom of the terminal now."""
        from rich.console import Group
        from rich.text import Text

        name = [Text("\n".join(wrap(self.running, self.screen.width)))] if self.running else []
        return Group(*name, self.bars)

    def start(self, job: Job, event: Event) -> None:
        self.bars.reset(self.cell, total=_steps(job), visible=True, figures="")

    def step(self, job: Job, event: Event) -> None:
        shown = ", ".join(figures(job, self.loss, self.score))
        self.bars.update(self.cell, completed=event.step, figures=shown)
        self._count(job, event.step)

    def end(self, job: Job, event: Event) -> None:
        self.screen.print_lines(self._end(job, event))
        self._count(job, _steps(job))

    def finish(self) -> None:
        """Leaves the bar of all steps alone."""
        self.running = ""
        self.bars.update(self.cell, visible=False)

    def _count(self, job: Job, steps: int) -> None:
        self.done[job.cell.key] = steps
        cells = f"{self.ended} of {self.cells} cells"
        self.bars.update(self.all, completed=sum(self.done.values()), figures=cells)


def figures(job: Job, loss: float | None, score: float | None, best: str = "val") -> list[str]:
    """`loss 0.412` and `val Dice 78.3 %`, or of classification `val loss 0.398`; what is not known is left out."""
    shown = [] if loss is None else [f"loss {loss:.3g}"]
    if score is not None:
        is_dice = dataset_spec(job.cell.dataset).task == "segmentation"
        shown.append(f"{best} Dice {100 * score:.1f} %" if is_dice else f"{best} loss {-score:.3g}")
    return shown


def cell_name(event: Event) -> str:
    """`acdc / unet_s / seed 0`; of a trial its number and rate instead; of an inner fold also the recipe."""
    if event.job is None:
        return ""
    cell, tuned = event.job.cell, event.job.cell.tuned or {}
    last = f"seed {cell.seed}"
    if "trial" in tuned:
        last = f"trial {tuned['trial']}, rate {tuned['lr']:g}, decay {tuned['weight_decay']:g}"
    elif event.trial is not None:
        last = f"trial {event.trial}, rate {tuned.get('lr', cell.protocol['lr']):g}"
    folds = cell.split.partition("/")[2]
    fold = "" if cell.fold is None else f" / fold {cell.fold} of {folds}"
    recipe = f" / {event.job.preset}" if folds.startswith("inner") else ""
    return f"{cell.dataset_label} / {event.job.model} / {last}{fold}{recipe}"


def _steps(job: Job) -> int:
    steps: int = job.cell.protocol["steps"]
    return steps
