"""A request becomes jobs, a cell each; the jobs that are not done run through an executor."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records import store
from bench.records.environment import too_few_idle
from bench.runs.executors import make_executor
from bench.runs.job import Event, Job, Report, is_reusable, run_cell, silent
from bench.runs.protocol import PRESETS, Cell, Protocol, digest, parse_seeds, preset_label, preset_protocol
from bench.runs.request import JOBS, RUN, read_request
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

    from bench.datasets.base import Source


def make_jobs(
    models: str | Sequence[str] = "all",
    dataset: str | Sequence[str] = "acdc",
    preset: str = "quick",
    seeds: str | int | Sequence[int] | None = None,
    split: str | None = None,
    folds: int | None = None,
    train_patients: int | None = None,
    train_fraction: float | None = None,
    **place: Any,
) -> list[Job]:
    """All cells of a request, resolved: models x seeds (x folds) on each dataset, seed by seed.

    Args:
        models, dataset: names by commas or in a list, or `all`.
        seeds: how many (`2`, `"2"`), which (`[0, 4]`, `"0,4,"`), or None for the preset's number.
        split: of the dataset; `any` deals whatever files are there, which then count as a substitute.
        folds: cross-validation by patient or group in place of the split's own parts.
        train_patients, train_fraction: so many, or such a share, of the training patients or groups.
        place: data, data_root, results, settings, threads, device, pretrained, report, as `_dataset_jobs` takes them.

    Raises:
        UserError: any name, value or folder that is not right, before anything is trained.
    """
    asked: dict[str, Any] = {
        "models": models,
        "dataset": dataset,
        "preset": preset,
        "seeds": seeds,
        "split": split,
        "folds": folds,
    }
    asked |= {"train_patients": train_patients, "train_fraction": train_fraction}
    asked = read_request({**asked, **place}, JOBS, RUN)
    if train_patients is not None and train_fraction is not None:
        raise UserError("Expected --train-patients or --train-fraction, but got both.")
    if train_fraction is not None and not 0 < train_fraction <= 1:
        raise UserError(f"Expected --train-fraction to be above 0 and at most 1, but got {train_fraction}.")
    names = [name for name in listed_names(asked.pop("dataset")) if name]
    if names == ["all"]:
        names = [name for name in dataset_names() if dataset_spec(name).variant_of is None]
    if not names or len(set(names)) < len(names):
        raise UserError(f"Expected --dataset to be distinct names by commas, or all, but got {dataset!r}.")
    few, share = asked.pop("train_patients"), asked.pop("train_fraction")
    subset = few if share is None else share
    return [job for name in names for job in _dataset_jobs(dataset=name, subset=subset, **asked)]


def _dataset_jobs(
    models: str | Sequence[str],
    dataset: str,
    preset: str,
    seeds: str | int | Sequence[int] | None,
    split: str | None,
    folds: int | None,
    subset: int | float | None,
    data: str = "auto",
    data_root: str | Path | None = None,
    results: str | Path = "results",
    settings: tuple[str, ...] = (),
    threads: int | None = None,
    device: str = "cpu",
    pretrained: bool = False,
    report: Report = silent,
) -> list[Job]:
    from bench.datasets.cache.prepared import locate
    from bench.datasets.splits.assignment import assign, make_split
    from bench.datasets.splits.folds import ANY, count_training, take_training

    spec = dataset_spec(dataset)
    protocol = preset_protocol(preset, settings, threads, spec.task)
    _check_device(device, protocol)
    names = select_models(models, PRESETS[preset].models, spec.task)
    numbers = parse_seeds(seeds, PRESETS[preset].seeds)
    what = "images" if spec.task == "classification" else "volumes"
    prepared = locate(spec, data, data_root, report=lambda case, *of: _note_drawing(report, what, *of))
    split = split or spec.default_split[prepared.layout]
    if "/" in split:
        raise UserError(f"Expected a split without folds, but got {split!r}: pass --folds {split.partition('/')[2]}.")
    source: dict[str, Any] = {"kind": prepared.kind}
    if prepared.kind == "phantom":
        source["version"] = spec.phantom_version
    elif split == ANY:
        source["kind"] = "substitute"
    costs = {name: cost_of(name, spec, protocol) for name in names}
    _note_uncounted(report, costs)
    init = initial_weights(names) if pretrained else {}
    jobs = []
    for fold in range(folds) if folds else [None]:
        name_of_split = split if fold is None else f"{split}/{folds}"
        listed = make_split(spec, prepared, name_of_split, fold)
        assigned = assign(prepared.cases, listed)
        kept = count_training(prepared.cases, listed, assigned, subset)
        for seed in numbers:
            if kept is not None:
                take_training(prepared.cases, listed, assigned, kept, seed)
            for name in names:
                entry, config = parse_model(name)
                model = {"name": entry.name, "config": config, "version": entry.version}
                parts = digest(listed.parts)
                named = (spec.name, prepared.fingerprint, source, name_of_split, parts, fold, model)
                cell = Cell(*named, asdict(protocol), seed, kept, init=init.get(name))
                shown = canonical_name(entry, config)
                folder = store.cell_folder(Path(results), cell, shown)
                root = prepared.folder.parent
                label = preset_label(preset, protocol, spec.task)
                jobs.append(Job(cell, shown, label, Path(results), folder, root, device, costs[name], entry.place))
    return jobs


def _check_device(device: str, protocol: Protocol) -> None:
    if device == "cpu" and protocol.precision == "16-mixed":
        raise UserError("Expected precision 32-true or bf16-mixed on the CPU, but got 16-mixed.")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("No CUDA device is available to torch here. Use --device cpu, or install a CUDA driver.")


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
        raise UserError(f"Model {name} cannot be built for input {'x'.join(map(str, shape))}: {line}") from error


def tuned(jobs: list[Job], trials: int, workers: int = 1, force: bool = False, report: Report = silent) -> list[Job]:
    """Runs the trials of the jobs' models that are not done, and gives the jobs their best values (`tuning`)."""
    from bench.runs.tuning import trial_jobs, tuned_jobs

    asked = trial_jobs(jobs, trials)
    if asked:
        run_jobs(asked, workers, force, report)
    return tuned_jobs(jobs, trials)


