"""The data that a trained network's run was tested on, where they are here."""

from __future__ import annotations

from pathlib import Path

from bench.datasets.base import Prepared, Source
from bench.datasets.cache.prepared import open_prepared, resolve_root
from bench.datasets.splits.assignment import assign
from bench.errors import UserError
from bench.runs.division import split_of
from bench.runs.trained import Trained
from bench.zoo.registry import dataset_spec


def cases_of_test(trained: Trained, data_root: str | Path | None = None) -> tuple[Prepared, tuple[int, ...]]:
    """The prepared data of a run, and which of its cases are the test part.

    Raises:
        UserError: they are not prepared here, or are no longer those of the run, or not divided as then.
    """
    cell = trained.cell
    kind: Source = "phantom" if cell.source["kind"] == "phantom" else "real"
    data = open_prepared(dataset_spec(cell.dataset, data_root), resolve_root(data_root)[0], kind)
    if data.fingerprint != cell.fingerprint:
        raise UserError(f"The prepared data in {data.folder} are not those of the run in {trained.folder}.")
    return data, assign(data.cases, split_of(cell, data)).indices["test"]
