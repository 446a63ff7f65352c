"""One cell from data to record; then all cells of a plan through an executor."""

from __future__ import annotations

import errno
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench import store
from bench.errors import UserError
from bench.executors import make_executor
from bench.plan import PRESETS, Cell, Protocol, parse_seeds, preset_label, preset_protocol
from bench.registry import build_model, canonical_name, dataset_spec, parse_model, select_models

if TYPE_CHECKING:
    import pandas as pd

    from bench.datasets.prepared import Prepared
    from bench.train import Progress as TrainingRun

Report = Callable[["Event"], None]
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Job:
    """A cell with all that running it takes, as plain values: it crosses process borders."""

    cell: Cell
    model: str
    preset: str
    results: Path
    folder: Path
    data_root: Path
    device: str
    cost: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened to a cell: `step`, `started`, `finished`, `failed`, `diverged`, `waiting`, `note`."""

    kind: str
    job: Job | None = None
    step: int = 0
    text: str = ""


def silent(event: Event) -> None:
    """The report that says nothing."""


def make_jobs(
    models: str = "all",
    dataset: str = "acdc",
    preset: str = "quick",
    seeds: str | None = None,
    data: str = "auto",
    data_root: str | Path | None = None,
    split: str | None = None,
    results: str | Path = "results",
    settings: tuple[str, ...] = (),
    threads: int | None = None,
    device: str = "cpu",
    report: Report = silent,
) -> list[Job]:
    """All cells of a request, resolved: models x seeds on one dataset, seed by seed.

    Raises:
        UserError: any name, value or folder that is not right, before anything is trained.
    """
    from bench.datasets.prepared import locate
    from bench.datasets.splits import assign, load_split

    spec = dataset_spec(dataset)
    protocol = preset_protocol(preset, settings, threads)
    _check_device(device)
    names = select_models(models, PRESETS[preset].models, spec.task)
    numbers = parse_seeds(seeds, PRESETS[preset].seeds)
    prepared = locate(spec, data, data_root, report=lambda *progress: _note_drawing(report, *progress))
    split = split or spec.default_split[prepared.layout]
    assign(prepared.cases, load_split(spec.name, split))
    source: dict[str, Any] = {"kind": prepared.kind}
    if prepared.kind == "phantom":
        source["version"] = spec.phantom_version
    costs = {name: _cost(name, spec, protocol) for name in names}
    jobs = []
    for seed in numbers:
        for name in names:
            entry, config = parse_model(name)
            model = {"name": entry.name, "config": config, "version": entry.version}
            cell = Cell(spec.name, prepared.fingerprint, source, split, None, model, asdict(protocol), seed)
            folder = store.cell_folder(Path(results), cell, name)
            root = prepared.folder.parent
            label = preset_label(preset, protocol)
            jobs.append(Job(cell, name, label, Path(results), folder, root, device, costs[name]))
    return jobs


def _check_device(device: str) -> None:
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("No CUDA device is available to torch here. Use --device cpu, or install a CUDA driver.")


def _note_drawing(report: Report, case: str, done: int, total: int) -> None:
    if done == total:
        report(Event("note", text=f"drew and prepared {total} phantom volumes, no patient's image"))


def _cost(name: str, spec: Any, protocol: Protocol) -> dict[str, Any]:
    """Params and MACs of a model at the protocol's input; building it also shows whether it takes that input."""
    from bench.cost.complexity import complexity

    shape = (1, spec.channels, protocol.image_size, protocol.image_size)
    model = build_model(name, spec.task, spec.channels, len(spec.classes), protocol.image_size)
    return {**asdict(complexity(model, shape)), "input": list(shape)}


def run(workers: int = 1, force: bool = False, report: Report = silent, **request: Any) -> pd.DataFrame:
    """Trains and scores what a request names and is not done; returns one row per cell of it (`bench.load_cells`).

    Args:
        workers: processes; each cell keeps the protocol's threads.
        force: runs finished cells anew.
        request: as `make_jobs` takes it: models, dataset, preset, seeds, data, data_root, split, results, ...

    Raises:
        UserError: any name, value or folder that is not right.
    """
    jobs = make_jobs(report=report, **request)
    run_jobs(jobs, workers, force, report)
    cells = store.load_cells(request.get("results", "results"))
    return cells[cells["key"].isin([job.cell.key for job in jobs])].reset_index(drop=True)


