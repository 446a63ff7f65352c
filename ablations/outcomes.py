"""What became of the cells of an ablation that have no score: which arms diverged or failed, under which seeds."""

from __future__ import annotations

import pandas as pd

from bench.analysis.captions import preset_words

LOST = ("diverged", "failed")


def lost_note(cells: pd.DataFrame) -> str:
    """A sentence on the arms that have cells without a score; blank where all have one.

    Args:
        cells: of every status, with their `label`.
    """
    arms = cells.groupby("label", sort=False)
    words = [f"{name}, {lost}" for name, rows in arms if (lost := _lost(rows))]
    return f"Diverged or failed: {'; '.join(words)}." if words else ""


def _lost(cells: pd.DataFrame) -> str:
    """`1 of 3 seeds diverged (seed 2)`, of one arm."""
    parts = []
    for status in LOST:
        seeds = sorted(set(cells.loc[cells["status"] == status, "seed"]))
        if seeds:
            named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
            parts.append(f"{len(seeds)} of {cells['seed'].nunique()} seeds {status} ({named})")
    return ", ".join(parts)


def without_table(cells: pd.DataFrame) -> str:
    """The line on a comparison of which there is no table for want of scored cells; blank where none was lost."""
    lost, first = lost_note(cells), cells.iloc[0]
    if not lost:
        return ""
    where = f"{first['dataset']}, preset {preset_words(first['preset'])}"
    return f"No ablation table of {where}: no seed is scored of the full model that its arms have. {lost}"
