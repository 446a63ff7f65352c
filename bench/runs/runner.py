"""A request becomes jobs, a cell each; the jobs that are not done run through an executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records import store
from bench.records.environment import too_few_idle
from bench.records.keys import digest
from bench.records.seeds import parse_seeds
from bench.runs.arguments import FLAG, REPORT, make_request, or_none, read_arguments, whole
from bench.runs.attempts import outcomes
from bench.runs.cell import Cell
from bench.runs.devices import found_device
from bench.runs.division import base_parts
from bench.runs.execution import WORKERS, Execution, execution
from bench.runs.job import Event, Job, Report, is_reusable, silent
from bench.runs.naming import follow_titles
from bench.runs.protocol import PRESETS, Protocol, preset_label, preset_protocol
from bench.runs.rates import grid_values, note_unknown, with_own_rate
from bench.runs.request import Request
from bench.runs.run_log import check_log
from bench.zoo.costs import cost_at
from bench.zoo.pretrained import initial_weights
from bench.zoo.registry import (
    canonical_name,
    dataset_names,
    dataset_spec,
    listed_names,
    parse_model,
    select_models,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.datasets.base import DatasetSpec, Prepared, Source

RUN = {"workers": WORKERS, "force": FLAG, "report": REPORT, "tune": or_none(whole())}


def make_jobs(request: Request, report: Report = silent) -> list[Job]:
    """All cells of a request, resolved: models x seeds (x folds) on each dataset, seed by seed.

    Raises:
        UserError: any name, value or folder that is not right, before anything is trained.
    """
    names = [name for name in listed_names(request.dataset) if name]
    if names == ["all"]:
        names = [name for name in dataset_names() if dataset_spec(name).variant_of is None]
    if not names or len(set(names)) < len(names):
        raise UserError(f"Expected --dataset to be distinct names by commas, or all, but got {request.dataset!r}.")
    check_log(request.log)
    return [job for name in names for job in _dataset_jobs(request, dataset_spec(name, request.data_root), report)]


def _dataset_jobs(request: Request, spec: DatasetSpec, report: Report) -> list[Job]:
    """The cells of a request on one data set."""
    from bench.datasets.base import count_images
    from bench.datasets.splits.assignment import assign, check_validation, make_split
    from bench.datasets.splits.folds import count_training, take_training

    protocol = preset_protocol(request.preset, with_own_rate(request.settings), request.threads, spec.task)
    protocol = protocol.for_budget(request.budget)
    device = found_device(request.device, protocol.precision)
    preset = PRESETS[request.preset]
    names, seeds = select_models(request.models, preset.models, spec.task), parse_seeds(request.seeds, preset.seeds)
    prepared = _locate(request, spec, report)
    split, source = _split_and_source(request, prepared)
    costs = {name: cost_of(name, spec, protocol) for name in names}
    _note_uncounted(report, costs)
    init = initial_weights(names) if request.pretrained else {}
    divisions = list(request.divisions(split))
    parts = base_parts(prepared, split) if protocol.rates == "grid" else None
    of_images = (source["kind"], costs, spec.name, divisions[0][0], parts)
    rates = grid_values(Path(request.results), protocol, spec.task, *of_images)
    note_unknown(Path(request.results), protocol, lambda line: report(Event("note", text=line)))
    label = preset_label(request.preset, protocol, spec.task)
    jobs: list[Job] = []
    divided = [
        (listed, assign(prepared.cases, listed)) for listed in (make_split(spec, prepared, *of) for of in divisions)
    ]
    kept = count_training(prepared.cases, divided, request.subset)
    for (name_of_split, fold), (listed, assigned) in zip(divisions, divided, strict=True):
        if not jobs:  # the first fold's number of images, as seed 0 draws them, sets the steps of all
            first = assigned if kept is None else take_training(prepared.cases, listed, assigned, kept, 0)
            protocol = protocol.for_images(count_images(prepared.cases, first.indices["train"]))
        check_validation(prepared, assigned.indices["val"])
        validated, settings = count_images(prepared.cases, assigned.indices["val"]), asdict(protocol)
        for seed in seeds:
            if kept is not None:
                take_training(prepared.cases, listed, assigned, kept, seed)
            for name in names:
                entry, config = parse_model(name)
                cell = Cell(
                    dataset=spec.name,
                    fingerprint=prepared.fingerprint,
                    source=source,
                    split=name_of_split,
                    parts=digest(listed.parts),
                    fold=fold,
                    model={"name": entry.name, "config": config, "version": entry.version},
                    protocol=settings,  # one for all: there may be thousands of cells
                    seed=seed,
                    train_patients=kept,
                    tuned=rates.get(name),
                    init=init.get(name),
                )
                shown, results = canonical_name(entry, config), Path(request.results)
                folder, root = store.place_of(results, asdict(cell), shown), prepared.folder.parent
                where = (results, folder, root, device)
                beside = (entry.place, validated, request.predictions)
                jobs.append(Job(cell, shown, label, *where, costs[name], *beside, log=request.log or ""))
    return jobs


def _locate(request: Request, spec: DatasetSpec, report: Report) -> Prepared:
    """The prepared data that the request names; phantoms are drawn where they are not there yet, and told of."""
    from bench.datasets.cache.prepared import locate

    what = "images" if spec.task == "classification" else "volumes"
    found = locate(spec, request.data, request.data_root, report=lambda case, *of: _note_drawing(report, what, *of))
    if request.data == "auto" and found.kind == "phantom":
        line = (
            f"note: no real images of {spec.name} are prepared here: drawn ones (phantoms) are used. --data phantom "
            f"asks for them without this note; `medbench data info {spec.name}` says how to get the real ones."
        )
        report(Event("drawn", text=line))
    return found


def _split_and_source(request: Request, prepared: Prepared) -> tuple[str, dict[str, Any]]:
    """The name of the request's split, without folds, and the source that its cells are hashed with."""
    from bench.datasets.splits.folds import ANY

    split = request.split or prepared.spec.default_split[prepared.layout]
    if "/" in split:
        raise UserError(f"Expected a split without folds, but got {split!r}: pass --folds {_folds_named(split)}.")
    if prepared.kind == "phantom":
        return split, {"kind": "phantom", "version": prepared.spec.phantom_version}
    return split, {"kind": "substitute" if split == ANY else prepared.kind}


