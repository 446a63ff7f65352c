"""What lies behind a table, for figures: costs beside scores, each case's score, and probabilities by run.

Taken from the cells and cases that the table itself was made of, so that a figure shows what the table says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.classification import images_of
from bench.analysis.comparison import Table

COSTS = {"params": ("parameters (M)", 1e6), "macs": ("GMACs", 1e9), "seconds": ("training (s)", 1.0)}


def families(table: Table) -> dict[str, str]:
    """Title -> family of each row, in display order."""
    of_title = table.figures.drop_duplicates("title").set_index("title")["family"]
    return {str(title): str(of_title[title]) for title in table.frame["Model"] if title in of_title}


def cost_points(table: Table) -> pd.DataFrame:
    """A row for each model but chance: `title`, `family`, `score` with `low` and `high`, and the columns of `COSTS`.

    The score orders the table's rows; `low` and `high` are nan where no interval is claimed. A cost is the mean over
    the model's finished cells, in the unit of `COSTS`; nan where none is known.
    """
    main, found = table.main, []
    figures = table.figures[(table.figures["metric"] == main.metric) & (table.figures["class"] == main.level)]
    scores = figures.set_index("title")[main.figure].to_dict()
    for title, family in families(table).items():
        sure = table.sure.figures.get(title)
        low, high = (sure.low, sure.high) if sure else (np.nan, np.nan)
        row = {"title": title, "family": family, "score": scores.get(title, np.nan), "low": low, "high": high}
        cells = table.cells[(table.cells["shown_as"] == title) & (table.cells["status"] == "complete")]
        row |= {cost: cells[cost].astype(float).mean() / unit for cost, (_, unit) in COSTS.items()}
        if family != "chance" and pd.notna(row["score"]):
            found.append(row)
    return pd.DataFrame(found, columns=["title", "family", "score", "low", "high", *COSTS])


def unbeaten(costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions of the points (N,) that no other beats in both, the cheapest first: the Pareto front.

    A higher score and a lower cost are better; of equal costs the best score stands, of equal points the first.
    """
    front: list[int] = []
    for k in np.lexsort((-scores, costs)):
        if not front or scores[k] > scores[front[-1]]:
            front.append(int(k))
    return np.array(front, int)


@dataclass(frozen=True, eq=False)
class ClassPoints:
    """The scores of single cases by class.

    Attributes:
        classes: in the data set's order.
        points: `title`, `class`, `case`, `value` in %, averaged over seeds.
        means: (title, class) -> the table's own figure in %.
        what: what a point is, in words. measure: what a mean is.
    """

    classes: tuple[str, ...]
    points: pd.DataFrame
    means: dict[tuple[str, str], float]
    what: str
    measure: str


def class_points(table: Table) -> ClassPoints:
    """Dice of each case and class, or the probability of each image's true class; chance is left out."""
    titles = [title for title, family in families(table).items() if family != "chance"]
    scores, segmented = table.scores[table.scores["shown_as"].isin(titles)], table.task == "segmentation"
    metric = table.main.metric if segmented else "sensitivity"
    if segmented:
        rows, column = scores, metric
        what, measure = "a case's Dice %, mean over seeds", "mean over cases"
    else:
        rows, column = scores[scores["reference"].astype(float) == 1], "probability"
        what, measure = "the probability (%) given to an image's true class, mean over seeds", "sensitivity %"
    values = rows[["shown_as", "class", "case"]].assign(value=rows[column].astype(float) * 100)
    points = values.groupby(["shown_as", "class", "case"], sort=False)["value"].mean().reset_index()
    known = table.figures[(table.figures["metric"] == metric) & ~table.figures["class"].isin(["", "mean"])]
    means = {(str(t), str(c)): float(v) for t, c, v in zip(known["title"], known["class"], known["value"], strict=True)}
    classes = tuple(str(name) for name in known["class"].unique())
    return ClassPoints(classes, points.rename(columns={"shown_as": "title"}).dropna(), means, what, measure)


@dataclass(frozen=True, eq=False)
class Runs:
    """One model's probabilities: of each seed the true classes (N,) and the probabilities (N, K)."""

    title: str
    classes: tuple[str, ...]
    runs: tuple[tuple[np.ndarray, np.ndarray], ...]


def probability_runs(table: Table) -> Iterator[Runs]:
    """The runs of each classifier in display order; chance is left out, whose probabilities are one constant."""
    for title, family in families(table).items():
        rows = table.scores[table.scores["shown_as"] == title]
        if family == "chance" or rows.empty:
            continue
        of_seeds = [images_of(own) for _, own in rows.groupby("seed")]
        yield Runs(title, tuple(of_seeds[0][0]), tuple((true, given) for _, true, given in of_seeds))
