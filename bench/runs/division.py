"""The images of a cell and their division, made anew from the data that are here, and held to what the cell says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.records.keys import digest
from bench.runs.cell import Cell
from bench.zoo.registry import dataset_spec

if TYPE_CHECKING:
    from bench.datasets.base import Assignment, Prepared, Source, Split


def open_data(cell: Cell, data_root: Path) -> Prepared:
    """The cell's own data. Raises UserError when the cache is no longer the one that the key names."""
    from bench.datasets.cache.prepared import open_prepared

    kind: Source = "phantom" if cell.source["kind"] == "phantom" else "real"
    data = open_prepared(dataset_spec(cell.dataset, data_root), data_root, kind)
    if data.fingerprint != cell.fingerprint:
        raise UserError(
            f"The prepared data in {data.folder} changed while running (fingerprint {data.fingerprint}, expected "
            f"{cell.fingerprint}). Give the same command again for the new data."
        )
    return data


def divide(cell: Cell, data: Prepared) -> tuple[Split, Assignment]:
    """The cell's split and what of it is there, with as many training patients as the cell takes.

    Raises:
        UserError: as `split_of`.
    """
    from bench.datasets.splits.assignment import assign
    from bench.datasets.splits.folds import take_training

    split = split_of(cell, data)
    assignment = assign(data.cases, split)
    if cell.train_patients is not None:
        assignment = take_training(data.cases, split, assignment, cell.train_patients, cell.seed)
    return split, assignment


def split_of(cell: Cell, data: Prepared) -> Split:
    """The split of a cell, by its name and fold.

    The fingerprint of data says nothing of which part an image is in: that is in a split's list, or in the user's
    table (`data add --split`), and may have changed since the cell was made.

    Raises:
        UserError: other patients are in its parts than in the cell's.
    """
    from bench.datasets.splits.assignment import make_split

    split = make_split(data.spec, data, cell.split, cell.fold)
    if digest(split.parts) != cell.parts:
        raise UserError(
            f"The split {cell.split} of {data.spec.name} in {data.folder} has other patients in its parts than that of "
            f"cell {cell.key}: its test part may have been trained on. Prepare the data with the division of then, or "
            "run the network anew."
        )
    return split


def base_parts(data: Prepared, split: str) -> str:
    """The hash of whom a split puts in each part, without its folds; empty where it cannot be used by itself."""
    from bench.datasets.splits.assignment import make_split

    try:
        return digest(make_split(data.spec, data, split.partition("/")[0]).parts)
    except UserError:
        return ""
