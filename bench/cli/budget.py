"""`medbench budget`: score against images seen in training, or against training patients."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.develop import show_sheets
from bench.cli.options import (
    DATA,
    DATA_ROOT,
    DEVICE,
    LOG,
    PRESET,
    RESULTS,
    SEEDS,
    SETTINGS,
    SPLIT,
    THREADS,
    Display,
    Option,
    displayed,
    gathered,
)
from bench.cli.run import (
    BUDGET,
    DATASET,
    EXECUTION,
    FOLDS,
    FORCE,
    MODELS,
    PRETRAINED,
    TRAIN_FRACTION,
    name_failed,
    notes_on,
)
from bench.cli.terminal import PATH, TEXT, make_console

if TYPE_CHECKING:
    from bench.runs.execution import Execution
    from bench.runs.request import Request

REQUEST: Option = gathered(
    "request",
    "bench.runs.request:Request",
    *(MODELS, DATASET, PRESET, BUDGET, SEEDS, SPLIT, FOLDS, TRAIN_FRACTION, DATA, DATA_ROOT, RESULTS, SETTINGS),
    *(THREADS, DEVICE, PRETRAINED, LOG),
)
BUDGETS = click.option(
    "--budgets", type=TEXT, metavar="N,N", help="Images seen, each over a whole schedule: 4k,16k,48k."
)
PATIENTS = click.option(
    "--train-patients", "patients", type=TEXT, metavar="N,N", help="Numbers of training patients instead: 5,15,35."
)
FIGURE = click.option("--figure", type=PATH, metavar="FILE", help="Draw it as well: .png, .svg or .pdf.")
DISPLAY: Option = displayed("Write the table to a file as well.")


@click.command()
@REQUEST
@BUDGETS
@PATIENTS
@EXECUTION
@FORCE
@FIGURE
@DISPLAY
def budget(
    request: Request,
    budgets: str | None,
    patients: str | None,
    how: Execution,
    force: bool,
    figure: Path | None,
    display: Display,
) -> None:
    """Train models at several budgets and show score against images seen; finished cells are reused.

    \b
    Example:
      medbench budget --models mednext_tiny,unet_s --dataset acdc --preset smoke --data phantom --budgets 32,64
    """
    from bench.analysis.curves import curves_of
    from bench.records.store import is_done
    from bench.report.curves import check_path, curve_sheet, draw_curves
    from bench.report.progress import show_progress
    from bench.runs.curves import curve_runs
    from bench.runs.runner import load_note, run_jobs

    check_path(figure)
    console = make_console(display.wide)
    runs = curve_runs(request, budgets, patients, notes_on(console))
    to_run = [job for job in runs.jobs if force or not is_done(job.folder)]
    note = load_note(to_run, how)
    if note:
        click.echo(note, err=True)
    with show_progress(console, to_run) as report:
        counts = run_jobs(runs.jobs, how, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(runs.jobs)} cells")
    curves = curves_of(runs, request.results)
    show_sheets([curve_sheet(curve) for curve in curves], display)
    for path in draw_curves(curves, figure) if figure is not None and curves else ():
        click.echo(f"written: {path}", err=True)
    if counts["failed"]:
        name_failed(runs.jobs)
        sys.exit(1)