def run(
    workers: int = 1, force: bool = False, report: Report = silent, tune: int | None = None, **request: Any
) -> pd.DataFrame:
    """Trains and scores what a request names and is not done; returns one row per cell of it (`bench.load_cells`).

    Args:
        workers: processes; each cell keeps the protocol's threads.
        force: runs finished cells anew.
        tune: so many trials of learning rate and weight decay for each model, on validation data, before.
        request: as `make_jobs` takes it: models, dataset, preset, seeds, data, data_root, split, results, ...

    Raises:
        UserError: any name, value or folder that is not right.
    """
    read_request({"workers": workers, "force": force, "report": report, "tune": tune}, RUN)
    jobs = make_jobs(report=report, **request)
    jobs = tuned(jobs, tune, workers, force, report) if tune else jobs
    run_jobs(jobs, workers, force, report)
    cells = store.load_cells(request.get("results", "results"))
    return cells[cells["key"].isin([job.cell.key for job in jobs])].reset_index(drop=True)


def run_jobs(jobs: list[Job], workers: int = 1, force: bool = False, report: Report = silent) -> dict[str, int]:
    """Runs what is not done; counts by outcome: `reused`, `complete`, `diverged`, `failed`.

    A cell that another process is running is left to it, and waited for at the end. A cell that fails is recorded,
    and the others go on.
    """
    if workers < 1:
        raise UserError(f"Expected at least one worker, but got {workers}.")
    store.check_writable(jobs[0].results)
    write_unit_tables(jobs)
    counts = dict.fromkeys(("reused", "complete", "diverged", "failed"), 0)
    todo = [job for job in jobs if force or not is_reusable(job)]
    counts["reused"] = len(jobs) - len(todo)
    for wait in (False, True):
        busy = []
        for job, outcome in _outcomes(todo, workers, force, wait, report):
            if outcome == "busy":
                busy.append(job)
                report(Event("waiting", job))
            else:
                counts[outcome] += 1
        todo = busy
    return counts


def load_note(jobs: Sequence[Job], workers: int = 1) -> str | None:
    """A line where cells that are to run ask for more threads than cores are idle; None where they do not."""
    if not jobs:
        return None
    at_once, threads = min(workers, len(jobs)), max(job.cell.protocol["threads"] for job in jobs)
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
        spec = dataset_spec(job.cell.dataset)
        if spec.units is not None:
            kind: Source = "phantom" if job.cell.source["kind"] == "phantom" else "real"
            table = unit_table(open_prepared(spec, job.data_root, kind), label)
            if table is not None:
                store.write_units(job.results, table)


def _outcomes(jobs: list[Job], workers: int, force: bool, wait: bool, report: Report) -> Iterator[tuple[Job, str]]:
    """Each job with its outcome, as they end; with several workers only starts and ends are reported."""
    if workers == 1:
        for job in jobs:
            yield job, run_cell(job, force, wait, report)
        return
    executor = make_executor(workers)
    try:
        futures = {executor.submit(run_cell, job, force, wait): job for job in jobs}
        for future in as_completed(futures):
            outcome = future.result()
            if outcome != "busy":
                report(Event(outcome, futures[future]))
            yield futures[future], outcome
    except BrokenExecutor:
        raise UserError(
            "A worker process died (killed, or out of memory). Finished cells are kept; give the same command again, "
            "with fewer --jobs."
        ) from None
    except BaseException:  # an interrupt, a full disk: unfinished cells go on from their checkpoints another time
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
