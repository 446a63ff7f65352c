"""`medbench develop`: recipes, rates and designs chosen on folds of training patients, never on the test part."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    DATA,
    DATA_ROOT,
    DEVICE,
    PRESET,
    RESULTS,
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
    FORCE,
    JOBS,
    MODELS,
    PRETRAINED,
    TRAIN_FRACTION,
    TRAIN_PATIENTS,
    name_failed,
    notes_on,
)
from bench.cli.terminal import TEXT, make_console

if TYPE_CHECKING:
    from bench.analysis.sheet import Sheet
    from bench.runs.development import Development

REQUEST: Option = gathered(
    "request",
    "bench.runs.development:Development",
    MODELS,
    DATASET,
    PRESET,
    click.option("--vary", multiple=True, metavar="FIELD=V,V", help="Values of a protocol field; the first is usual."),
    click.option("--factorial", is_flag=True, help="All combinations of --vary in place of one field at a time."),
    SETTINGS,
    click.option("--share", type=TEXT, help="Share of the steps that a run takes, 1/3."),
    BUDGET,
    click.option("--folds", default=5, type=click.IntRange(2, 100), help="Folds of the training part.  [5]"),
    click.option("--use", default=2, type=click.IntRange(1), help="So many of them are held out in turn.  [2]"),
    click.option("--seeds", default="1", type=TEXT, help="How many (3) or which (0,4,).  [1]"),
    *(SPLIT, TRAIN_PATIENTS, TRAIN_FRACTION, DATA, DATA_ROOT, RESULTS, THREADS, DEVICE, PRETRAINED),
)
DISPLAY: Option = displayed("Write the tables to a file as well.")


@click.command()
@REQUEST
@JOBS
@FORCE
@DISPLAY
def develop(request: Development, jobs: int, force: bool, display: Display) -> None:
    """Compare recipes, rates and designs on folds of the TRAINING patients; no validation or test part is read.

    Each model is trained under each variant of the protocol, once for each fold and seed. Finished cells are reused,
    unfinished ones go on; several commands may share them.

    \b
    Example:
      medbench develop --models unet_s --dataset acdc --preset smoke --data phantom --vary lr=1e-3,2e-3 --folds 3
    """
    from bench.analysis.development import by_dataset, judge
    from bench.records.store import is_done
    from bench.report.development import development_sheet
    from bench.report.progress import show_progress
    from bench.runs.development import all_jobs, candidates
    from bench.runs.runner import load_note, run_jobs

    console = make_console(display.wide)
    found = candidates(request, notes_on(console))
    work = all_jobs(found)
    to_run = [job for job in work if force or not is_done(job.folder)]
    note = load_note(to_run, jobs)
    if note:
        click.echo(note, err=True)
    with show_progress(console, to_run) as report:
        counts = run_jobs(work, jobs, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(work)} cells")
    judged = [judge(own) for own in by_dataset(found)]
    _show([development_sheet(own) for own in judged], display)
    if counts["failed"]:
        name_failed(work)
        sys.exit(1)


def _show(sheets: list[Sheet], display: Display) -> None:
    """Prints the tables; a file gets them in the form that was asked for, as Markdown where none was."""
    from bench.records.store import write_text
    from bench.report.sheets import print_sheets, render_sheets

    form = "markdown" if display.output is not None and display.form == "rich" else display.form
    if display.form == "rich":
        print_sheets(make_console(display.wide), sheets)
    else:
        click.echo(render_sheets(sheets, form), nl=False)
    if display.output is not None:
        display.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(display.output, render_sheets(sheets, form))
        click.echo(f"written: {display.output}", err=True)
