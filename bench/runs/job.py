"""One cell from data to record: locked, trained, scored, written; what fails is recorded as failed."""

from __future__ import annotations

import errno
import hashlib
import math
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records import store
from bench.records.leases import NAME
from bench.runs.cell import Cell
from bench.runs.division import divide, open_data
from bench.runs.exhaustion import ran_out_of_memory
from bench.zoo.entry import ModelEntry
from bench.zoo.pretrained import load_pretrained
from bench.zoo.registry import canonical_name, dataset_spec, resolved_entry

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

Report = Callable[["Event"], None]
Stop = Callable[[int, float], bool]
Holds = Callable[[], bool]
Left = tuple[dict[str, Any], dict[str, bytes]]  # a record, and files by name where they do not lie in their place
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclass(frozen=True)
class Job:
    """A cell with all that running it takes, as plain values: it crosses process borders.

    Attributes:
        model: its canonical name. place: of a third party's, where it is found (`bench.zoo.registry.ModelEntry`).
        validated: images, or slices, that a validation round passes through the network; for an estimate.
        predictions: whether what it predicts of the test part is kept beside its record.
        attempt: how often it was begun, from 1. pieces: into how many parts a batch is cut where memory ran out.
        log: how its figures are logged while it is trained (`bench.runs.run_log.LOGS`); blank: not.
    """

    cell: Cell
    model: str
    preset: str
    results: Path
    folder: Path
    data_root: Path
    device: str
    cost: dict[str, Any]
    place: str = ""
    validated: int = 0
    predictions: bool = True
    attempt: int = 1
    pieces: int = 1
    log: str = ""

    def entry(self) -> ModelEntry:
        """The model's entry, in whatever process this is. Raises UserError when a third party's code has changed."""
        return resolved_entry(self.cell.model, self.place)


@dataclass(frozen=True)
class Event:
    """What happened to a cell, a note, or `drawn`: a note that phantoms are used which nobody asked for.

    Attributes:
        kind: `started`, `step`, `complete`, `failed`, `diverged`, `pruned`, `reused`, `waiting`, `retried`, `note`, ...
        loss: of a step, or the mean since the last validation round; at the end the last such mean.
        score: of a validation round, the higher the better; at the end the best.
        trial: its number in a search over models.
    """

    kind: str
    job: Job | None = None
    step: int = 0
    text: str = ""
    loss: float | None = None
    score: float | None = None
    trial: int | None = None


def ended(job: Job, outcome: str) -> Event:
    """The event of a cell that ended, with the figures of its record."""
    training = (store.read_record(job.folder) or {}).get("training") or {}
    return Event(outcome, job, loss=training.get("final_loss"), score=training.get("val_score"))


def silent(event: Event) -> None:
    """The report that says nothing."""


def always() -> bool:
    """Whether a lease holds that nobody can take over."""
    return True


def never(step: int, score: float) -> bool:
    """The rule that stops no run."""
    return False


def is_reusable(job: Job) -> bool:
    """Whether the cell is done, by a network of the cost that it has now.

    Raises:
        UserError: it is done by another network, whose version is the same.
    """
    if not store.is_done(job.folder):
        return False
    stored = (store.read_record(job.folder) or {})["cost"]
    for what, count in (("params", "parameters"), ("macs", "MACs")):
        if stored[what] != job.cost[what]:
            raise UserError(
                f"The record in {job.folder} is of a network with {stored[what]:,} {count}, but {job.model} has "
                f"{job.cost[what]:,} now and the same version. Raise its version, or run it anew with --force."
            )
    return True


def run_cell(job: Job, force: bool = False, wait: bool = True, report: Report = silent, stop: Stop = never) -> str:
    """Trains and scores one cell, unless it is done; returns what became of it.

    Args:
        stop: takes step and score of each validation round; true prunes a trial of a search there.

    Returns:
        `complete`, `diverged`, `failed`, `pruned`, `reused` (another process finished it meanwhile) or `busy`: another
        process has its lease, or took it over from this one.

    Raises:
        UserError: the disk is full or may not be written to.
    """
    return under_lease(job, force, wait, lambda holds: (perform(job, report, stop, holds), {}), report)


def under_lease(job: Job, force: bool, wait: bool, train: Callable[[Holds], Left], report: Report = silent) -> str:
    """The order of events of a cell, wherever it is trained; returns as `run_cell` does.

    Its lease, whether it is done, what an earlier run left removed, its training, whether the lease still holds, what
    came back, and last its record.

    Args:
        train: given whether the lease still holds, makes the record, unwritten, and files that lie in another place.

    Raises:
        UserError: the disk is full or may not be written to.
    """
    try:
        with store.lock(job.folder, wait) as lease:
            if lease is None:
                return "busy"
            if not force and is_reusable(job):
                return "reused"
            if force:
                clear(job.folder)
            report(Event("started", job))
            record, files = train(lease.holds)
            if not lease.holds():  # stopped for so long that it was taken for gone
                return "busy"
            for name, content in files.items():
                store.write_bytes(below(job.folder, name), content)
            conclude(job, record)
            report(ended(job, record["status"]))
            return str(record["status"])
    except LeaseLost:
        return "busy"
    except BrokenPipeError:  # standard output, not the results
        raise
    except OSError as error:  # what a cell's own code raises is recorded; this is the results folder
        raise cannot_write(job, error) from None


