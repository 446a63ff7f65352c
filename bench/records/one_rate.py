"""Cells that differ in their learning rate of the grid alone: those of one rate stand in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.records.rows import comparison_of

Stored = tuple[Path, dict[str, Any]]


def one_rate_each(records: list[Stored]) -> tuple[list[Stored], list[str]]:
    """The records with one rate for each model and version of a comparison, in all seeds and folds, of rates of a grid.

    A rate that was chosen comes before one that was not; then the one with more seeds and folds, then the first by
    folder. What was trained with another is left out in every seed, so that no row is a mean over two rates; lines name
    it. Cells without rates of a grid are not touched.
    """
    groups: dict[tuple[str, ...], list[Stored]] = {}
    for folder, record in records:
        cell = record["cell"]
        if "grid" in (cell.get("tuned") or {}):
            same = (comparison_of(record), record["model"]["name"], cell["model"]["version"])
            groups.setdefault(tuple(map(str, same)), []).append((folder, record))
    left_out: dict[str, str] = {}
    for several in groups.values():
        by_rate: dict[float, list[Stored]] = {}
        for stored in sorted(several, key=lambda stored: stored[0]):
            by_rate.setdefault(_tuned(stored)["lr"], []).append(stored)
        standing = max(
            by_rate, key=lambda rate: (any(_tuned(one)["chosen"] for one in by_rate[rate]), _runs(by_rate[rate]))
        )
        for rate, ((folder, record), *others) in by_rate.items():
            if rate == standing:
                continue
            more = f" and {len(others)} more" if others else ""
            line = (
                f"Left out: {folder}{more}, trained with the rate {rate:g}; the cells of {record['model']['name']} "
                f"with {standing:g} stand: move the folders away that you do not want."
            )
            left_out |= {record["key"]: line} | {other["key"]: "" for _, other in others}
    kept = [stored for stored in records if stored[1]["key"] not in left_out]
    return kept, [line for line in left_out.values() if line]


def _tuned(stored: Stored) -> dict[str, Any]:
    return stored[1]["cell"]["tuned"]


def _runs(cells: list[Stored]) -> int:
    """How many seeds and folds have complete cells."""
    return len({(r["cell"]["seed"], r["cell"]["fold"]) for _, r in cells if r["status"] == "complete"})
