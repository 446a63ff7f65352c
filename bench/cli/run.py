"""`medbench run`, `medbench plan`: models trained and scored on data sets, or what that would take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import (
    CHECKLIST,
    DATA,
    DATA_ROOT,
    DEVICE,
    JSON,
    LOG,
    PRECISION,
    PRESET,
    RESULTS,
    SEEDS,
    SETTINGS,
    SPLIT,
    THREADS,
    TITLED,
    Option,
    gathered,
)
from bench.cli.terminal import PATH, TEXT, Number, NumberFrom, make_console, wide_option
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.report.screen import Screen
    from bench.runs.execution import Execution
    from bench.runs.job import Event, Job, Report
    from bench.runs.naming import Naming
    from bench.runs.request import Request

MODELS = click.option(
    "--models",
    default="all",
    type=TEXT,
    help="Names, globs, families, name[field=value], mod:Net, timm:NAME, all, zoo, -name.  [all]",
)
DATASET = click.option("--dataset", type=TEXT, required=True, help="Names by commas, or all; see `medbench data list`.")
FOLDS = click.option("--folds", type=click.IntRange(3, 100), help="Cross-validation by patient in so many folds.")
TRAIN_PATIENTS = click.option(
    "--train-patients", type=click.IntRange(1), help="Train on so many of the training patients."
)
TRAIN_FRACTION = click.option(
    "--train-fraction", type=Number(), help="Train on such a share of the training patients, 0 to 1."
)
BUDGET = click.option(
    "--budget", type=TEXT, metavar="IMAGES", help="Images seen in training, over a whole schedule: 48k.  [the preset's]"
)
PRETRAINED = click.option("--pretrained", is_flag=True, help="Start from weights of the hub, where a model has some.")
PREDICTIONS = click.option(
    "--no-predictions",
    "predictions",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Keep no predictions of the test part beside each record.",
)
PARTS = (MODELS, DATASET, PRESET, BUDGET, SEEDS, SPLIT, FOLDS, TRAIN_PATIENTS, TRAIN_FRACTION)
REQUEST: Option = gathered(
    "request",
    "bench.runs.request:Request",
    *(*PARTS, DATA, DATA_ROOT, RESULTS, SETTINGS, PRECISION, THREADS, DEVICE, PRETRAINED, PREDICTIONS, LOG),
)
EXECUTION: Option = gathered(
    "how",
    "bench.runs.execution:Execution",
    click.option(
        "--jobs",
        type=TEXT,
        metavar="N|auto",
        help="Cells at a time, in processes of their own; auto: by cores or GPUs.  [one, in this process]",
    ),
    click.option("--executor", type=click.Choice(["local", "ray"]), default="local", help="Where cells run.  [local]"),
    click.option("--address", type=TEXT, help="Of the Ray cluster, or auto.  [a new one, of this machine]"),
    click.option("--gpus-per-cell", type=NumberFrom(0), default=0.0, help="Of the Ray cluster's GPUs.  [0]"),
    click.option("--memory-per-cell", type=NumberFrom(0), default=0.0, help="GB of the Ray cluster's.  [0]"),
    click.option(
        "--retries", type=click.IntRange(0), default=1, help="How often a cell that fails is tried again.  [1]"
    ),
    click.option(
        "--cell-timeout",
        type=TEXT,
        default="auto",
        help="30m, 2h: a cell that takes longer is ended; none.  [10 x its estimate]",
    ),
    click.option(
        "--on-oom",
        type=click.Choice(["fail", "halve"]),
        default="fail",
        help="Out of memory: fail, or pass batches in halves, gradients summed.  [fail]",
    ),
)
PICKED: Option = gathered(
    "picked",
    f"{__name__}:Picked",
    click.option("--shard", type=TEXT, metavar="I/N", help="The I-th of N shares of the cells, equal in cost."),
    click.option("--only", type=TEXT, metavar="KEY,KEY", help="The cells of these keys alone."),
)
TUNE = click.option("--tune", type=click.IntRange(1), help="Trials of rate and decay for each model, on validation.")
FORCE = click.option("--force", is_flag=True, help="Run finished cells anew.")


@dataclass(frozen=True)
class Picked:
    """Which cells of a request this command takes.

    Attributes:
        shard: one share of several, `2/5`. only: keys by commas.
    """

    shard: str | None = None
    only: str | None = None

    def of(self, jobs: list[Job]) -> list[Job]:
        """The cells that are taken."""
        from bench.runs.shares import only_cells, shard_of

        kept = jobs if self.only is None else only_cells(jobs, self.only)
        return kept if self.shard is None else shard_of(kept, self.shard)


@click.command()
@REQUEST
@PICKED
@EXECUTION
@TUNE
@FORCE
@TITLED
@CHECKLIST
@wide_option
def run(
    request: Request,
    picked: Picked,
    how: Execution,
    tune: int | None,
    force: bool,
    naming: Naming,
    checklist: bool,
    wide: bool,
) -> None:
    """Train and score models on a dataset; finished cells are reused, unfinished ones go on.

    \b
    Example:
      medbench run --models mednext_tiny,unet_s --dataset acdc --preset smoke --data phantom
    """
    from bench.report.progress import show_progress
    from bench.report.render import print_tables, results_tables
    from bench.runs.runner import load_note, make_jobs, run_jobs, tuned

    console = make_console(wide)
    work = picked.of(make_jobs(request, notes_on(console)))
    naming.keep(request.results, [job.model for job in work])
    note = load_note(_to_run(work, force), how)
    if note:
        click.echo(note, err=True)
    asked = len(work)
    if tune:
        from bench.runs.tuning import trial_jobs

        with show_progress(console, _to_run(trial_jobs(work, tune), force)) as report:
            work = tuned(work, tune, how, force, report)
    with show_progress(console, _to_run(work, force)) as report:
        counts = run_jobs(work, how, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(work)} cells")
    comparisons = {job.cell.comparison for job in work}
    tables, notes = results_tables(request.results, comparisons, kept={job.model for job in work})
    print_tables(console, tables, checklist, notes)
    if counts["failed"] or len(work) < asked:
        name_failed(work)
        sys.exit(1)


def notes_on(screen: Screen) -> Report:
    """Prints notes while a request becomes jobs, and once on standard error that drawn images stand for real ones."""
    told: set[str] = click.get_current_context().meta.setdefault(f"{__name__}.told", set())

    def tell(event: Event) -> None:
        if event.kind != "drawn":
            screen.print_lines(event.text)
        elif event.text not in told:
            told.add(event.text)
            click.echo(event.text, err=True)

    return tell


def _to_run(jobs: Sequence[Job], force: bool) -> list[Job]:
    from bench.records.store import is_done

    return [job for job in jobs if force or not is_done(job.folder)]


def name_failed(jobs: Sequence[Job]) -> None:
    """Says on standard error which cells failed, and where their traceback is."""
    for job in jobs:
        if (job.folder / "error.log").exists():
            click.echo(f"failed: {job.model} seed {job.cell.seed}, see {job.folder / 'error.log'}", err=True)


def _print_protocol(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    if is_set:
        from bench.report.protocol_page import protocol_page

        click.echo(protocol_page(), nl=False)
        context.exit()


def _print_commands(request: Request, picked: Picked, tune: int | None, force: bool) -> None:
    """A line for each cell that is not done, on standard output; notes go to standard error."""
    from bench.runs.commands import cell_commands
    from bench.runs.runner import make_jobs

    if tune:
        raise UserError("Expected --commands without --tune: a tuned cell waits for all trials. Give --shard I/N.")
    work = picked.of(make_jobs(request, lambda event: click.echo(event.text, err=True)))
    for line in cell_commands(request, _to_run(work, force), force):
        click.echo(line)


@click.command()
@REQUEST
@PICKED
@EXECUTION
@TUNE
@FORCE
@wide_option
@click.option("--commands", is_flag=True, help="Print a command for each cell that is not done, for a queue.")
@click.option(
    "--preview", type=PATH, metavar="DIR", help="Draw what augmentation does and the curve of the rate there."
)
@click.option("--measure", is_flag=True, help="Time a few steps of each model here, in place of an estimate.")
@click.option(
    *("--protocol", "_protocol"),
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_protocol,
    help="Print every field of the protocol instead: meaning, range, value in each preset.",
)
@JSON
def plan(
    request: Request,
    picked: Picked,
    how: Execution,
    tune: int | None,
    force: bool,
    wide: bool,
    commands: bool,
    measure: bool,
    preview: Path | None,
    form: str,
) -> None:
    """Print a run's cells, which are done, and the estimated hours; train nothing.

    \b
    Example:
      medbench plan --models all --dataset acdc --preset smoke --data phantom
    """
    from bench.analysis.power import smallest_difference_line
    from bench.records.store import read_records
    from bench.report.notes import few
    from bench.report.plans import plan_sheets, plan_total
    from bench.report.sheets import print_sheets
    from bench.runs.estimate import plan_cells
    from bench.runs.runner import make_jobs

    console, said = make_console(wide), list[str]()
    if commands:
        if preview is not None or measure or form != "rich":
            raise UserError("Expected --commands without --preview, --measure and --format: it prints commands alone.")
        _print_commands(request, picked, tune, force)
        return
    planned = make_jobs(request, notes_on(console) if form == "rich" else lambda event: said.append(event.text))
    work = picked.of(planned)
    if tune:
        from bench.runs.tuning import are_done, pending_jobs, trial_jobs, tuned_jobs

        trials = trial_jobs(work, tune)
        work = [*trials, *(tuned_jobs(work, tune) if are_done(trials) else pending_jobs(work, tune))]
    cells = plan_cells(work, request.results, force)
    if measure:
        from bench.runs.timing import measured

        cells = measured(cells)
    device = work[0].device if work else "cpu"
    at_once = how.cells_at_once(max((job.cell.protocol["threads"] for job in work), default=1), len(work), device)
    lines = plan_total(cells, at_once) if form == "rich" else said
    for comparison in dict.fromkeys(job.cell.comparison for job in work if not job.cell.is_trial):
        of_comparison = [job for job in (*planned, *work) if job.cell.comparison == comparison]  # a share's too
        lines.append(smallest_difference_line(of_comparison, request.results))
    lines += few(read_records(request.results).notes)
    if form == "json":
        from bench.report.json_rows import plan_document

        click.echo(plan_document(cells, at_once, lines), nl=False)
    else:
        print_sheets(console, plan_sheets(cells, at_once))
        for line in lines:
            console.print_lines(line)
    if preview is not None:
        from bench.report.preview import draw_previews
        from bench.runs.augmented import augmented_images

        for path in draw_previews(augmented_images(work), preview):
            click.echo(f"written: {path}", err=True)
