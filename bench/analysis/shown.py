"""Which of the stored figures a table shows: a choice of the reader's, for which nothing is trained or scored anew."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.errors import UserError

POLICIES, DEFINITIONS, WEIGHTS = ("strict", "transunet"), ("pooled", "max"), ("best-val", "last")


@dataclass(frozen=True)
class Shown:
    """The choices among stored figures.

    Attributes:
        policy: what a class counts that only one of prediction and reference has, or neither: `strict` or `transunet`.
        definition: of HD95, `pooled` as medpy, or `max`, the larger of both directions, as MONAI.
        weights: `best-val`, those with the best validation score, or `last`, those after the last step.
    """

    policy: str = POLICIES[0]
    definition: str = DEFINITIONS[0]
    weights: str = WEIGHTS[0]

    def __post_init__(self) -> None:
        for name, allowed in (("policy", POLICIES), ("definition", DEFINITIONS), ("weights", WEIGHTS)):
            if getattr(self, name) not in allowed:
                got = getattr(self, name)
                raise UserError(f"Expected {name} to be one of {', '.join(allowed)}, but got {got!r}.")


DEFAULT = Shown()


def shown_cases(cases: pd.DataFrame, shown: Shown) -> pd.DataFrame:
    """The rows of cases.csv of the test part under the chosen weights, with the chosen HD95 under the chosen policy.

    HD95 by `max` is stored under `strict`; under `transunet` it is 0 wherever one of two masks is empty, as the pooled
    one is.
    """
    rows = cases[(cases["part"] == "test") & (cases["weights"] == shown.weights)]
    if shown.definition != "max" or shown.policy != "transunet" or rows["outcome"].isna().all():
        return rows
    derived = {}
    for unit in ("vox", "mm"):
        strict = rows[f"hd95max_{unit}_strict"].astype(float)
        has_column = strict.groupby(rows["key"]).transform("count") > 0  # older records lack it
        known = has_column & rows[f"hd95_{unit}_transunet"].notna()
        derived[f"hd95max_{unit}_transunet"] = strict.where(rows["outcome"] == "both", 0.0).where(known)
    return rows.assign(**derived)
