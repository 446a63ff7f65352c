"""`medbench ablate`: what each module of the proposed model is worth, and the search for better ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bench.cli.terminal import PATH, TEXT, make_console
from bench.errors import UserError


@click.command()
@click.option("--remove", multiple=True, metavar="SLOT", help="Train without a module; sem+laffn: without both.")
@click.option("--swap", multiple=True, metavar="SLOT=FILLING", help="Train with another module in its place.")
@click.option("--all", "leave_one_out", is_flag=True, help="Leave out each of the three in turn.")
@click.option("--factorial", is_flag=True, help="All eight subsets: main effects and interactions.")
@click.option("--match", type=TEXT, metavar="params|macs", help="Widen the arms to the full model's budget.")
@click.option("--null/--no-null", default=True, help="The full model under other seeds as well.  [--null]")
@click.option("--search", is_flag=True, help="Search fillings, kernels, widths, depths and expansions.")
@click.option("--pareto", is_flag=True, help="Search for score and MACs together (NSGA-II, no pruning).")
@click.option("--max-macs", type=float, metavar="G", help="Highest GMACs of a search's models.")
@click.option("--trials", default=40, help="Trials of a search, rejected ones not counted.  [40]")
@click.option("--pruner", default="median", type=TEXT, help="median, hyperband or none.  [median]")
@click.option("--score-front/--no-score-front", default=True, help="Score the search's front on the test part, once.")
@click.option("--speed-seconds", default=20.0, help="Seconds of timing for each model of the front; 0: none.  [20]")
@click.option("--replay", is_flag=True, help="Replay stored learning curves through the pruners; train nothing.")
@click.option("--orderings", default=50, type=click.IntRange(20), help="Orders of the curves in a replay.  [50]")
@click.option("--list", "listing", is_flag=True, help="Print slots and fillings with their cost; train nothing.")
@click.option("--show", is_flag=True, help="Tables of what is stored; train nothing.")
@click.option("--tests", is_flag=True, help="p-values too, of these trained networks only, in a front's table.")
@click.option("--model", default="mednext_tiny", type=TEXT, help="The full model.  [mednext_tiny]")
@click.option("--dataset", "datasets", multiple=True, type=TEXT, help="One or several, by commas or repeated.  [acdc]")
@click.option("--seeds", type=TEXT, help="How many (3) or which (0,4,).  [1 in smoke, else 3]")
@click.option("--preset", default="quick", type=TEXT, help="smoke, quick or paper.  [quick]")
@click.option("--split", type=TEXT, help="Name of the split.  [by layout]")
@click.option("--data", type=click.Choice(["auto", "real", "phantom"]), default="auto", help="Source of images.")
@click.option("--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]")
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Override a protocol field.")
@click.option("--threads", type=click.IntRange(1), help="Threads of a cell; part of the protocol.  [2]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to train.  [cpu]")
@click.option("--study", type=TEXT, help="Name of the Optuna study.  [from dataset and model]")
@click.option("--storage", type=TEXT, help="Any storage URL of Optuna's.  [a journal in RESULTS/studies]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv"]), default="rich")
@click.option("--output", type=PATH, help="Write tables (md, tex, csv) and figures (PNG, PDF) to a folder.")
def ablate(**asked: Any) -> None:
    """Take the proposed model apart: remove, swap and combine its modules, or search over them.

    Each arm is trained from scratch on the same seeds, splits and data order as the full model, and stored like any
    other cell. Killed, the same command goes on; several processes may share the work.

    \b
    Example:
      medbench ablate --remove sem --dataset acdc --preset smoke --data phantom --set steps=4
    """
    datasets = [name for text in asked.pop("datasets") for name in text.split(",") if name]
    if len(set(datasets)) < len(datasets):
        raise UserError(f"Expected --dataset to be distinct names, but got {', '.join(datasets)}.")
    modes = [name for name in ("search", "replay", "listing", "show") if asked[name]]
    arms = asked["remove"] or asked["swap"] or asked["leave_one_out"] or asked["factorial"]
    if len(modes) + bool(arms) > 1:
        raise UserError(
            "Expected one of: arms (--remove, --swap, --all, --factorial), --search, --replay, --list, --show."
        )
    if not asked["search"] and (asked["pareto"] or asked["max_macs"] is not None):
        raise UserError("--pareto and --max-macs are of a search: add --search.")
    if asked["listing"]:
        _list(datasets or ["acdc"], asked)
    elif asked["replay"]:
        _replay(datasets or ["acdc"], asked)
    elif asked["show"]:
        _show(datasets, asked)
    elif asked["search"]:
        _search(datasets or ["acdc"], asked)
    else:
        _arms(datasets or ["acdc"], asked)


def _request(asked: dict[str, Any]) -> dict[str, Any]:
    """What `make_jobs` takes of the options."""
    names = ("preset", "split", "data", "data_root", "results", "settings", "threads", "device")
    return {name: asked[name] for name in names}


def _arms(datasets: list[str], asked: dict[str, Any]) -> None:
    from ablations.command import load_ablations, plan_jobs, run_ablation
    from bench.records.store import is_done
    from bench.report.progress import show_progress
    from bench.runs.runner import load_note

    console, plan = make_console(), {k: asked[k] for k in ("remove", "swap", "leave_one_out", "factorial")}
    planned = []
    for dataset in datasets:
        request = {**_request(asked), "report": lambda event: console.print(event.text, markup=False)}
        jobs, lines = plan_jobs(asked["model"], dataset, plan, asked["match"], asked["seeds"], asked["null"], **request)
        planned.append(jobs)
        for line in lines:
            console.print(f"{dataset}: {line}", markup=False, highlight=False)
    note = load_note([job for jobs in planned for job in jobs if not is_done(job.folder)])
    if note:
        click.echo(note, err=True)
    missing = []
    for jobs in planned:
        with show_progress(console, [job for job in jobs if not is_done(job.folder)]) as report:
            missing += run_ablation(jobs, asked["results"], asked["study"], asked["storage"], report)
    comparisons = {jobs[0].cell.comparison for jobs in planned}
    stored, notes = load_ablations(asked["results"], asked["model"])
    _print([s for s in stored if s.first["comparison"] in comparisons], asked)
    _print_notes(notes)
    for job in missing:
        click.echo(f"not finished: {job.model} seed {job.cell.seed}, see {job.folder / 'error.log'}", err=True)
    sys.exit(1 if missing else 0)


def _show(datasets: list[str], asked: dict[str, Any]) -> None:
    from ablations.command import load_ablations, load_searches, search_tables, write_search
    from bench.report.notes import in_a_line

    names: list[str | None] = [*datasets] if datasets else [None]
    loaded = [load_ablations(asked["results"], asked["model"], name) for name in names]
    searched = [load_searches(asked["results"], name) for name in names]
    found = [stored for ablations, _ in loaded for stored in ablations]
    searches = [study for studies, _ in searched for study in studies]
    notes = [note for _, lines in (*loaded, *searched) for note in lines]
    if not found and not searches:
        raise UserError(
            f"No ablation of {asked['model']} is stored in {asked['results']}. Run `medbench ablate --all --dataset "
            f"{datasets[0] if datasets else 'acdc'}` first.{in_a_line(notes)}"
        )
    _print(found, asked)
    for study in searches:
        try:
            tables = search_tables(study)
        except UserError as error:  # none of its trials is finished yet
            notes.append(f"Left out: {study.study_name}: {error}")
            continue
        _print_tables(tables, asked["form"])
        if asked["output"] is not None:
            write_search(study, asked["output"])
    _print_notes(notes)


def _print_notes(notes: Sequence[str]) -> None:
    from bench.report.notes import few

    for line in few(notes):
        click.echo(line, err=True)


def _print(found: list[Any], asked: dict[str, Any]) -> None:
    from ablations.command import write_all
    from ablations.tables import ablation_tables

    _print_tables(ablation_tables(found), asked["form"])
    if asked["output"] is not None:
        write_all(found, asked["output"])
        click.echo(f"written to {asked['output']}", err=True)


def _print_tables(tables: list[Any], form: str) -> None:
    from bench.report.sheets import render_sheets, to_rich

    if form == "rich":
        console = make_console()
        for table in tables:
            console.print(to_rich(table))
    else:
        click.echo(render_sheets(tables, form), nl=False)


def _search(datasets: list[str], asked: dict[str, Any]) -> None:
    from ablations.command import front_models, search_tables, search_template, write_search
    from ablations.search import Goal, run_search
    from bench.report.progress import show_progress

    if len(datasets) != 1:
        raise UserError(f"Expected one dataset for a search, but got {', '.join(datasets)}.")
    macs = None if asked["max_macs"] is None else asked["max_macs"] * 1e9
    goal = Goal(asked["model"], asked["trials"], macs, asked["pareto"], asked["pruner"])
    console, results = make_console(), asked["results"]
    request = {**_request(asked), "report": lambda event: console.print(event.text, markup=False)}
    template = search_template(asked["model"], datasets[0], **request)
    with show_progress(console, [template] * goal.trials) as report:
        study = run_search(goal, template, results, asked["study"], asked["storage"], report)
    _print_tables(search_tables(study), asked["form"])
    for path in write_search(study, asked["output"] or Path(results) / "studies"):
        click.echo(f"written: {path}", err=True)
    if asked["score_front"]:
        _score_front(front_models(study), datasets[0], asked, request, template)


def _score_front(names: list[str], dataset: str, asked: dict[str, Any], request: dict[str, Any], template: Any) -> None:
    """The front beside the full model as ordinary cells, whose test part is scored once; then their speed."""
    from bench.cost.speed import profile
    from bench.records.store import is_done
    from bench.report.progress import show_progress
    from bench.report.render import print_tables, results_tables
    from bench.runs.protocol import Protocol
    from bench.runs.runner import make_jobs, run_jobs
    from bench.zoo.registry import dataset_spec

    console, models = make_console(), list(dict.fromkeys([asked["model"], *names]))
    jobs = make_jobs(",".join(models), dataset, seeds=asked["seeds"], **request)
    with show_progress(console, [job for job in jobs if not is_done(job.folder)]) as report:
        run_jobs(jobs, report=report)
    comparisons = {job.cell.comparison for job in jobs}
    if asked["speed_seconds"] > 0 and len(models) > 1:
        spec, protocol = dataset_spec(dataset), Protocol(**template.cell.protocol)
        profile(
            ",".join(models[1:]),
            results=asked["results"],
            seconds=asked["speed_seconds"],
            report=lambda line: click.echo(line, err=True),
            task=spec.task,
            image_size=protocol.image_size,
            channels=spec.channels,
            classes=len(spec.classes),
            threads=protocol.threads,
            device=asked["device"],
            reference=asked["model"],
        )
    print_tables(console, *results_tables(asked["results"], comparisons, asked=models, tests=asked["tests"]))


def _replay(datasets: list[str], asked: dict[str, Any]) -> None:
    from ablations.replay import replay_tables

    _print_tables(replay_tables(asked["results"], datasets, asked["orderings"]), asked["form"])


def _list(datasets: list[str], asked: dict[str, Any]) -> None:
    from ablations.listing import listing
    from ablations.tables import listing_table
    from bench.runs.protocol import preset_protocol
    from bench.zoo.registry import dataset_spec

    tables = []
    for dataset in datasets:
        spec = dataset_spec(dataset)
        protocol = preset_protocol(asked["preset"], asked["settings"], asked["threads"], spec.task)
        shape: dict[str, Any] = {
            "task": spec.task,
            "image_size": protocol.image_size,
            "channels": spec.channels,
            "classes": len(spec.classes),
        }
        tables.append(listing_table(asked["model"], dataset, listing(asked["model"], **shape), shape))
    _print_tables(tables, asked["form"])
