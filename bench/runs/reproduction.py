"""A stored cell as a job again, from its record alone; what stands in a record is checked, and no code of it is run.

The code of a third party's network is run where its files were named: they lie beside the record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.datasets.base import Prepared
from bench.errors import UserError
from bench.records import store
from bench.records.keys import has_known_fields
from bench.runs.cell import Cell
from bench.runs.devices import found_device
from bench.runs.job import Job
from bench.runs.protocol import PROTOCOL_VERSION
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import dataset_spec, model_entry
from bench.zoo.third_party import load_copy

SOURCES = "sources"


def job_again(
    folder: Path, record: dict[str, Any], results: Path, data_root: str | Path | None, trusted: Collection[str] = ()
) -> Job:
    """The job that trains a stored cell once more, into another results folder.

    Args:
        folder: of the record. results: where the new record goes. trusted: files beside the record whose code may run.

    Raises:
        UserError: a cell of another version, other data, another version of the network, code that is not trusted, or a
            GPU that is not here.
    """
    where = f"The cell {'/'.join(folder.parts[-3:])}"
    cell = _cell(record, where)
    spec = dataset_spec(cell.dataset, data_root)
    entry = _entry(folder, cell.model, trusted, where)
    if entry.version != cell.model["version"]:
        raise UserError(
            f"{where} was trained with version {cell.model['version']} of {entry.name}, and this medbench has version "
            f"{entry.version}: install the one of commit {str(record['environment'].get('commit'))[:12]}."
        )
    cell = replace(cell, model={**cell.model, "config": _config(cell.model["config"], entry, where)})
    if spec.task not in entry.tasks:
        raise UserError(f"{where} is of {entry.name}, which does not do {spec.task}.")
    prepared = _located(cell, data_root, where)
    device = "cuda" if str(record["environment"].get("device", "cpu")).startswith("cuda") else "cpu"
    device = found_device(device, cell.settings().precision)
    training = record["training"] or {}
    return Job(
        cell=cell,
        model=record["model"]["name"],
        preset=record["preset"],
        results=results,
        folder=store.place_of(results, asdict(cell), record["model"]["name"]),
        data_root=prepared.folder.parent,
        device=device,
        cost=record["cost"],
        place=entry.place,
        pieces=max(1, int(training.get("pieces_of_a_batch", 1))),
    )


def reject_finished(job: Job) -> None:
    """Raises UserError where the cell is finished in its folder already: comparing that with its record proves nothing.

    Who wrote it there is not known; it may be a copy of the record itself.
    """
    if store.is_done(job.folder):
        date = datetime.fromtimestamp((job.folder / "record.json").stat().st_mtime).strftime("%Y-%m-%d %H:%M")
        raise UserError(
            f"It was not trained now: {job.folder} has it, finished {date}. Name another folder with --keep, or train "
            "it anew in its place with --force."
        )


def _cell(record: dict[str, Any], where: str) -> Cell:
    """The record's cell, of this version's form."""
    stored = record["cell"]
    if not has_known_fields(stored):
        raise UserError(f"{where} has fields of another version of medbench: install the one that wrote it.")
    version = stored["protocol"].get("version")
    if version != PROTOCOL_VERSION:
        raise UserError(
            f"{where} was trained by version {version} of the protocol, and this medbench has {PROTOCOL_VERSION}: "
            f"install the one of commit {str(record['environment'].get('commit'))[:12]}."
        )
    cell = Cell(**stored)
    try:
        cell.settings()
    except TypeError as error:
        raise UserError(f"{where} has another version's protocol ({error}).") from None
    if cell.is_trial:
        raise UserError(f"{where} is a trial of a search, without test scores: name cells of results/runs.")
    return cell


def _located(cell: Cell, data_root: str | Path | None, where: str) -> Prepared:
    """The cell's own data, phantoms drawn where they are not there yet."""
    from bench.datasets.cache.prepared import locate

    kind = "phantom" if cell.source["kind"] == "phantom" else "real"
    prepared = locate(dataset_spec(cell.dataset, data_root), kind, data_root)
    if prepared.fingerprint != cell.fingerprint:
        raise UserError(
            f"{where} was trained on other data: {prepared.folder} has the fingerprint {prepared.fingerprint}, the "
            f"record {cell.fingerprint}. Name the folder of those data with --data-root."
        )
    return prepared


def _entry(folder: Path, model: Mapping[str, Any], trusted: Collection[str], where: str) -> ModelEntry:
    """The network's entry; of a third party's from the copy beside the record, if each of its files is trusted."""
    if ":" not in model["name"]:
        return model_entry(model["name"])
    top = folder / SOURCES
    files = sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())
    if not files:
        raise UserError(f"{where} is of a network of its author's own, {model['name']}, without a copy of its code.")
    if any(path.is_symlink() for path in (top, *top.rglob("*"))):
        raise UserError(f"{where} has links among its sources: they are not followed, and nothing was run.")
    if unread := [name for name in files if name not in trusted]:
        names = " ".join(f"--trust {name}" for name in files)
        raise UserError(
            f"{where} is of a network of its author's own, and running it runs {', '.join(unread)} of the folder "
            f"{SOURCES} beside it: read what stands there, then give {names}."
        )
    return load_copy(model, top)


def _config(stored: Mapping[str, Any], entry: ModelEntry, where: str) -> dict[str, Any]:
    """The stored config with tuples where the network takes them, which JSON has not."""
    if set(stored) != set(entry.defaults):
        raise UserError(f"{where} has another config than {entry.name} takes: {', '.join(sorted(stored))[:200]}.")
    return {
        key: tuple(value) if isinstance(entry.defaults[key], tuple) and isinstance(value, list) else value
        for key, value in stored.items()
    }
