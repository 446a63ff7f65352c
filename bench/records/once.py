"""Of copies and of what cannot be compared: each cell's record once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.records.damage import STATUSES
from bench.records.one_rate import one_rate_each
from bench.records.scores import tested_otherwise


def each_once(
    usable: list[tuple[Path, dict[str, Any]]], tested: Mapping[Path, int]
) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """Each cell's record once, without those that cannot be compared, and lines on these."""
    found: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder, record in usable:
        found.setdefault(record["key"], []).append((folder, record))
    records = [min(copies, key=_standing) for copies in found.values()]
    strange = tested_otherwise((record, tested[folder]) for folder, record in records if folder in tested)
    kept, superseded = one_rate_each([(folder, record) for folder, record in records if record["key"] not in strange])
    places = {record["key"]: folder / "cases.csv" for folder, record in records}
    lines = [f"Left out: {places[key]} {why}: move its folder away." for key, why in strange.items()]
    return kept, [*superseded, *lines]


def _standing(copy: tuple[Path, dict[str, Any]]) -> tuple[int, bool, Path]:
    """What a copy of a cell comes before others by."""
    folder, record = copy
    return STATUSES.index(record["status"]), not (folder / "weights.safetensors").is_file(), folder
