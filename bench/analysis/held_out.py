"""Figures of single units, patients or what stands for them, of a cell's validation part, where it keeps its cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.simulation import unit_parts
from bench.analysis.statistics import Scores
from bench.records import store
from bench.records.damage import Damaged

SMALLEST = 1e-12  # a probability under it would make one image's loss all that counts


def unit_values(results: Path, folder: Path, record: dict[str, Any], weights: str, measure: str) -> dict[str, float]:
    """Unit -> its part in the figure of the validation part, which is their mean (`unit_parts`); {} without cases.

    A unit of more images counts for more, as it does in the figure: units' own accuracies, a mean of which is another
    figure, would give a difference another interval, and now and then another sign.

    Args:
        results: the folder with the tables of units.
        measure: `dice_strict`, `accuracy` or `loss`.
    """
    rows = store.read_cases(folder, record)
    if rows is None:
        return {}
    rows = rows[(rows["part"] == "val") & (rows["weights"] == weights)]
    scored = rows.assign(unit=_units(results, record, rows), score=_scores(rows, measure)).dropna(subset="score")
    meant = scored["class"] if measure == "dice_strict" else "all images"
    by_class = scored.assign(of=meant).groupby(["unit", "of"])["score"]
    sums, counts = (frame.unstack(fill_value=0) for frame in (by_class.sum(), by_class.count()))
    parts = unit_parts(Scores(sums.to_numpy(float)[None], counts.to_numpy(float)[None]))[0]
    return {str(unit): float(part) for unit, part in zip(sums.index, parts, strict=True)}


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
