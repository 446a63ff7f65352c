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
    from rich.progress import Progress

    from bench.runs.job import Event, Job, Report

EVERY = 30.0  # seconds between two plain lines of one cell
SHOWN = 5  # running cells with a bar of their own
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


class Standing:
    """How far a running cell is: its name, since when, the first step that was seen, the last, loss, score and bar."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Progress | None = None
        self.last = self.begin = time.monotonic()
        self.first = self.step = 0
        self.loss: float | None = None
        self.score: float | None = None

    def take(self, event: Event) -> None:
        """The first step seen of a resumed cell is not step 1: its rate is that of the steps seen."""
        self.step, self.first = event.step, self.first or event.step
        self.loss = self.loss if event.loss is None else event.loss
        self.score = self.score if event.score is None else event.score

    def left(self, job: Job, now: float) -> float:
        """Seconds that the cell will take from now on."""
        return (now - self.begin) / (self.step - self.first + 1) * (_steps(job) - self.step)


class PlainLines:
    """One line when a cell starts and ends, and one every half minute between, with the time left."""

    def __init__(self, screen: Screen, cells: int) -> None:
        self.screen, self.cells, self.ended = screen, cells, 0
        self.running: dict[str, Standing] = {}

    def __call__(self, event: Event) -> None:
        if event.job is None:
            self.screen.print_lines(event.text)
            return
        key = event.job.cell.key
        if event.kind == "started":
            self.running[key] = Standing(cell_name(event))
            self.start(event.job, self.running[key])
        elif event.kind == "step":
            if key not in self.running:
                self.running[key] = Standing(cell_name(event))
            self.running[key].take(event)
            self.step(event.job, self.running[key])
        elif event.kind == "waiting":
            self.screen.print_lines(f"waiting   {cell_name(event)}: another process is running it")
        elif event.kind == "retried":
            self.screen.print_lines(f"again     {cell_name(event)}: {event.text}")
            self.running.pop(key, None)
        elif event.kind in ENDS:
            self.ended += 1
            self.end(event.job, event)
            self.running.pop(key, None)

    def start(self, job: Job, standing: Standing) -> None:
        """Says that a cell has started."""
        self.screen.print_lines(f"started   {standing.name}")

    def step(self, job: Job, standing: Standing) -> None:
        """Says now and then how far a cell is."""
        now = time.monotonic()
        if now - standing.last >= EVERY:
            shown = [f"step {standing.step} of {_steps(job)}", *figures(job, standing.loss, standing.score)]
            left = f"{standing.left(job, now):.0f} s left in this cell"
            self.screen.print_lines(f"          {standing.name}: {', '.join(shown)}, {left}")
            standing.last = now

    def end(self, job: Job, event: Event) -> None:
        """What became of a cell, with its figures."""
        self.screen.print_lines(f"{self._end(job, event)}, {self.ended} of {self.cells} cells")

    def _end(self, job: Job, event: Event) -> str:
        ran = self.running.get(job.cell.key)
        seconds = f" ({time.monotonic() - ran.begin:.0f} s)" if ran else ""
        shown = ", ".join(figures(job, event.loss, event.score, "best val"))
        return f"{event.kind:9} {cell_name(event)}{seconds}{f': {shown}' if shown else ''}"


class Bars(PlainLines):
    """The running cells' names and bars, and one of all steps, never over the terminal; what has ended stands above."""

    def __init__(self, screen: Screen, jobs: Sequence[Job]) -> None:
        super().__init__(screen, len(jobs))
        self.all = _bars(screen)
        self.total = self.all.add_task("all", total=sum(map(_steps, jobs)), figures=f"0 of {len(jobs)} cells")
        self.done: dict[str, int] = {}
        self.steps = 0

    def render(self) -> RenderableType:
        """What stands at the bottom of the terminal now."""
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = []
        running = list(self.running.values())
        for standing in running[:SHOWN]:
            parts += [Text("\n".join(wrap(standing.name, self.screen.width))), *filter(None, [standing.bar])]
        more = len(running) - SHOWN
        parts += [Text(f"and {more} more")] if more > 0 else []
        return Group(*parts, self.all)

    def start(self, job: Job, standing: Standing) -> None:
        standing.bar = _bars(self.screen)
        standing.bar.add_task("cell", total=_steps(job), figures="")

    def step(self, job: Job, standing: Standing) -> None:
        if standing.bar is None:
            self.start(job, standing)
        shown = ", ".join(figures(job, standing.loss, standing.score))
        assert standing.bar is not None
        standing.bar.update(standing.bar.task_ids[0], completed=standing.step, figures=shown)
        self._count(job, standing.step)

    def end(self, job: Job, event: Event) -> None:
        self.screen.print_lines(self._end(job, event))
        self._count(job, _steps(job))

    def finish(self) -> None:
        """Leaves the bar of all steps alone."""
        self.running.clear()

    def _count(self, job: Job, steps: int) -> None:
        self.steps += steps - self.done.get(job.cell.key, 0)
        self.done[job.cell.key] = steps
        cells = f"{self.ended} of {self.cells} cells"
        self.all.update(self.total, completed=self.steps, figures=cells)


def _bars(screen: Screen) -> Progress:
    """A bar with its counts, times and figures, as wide as the terminal."""
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
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    return Progress(*columns, console=screen, expand=True)


def figures(job: Job, loss: float | None, score: float | None, best: str = "val") -> list[str]:
    """`loss 0.412` and `val Dice 78.3 %`, or of classification `val loss 0.398`; what is not known is left out."""
    shown = [] if loss is None else [f"loss {loss:.3g}"]
    if score is not None:
        is_dice = dataset_spec(job.cell.dataset, job.data_root).task == "segmentation"
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
