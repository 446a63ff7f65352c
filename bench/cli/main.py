"""The `medbench` command: each command parses, calls one function and renders; heavy imports are inside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.cli.ablate import ablate
from bench.cli.data import data
from bench.cli.doctor import doctor as doctor_command
from bench.cli.evaluate import evaluate
from bench.cli.terminal import PATH, TEXT, Group, make_console, say
from bench.errors import UserError


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="medbench")
def main() -> None:
    """Benchmark and take apart 2-D medical image models under one protocol.

    \b
    Example:
      medbench run --models all --dataset acdc --preset smoke --data phantom
    """


def _request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run` and `plan` share: what a request is."""
    options = [
        click.option(
            "--models",
            default="all",
            type=TEXT,
            help="Names, globs, families, name[field=value], mod:Net, all, zoo, -name.  [all]",
        ),
        click.option("--dataset", type=TEXT, required=True, help="Names by commas, or all; see `medbench data list`."),
        click.option("--preset", default="quick", type=TEXT, help="smoke, quick or paper.  [quick]"),
        click.option("--seeds", type=TEXT, help="How many (3) or which (0,4,).  [1 in smoke, else 3]"),
        click.option("--split", type=TEXT, help="Name of the split, or any: whatever is there.  [by layout]"),
        click.option("--folds", type=click.IntRange(3, 100), help="Cross-validation by patient in so many folds."),
        click.option("--train-patients", type=click.IntRange(1), help="Train on so many of the training patients."),
        click.option("--train-fraction", type=float, help="Train on such a share of the training patients, 0 to 1."),
        click.option(
            "--data", type=click.Choice(["auto", "real", "phantom"]), default="auto", help="Source of images."
        ),
        click.option(
            "--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]"
        ),
        click.option("--results", default="results", type=PATH, help="Results folder.  [results]"),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Override a protocol field."),
        click.option("--threads", type=click.IntRange(1), help="Threads of a cell; part of the protocol.  [2]"),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to train.  [cpu]"),
        click.option("--jobs", default=1, type=click.IntRange(1), help="Cells at a time, with own threads.  [1]"),
        click.option("--tune", type=click.IntRange(1), help="Trials of rate and decay for each model, on validation."),
        click.option("--pretrained", is_flag=True, help="Start from weights of the hub, where a model has some."),
        click.option("--force", is_flag=True, help="Run finished cells anew."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_request_options
def run(jobs: int, force: bool, tune: int | None, **request: Any) -> None:
    """Train and score models on a dataset; finished cells are reused, unfinished ones go on.

    \b
    Example:
      medbench run --models mednext_tiny,unet_s --dataset acdc --preset smoke --data phantom
    """
    from bench.records.store import is_done
    from bench.report.progress import show_progress
    from bench.report.render import print_tables, results_tables
    from bench.runs.runner import load_note, make_jobs, run_jobs, tuned

    console = make_console()
    work = make_jobs(**request, report=lambda event: console.print(event.text, markup=False))
    note = load_note([job for job in work if force or not is_done(job.folder)], jobs)
    if note:
        click.echo(note, err=True)
    if tune:
        from bench.runs.tuning import trial_jobs

        trials = trial_jobs(work, tune)
        with show_progress(console, [job for job in trials if force or not is_done(job.folder)]) as report:
            work = tuned(work, tune, jobs, force, report)
    with show_progress(console, [job for job in work if force or not is_done(job.folder)]) as report:
        counts = run_jobs(work, jobs, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(work)} cells")
    comparisons = {job.cell.comparison for job in work}
    print_tables(console, *results_tables(request["results"], comparisons, asked={job.model for job in work}))
    if counts["failed"]:
        for job in work:
            if (job.folder / "error.log").exists():
                click.echo(f"failed: {job.model} seed {job.cell.seed}, see {job.folder / 'error.log'}", err=True)
        sys.exit(1)


@main.command()
@_request_options
def plan(jobs: int, force: bool, tune: int | None, **request: Any) -> None:
    """Print a run's cells, which are done, and the estimated hours; run nothing.

    \b
    Example:
      medbench plan --models all --dataset acdc --preset smoke --data phantom
    """
    from bench.analysis.power import smallest_difference_line
    from bench.records.store import read_records
    from bench.report.notes import few
    from bench.report.plans import plan_tables
    from bench.runs.estimate import plan_cells
    from bench.runs.runner import make_jobs

    console = make_console()
    work = make_jobs(**request, report=lambda event: console.print(event.text, markup=False))
    if tune:
        from bench.runs.tuning import are_done, pending_jobs, trial_jobs, tuned_jobs

        trials = trial_jobs(work, tune)
        work = [*trials, *(tuned_jobs(work, tune) if are_done(trials) else pending_jobs(work, tune))]
    for table in plan_tables(plan_cells(work, request["results"], force), jobs):
        console.print(table)
    for comparison in dict.fromkeys(job.cell.comparison for job in work if not job.cell.is_trial):
        of_one = [job for job in work if job.cell.comparison == comparison]
        console.print(smallest_difference_line(of_one, request["results"]), markup=False, highlight=False)
    for line in few(read_records(request["results"]).notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@main.command()
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv"]), default="rich")
@click.option("--dataset", type=TEXT, help="Only tables of this dataset (acdc, acdc-phantom).")
@click.option("--classes", is_flag=True, help="Columns per class as well: Dice, or sensitivity.")
@click.option("--arms", is_flag=True, help="Arms of ablations as rows too.")
@click.option("--tests", is_flag=True, help="p-values too: of these trained networks only.")
@click.option("--trials", is_flag=True, help="What tuning tried and chose instead, as markdown.")
@click.option("--ranks", is_flag=True, help="How often each model has each rank instead, as markdown.")
@click.option("--conventions", is_flag=True, help="What other metric conventions do to the same runs instead.")
@click.option("--figures", type=PATH, metavar="DIR", help="Draw differences and ranks there instead, PNG and PDF.")
@click.option("--output", type=PATH, help="Write to a file.  [standard output]")
def report(
    results: Path,
    form: str,
    dataset: str | None,
    classes: bool,
    arms: bool,
    tests: bool,
    trials: bool,
    ranks: bool,
    conventions: bool,
    figures: Path | None,
    output: Path | None,
) -> None:
    """Print the tables of all stored results; one table per comparison, never mixed.

    \b
    Example:
      medbench report --format latex
    """
    from bench.records.store import write_text
    from bench.report.notes import few
    from bench.report.render import print_tables, render_tables, results_tables
    from bench.report.trials import trials_text

    if trials + ranks + conventions + (figures is not None) > 1:
        raise UserError("Expected one of --trials, --ranks, --conventions and --figures, but got several.")
    if conventions:
        from bench.report.conventions_text import conventions_text

        text = conventions_text(results, dataset)
    elif trials:
        text = trials_text(results)
    else:
        tables, notes = results_tables(
            results, dataset=dataset, classes=classes, asked=None if arms else (), tests=tests
        )
        if figures is not None:
            from bench.report.figures import draw_report

            for line in (*(line for lines in draw_report(tables, figures) for line in lines), *few(notes)):
                click.echo(line)
            return
        if output is None and form == "rich" and not ranks:
            print_tables(make_console(), tables, notes)
            return
        text = render_tables(tables, "ranks" if ranks else form, notes)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(output, text)
    except OSError as error:
        raise UserError(f"Cannot write {output}: {error.strerror}. Name another file with --output.") from None


@main.command()
@click.option("--preset", default="quick", type=TEXT, help="Mark the models that `all` means under it.  [quick]")
@click.option("--task", type=click.Choice(["segmentation", "classification"]))
@click.option("--family", type=TEXT, help="proposed, cnn, transformer, hybrid or chance.")
@click.option("--check", is_flag=True, help="Each network's costs beside the published ones, as stored.")
@click.option("--recount", is_flag=True, help="With --check: count them anew; minutes.")
@click.option("--doctor", type=TEXT, metavar="NAME", help="Check that one network keeps the contract.")
def models(preset: str, task: str | None, family: str | None, check: bool, recount: bool, doctor: str | None) -> None:
    """List the models, with citation, size and list; check their costs, or one's health.

    \b
    Example:
      medbench models --preset paper
    """
    from bench.report.plans import checks_table, doctor_line, models_table

    if doctor is not None:
        from bench.zoo.contract import examine

        failed = 0
        for finding in examine(doctor):
            failed += not finding[1]
            click.echo(doctor_line(finding))
        sys.exit(say(f"Error: {failed} checks of {doctor} failed.", 2) if failed else 0)
    if recount and not check:
        raise UserError("--recount is of --check: add it.")
    if check:
        from bench.cost.published import check_costs

        make_console().print(checks_table(check_costs(task, family, recount)))
        return
    make_console().print(models_table(preset, task, family))


@main.command()
@click.option("--models", type=TEXT, help="Names, globs, name[field=value], zoo or all, by commas.")
@click.option("--task", type=click.Choice(["classification", "segmentation"]), default="classification")
@click.option("--size", "--image-size", "image_size", default=224, help="Side of the square input, in pixels.  [224]")
@click.option("--channels", default=3, help="Channels of the input.  [3]")
@click.option("--classes", default=2, help="Classes of the output.  [2]")
@click.option("--batch", default=8, help="Images a pass.  [8]")
@click.option("--threads", default=2, help="torch's threads.  [2]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to measure.  [cpu]")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="bf16, fp16: autocast.")
@click.option("--reference", type=TEXT, help="Any model.  [resnet18; segmentation: unet_s]")
@click.option("--fused", is_flag=True, help="The proposed model's inference form beside its training form.")
@click.option("--step", is_flag=True, help="Training steps in place of inference.")
@click.option("--compile", "compiled", is_flag=True, help="The candidates through torch.compile.")
@click.option(
    "--seconds",
    default=60.0,
    help="Of rounds for each row, where 50 rounds do not take longer; latency, batches: half.  [60]",
)
@click.option("--data-root", type=TEXT, help="Prepared data that a faster variant's metric is taken on.  [as in run]")
@click.option("--sweep", is_flag=True, help="Larger batches until there is no gain, however long it takes.")
@click.option("--complexity", is_flag=True, help="Parameters and MACs by three counters alone; no timing.")
@click.option(
    "--compare", type=PATH, metavar="DIR", help="Stored profiles of --results beside those of DIR; no timing."
)
@click.option("--preset", default="quick", type=TEXT, help="Whose list `all` means: smoke, quick or paper.  [quick]")
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "csv"]), default="rich")
def profile(form: str, complexity: bool, compare: Path | None, models: str | None, **request: Any) -> None:
    """Measure what models cost: MACs, speed beside a reference, by turns in one process, latency, memory.

    Faster variants stand beside the change of their outputs and, where runs in the results folder left weights, of
    their metric.

    \b
    Profiles are stored under results/profiles.
    Example:
      medbench profile --models mednext_tiny,mobilenetv3_small --task classification --size 224 --batch 8
    """
    from bench.cost.speed import count
    from bench.cost.speed import profile as measure
    from bench.report.costs import complexity_tables, profile_tables
    from bench.report.speeds import render, to_rich

    if compare is not None:
        from bench.report.repeats import compare_results, repeat_table

        repeat = compare_results(request["results"], compare)
        tables, rows = [repeat_table(repeat)], repeat.rows
    elif models is None:
        raise UserError("Expected --models NAMES, such as --models all, or --compare DIR.")
    else:
        make, lay_out = (count, complexity_tables) if complexity else (measure, profile_tables)
        try:
            rows = make(models, report=lambda line: click.echo(line, err=True), **request)
        except KeyboardInterrupt:
            sys.exit(say("Interrupted. The profiles measured so far are stored.", 130))
        tables = lay_out(rows)
    if form == "rich":
        for table in tables:
            make_console().print(to_rich(table))
    else:
        click.echo(render(tables, rows, form), nl=False)
    failures = [*rows["error"].dropna()] if "error" in rows else []
    for line in failures:
        say(f"Error: {line}", 2)
    if failures:
        sys.exit(2)


main.add_command(data)
main.add_command(ablate)
main.add_command(evaluate)
main.add_command(doctor_command)

if __name__ == "__main__":
    main()
