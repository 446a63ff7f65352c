"""A run's progress: bars that stay within the terminal and on their lines; loss, score and trials in bars and lines."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bench.cli.terminal import make_console
from bench.report.progress import Bars, cell_name, figures, show_progress
from bench.report.screen import Screen
from bench.runs.cell import Cell
from bench.runs.job import Event, Job
from bench.runs.protocol import Protocol

ARM = "mednext_tiny[laffn=none,sdffn=none,sem=none,widths=24-57-145-259,depths=1-1-2-1,kernels=7-7-9-9]"


def job(model: str = "unet_s", dataset: str = "acdc", steps: int = 1400, seed: int = 0, **fields: Any) -> Job:
    protocol = asdict(Protocol(steps=steps))
    named = {"name": model.partition("[")[0], "config": {}, "version": 1}
    cell = Cell(dataset, "f", {"kind": "phantom"}, "s", "p", None, named, protocol, seed, **fields)
    return Job(cell, model, "quick", Path("r"), Path("r"), Path("d"), "cpu", {})


def cell_events(of: Job, loss: float = 0.4123, score: float = 0.783) -> list[Event]:
    steps = [Event("step", of, n, loss=loss if n % 10 == 1 else None) for n in range(1, 1401, 50)]
    ended = Event("complete", of, loss=loss, score=score)
    return [Event("started", of), *steps, Event("step", of, 1400, loss=loss, score=score), ended]


class Terminal:
    """What a terminal of a width shows of what is written to it: rows, wrapped at its width, and the cursor's moves."""

    def __init__(self, width: int, text: str) -> None:
        self.rows, self.most = [""], 1
        row = 0
        for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|\n|\r|[^\x1b\n\r]+", text):
            if part == "\n":
                row += 1
                self.rows += [""] * (row - len(self.rows) + 1)
            elif part == "\r":
                continue
            elif part.startswith("\x1b"):
                if part.endswith("A"):
                    row -= int(part[2:-1] or 1)
                elif part.endswith("K"):
                    self.rows[row] = ""
            else:
                for sign in part:
                    if cell_len(self.rows[row]) >= width:
                        row += 1
                        self.rows += [""] * (row - len(self.rows) + 1)
                    self.rows[row] += sign
            self.most = max(self.most, row + 1)


def screen(width: int = 80, terminal: bool = True) -> Screen:
    return Screen(
        width=width, file=io.StringIO(), force_terminal=terminal, color_system="truecolor" if terminal else None
    )


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_bars_keep_to_the_width_and_to_their_lines(width: int) -> None:
    console, jobs = screen(width), [job(), job(ARM, seed=1)]
    bars, heights = Bars(console, jobs), []
    for event in (event for one in jobs for event in cell_events(one)):
        if event.kind in ("started", "step"):
            bars(event)
            lines = ["".join(part.text for part in line).rstrip() for line in console.render_lines(bars.render())]
            assert max(map(cell_len, lines)) <= width
            heights.append((event.job.model if event.job else "", len(lines)))
    assert len(set(heights)) == 2, "the height changes with the cell's name alone"
    assert "…" not in "".join(lines)
    assert all(part in " ".join(lines) for part in ("kernels=7-7-9-9] / seed 1", "1400/1400", "2800", "0 of 2 cells"))
    assert "loss 0.412, val Dice 78.3 %" in lines[-2]


def test_a_terminal_of_80_columns_has_no_new_lines_but_those_of_ended_cells() -> None:
    """Every refresh is drawn over the one before: on a wider console than the terminal each would leave rows behind."""
    console, jobs = screen(), [job(), job("transunet_s", seed=1)]
    with show_progress(console, jobs) as report:
        for event in (event for one in jobs for event in cell_events(one)):
            report(event)
            console._live_stack[-1].refresh()
    shown = Terminal(80, console.file.getvalue())  # type: ignore[attr-defined]
    assert shown.most <= 2 * 2 + 3 + 1, "at most two rows a cell's last line, three of bars"
    text = " ".join(" ".join(shown.rows).split())
    assert text.count("complete") == 2
    assert re.search(r"complete acdc-phantom / unet_s / seed 0 \(\d+ s\): loss 0.412, best val Dice 78.3 %", text)
    assert text.endswith("2 of 2 cells")


