"""Figures of single units, patients or what stands for them, of a cell's validation part, where it keeps its cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.records import store
from bench.records.damage import Damaged

SMALLEST = 1e-12  # a probability under it would make one image's loss all that counts


def unit_values(results: Path, folder: Path, record: dict[str, Any], weights: str, measure: str) -> dict[str, float]:
    """Unit -> its figure in the validation part: mean over classes of the mean over its cases; {} without cases.

    Args:
        results: the folder with the tables of units.
        measure: `dice_strict`, `accuracy` or `loss`.
    """
    rows = store.read_cases(folder, record)
    if rows is None:
        return {}
    rows = rows[(rows["part"] == "val") & (rows["weights"] == weights)]
    scored = rows.assign(unit=_units(results, record, rows), score=_scores(rows, measure)).dropna(subset="score")
    by_class = scored.groupby(["unit", "class"])["score"].mean()
    return {str(unit): float(value) for unit, value in by_class.groupby("unit").mean().items()}


def _units(results: Path, record: dict[str, Any], rows: pd.DataFrame) -> pd.Series[Any]:
    try:
        table = store.read_units(results, record["dataset"]["name"], record["cell"]["fingerprint"])
    except Damaged:
        table = None
    named = rows["case"].map({} if table is None else table["cases"])
    return named.astype(object).where(named.notna(), rows["patient"])


def _scores(rows: pd.DataFrame, measure: str) -> pd.Series[Any]:
    """A score for each row; of images only the row of the true class has one."""
    if measure == "dice_strict":
        return rows[measure].astype(float)
    of_image = rows["predicted"] if measure == "accuracy" else -np.log(rows["probability"].clip(lower=SMALLEST))
    return of_image.astype(float).where(rows["reference"] == 1)
