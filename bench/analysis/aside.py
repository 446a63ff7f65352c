"""What a results table sets aside, and says so: arms of ablations, and seeds that only some rows have."""

from __future__ import annotations

import re
from collections.abc import Collection

import pandas as pd

ARM_FIELDS = {"laffn", "sem", "sdffn", "widths"}  # what an arm's config differs in: slots, and widths where matched


def set_aside(cells: pd.DataFrame, asked: Collection[str] | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The cells of one comparison that its table shows, and footnotes on the others.

    Arms, the proposed model with other slots beside the model itself, are compared by `medbench ablate --show`, with
    the statistics of pairs. A null arm's seeds would make every other row lack seeds.

    Args:
        asked: models to show whatever they are; None: every model.
    """
    notes = []
    if asked is not None:
        plain = cells["model"].str.partition("[")[0]
        arm = (cells["family"] == "proposed") & (plain != cells["model"]) & plain.isin(cells["model"])
        arm &= cells["model"].map(lambda name: set(re.findall(r"(\w+)=", name)) <= ARM_FIELDS)
        arm &= ~cells["model"].isin(list(asked))
        if arm.any():
            n = cells.loc[arm, "model"].nunique()
            notes.append(f"Not shown: {n} arms of ablations (medbench ablate --show; here with --arms).")
        cells = cells[~arm]
    seeds = common_seeds(cells)
    more = cells[~cells["seed"].isin(seeds)]
    whole = [model for model, own in cells.groupby("model") if seeds <= set(own["seed"])]
    more = more[more["model"].isin(whole)]
    if len(more) and len(seeds):
        shown = "; ".join(
            f"{own['title'].iloc[0]} {', '.join(map(str, sorted(own['seed'])))}" for _, own in more.groupby("model")
        )
        notes.append(f"Seeds that not all rows have are left out: {shown}.")
        cells = cells.drop(more.index)
    return cells, tuple(notes)


def common_seeds(cells: pd.DataFrame) -> frozenset[int]:
    """The set of seeds that most rows have, chance aside; of sets as common the larger, then the lowest."""
    rows = cells[(cells["family"] != "chance") & (cells["status"] == "complete")]
    sets = [frozenset(group["seed"]) for _, group in rows.groupby("model")]
    return max(sets, key=lambda s: (sets.count(s), len(s), [-seed for seed in sorted(s)]), default=frozenset())
