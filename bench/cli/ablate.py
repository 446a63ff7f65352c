"""`medbench ablate ...`: what each module, or setting, of a model is worth, and the search for better ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bench.cli.options import (
    EXPERIMENT,
    PRESET,
    RESULTS,
    SETTINGS,
    SHOWN,
    THREADS,
    Command,
    Display,
    Option,
    displayed,
    gathered,
)
from bench.cli.run import name_failed, notes_on
from bench.cli.terminal import TEXT, Number, NumberFrom, make_console
from bench.errors import UserError

if TYPE_CHECKING:
    from ablations.effects import Stored
    from ablations.plans import Plan
    from ablations.search import Goal
    from bench.runs.job import Job
    from bench.runs.request import Request

EARLIER = ("--search", "--replay", "--list", "--show")


class Ablate(click.Group):
    """Arms may be asked for without a subcommand; the earlier `--search`, `--replay`, `--list`, `--show` are theirs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for flag in EARLIER:
            if flag in args:
                rest = list(args)
                rest.remove(flag)
                args = [flag.removeprefix("--"), *rest]
                break
        return super().parse_args(ctx, args)


def _distinct(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Names of data sets, by commas or repeated. Raises UserError for one that is named twice."""
    names = [name for text in values for name in text.split(",") if name]
    if len(set(names)) < len(names):
        raise UserError(f"Expected --dataset to be distinct names, but got {', '.join(names)}.")
    return tuple(names)


def _datasets(*default: str) -> Option:
    shown = f"  [{', '.join(default) or 'all'}]"
    words = f"One or several, by commas or repeated.{shown}"
    return click.option("--dataset", multiple=True, default=default, type=TEXT, callback=_distinct, help=words)


MODEL = click.option("--model", default="mednext_tiny", type=TEXT, help="The full model.  [mednext_tiny]")
MATCH = click.option("--match", type=TEXT, metavar="params|macs", help="Widen the arms to the full model's budget.")
ARM = click.option(
    "--arm", multiple=True, metavar="FIELD=VALUE", help="Of any model: train with another value; se=false+width=16."
)
WIDEN = click.option("--widen", type=TEXT, metavar="FIELD", help="The config field that --match scales.  [widths]")
NULL = click.option("--null/--no-null", default=True, help="The full model under other seeds as well.  [--null]")
ALL = click.option("--all", "leave_one_out", is_flag=True, help="Leave out each of the three in turn.")
STUDY = click.option("--study", type=TEXT, help="Name of the Optuna study.  [from dataset and model]")
STORAGE = click.option("--storage", type=TEXT, help="Any storage URL of Optuna's.  [a journal in RESULTS/studies]")
REQUEST: Option = gathered("request", "bench.runs.request:Request", _datasets("acdc"), *EXPERIMENT)
DISPLAY: Option = displayed("Write tables (md, tex, csv) and figures (PNG, PDF, SVG) to a folder.")


def trained(command: Command) -> Command:
    """What is trained, in which study, and how its tables are shown."""
    return REQUEST(STUDY(STORAGE(DISPLAY(command))))


def _plan(*options: Option) -> Option:
    return gathered("plan", "ablations.plans:Plan", *options, MODEL, MATCH, WIDEN, NULL)


@click.group(cls=Ablate, invoke_without_command=True)
@_plan(
    click.option("--remove", multiple=True, metavar="SLOT", help="Train without a module; sem+laffn: without both."),
    click.option("--swap", multiple=True, metavar="SLOT=FILLING", help="Train with another module in its place."),
    ALL,
    ARM,
    click.option("--factorial", is_flag=True, help="All subsets of --arm, else of the modules: effects, interactions."),
)
@trained
@click.pass_context
def ablate(
    context: click.Context, plan: Plan, request: Request, study: str | None, storage: str | None, display: Display
) -> None:
    """Take a model apart: remove, swap and combine modules, or the values of any model's config, or search over them.

    Each arm is trained from scratch on the same seeds, splits and data order as the full model, and stored like any
    other cell. Killed, the same command goes on; several processes may share the work. Without a subcommand the options
    below say which arms there are; a subcommand has its own, after its name.

    \b
    Example:
      medbench ablate --remove sem --dataset acdc --preset smoke --data phantom --set steps=4
    """
    if context.invoked_subcommand is None:
        _train_arms(plan, request, study, storage, display)
        return
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            command = f"medbench ablate {context.invoked_subcommand}"
            raise UserError(f"Expected options after the subcommand: {command} {parameter.opts[0]}.")


@ablate.command()
@_plan(click.argument("remove", metavar="[SLOT]...", nargs=-1), ALL)
@trained
def remove(plan: Plan, request: Request, study: str | None, storage: str | None, display: Display) -> None:
    """Train without modules, each SLOT an arm beside the full model; sem+laffn: without both in one.

    \b
    Example:
      medbench ablate remove sem laffn --dataset acdc --preset smoke --data phantom --set steps=4
    """
    _train_arms(plan, request, study, storage, display)


@ablate.command()
@_plan(click.argument("swap", metavar="SLOT=FILLING...", nargs=-1, required=True))
@trained
def swap(plan: Plan, request: Request, study: str | None, storage: str | None, display: Display) -> None:
    """Train with other modules in their place, each SLOT=FILLING an arm beside the full model.

    \b
    Example:
      medbench ablate swap sem=strip --dataset acdc --preset smoke --data phantom --set steps=4
    """
    _train_arms(plan, request, study, storage, display)


@ablate.command()
@_plan(ARM)
@trained
def factorial(plan: Plan, request: Request, study: str | None, storage: str | None, display: Display) -> None:
    """Train all eight subsets of the three modules, or those of --arm: main effects and interactions.

    \b
    Example:
      medbench ablate factorial --dataset acdc --preset smoke --data phantom --set steps=4
    """
    _train_arms(replace(plan, factorial=True), request, study, storage, display)


def _train_arms(plan: Plan, request: Request, study: str | None, storage: str | None, display: Display) -> None:
    from ablations.command import diverged, load_ablations, open_studies, plan_jobs, run_ablation
    from ablations.effects import without_effects
    from bench.records.store import is_done
    from bench.report.progress import show_progress
    from bench.runs.runner import load_note

    console, results, planned = make_console(display.wide), Path(request.results), []
    for dataset in request.dataset:
        jobs, lines = plan_jobs(plan, replace(request, dataset=dataset), notes_on(console))
        planned.append(jobs)
        for line in lines:
            console.print_lines(f"{dataset}: {line}")
    note = load_note([job for jobs in planned for job in jobs if not is_done(job.folder)])
    if note:
        click.echo(note, err=True)
    missing: list[Job] = []
    for jobs, opened in zip(planned, open_studies(planned, results, study, storage), strict=True):
        with show_progress(console, [job for job in jobs if not is_done(job.folder)]) as report:
            missing += run_ablation(jobs, results, opened, report)
    comparisons = {jobs[0].cell.comparison for jobs in planned}
    ablations, notes = load_ablations(results, plan.model, arms=plan.arm, comparisons=comparisons, widen=plan.widen)
    _show_arms(ablations, display)
    _show_notes((*notes, *(line for stored in ablations if plan.factorial for line in without_effects(stored))))
    for job in diverged([job for jobs in planned for job in jobs]):
        click.echo(f"diverged: {job.model} seed {job.cell.seed}, see {job.folder / 'record.json'}", err=True)
    for job in missing:
        click.echo(f"not finished: {job.model} seed {job.cell.seed}, see {job.folder / 'error.log'}", err=True)
    sys.exit(1 if missing else 0)


@ablate.command()
@gathered(
    "goal",
    "ablations.search:Goal",
    MODEL,
    click.option("--trials", default=40, help="Trials of a search, rejected ones not counted.  [40]"),
    click.option(
        "--max-macs",
        type=Number(),
        metavar="G",
        callback=lambda context, parameter, value: None if value is None else value * 1e9,
        help="Highest GMACs of a search's models.",
    ),
    click.option("--pareto", is_flag=True, help="Search for score and MACs together (NSGA-II, no pruning)."),
    click.option("--space", multiple=True, metavar="FIELD=VALUES", help="Of any model: width=8..64,se=true|false."),
    click.option("--pruner", default="median", type=TEXT, help="median, hyperband or none.  [median]"),
)
@REQUEST
@STUDY
@STORAGE
@click.option("--score-front/--no-score-front", default=True, help="Score the search's front on the test part, once.")
@click.option(
    "--speed-seconds", type=NumberFrom(0), default=20.0, help="Of timing each model of the front; 0: none.  [20]"
)
@click.option("--tests", is_flag=True, help="p-values too, of these trained networks only, in the front's table.")
@DISPLAY
def search(
    goal: Goal,
    request: Request,
    study: str | None,
    storage: str | None,
    score_front: bool,
    speed_seconds: float,
    tests: bool,
    display: Display,
) -> None:
    """Search fillings, kernels, widths, depths and expansions, or --space, by validation scores, under a budget.

    \b
    Example:
      medbench ablate search --trials 3 --max-macs 0.43 --dataset acdc --preset smoke --data phantom --set steps=4
    """
    from ablations.command import front_models, search_tables, search_template, write_search
    from ablations.search import run_search
    from bench.report.progress import show_progress

    if len(request.dataset) != 1:
        raise UserError(f"Expected one dataset for a search, but got {', '.join(request.dataset)}.")
    console, results = make_console(display.wide), Path(request.results)
    template = search_template(goal.model, request, notes_on(console))
    with show_progress(console, [template] * goal.trials) as report:
        searched = run_search(goal, template, results, study, storage, report)
    display.show(search_tables(searched))
    for path in write_search(searched, display.output or results / "studies"):
        click.echo(f"written: {path}", err=True)
    if score_front:
        names = list(dict.fromkeys([goal.model, *front_models(searched)]))
        _score_front(replace(request, models=names), template, speed_seconds, tests, display.wide)


def _score_front(request: Request, template: Job, speed_seconds: float, tests: bool, wide: bool) -> None:
    """The full model and the front as ordinary cells, whose test part is scored once; then the front's speed."""
    from bench.records.store import is_done
    from bench.report.progress import show_progress
    from bench.report.render import print_tables, results_tables
    from bench.runs.runner import make_jobs, run_jobs

    console, (full, *others) = make_console(wide), request.models
    jobs = make_jobs(request, notes_on(console))
    with show_progress(console, [job for job in jobs if not is_done(job.folder)]) as report:
        counts = run_jobs(jobs, report=report)
    if speed_seconds > 0 and others:
        _time_front(full, others, template, speed_seconds)
    comparisons = {job.cell.comparison for job in jobs}
    tables, notes = results_tables(request.results, comparisons, kept=request.models, tests=tests)
    print_tables(console, tables, notes=notes)
    if counts["failed"]:
        name_failed(jobs)
        sys.exit(1)


def _time_front(full: str, others: Sequence[str], template: Job, seconds: float) -> None:
    """The speed of the front beside the full model, on the input and with the threads of the search."""
    from bench.cost.speed import profile
    from bench.zoo.registry import dataset_spec

    spec, protocol = dataset_spec(template.cell.dataset, template.data_root), template.cell.settings()
    profile(
        others,
        results=template.results,
        seconds=seconds,
        report=lambda line: click.echo(line, err=True),
        task=spec.task,
        image_size=protocol.image_size,
        channels=spec.channels,
        classes=len(spec.classes),
        threads=protocol.threads,
        device=template.device,
        reference=full,
    )


@ablate.command("replay")
@_datasets("acdc")
@RESULTS
@click.option("--orderings", default=50, type=click.IntRange(20), help="Orders of the curves.  [50]")
@SHOWN
def replay_curves(dataset: tuple[str, ...], results: Path, orderings: int, display: Display) -> None:
    """Replay stored learning curves through the pruners: what pruning would have saved; train nothing.

    \b
    Example:
      medbench ablate replay --dataset acdc,sars-cov2-ct --results results/example
    """
    from ablations.replay import replay_tables

    display.show(replay_tables(results, dataset, orderings))


@ablate.command("list")
@MODEL
@_datasets("acdc")
@PRESET
@SETTINGS
@THREADS
@SHOWN
def list_fillings(
    model: str, dataset: tuple[str, ...], preset: str, settings: tuple[str, ...], threads: int | None, display: Display
) -> None:
    """Print slots and fillings, with what the whole model costs with each; train nothing.

    \b
    Example:
      medbench ablate list --dataset acdc
    """
    from ablations.command import listing_tables

    display.show(listing_tables(model, dataset, preset, settings, threads))


@ablate.command()
@MODEL
@_datasets()
@ARM
@WIDEN
@RESULTS
@DISPLAY
@click.pass_context
def show(
    context: click.Context,
    model: str,
    dataset: tuple[str, ...],
    arm: tuple[str, ...],
    widen: str | None,
    results: Path,
    display: Display,
) -> None:
    """Print tables of what is stored, of arms and searches; train nothing. With --model, searches of that one alone.

    \b
    Example:
      medbench ablate show --results results/example
    """
    from ablations.command import load_ablations, load_searches, search_tables, write_search
    from bench.report.notes import in_a_line

    names: Sequence[str | None] = dataset or (None,)
    loaded = [load_ablations(results, model, name, arm, widen=widen) for name in names]
    of_model = None if context.get_parameter_source("model") is ParameterSource.DEFAULT else model
    searched = [load_searches(results, name, of_model) for name in names]
    ablations = [stored for of_dataset, _ in loaded for stored in of_dataset]
    searches = [study for studies, _ in searched for study in studies]
    notes = [note for _, lines in (*loaded, *searched) for note in lines]
    if not ablations and not searches:
        raise UserError(
            f"No ablation of {model} is stored in {results}. Run `medbench ablate remove --all --dataset "
            f"{dataset[0] if dataset else 'acdc'}` first.{in_a_line(notes)}"
        )
    _show_arms(ablations, display)
    for study in searches:
        try:
            tables = search_tables(study)
        except UserError as error:  # none of its trials is finished yet
            notes.append(f"Left out: {study.study_name}: {error}")
            continue
        display.show(tables)
        if display.output is not None:
            write_search(study, display.output)
    _show_notes(notes)


def _show_notes(notes: Sequence[str]) -> None:
    from bench.report.notes import few

    for line in few(notes):
        click.echo(line, err=True)


def _show_arms(ablations: Sequence[Stored], display: Display) -> None:
    from ablations.command import write_all
    from ablations.tables import ablation_tables

    display.show(ablation_tables(ablations))
    if display.output is not None:
        write_all(ablations, display.output)
        click.echo(f"written to {display.output}", err=True)
