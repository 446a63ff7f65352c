"""Which of the stored figures a table shows: a choice of the reader's, for which nothing is trained or scored anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from bench.errors import UserError

POLICIES, DEFINITIONS = ("strict", "transunet"), ("pooled", "max")
WEIGHTS = ("best-val", "last", "average-best-val", "average-last")
# Without a choice: the first of these that a cell was scored with.
PREFERRED = ("average-best-val", "best-val")


@dataclass(frozen=True)
class Shown:
    """The choices among stored figures.

    Attributes:
        policy: what a class counts that only one of prediction and reference has, or neither: `strict` or `transunet`.
        definition: of HD95, `pooled` as medpy, or `max`, the larger of both directions, as MONAI.
        weights: `best-val`, those with the best validation score, or `last`, those after the last step, or one of both
            of their exponential average, `average-best-val`, `average-last`. None: the average's best where a cell has
            one, else the best.
        reference: the model that others' differences are from, by its name without a version. None: the proposed one,
            else the only one that is no baseline, else the best.
    """

    policy: str = POLICIES[0]
    definition: str = DEFINITIONS[0]
    weights: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("policy", POLICIES), ("definition", DEFINITIONS), ("weights", (None, *WEIGHTS))):
            if getattr(self, name) not in allowed:
                got = getattr(self, name)
                raise UserError(f"Expected {name} to be one of {', '.join(filter(None, allowed))}, but got {got!r}.")

    def weights_label(self, averaged: bool) -> str:
        """The set of weights that figures are of, where the protocol has an average of them or none."""
        return self.weights_of(WEIGHTS if averaged else WEIGHTS[:2])

    def weights_of(self, stored: Collection[str]) -> str:
        """Which of the sets of weights that a cell was scored with its figures are of."""
        if self.weights is None:
            return next((name for name in PREFERRED if name in stored), PREFERRED[-1])
        return (
            self.weights if self.weights in stored else self.weights.removeprefix("average-")
        )  # chance has no average


DEFAULT = Shown()


def named_apart(cases: pd.DataFrame) -> pd.DataFrame:
    """The cases of segmentation with another name for a class `mean`, which stands for the mean over classes."""
    classes = cases["class"]
    renamed = classes.where(cases["outcome"].isna(), classes.replace({"mean": "mean (class)"}))
    return cases.assign(**{"class": renamed})


def shown_cases(cases: pd.DataFrame, shown: Shown) -> pd.DataFrame:
    """The rows of cases.csv of the test part under the chosen weights, with the chosen HD95 under the chosen policy.

    HD95 by `max` is stored under `strict`; under `transunet` it is 0 wherever one of two masks is empty, as the pooled
    one is.
    """
    tested = cases[cases["part"] == "test"]
    stored: dict[str, set[str]] = {}
    for key, weights in tested[["key", "weights"]].drop_duplicates().to_numpy().tolist():
        stored.setdefault(key, set()).add(weights)
    chosen = tested["key"].map({key: shown.weights_of(weights) for key, weights in stored.items()})
    rows = tested[tested["weights"] == chosen]
    if shown.definition != "max" or shown.policy != "transunet" or rows["outcome"].isna().all():
        return rows
    derived = {}
    for unit in ("vox", "mm"):
        strict = rows[f"hd95max_{unit}_strict"].astype(float)
        has_column = strict.groupby(rows["key"]).transform("count") > 0  # older records lack it
        known = has_column & rows[f"hd95_{unit}_transunet"].notna()
        derived[f"hd95max_{unit}_transunet"] = strict.where(rows["outcome"] == "both", 0.0).where(known)
    return rows.assign(**derived)


def without_parts(scores: pd.DataFrame, shown: Shown) -> pd.DataFrame:
    """The rows with HD95 by `max` blank throughout for a model that has a record without it.

    A mean over those of its seeds that have one would stand in a row whose Dice is of all.

    Args:
        scores: rows as `shown_cases` gives them, with `model`.
    """
    if shown.definition != "max" or scores["outcome"].isna().all():
        return scores
    columns = [f"hd95max_{unit}_{shown.policy}" for unit in ("vox", "mm")]
    pooled = scores[[column.replace("hd95max", "hd95") for column in columns]].to_numpy(object)
    lacks = (scores[columns].isna() & pd.notna(pooled)).groupby(scores["model"]).transform("any")
    return scores.assign(**{column: scores[column].where(~lacks[column]) for column in columns})