def _folds_named(split: str) -> str:
    """`5` of `blocks/5`, and how the folds of a training part (`blocks/inner5`) are asked for."""
    from bench.datasets.splits.folds import INNER

    folds = split.partition("/")[2]
    return f"{folds.removeprefix(INNER)} to `medbench develop`" if folds.startswith(INNER) else folds


def _note_drawing(report: Report, what: str, done: int, total: int) -> None:
    if done == total:
        report(Event("note", text=f"drew and prepared {total} phantom {what}, no patient's image"))


def _note_uncounted(report: Report, costs: dict[str, dict[str, Any]]) -> None:
    for name, cost in costs.items():
        if uncounted := cost.get("uncounted"):
            operators = ", ".join(uncounted)
            report(Event("note", text=f"{name}: its MACs are without {operators}, for which no counter has a formula"))


def cost_of(name: str, spec: Any, protocol: Protocol) -> dict[str, Any]:
    """Params and MACs of a model at the protocol's input; that they are known, or counted, shows that it takes it."""
    size = protocol.image_size
    shape = (1, spec.channels, size, size)
    try:
        entry, config = parse_model(name)
        if spec.task not in entry.tasks:
            raise UserError(f"Model {entry.name!r} does {', '.join(entry.tasks)}, but got task {spec.task!r}.")
        counted = cost_at(entry, config, spec.task, spec.channels, len(spec.classes), size)
        return {**counted.stored(), "input": list(shape)}
    except UserError:
        raise
    except Exception as error:  # any network's own code, with any config
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"Model {name} cannot be built for input {'x'.join(map(str, shape))}: {line} (another --set image_size may "
            "do)"
        ) from error


def tuned(
    jobs: list[Job], trials: int, workers: int | Execution = 1, force: bool = False, report: Report = silent
) -> list[Job]:
    """Runs the trials of the jobs' models that are not done, and gives the jobs their best values (`tuning`).

    A model of which a trial failed, or that diverged in all, is left out with a note; the others go on.

    Raises:
        UserError: there is no other.
    """
    from bench.runs.tuning import trial_jobs, tuned_jobs

    asked = trial_jobs(jobs, trials)
    if asked:
        run_jobs(asked, workers, force, report)
    found, why = dict[int, Job](), list[str]()
    for model in dict.fromkeys(job.model for job in jobs):
        own = [k for k, job in enumerate(jobs) if job.model == model]
        try:
            found |= dict(zip(own, tuned_jobs([jobs[k] for k in own], trials), strict=True))
        except UserError as error:
            why.append(str(error))
    if why and not found:
        raise UserError(why[0])
    for line in why:
        report(Event("note", text=line))
    return [found[k] for k in sorted(found)]


