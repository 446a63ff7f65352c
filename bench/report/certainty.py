"""How sure a table is: intervals of its figures, differences from the proposed model, and who comes first how often.

The unit is the patient, as cases.csv has it. Rows that lack seeds, and chance, are left out; with one seed, or one
patient, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import pandas as pd

from bench.metrics.statistics import (
    Interval,
    Scores,
    difference,
    holm,
    interval,
    rank_frequencies,
    unit_means,
    wilcoxon,
)


@dataclass(frozen=True)
class Measure:
    """A figure that has an interval.

    Attributes:
        name: as a header says it, `Dice %`.
        column, factor: of the rows that count, and from there to the unit.
        merit: +1 where higher is better, -1 where lower is.
        by_class: whether it is a mean over classes, or over all rows.
        most: the highest that it can be; the lowest is 0. An interval that goes beyond is cut there.
    """

    name: str
    column: str
    factor: float
    merit: int
    by_class: bool = True
    most: float = math.inf


@dataclass(frozen=True, eq=False)
class Certainty:
    """The second table of a comparison, all text.

    Attributes:
        caption: what was resampled, or why nothing is claimed; then `frame` is empty.
        marks: of the frame's shape, `best` where a difference's interval excludes 0.
        patients_known: whether the units are patients, or cases for want of them.
        told, not_told: models whose difference from the reference's figure excludes 0, and whose does not.
    """

    caption: str
    frame: pd.DataFrame
    marks: pd.DataFrame
    footnotes: tuple[str, ...] = ()
    reference: str = ""
    told: tuple[str, ...] = ()
    not_told: tuple[str, ...] = ()
    patients_known: bool = True


def certainty(
    task: ModuleType, cells: pd.DataFrame, scores: pd.DataFrame, order: Sequence[str], titles: dict[str, str]
) -> Certainty:
    """The intervals of one comparison.

    Args:
        cells: those that are scored.
        scores: the rows of cases.csv that count of the models in `order`, with `model` and `seed`, the same seeds each.
        order: the models, best first; titles: of each.
    """
    scores = task.counted(scores)
    units = scores["patient"].nunique()
    seeds = int(scores.groupby("model")["seed"].nunique().min()) if order else 0
    if not order or seeds < 2 or units < 2:
        why = "no model has all seeds" if not order else f"{seeds} seed(s), {units} patient(s)"
        return Certainty(f"No claim about a method is made: {why}.", pd.DataFrame(), pd.DataFrame())
    main, *others = task.measures(cells["policy"].iloc[0], scores)
    by_model = {model: scores[scores["model"] == model] for model in order}
    grids = {model: scores_of(rows, main) for model, rows in by_model.items()}
    reference = _reference(cells, order)
    rows = {model: {"Model": titles[model], f"{main.name} [95 %]": _figure(grids[model], main)} for model in order}
    for measure in others:
        for model in order:
            rows[model][f"{measure.name} [95 %]"] = _figure(scores_of(by_model[model], measure), measure)
    rivals = [model for model in order if model != reference]
    gaps = {model: difference(grids[reference], grids[model]) for model in rivals}
    raw = [wilcoxon(unit_means(grids[reference]), unit_means(grids[model])) for model in rivals]
    values = dict(zip(rivals, holm(raw), strict=True))
    first = rank_frequencies(grids, main.merit > 0)[:, 0]
    gap, p = f"{titles[reference]} less it [95 %]", "p, these trained networks only"
    for model, share in zip(order, first, strict=True):
        rows[model][gap] = _text(gaps[model]) if model in gaps else ""
        rows[model][p] = _p(values[model]) if model in values else ""
        rows[model]["First %"] = f"{100 * share:.0f}"
    frame = pd.DataFrame([rows[model] for model in order])
    marks = pd.DataFrame("", index=frame.index, columns=frame.columns)
    marks[gap] = ["best" if model in gaps and gaps[model].excludes_zero else "" for model in order]
    told = tuple(titles[model] for model in rivals if gaps[model].excludes_zero)
    rest = tuple(titles[model] for model in rivals if not gaps[model].excludes_zero)
    known = units < scores["case"].nunique()
    what = task.UNITS[known]
    caption = f"How sure: two-way bootstrap over {units} {what} and {seeds} seeds of each model."
    notes = (_note(main, titles[reference], len(rivals)),)
    return Certainty(caption, frame, marks, notes, titles[reference], told, rest)


def scores_of(rows: pd.DataFrame, measure: Measure) -> Scores:
    """One model's sums and counts by seed, patient and class."""
    known = rows[["seed", "patient", "class"]].assign(value=rows[measure.column].astype(float) * measure.factor)
    known = known if measure.by_class else known.assign(**{"class": ""})
    grid = known.groupby(["seed", "patient", "class"])["value"].agg(["sum", "count"])
    shape = [sorted(known[name].unique()) for name in ("seed", "patient", "class")]
    grid = grid.reindex(pd.MultiIndex.from_product(shape), fill_value=0)
    sizes = tuple(map(len, shape))
    return Scores(grid["sum"].to_numpy(float).reshape(sizes), grid["count"].to_numpy(float).reshape(sizes))


def _reference(cells: pd.DataFrame, order: Sequence[str]) -> str:
    """The proposed model, its newest version; without one the best."""
    proposed = cells[(cells["family"] == "proposed") & cells["model"].isin(list(order))]
    return order[0] if proposed.empty else str(proposed.sort_values("version")["model"].iloc[-1])


def _figure(scores: Scores, measure: Measure) -> str:
    found = interval(scores)
    return _text(replace(found, low=max(found.low, 0.0), high=min(found.high, measure.most)))


def _text(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _note(main: Measure, reference: str, family: int) -> str:
    return (
        "Intervals hold for other seeds and other patients like these, and are not adjusted for their number. "
        f"Bold: the difference in {main.name} from {reference} excludes 0. p: Wilcoxon over patients on means over "
        f"seeds, Holm over the {family} comparisons of this table; it says nothing of another training. "
        f"First %: of resamples, by {main.name}."
    )
