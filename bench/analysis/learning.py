"""Learning curves: loss, validation score and rate of each model by images seen, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.analysis.behind import families
from bench.analysis.comparison import Table
from bench.records.histories import read_history, selecting_column

History = Mapping[str, list[float]]
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


def learning_curves(table: Table, folders: Mapping[str, Path]) -> list[Learning]:
    """A curve for each row that has histories, in display order; chance learns nothing.

    Args:
        folders: key -> where the cell lies (`bench.records.histories.find_folders`).
    """
    found = []
    for title, family in families(table).items():
        cells = table.cells[table.cells["shown_as"] == title]
        runs = [run for key in cells["key"] if key in folders and (run := read_history(folders[key])).get("step")]
        if runs and family != "chance":
            found.append(_curve(title, family, int(cells["batch_size"].iloc[0]), runs))
    return found


def _curve(title: str, family: str, batch: int, runs: Sequence[History]) -> Learning:
    steps = np.unique(np.concatenate([run["step"] for run in runs]))
    values = {name: np.full((len(runs), len(steps)), np.nan) for name in ("train_loss", "val_score", "lr")}
    for k, run in enumerate(runs):
        places = np.searchsorted(steps, run["step"])
        for name, of_runs in values.items():
            shown = selecting_column(run) if name == "val_score" else name
            of_runs[k, places] = run.get(shown, [np.nan] * len(places))
    return Learning(title, family, steps, batch, values)