def run(
    workers: int | Execution = 1, force: bool = False, report: Report = silent, tune: int | None = None, **request: Any
) -> pd.DataFrame:
    """Trains and scores what a request names and is not done; returns one row per cell of it (`bench.load_cells`).

    Args:
        workers: processes, or all of how cells are run (`bench.runs.execution`); each keeps the protocol's threads.
        force: runs finished cells anew.
        tune: so many trials of learning rate and weight decay for each model, on validation data, before.
        request: the fields of `bench.runs.request.Request`: models, dataset, preset, seeds, data, results, ...

    Raises:
        UserError: any name, value or folder that is not right.
    """
    read_arguments({"workers": workers, "force": force, "report": report, "tune": tune}, RUN)
    asked = make_request(Request, request, RUN)
    jobs = make_jobs(asked, report)
    jobs = tuned(jobs, tune, workers, force, report) if tune else jobs
    run_jobs(jobs, workers, force, report)
    cells = store.load_cells(asked.results)
    return cells[cells["key"].isin([job.cell.key for job in jobs])].reset_index(drop=True)


def run_jobs(
    jobs: list[Job], workers: int | Execution = 1, force: bool = False, report: Report = silent
) -> dict[str, int]:
    """Runs what is not done; counts by outcome: `reused`, `complete`, `diverged`, `failed`.

    A cell that another process is running is left to it, and waited for at the end. A cell that fails is recorded,
    and the others go on.

    Args:
        workers: processes, or all of how cells are run.
    """
    how = execution(workers)
    if not jobs:
        return dict.fromkeys(("reused", "complete", "diverged", "failed"), 0)
    store.check_writable(jobs[0].results)
    write_unit_tables(jobs)
    counts = dict.fromkeys(("reused", "complete", "diverged", "failed"), 0)
    todo = [job for job in jobs if force or not is_reusable(job)]
    counts["reused"] = len(jobs) - len(todo)
    for wait in (False, True):
        busy = []
        for job, outcome in outcomes(todo, how, force, wait, report):
            if outcome == "busy":
                busy.append(job)
                report(Event("waiting", job))
            else:
                counts[outcome] += 1
        todo = busy
    follow_titles(jobs)
    return counts


def load_note(jobs: Sequence[Job], workers: int | Execution = 1) -> str | None:
    """A line where cells that are to run ask for more threads than cores are idle; None where they do not."""
    if not jobs or (isinstance(workers, Execution) and workers.executor != "local"):
        return None
    threads = max(job.cell.protocol["threads"] for job in jobs)
    how = execution(workers)
    at_once = min(how.cells_at_once(threads, len(jobs), jobs[0].device), len(jobs))
    few, asked = too_few_idle(threads * at_once), f"{threads * at_once} thread{'s' * (threads * at_once > 1)}"
    asked += f" ({at_once} cells at a time with {threads} each)" * (at_once > 1)
    ways = f"take fewer: --threads{', --jobs' * (at_once > 1)}" if threads * at_once > 1 else "be patient"
    return few and (
        f"note: {few}, but the run takes {asked}: those that wait for a core hold up the others, and it takes many "
        f"times longer. Wait until the machine is idle, or {ways}."
    )


def write_unit_tables(jobs: Sequence[Job]) -> None:
    """Writes which cases count as one, for the data sets that have such a table; also where all cells are done."""
    from bench.datasets.cache.prepared import open_prepared
    from bench.datasets.splits.unit_table import unit_table

    for label, job in {job.cell.dataset_label: job for job in jobs}.items():
        spec = dataset_spec(job.cell.dataset, job.data_root)
        if spec.units is not None or spec.is_divided_here:
            kind: Source = "phantom" if job.cell.source["kind"] == "phantom" else "real"
            table = unit_table(open_prepared(spec, job.data_root, kind), label)
            if table is not None:
                store.write_units(job.results, table)
