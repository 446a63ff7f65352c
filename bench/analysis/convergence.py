"""Whether training had come to its end: how far validation still rose over the last third of its rounds.

A straight line is laid through the scores of the last third of a run's validation rounds, of the weights that tables
show. Its rise from the first of them to the last is what the run still gained there; the scatter of the rounds about
the line is the noise, from which the rise has Student's 95 % interval. A rate that falls to nothing makes any curve
flat at its end, so that a flat one says that this schedule was used up, and not that a longer one brings nothing. A
score that fell by more than its noise is no flat one: the run went past its best. The test is our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.short_budget import is_short_comparison
from bench.analysis.shown import Shown
from bench.records.histories import read_history, selecting_column

LEAST = 4  # rounds in the last third, of which a line leaves two degrees of freedom
SHARE = 3  # the last of so many equal parts


def late_rise(runs: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The mean rise of several runs' scores over the last third of their rounds, and half its 95 % interval.

    Args:
        runs: the scores of each run's rounds, at equal steps.

    Returns:
        None where a run has too few rounds, or one that is not finite.
    """
    from scipy.stats import t

    rises, squares, free = [], [], 0
    for scores in runs:
        y = np.asarray(scores, float)[-math.ceil(len(scores) / SHARE) :]
        if len(y) < LEAST or not np.isfinite(y).all():
            return None
        x = np.linspace(-0.5, 0.5, len(y))
        slope, level = np.polyfit(x, y, 1)
        rises.append(slope)
        squares.append(((y - level - slope * x) ** 2).sum() / (len(y) - 2) / (x**2).sum())
        free += len(y) - 2
    error = math.sqrt(sum(squares)) / len(rises) if rises else math.nan
    return (float(np.mean(rises)), float(t.ppf(0.975, free)) * error) if rises else None


def converged_words(first: pd.Series[Any], cells: pd.DataFrame, titles: dict[str, str], shown: Shown) -> str:
    """Whether each network's validation score was flat at its end, within its noise; else by how much it rose or fell.

    Args:
        first: what all cells share. cells: of one comparison. titles: of each model in it.
    """
    if is_short_comparison(first):
        return "no: short budget"
    trained = cells[(cells["status"] == "complete") & (cells["family"] != "chance")]
    unit, scale, digits = ("points of Dice", 100, 2) if first["task"] == "segmentation" else ("of cross-entropy", 1, 3)
    rising, falling, unknown = list[str](), list[str](), list[str]()
    for model, own in trained.groupby("model", sort=False):
        folders = own.get("folder", pd.Series(dtype=object)).dropna()
        rise = late_rise([_shown_scores(Path(folder), shown) for folder in folders])
        if rise is None:
            unknown.append(titles[str(model)])
        elif abs(rise[0]) > rise[1]:
            by = f"{titles[str(model)]} by {scale * abs(rise[0]):.{digits}f} (+-{scale * rise[1]:.{digits}f})"
            (rising if rise[0] > 0 else falling).append(by)
    lacking = f"; not known of {', '.join(unknown)}" if unknown else ""
    kinds = {"validation still rose": rising, "past its best: validation fell": falling}
    said = [f"{what} over the last third of its rounds, {unit}: {', '.join(of)}" for what, of in kinds.items() if of]
    if said:
        return f"no: {'; '.join(said)}{lacking}"
    if len(unknown) == trained["model"].nunique():
        return "not known: no history of enough validation rounds"
    return f"yes: flat within its noise over the last third of the validation rounds{lacking}"


def _shown_scores(folder: Path, shown: Shown) -> list[float]:
    """The validation scores of the weights that are shown: of the average where there is one, unless others are."""
    history = read_history(folder)
    raw = shown.weights is not None and not shown.weights.startswith("average")
    return history.get("val_score" if raw else selecting_column(history), [])
