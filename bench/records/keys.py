"""The keys that name a cell and what it may be compared with, from the cell's plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

ADDED = ("train_patients", "tuned", "init", "unscored")  # fields of a cell that later versions added
ADDED_TO_PROTOCOL = {"tf32": False}  # fields of a protocol that later versions added, as it was before
LENGTH = ("steps", "epochs", "steps_min", "steps_max")  # of the protocol: how long training takes
FIELDS = ("dataset", "fingerprint", "source", "split", "parts", "fold", "model", "protocol", "seed")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """12 hex digits of the sha256 of a value's canonical JSON, with a schema version inside.

    A field that a later version adds is left out while it holds the value that says what was done before, so that
    old records keep their keys.
    """
    return hashlib.sha256(_CANONICAL.encode({"schema": 1, "value": value}).encode()).hexdigest()[:12]


def cell_key(cell: Mapping[str, Any]) -> str:
    """The digest of all fields of a cell (`bench.runs.cell.Cell` as plain values)."""
    return digest(_hashed(cell))


def comparison_key(cell: Mapping[str, Any]) -> str:
    """The key of a cell without model, seed and fold: what may stand in one table.

    The folds of one split are pooled, so that what each of them has in which part is no part of it either.
    """
    apart = ("model", "seed") if cell["fold"] is None else ("model", "seed", "fold", "parts")
    fields = {name: value for name, value in _hashed(cell).items() if name not in apart}
    if fields.get("init"):  # each model has its own weights
        fields["init"] = "pretrained"
    if fields.get("tuned"):  # each model has its own values, found in the same way
        fields["tuned"] = {k: v for k, v in fields["tuned"].items() if k not in ("lr", "weight_decay")}
    return digest(fields)


def key_over_budgets(cell: Mapping[str, Any]) -> str:
    """The comparison key but for how long training takes: what may stand in one curve over images seen."""
    protocol = {name: value for name, value in cell["protocol"].items() if name not in LENGTH}
    return comparison_key({**cell, "protocol": protocol})


def key_over_patients(cell: Mapping[str, Any]) -> str:
    """The comparison key but for the training patients, and the steps where epochs give them: one curve over these."""
    steps = ("steps",) if cell["protocol"].get("epochs") else ()
    protocol = {name: value for name, value in cell["protocol"].items() if name not in steps}
    return comparison_key({**cell, "train_patients": None, "protocol": protocol})


def has_known_fields(cell: Mapping[str, Any]) -> bool:
    """Whether a stored cell has the form that keys are computed from, and no other version's."""
    return set(FIELDS) <= set(cell) <= {*FIELDS, *ADDED}


def dataset_label(dataset: str, source: Mapping[str, Any]) -> str:
    """`acdc`, `acdc-phantom` or `acdc-substitute`: how the dataset of a cell reads everywhere."""
    return dataset if source["kind"] == "real" else f"{dataset}-{source['kind']}"


def dataset_of(label: str) -> str:
    """The data set of what `dataset_label` gives."""
    return label.removesuffix("-phantom").removesuffix("-substitute")


def _hashed(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a key hashes: one that a later version added only where it differs from what was done before."""
    fields = {name: value for name, value in cell.items() if name not in ADDED or value is not None}
    before = ADDED_TO_PROTOCOL.items()
    fields["protocol"] = {name: value for name, value in fields["protocol"].items() if (name, value) not in before}
    if fields.get("tuned"):  # whether a rate was chosen or is the grid's middle trains nothing otherwise
        fields["tuned"] = {name: value for name, value in fields["tuned"].items() if name != "chosen"}
    return fields