def below(folder: Path, name: str) -> Path:
    """The path of a file that came back from where a cell was trained; its folder is made.

    Raises:
        UserError: a name that leads out of the cell's folder.
    """
    path = folder / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise UserError(f"A node sent back a file of the name {name!r}, which leads out of the cell's folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def cannot_write(job: Job, error: OSError) -> UserError:
    """The error for a results folder that cannot be written to."""
    what = f"Cannot write {error.filename or job.folder}: {error.strerror}. Finished cells are kept"
    return UserError(f"{what}; make the folder writable or make room, and give the same command again.")


class LeaseLost(Exception):
    """Another process took a cell over, while this one was stopped for so long that it was taken for gone."""


def perform(job: Job, report: Report = silent, stop: Stop = never, holds: Holds = always) -> dict[str, Any]:
    """Trains and scores a cell whose lease is held; its record, which is not written yet.

    Any exception but those of the disk ends as a failed record with a traceback beside it.

    Raises:
        LeaseLost: `holds` says so before a file of the cell is written, which is another process's by now.
    """
    store.write_json(job.folder / "cell.json", asdict(job.cell))
    store.write_sources(job.folder, job.entry().sources)
    try:
        return _train_and_score(job, report, stop, holds)
    except OSError as error:
        if error.errno in DISK:
            raise
        return _failed(job, error)
    except (UserError, LeaseLost):
        raise
    except Exception as error:
        return _failed(job, error)


def conclude(job: Job, record: dict[str, Any]) -> None:
    """Writes a cell's record, with which it is finished, and removes what an unfinished or an earlier one left."""
    store.write_json(job.folder / "record.json", record)
    if record["status"] != "failed":
        for name in ("checkpoint.pt", "error.log", "cases.csv.xz"):
            (job.folder / name).unlink(missing_ok=True)


def training_part(job: Job) -> tuple[Prepared, list[int]]:
    """The cell's data, and which of its cases are trained on."""
    data = open_data(job.cell, job.data_root)
    return data, list(divide(job.cell, data)[1].indices["train"])


def clear(folder: Path) -> None:
    """Removes what a folder holds of a cell, but for the lease on it; its record first: without that it is not done."""
    (folder / "record.json").unlink(missing_ok=True)
    for path in folder.iterdir():
        if not path.name.startswith(NAME):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _failed(job: Job, error: Exception) -> dict[str, Any]:
    store.write_text(job.folder / "error.log", "".join(traceback.format_exception(error)))
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    kind = "memory" if ran_out_of_memory(error) else "raised"
    return make_record(job, "failed", error=line, failure={"kind": kind, "attempts": job.attempt})


def make_record(job: Job, status: str, **parts: Any) -> dict[str, Any]:
    """The record of a cell, with what is missing as None."""
    from bench.datasets.splits.assignment import counts_by_class
    from bench.datasets.splits.overlap import leak_figures
    from bench.metrics.cases import CONVENTIONS
    from bench.records.environment import environment

    cell = job.cell
    entry = job.entry()
    spec = dataset_spec(cell.dataset, job.data_root)
    prepared = open_data(cell, job.data_root)
    split, assignment = divide(cell, prepared)
    return {
        "schema": store.SCHEMA,
        "status": status,
        "key": cell.key,
        "comparison": cell.comparison,
        "preset": job.preset,
        "cell": asdict(cell),
        "model": {
            "name": canonical_name(entry, cell.model["config"]),
            "title": entry.title_of(spec.task),
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
            "counts": counts_by_class(prepared, assignment),
            "partial": assignment.partial,
            "left_out": assignment.left_out,
            "present_cases": len(prepared.cases) - (assignment.left_out if split.by_case else 0),
            "official_cases": split.official_cases,
            "split_source": split.source,
            "split_note": split.note or None,
            "split_flag": split.flag,
            "split_leak": leak_figures(prepared, assignment),
        },
        "cost": job.cost,
        "training": parts.get("training"),
        "metrics": parts.get("metrics"),
        **({"validation": parts["validation"]} if "validation" in parts else {}),
        "conventions": CONVENTIONS if spec.task == "segmentation" else None,
        "environment": environment(job.device, cell.protocol["threads"]) | _threads_in_effect(),
        "cases_sha256": parts.get("cases_sha256"),
        "error": parts.get("error"),
        **({"failure": parts["failure"]} if "failure" in parts else {}),
    }


def _threads_in_effect() -> dict[str, int]:
    """What torch itself says of its threads, where it is loaded: what a cluster sets may differ from what was asked."""
    return {"threads_in_effect": sys.modules["torch"].get_num_threads()} if "torch" in sys.modules else {}


def _check_held(holds: Holds) -> None:
    if not holds():
        raise LeaseLost


def _train_and_score(job: Job, report: Report, stop: Stop, holds: Holds) -> dict[str, Any]:
    """From data to record: build, train, score both sets of weights on both parts, write all but the record."""
    from bench.datasets.loading import training_arrays
    from bench.records.predicted import Kept
    from bench.runs.depthwise import speed_up_training
    from bench.runs.devices import make_fabric, peak_bytes, placed, set_arithmetic, set_back_peak, set_up, undetermined
    from bench.runs.evaluate import NOT_FINITE, make_validation, score_weights
    from bench.runs.outcome import check_size, headlines, save_weights, training_figures
    from bench.runs.run_log import Logged, logging_run
    from bench.runs.seeding import build_seeded
    from bench.runs.train import DEEP, HISTORY_COLUMNS, Checkpoint, Watch, train

    cell, protocol = job.cell, job.cell.settings()
    set_arithmetic(job.device, protocol)
    set_back_peak(job.device)
    spec = dataset_spec(cell.dataset, job.data_root)
    data = open_data(cell, job.data_root)
    parts = divide(cell, data)[1].indices
    fabric = make_fabric(job.device, protocol)
    size = protocol.image_size
    entry, shape = job.entry(), (spec.channels, len(spec.classes), size)
    model = build_seeded(lambda: entry.build(spec.task, *shape, **cell.model["config"]), cell.seed)
    check_size(model, job.cost)
    if cell.init:
        load_pretrained(model, entry, cell.init, shape)
    speed_up_training(model)
    model = set_up(model, fabric)
    if hasattr(model, DEEP):
        model.mark_forward_method(DEEP)

    def told(step: int, loss: float, score: float | None) -> None:
        _check_held(holds)
        report(Event("step", job, step, loss=loss, score=score))

    images, labels = placed(*training_arrays(data, parts["train"], protocol), fabric.device)
    checkpoint = Checkpoint(job.folder / "checkpoint.pt", cell.key)
    logged = Logged(job.log, job.results, job.folder, job.device)
    with (
        undetermined() as operators,
        logging_run(logged, protocol, lambda line: report(Event("note", text=line))) as log,
    ):
        watch = Watch(
            make_validation(data, parts["val"], protocol),
            on_step=lambda step: report(Event("step", job, step)),
            on_figures=log.telling(told),
            on_round=log.round,
            stop=stop,
            on_note=lambda line: report(Event("note", text=f"{job.model}: {line}")),
            pieces=job.pieces,
        )
        progress = train(model, images, labels, protocol, cell.seed, fabric, watch, checkpoint)
    _check_held(holds)
    store.write_rows(job.folder / "history.csv", HISTORY_COLUMNS, progress.history)
    training = training_figures(progress, len(images), protocol.batch_size)
    if job.device != "cpu":
        training |= {"peak_bytes": peak_bytes(job.device), "undetermined": sorted(operators)}
    if progress.diverged:
        return make_record(job, "diverged", training=training, error="the training loss is not finite")
    if progress.stopped:
        return make_record(job, "pruned", training=training)
    if cell.is_trial and not math.isfinite(progress.best.score):
        return make_record(job, "diverged", training=training, error=NOT_FINITE)
    start = time.perf_counter()
    scored_parts = {part: parts[part] for part in (("val",) if cell.is_trial else ("val", "test"))}
    kept = Kept(job.folder) if job.predictions and not cell.is_trial else None
    try:
        rows = score_weights(model, data, scored_parts, protocol, progress, kept)
    except FloatingPointError as error:
        return make_record(job, "diverged", training=training, error=str(error))
    figures = {part: headlines(rows, part) for part in scored_parts}
    training["scoring_seconds"] = round(time.perf_counter() - start, 1)
    _check_held(holds)
    store.write_rows(job.folder / "cases.csv", store.CASE_COLUMNS[spec.task], rows)
    sha256 = hashlib.sha256((job.folder / "cases.csv").read_bytes()).hexdigest()
    if cell.is_trial:
        return make_record(job, "complete", training=training, validation=figures["val"], cases_sha256=sha256)
    save_weights(job.folder / "weights.safetensors", progress.best.state)
    if progress.average:
        save_weights(job.folder / "average.safetensors", progress.average_best.state)
    if kept is not None:
        kept.save(cell.key, rows[-1]["weights"])
    return make_record(job, "complete", training=training, metrics=figures["test"], cases_sha256=sha256)
