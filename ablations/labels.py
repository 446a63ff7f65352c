"""What stored arms are called: by the fields in which they differ and by their budget, each model by its own label.

A record does not say what its widths were scaled for. The budget is told by what the network costs; where that would
give two networks one label, the nearer budget tells them apart, else the widths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from ablations.matched import BUDGETS, TOLERANCE
from ablations.plans import label
from bench.errors import UserError
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import split_outside_brackets, value_text, with_values

NEAR = 0.05  # how far from the full model's budget the nearest reachable may be to count as matched


@dataclass(frozen=True)
class Space:
    """In which fields a model's arms differ, and which field is scaled where they are matched to its budget."""

    entry: ModelEntry
    base: Mapping[str, Any]
    fields: tuple[str, ...]
    width: str | None
    named: frozenset[str]

    def config(self, name: str) -> dict[str, Any]:
        """The config of a stored name, by this entry: the name does not say in which folder a file's network lies."""
        items = split_outside_brackets(name.partition("[")[2].removesuffix("]"))
        return with_values(self.entry, self.entry.defaults, items)

    def is_scaled(self, name: str) -> bool:
        """Whether a stored name has other widths than the full model."""
        return self.width is not None and self.config(name)[self.width] != self.base[self.width]

    def widths_text(self, name: str) -> str:
        """`widths=26-60-156-276`, of a stored name."""
        field = str(self.width)
        return f"{field}={value_text(self.config(name)[field], self.entry.defaults[field])}"

    def changes(self, name: str) -> dict[str, str] | None:
        """Field -> value where a stored name's config differs from the full one's; None where others differ too.

        Widths that are none of the fields are left out: they belong to a matched arm, or to no arm.
        """
        try:
            config = self.config(name)
        except UserError:  # it has a field, or a value, that the model has no more
            return None
        differing = {field for field in config if config[field] != self.base[field]}
        chosen = [field for field in self.fields if field in differing]
        if differing - set(chosen) - {self.width} or (differing and not chosen):
            return None
        return {field: value_text(config[field], self.entry.defaults[field]) for field in chosen}


class Reading(NamedTuple):
    """One way to call a model: its changes without scaled widths, the budget that these were scaled to, its label."""

    changes: dict[str, str]
    matched: str
    label: str


def labelled(cells: pd.DataFrame, full: pd.Series[Any], space: Space) -> pd.DataFrame:
    """The cells of arms with `changes`, `matched` and `label`; those whose widths match no budget are left out.

    Args:
        cells: of one comparison and one version, with `changes` as `Space.changes` gives them.
        full: a cell of the full model.
    """
    rows = cells.drop_duplicates("model").to_dict("records")
    ways = {str(row["model"]): found for row in rows if (found := _readings(row, full, space))}
    turns = dict.fromkeys(ways, 0)
    while shared := _sharing({model: ways[model][turn] for model, turn in turns.items()}):
        for model in shared:
            turns[model] += 1
    cells = cells[cells["model"].isin(list(ways))]
    chosen = [ways[model][turns[model]] for model in cells["model"]]
    return cells.assign(
        changes=pd.Series([reading.changes for reading in chosen], index=cells.index, dtype=object),
        matched=[reading.matched for reading in chosen],
        label=[reading.label for reading in chosen],
    )


def _sharing(readings: Mapping[str, Reading]) -> list[str]:
    """The arms whose label another one has too."""
    counts = Counter(reading.label for reading in readings.values())
    return [model for model, reading in readings.items() if reading.changes and counts[reading.label] > 1]


def _readings(cell: Mapping[Any, Any], full: pd.Series[Any], space: Space) -> list[Reading]:
    """The ways to call a model, the next one for where the last is another's too; none where it is no arm.

    An arm that matches both budgets is called after its parameters, then after the nearer one, then by its widths too.
    """
    name, changes = str(cell["model"]), dict(cell["changes"])
    last = Reading(changes, "", name)
    plain = [Reading(changes, "", label(changes)), last]
    if not set(changes) - {space.width} or not space.is_scaled(name):
        return plain
    gaps = {budget: abs(cell[budget] / full[budget] - 1) for budget in BUDGETS}
    nearest = min(gaps, key=lambda budget: gaps[budget])
    if gaps[nearest] > NEAR:
        return plain if space.width in space.fields else []
    first = next((budget for budget in BUDGETS if gaps[budget] <= TOLERANCE), nearest)
    rest = {field: value for field, value in changes.items() if field != space.width}
    in_turn = [Reading(rest, budget, label(rest, budget)) for budget in (first, nearest)]
    return [*in_turn, in_turn[1]._replace(label=f"{in_turn[1].label}, {space.widths_text(name)}"), last]