def run_jobs(jobs: list[Job], workers: int = 1, force: bool = False, report: Report = silent) -> dict[str, int]:
    """Runs what is not done; counts by outcome: `reused`, `complete`, `diverged`, `failed`.

    A cell that another process is running is left to it, and waited for at the end. A cell that fails is recorded,
    and the others go on.
    """
    store.check_writable(jobs[0].results)
    counts = dict.fromkeys(("reused", "complete", "diverged", "failed"), 0)
    todo = [job for job in jobs if force or not store.is_done(job.folder)]
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


def _outcomes(jobs: list[Job], workers: int, force: bool, wait: bool, report: Report) -> Iterable[tuple[Job, str]]:
    """Each job with its outcome, as they end; several workers report only their cells' ends."""
    if workers == 1:
        for job in jobs:
            yield job, run_cell(job, force, wait, report)
        return
    with make_executor(workers) as executor:
        futures: dict[Future[str], Job] = {executor.submit(run_cell, job, force, wait): job for job in jobs}
        try:
            for future in as_completed(futures):
                report(Event(future.result(), futures[future]))
                yield futures[future], future.result()
        except BrokenExecutor:
            raise UserError(
                "A worker process died (killed, or out of memory). Finished cells are kept; give the same command "
                "again, with fewer --jobs."
            ) from None
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def run_cell(job: Job, force: bool = False, wait: bool = True, report: Report = silent) -> str:
    """Trains and scores one cell, unless it is done; returns what became of it.

    Returns:
        `complete`, `diverged`, `failed`, `reused` (another process finished it meanwhile) or `busy`.

    Raises:
        UserError: the disk is full or may not be written to.
    """
    try:
        with store.lock(job.folder, wait) as held:
            if not held:
                return "busy"
            if store.is_done(job.folder) and not force:
                return "reused"
            if force:
                _clear(job.folder)
            report(Event("started", job))
            outcome = _run_recorded(job, report)
            report(Event(outcome, job))
            return outcome
    except OSError as error:
        if error.errno in DISK:
            raise UserError(
                f"Cannot write {error.filename or job.folder}: {error.strerror}. Finished cells are kept; "
                "make room and give the same command again."
            ) from None
        raise


def _run_recorded(job: Job, report: Report) -> str:
    """Runs a locked cell; any exception but those of the disk ends as a failed record with a traceback beside it."""
    store.write_json(job.folder / "cell.json", asdict(job.cell))
    try:
        record = _train_and_score(job, report)
    except OSError as error:
        if error.errno in DISK:
            raise
        record = _failed(job, error)
    except Exception as error:
        record = _failed(job, error)
    store.write_json(job.folder / "record.json", record)
    if record["status"] != "failed":
        (job.folder / "checkpoint.pt").unlink(missing_ok=True)
        (job.folder / "error.log").unlink(missing_ok=True)
    return record["status"]


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _failed(job: Job, error: Exception) -> dict[str, Any]:
    store.write_text(job.folder / "error.log", "".join(traceback.format_exception(error)))
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return _record(job, "failed", error=line)


def _record(job: Job, status: str, **parts: Any) -> dict[str, Any]:
    """The record of a cell, with what is missing as None."""
    from bench.datasets.prepared import open_prepared
    from bench.datasets.splits import assign, load_split
    from bench.environment import environment

    cell = job.cell
    entry, config = parse_model(job.model)
    spec = dataset_spec(cell.dataset)
    prepared = open_prepared(spec, job.data_root, cell.source["kind"])
    assignment = assign(prepared.cases, load_split(cell.dataset, cell.split))
    return {
        "schema": store.SCHEMA,
        "status": status,
        "key": cell.key,
        "comparison": cell.comparison,
        "preset": job.preset,
        "cell": asdict(cell),
        "model": {
            "name": canonical_name(entry, config),
            "title": entry.title + canonical_name(entry, config).removeprefix(entry.name),
            "family": entry.family,
            "citation": entry.citation,
            "year": entry.year,
            "reduced_from": entry.reduced_from,
        },
        "dataset": {
            "name": cell.dataset_label,
            "title": spec.title,
            "task": spec.task,
            "classes": list(spec.classes),
            "channels": spec.channels,
            "counts": assignment.counts,
            "partial": assignment.partial,
        },
        "cost": job.cost,
        "training": parts.get("training"),
        "metrics": parts.get("metrics"),
        "environment": environment(job.device, cell.protocol["threads"]),
        "error": parts.get("error"),
    }


