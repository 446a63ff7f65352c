"""Cells that differ in their learning rate of the grid alone: one of them stands in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.records.rows import comparison_of

Stored = tuple[Path, dict[str, Any]]


def one_rate_each(records: list[Stored]) -> tuple[list[Stored], list[str]]:
    """The records with one cell for each model, version, seed and fold of a comparison, where rates are of a grid.

    A cell trained before a rate was chosen gives way to one with a chosen rate; of several chosen ones the first by
    folder stands. Lines name what is left out. Cells without rates of a grid are not touched.
    """
    groups: dict[tuple[str, ...], list[Stored]] = {}
    for folder, record in records:
        cell = record["cell"]
        if "grid" in (cell.get("tuned") or {}):
            same = (
                comparison_of(record),
                record["model"]["name"],
                cell["model"]["version"],
                cell["seed"],
                cell["fold"],
            )
            groups.setdefault(tuple(map(str, same)), []).append((folder, record))
    left_out: dict[str, str] = {}
    for several in groups.values():
        (_, standing), *others = sorted(several, key=lambda stored: (not _tuned(stored)["chosen"], stored[0]))
        for folder, record in others:
            rate, other = record["cell"]["tuned"]["lr"], standing["cell"]["tuned"]["lr"]
            left_out[record["key"]] = (
                f"Left out: {folder}, trained with the rate {rate:g}; the same cell with {other:g} stands: move the "
                "folder away that you do not want."
            )
    return [stored for stored in records if stored[1]["key"] not in left_out], list(left_out.values())


def _tuned(stored: Stored) -> dict[str, Any]:
    return stored[1]["cell"]["tuned"]
