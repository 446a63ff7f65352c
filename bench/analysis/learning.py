"""Learning curves: loss, validation score and rate of each model by images seen, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.analysis.behind import families
from bench.analysis.comparison import Table
from bench.records.histories import AVERAGED, Kept

VALIDATION = {"segmentation": "validation Dice", "classification": "\u2212validation cross-entropy"}


@dataclass(frozen=True, eq=False)
class Learning:
    """The training of one model.

    Attributes:
        steps: (R,) of the validation rounds. batch: images a step.
        values: column of history.csv -> (S, R), a row for each run; nan where a run has no such round.
    """

    title: str
    family: str
    steps: np.ndarray
    batch: int
    values: dict[str, np.ndarray]


def learning_curves(table: Table, kept: Mapping[str, Kept]) -> list[Learning]:
    """A curve for each row that has histories, in display order; chance learns nothing.

    Args:
        kept: key -> what the cell left (`bench.records.histories.read_kept`).
    """
    found = []
    for title, family in families(table).items():
        keys = table.cells.loc[table.cells["shown_as"] == title, "key"]
        runs = [kept[key] for key in keys if key in kept and kept[key].history.get("step")]
        if runs and family != "chance":
            found.append(_curve(title, family, runs))
    return found


def _curve(title: str, family: str, runs: list[Kept]) -> Learning:
    steps = np.unique(np.concatenate([run.history["step"] for run in runs]))
    values = {name: np.full((len(runs), len(steps)), np.nan) for name in ("train_loss", "val_score", "lr")}
    for k, run in enumerate(runs):
        places = np.searchsorted(steps, run.history["step"])
        for name, of_runs in values.items():
            shown = _selected_by(run.history) if name == "val_score" else name
            of_runs[k, places] = run.history.get(shown, [np.nan] * len(places))
    batch = int(runs[0].record["cell"]["protocol"].get("batch_size", 1))
    return Learning(title, family, steps, batch, values)


def _selected_by(history: Mapping[str, list[float]]) -> str:
    """The column that the best weights are chosen by: the averaged weights' score where there is one."""
    return AVERAGED if not np.isnan(history.get(AVERAGED, [np.nan])).all() else "val_score"
