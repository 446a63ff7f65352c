"""`medbench develop`: recipes, rates and designs chosen on folds of training patients, never on the test part."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    DATA,
    DATA_ROOT,
    DEVICE,
    LOG,
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
    EXECUTION,
    FORCE,
    MODELS,
    PRETRAINED,
    TRAIN_FRACTION,
    TRAIN_PATIENTS,
    name_failed,
    notes_on,
)
from bench.cli.terminal import TEXT, make_console

if TYPE_CHECKING:
    from bench.analysis.development import Judged
    from bench.analysis.sheet import Sheet
    from bench.runs.development import Development
    from bench.runs.execution import Execution

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
    *(SPLIT, TRAIN_PATIENTS, TRAIN_FRACTION, DATA, DATA_ROOT, RESULTS, THREADS, DEVICE, PRETRAINED, LOG),
)
DISPLAY: Option = displayed("Write the tables to a file as well.")


@dataclass(frozen=True)
class Kept:
    """What is written of the outcome beside the table.

    Attributes:
        store_rates: the rate that does best for each network, into the user's file of rates.
        study: name of the Optuna study that gets a trial for each candidate, or None.
        storage: a URL that Optuna takes, or None for a journal under the results folder.
        weights: whose figures choose, `last` or `average-last`; None: the average's where there is one.
    """

    store_rates: bool
    study: str | None
    storage: str | None
    weights: str | None


KEPT: Option = gathered(
    "kept",
    f"{__name__}:Kept",
    click.option("--store-rates", is_flag=True, help="Write each network's best rate to RESULTS/rates.json."),
    click.option("--study", type=TEXT, help="Write the candidates as trials of this Optuna study."),
    click.option("--storage", type=TEXT, help="Its storage URL.  [a journal in RESULTS/studies]"),
    click.option("--weights", type=click.Choice(["last", "average-last"]), help="Whose figures choose.  [average]"),
)


@click.command()
@REQUEST
@EXECUTION
@FORCE
@KEPT
@DISPLAY
def develop(request: Development, how: Execution, force: bool, kept: Kept, display: Display) -> None:
    """Compare recipes, rates and designs on folds of the TRAINING patients; no validation or test part is read.

    Each model is trained under each variant of the protocol, once for each fold and seed. Finished cells are reused,
    unfinished ones go on; several commands may share them.

    \b
    Example:
      medbench develop --models unet_s --dataset acdc --preset smoke --data phantom --vary lr=1e-3,2e-3 --folds 3
    """
    from bench.analysis.development import by_dataset, judge
    from bench.analysis.rates import check_grid
    from bench.records.store import is_done
    from bench.report.development import development_sheet
    from bench.report.progress import show_progress
    from bench.runs.development import all_jobs, candidates
    from bench.runs.runner import load_note, run_jobs

    console = make_console(display.wide)
    found = candidates(request, notes_on(console))
    if kept.store_rates:
        check_grid(found)
    work = all_jobs(found)
    to_run = [job for job in work if force or not is_done(job.folder)]
    note = load_note(to_run, how)
    if note:
        click.echo(note, err=True)
    with show_progress(console, to_run) as report:
        counts = run_jobs(work, how, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(work)} cells")
    judged = [judge(own) for own in by_dataset(found)]
    show_sheets([development_sheet(own) for own in judged], display)
    if kept.store_rates:
        _store_rates(judged, kept.weights, Path(request.results))
    if kept.study is not None:
        _write_study(judged, kept, Path(request.results))
    if counts["failed"]:
        name_failed(work)
        sys.exit(1)


def _store_rates(judged: list[list[Judged]], weights: str | None, results: Path) -> None:
    from bench.analysis.rates import choose_rates
    from bench.runs.rates import store_choices

    for own in judged:
        choices, lines = choose_rates(own, weights)
        for line in (*lines, *(f"{choice['model']}, {choice['task']}: {choice['lr']:g}" for choice in choices)):
            click.echo(line, err=True)
        if choices:
            click.echo(f"written: {store_choices(results, choices)}", err=True)


def _write_study(judged: list[list[Judged]], kept: Kept, results: Path) -> None:
    """One study for each dataset, by its name where there are several."""
    from ablations.designs import write_designs

    for own in judged:
        label = own[0].candidate.jobs[0].cell.dataset_label
        name = str(kept.study) if len(judged) == 1 else f"{kept.study}-{label}"
        study = write_designs(own, results, name, kept.weights, kept.storage)
        click.echo(f"written: study {study.study_name}, {len(study.get_trials(deepcopy=False))} trials", err=True)


def show_sheets(sheets: list[Sheet], display: Display) -> None:
    """Prints the tables; a file gets them in the form that was asked for, as Markdown where none was."""
    from bench.records.named_file import write_named
    from bench.report.sheets import print_sheets, render_sheets

    form = "markdown" if display.output is not None and display.form == "rich" else display.form
    if display.form == "rich":
        print_sheets(make_console(display.wide), sheets)
    else:
        click.echo(render_sheets(sheets, form), nl=False)
    if display.output is not None:
        write_named(display.output, render_sheets(sheets, form))
        click.echo(f"written: {display.output}", err=True)