def _train_and_score(job: Job, report: Report) -> dict[str, Any]:
    """From data to record: build, train, score both sets of weights on both parts, write all but the record."""
    import torch
    from lightning_fabric import Fabric

    from bench.datasets.loading import training_arrays
    from bench.datasets.prepared import open_prepared
    from bench.datasets.splits import assign, load_split
    from bench.evaluate import validation_dice
    from bench.seeding import build_seeded
    from bench.train import HISTORY_COLUMNS, train

    cell, protocol = job.cell, Protocol(**job.cell.protocol)
    torch.set_num_threads(protocol.threads)
    spec = dataset_spec(cell.dataset)
    data = open_prepared(spec, job.data_root, cell.source["kind"])
    parts = assign(data.cases, load_split(cell.dataset, cell.split)).indices
    fabric = Fabric(accelerator=job.device, devices=1, precision=cast(Any, protocol.precision))
    size = protocol.image_size
    model = build_seeded(lambda: build_model(job.model, spec.task, spec.channels, len(spec.classes), size), cell.seed)
    model = fabric.setup_module(model.to(memory_format=torch.channels_last))
    images, labels = training_arrays(data, parts["train"], protocol)
    progress = train(
        model,
        images,
        labels,
        protocol,
        cell.seed,
        fabric,
        validate=lambda network: validation_dice(network, data, parts["val"], protocol),
        checkpoint=job.folder / "checkpoint.pt",
        key=cell.key,
        on_step=lambda step: report(Event("step", job, step)),
    )
    store.write_rows(job.folder / "history.csv", HISTORY_COLUMNS, progress.history)
    training = {
        "steps": progress.step,
        "selected_step": progress.best_step if protocol.selection == "best-val" else progress.step,
        "best_val_step": progress.best_step,
        "val_dice": progress.best_score if progress.best_state else None,
        "final_loss": progress.history[-1]["train_loss"] if progress.history else None,
        "seconds": round(progress.seconds, 1),
    }
    if progress.diverged:
        return _record(job, "diverged", training=training, error="the training loss is not finite")
    start = time.perf_counter()
    rows, metrics = _score(model, data, parts, protocol, progress, job.folder)
    store.write_rows(job.folder / "cases.csv", store.CASE_COLUMNS, rows)
    training["scoring_seconds"] = round(time.perf_counter() - start, 1)
    return _record(job, "complete", training=training, metrics=metrics)


def _score(
    model: Any,
    data: Prepared,
    parts: dict[str, tuple[int, ...]],
    protocol: Protocol,
    progress: TrainingRun,
    folder: Path,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Scores the last and the best weights on validation and test cases; saves the protocol's choice."""
    from bench.evaluate import headline, score_cases

    rows: list[dict[str, Any]] = []
    metrics: dict[str, Any] = {}
    scored: dict[str, list[dict[str, Any]]] = {}
    for weights in ("last", "best-val"):
        if weights == "best-val" and progress.best_step != progress.step:
            model.load_state_dict(progress.best_state)
            scored = {}
        scored = scored or {part: score_cases(model, data, parts[part], protocol) for part in ("val", "test")}
        for part, of_part in scored.items():
            rows += [{"part": part, "weights": weights, **row} for row in of_part]
        metrics[weights] = headline(scored["test"])
        if weights == protocol.selection:
            _save_weights(folder, model)
    return rows, metrics


def _save_weights(folder: Path, model: Any) -> None:
    from safetensors.torch import save

    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    store.write_bytes(folder / "weights.safetensors", save(state))
