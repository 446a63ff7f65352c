"""All stored results as one long table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.choice import Choice, Names
from bench.records.store import SCORE_COLUMNS, load_cells_and_cases

if TYPE_CHECKING:
    import pandas as pd


def load_results(
    results: str | Path = "results",
    models: Names = None,
    dataset: Names = None,
    preset: str | None = None,
    split: Names = None,
    seeds: str | int | Sequence[int] | None = None,
    version: int | str | None = None,
    status: str | None = None,
) -> pd.DataFrame:
    """All results as one long table: a row per cell, part, weights, case, class, metric, with its value.

    Metrics: Dice and HD95 under each policy; in classification `reference`, `predicted` (0 or 1) and `probability`.

    The cell's own columns (`load_cells`) stand beside each row. Failed cells have no rows here; `load_cells` has them.
    What was left out, and why, stands in `.attrs["notes"]`.

    Args:
        models, dataset, preset, split, seeds, version, status: which cells (`bench.records.choice.Choice`).

    Raises:
        UserError: no such folder, or no cell that is meant.
    """
    import pandas as pd

    cells, cases = load_cells_and_cases(results)
    notes = cells.attrs["notes"]
    cells = Choice(models, dataset, preset, split, seeds, version, status).of(cells)
    scores = [c for columns in SCORE_COLUMNS.values() for c in columns]
    rest = [c for c in cases.columns if c not in scores]
    parts = []
    for task, columns in SCORE_COLUMNS.items():
        own = cases[cases["key"].isin(cells.loc[cells["task"] == task, "key"])]
        if len(own):
            parts.append(own.melt(id_vars=rest, value_vars=list(columns), var_name="metric", value_name="value"))
    long = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*rest, "metric", "value"])
    long = long.merge(cells, on="key")
    long.attrs["notes"] = notes
    return long