def test_the_console_of_a_terminal_is_as_wide_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert make_console().width == 80
    assert screen(60).width == 60


def test_plain_lines_say_loss_score_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 40))
    monkeypatch.setattr("bench.report.progress.time.monotonic", lambda: float(next(clock)))
    console = screen(terminal=False)
    with show_progress(console, [job()]) as report:
        report(Event("started", job()))
        report(Event("step", job(), 1, loss=0.9))
        report(Event("step", job(), 700, loss=0.5, score=0.61))
        report(Event("complete", job(), loss=0.4, score=0.7))
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "started   acdc-phantom / unet_s / seed 0",
        "          acdc-phantom / unet_s / seed 0: step 1 of 1400, loss 0.9, 55960 s left in this cell",
        "          acdc-phantom / unet_s / seed 0: step 700 of 1400, loss 0.5, val Dice 61.0 %, 80 s left in this cell",
        "complete  acdc-phantom / unet_s / seed 0 (120 s): loss 0.4, best val Dice 70.0 %, 1 of 1 cells",
    ]


def test_a_trial_is_named_by_its_number_and_rate() -> None:
    tuned = job(tuned={"trial": 2, "lr": 0.003, "weight_decay": 0.01})
    assert cell_name(Event("complete", tuned)) == "acdc-phantom / unet_s / trial 2, rate 0.003, decay 0.01"
    found = job(unscored=True)
    assert cell_name(Event("complete", found, trial=7)) == "acdc-phantom / unet_s / trial 7, rate 0.002"
    of_grid = job(unscored=True, tuned={"grid": [3e-4, 1e-3, 3e-3], "chosen": True, "lr": 3e-4, "weight_decay": 0.05})
    assert cell_name(Event("complete", of_grid, trial=7)) == "acdc-phantom / unet_s / trial 7, rate 0.0003"
    chosen = replace(tuned, cell=replace(tuned.cell, tuned={"trials": 4, "seed": 1, "lr": 0.003, "weight_decay": 0.01}))
    assert cell_name(Event("complete", chosen)) == "acdc-phantom / unet_s / seed 0"


def test_figures_are_those_of_the_task_and_what_is_not_known_is_left_out() -> None:
    assert figures(job(), 0.4123, 0.783) == ["loss 0.412", "val Dice 78.3 %"]
    assert figures(job("resnet18", "msld"), 0.7, -0.398, "best val") == ["loss 0.7", "best val loss 0.398"]
    assert figures(job(), None, None) == []
    assert figures(job(), float("nan"), None) == ["loss nan"]


def test_each_running_cell_has_its_bar_and_one_that_is_begun_again_leaves_it() -> None:
    jobs = [job(seed=seed) for seed in range(8)]
    console = screen()
    bars = Bars(console, jobs)

    def shown() -> str:
        return "\n".join("".join(part.text for part in line).rstrip() for line in console.render_lines(bars.render()))

    for one in jobs[:7]:
        bars(Event("started", one))
        bars(Event("step", one, 100 + one.cell.seed, loss=0.5))
    assert [name in shown() for name in ("/ seed 0", "/ seed 4", "/ seed 5", "and 2 more")] == [True, True, False, True]
    assert "104/1400" in shown()
    bars(Event("complete", jobs[0], loss=0.4, score=0.7))
    bars(Event("retried", jobs[1], text="its process died by signal 9 (SIGKILL); begun again (attempt 2)"))
    assert [name in shown() for name in ("/ seed 0", "/ seed 1", "/ seed 6", "more")] == [False, False, True, False]
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "again acdc-phantom / unet_s / seed 1: its process died by signal 9 (SIGKILL); begun again" in text
    assert bars.ended == 1
