"""The smallest difference that a plan's seeds and patients could show, from the variances of what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis.aside import models_with, name_versions, without_arms
from bench.analysis.captions import TASKS
from bench.analysis.certainty import scores_of, unit_words
from bench.analysis.folds import whole_seeds_of_models
from bench.analysis.shown import DEFAULT, shown_cases
from bench.analysis.simulation import smallest_difference
from bench.analysis.units import with_units
from bench.records.store import load_cells_and_cases

if TYPE_CHECKING:
    import pandas as pd

    from bench.runs.job import Job


def smallest_difference_line(jobs: Sequence[Job], results: str | Path) -> str:
    """One line for a plan's cells of one comparison, or one that says what is lacking.

    Stored are the cells of that comparison, chance and arms of ablations aside, with the two seeds or more that most
    models share; what other data sets or presets vary by says nothing here.
    """
    unknown = (
        "Smallest difference that could be shown: not known, no two models of this comparison are stored that share "
        "two seeds."
    )
    if not Path(results).is_dir():
        return unknown
    cells, cases = load_cells_and_cases(results)
    cells = cells[(cells["comparison"] == jobs[0].cell.comparison) & (cells["status"] == "complete")]
    cells = _networks(cells[cells["family"] != "chance"].drop_duplicates("key"))
    seeds = _shared_seeds(cells)
    whole = models_with(seeds, cells)
    cells = cells[cells["model"].isin(whole) & cells["seed"].isin(seeds)]
    if len(whole) < 2 or len(seeds) < 2:
        return unknown
    task = TASKS[cells["task"].iloc[0]]
    cells, rows = with_units(cells, shown_cases(cases, DEFAULT), results)
    rows = task.counted(rows.merge(cells[["key", "model", "seed"]], on="key"))
    main = task.measures(DEFAULT, rows)[0]
    models = [scores_of(of_model, main) for _, of_model in rows.groupby("model")]
    planned, units = len({job.cell.seed for job in jobs}), rows["unit"].nunique()
    if planned < 2 or units < 2:
        few = f"{planned} seed{'s' * (planned != 1)} and {units} unit{'s' * (units != 1)}"
        return f"No difference could be shown with {few}: two of each make an interval."
    size = smallest_difference(models, planned, units)
    what = unit_words(task, cells, rows)
    return (
        f"Smallest difference in {main.name} that {planned} seeds and {units} {what} could show, four times in five: "
        f"{size:.1f} points, from {len(cells)} stored cells."
    )


def _networks(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells without arms of ablations, which are alike among themselves; with them where nothing else is there."""
    networks, _ = without_arms(cells, ())
    return name_versions(networks if networks["model"].nunique() > 1 else cells)


def _shared_seeds(cells: pd.DataFrame) -> frozenset[int]:
    """Two seeds or more that two models or more have, the models as many as can be, then the seeds; else none."""
    sets = list(whole_seeds_of_models(cells).values())
    shared = {one & other for i, one in enumerate(sets) for other in sets[i + 1 :] if len(one & other) > 1}
    return max(
        shared, key=lambda s: (sum(s <= own for own in sets), len(s), sorted(s, reverse=True)), default=frozenset()
    )
