"""How sure a table is: intervals of its figures, differences from the proposed model, and who comes first how often.

The unit is the patient, as cases.csv has it, or what stands for it (`bench.analysis.units`). Rows that lack seeds, and
chance, are left out; with one seed, or one patient, nothing is claimed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.folds import fold_count
from bench.analysis.short_budget import NO_RANKS
from bench.analysis.shown import DEFAULT, Shown
from bench.analysis.statistics import (
    PAIRS,
    Interval,
    Scores,
    difference,
    holm,
    interval,
    mcnemar,
    rank_frequencies,
    unit_means,
    wilcoxon,
)
from bench.datasets.splits.grouping import UNKNOWN
from bench.zoo.libraries import is_of_library


@dataclass(frozen=True)
class Measure:
    """A figure that has an interval.

    Attributes:
        name: as a header says it, `Dice %`.
        column, factor: of the rows that count, and from there to the unit.
        merit: +1 where higher is better, -1 where lower is.
        by_class: whether it is a mean over classes, or over all rows.
        stratified: units of one class each are drawn within their class.
        most: the highest that it can be; the lowest is 0. Intervals that go beyond are cut there, a difference's at
            that much to each side of 0.
    """

    name: str
    column: str
    factor: float
    merit: int
    by_class: bool = True
    most: float = math.inf
    stratified: bool = False

    def figure(self, scores: Scores) -> Interval:
        """A model's figure with its interval."""
        return interval(scores).within(0.0, self.most)

    def gap(self, difference: Interval) -> Interval:
        """A difference of two figures, or of means of several, within its range."""
        return difference.within(-self.most, self.most)


@dataclass(frozen=True, eq=False)
class Certainty:
    """The second table of a comparison, all text, and the numbers behind it.

    Attributes:
        caption: what was resampled, or why nothing is claimed; then `gaps` is empty, and `frame` but for single
            classifiers.
        marks: of the frame's shape, `best` where a difference's interval excludes 0.
        reference: the title of the model from whose figure the others' differ; blank where nothing is claimed.
        gaps: model -> the reference's figure less its own.
        figures: model -> its own figure, of those that have an interval.
        ranks: (M, M), a row per model in display order, a column per rank: shares of the resamples. Empty where nothing
            is ranked.
        measure: what both are of, `Dice % (strict)`.
        measures: all that have intervals, by name; grids: of each model's scores in each, by measure and title.
        paired: whether differences are over pairs of seeds.
        patients_known: whether it is known whose the cases are.
    """

    caption: str
    frame: pd.DataFrame
    marks: pd.DataFrame
    footnotes: tuple[str, ...] = ()
    reference: str = ""
    gaps: dict[str, Interval] = field(default_factory=dict)
    figures: dict[str, Interval] = field(default_factory=dict)
    ranks: pd.DataFrame = field(default_factory=pd.DataFrame)
    measure: str = ""
    patients_known: bool = True
    measures: dict[str, Measure] = field(default_factory=dict)
    grids: dict[str, dict[str, Scores]] = field(default_factory=dict)
    paired: bool = False


def certainty(
    task: ModuleType,
    cells: pd.DataFrame,
    scores: pd.DataFrame,
    order: Sequence[str],
    titles: dict[str, str],
    tests: bool = False,
    shown: Shown = DEFAULT,
    marked: bool = True,
) -> Certainty:
    """The intervals of one comparison.

    Models of one seed share the order of images and their augmentation, so that differences are over pairs of seeds,
    from `PAIRS` of them on.

    Args:
        cells: those that are scored.
        scores: the rows of cases.csv that count of the models in `order`, with `model` and `seed`, the same seeds each.
        order: the models, best first; titles: of each.
        tests: show p-values of these trained networks as well.
        shown: which of the stored figures.
        marked: whether differences are marked and models ranked, which those of a short budget are not.
    """
    scores, reference = task.counted(scores), reference_model(cells, order, shown.reference)
    known = patients_known(cells, scores)
    units = scores[unit_column(scores)].nunique()
    seeds = int(scores.groupby("model")["seed"].nunique().min()) if order else 0
    if not order:
        all_of = "seeds and folds" if fold_count(cells) else "seeds"
        return _without_claim(f"no model has all {all_of}, and the figure that orders the rows", known)
    if seeds < 2 or units < 2:
        why = f"{seeds} seed{'s' * (seeds != 1)}, {units} {unit_word(cells, known)}{'s' * (units != 1)}"
        right = task.right(scores) if seeds == 1 else None
        return _without_claim(why, known, right, reference, {model: titles[model] for model in order}, tests)
    main, *others = task.measures(shown, scores)
    by_measure = {one: scores_of_models(scores, one, order) for one in (main, *others)}
    grids = by_measure[main]
    frame = pd.DataFrame({"Model": [titles[model] for model in order]})
    figures = {model: main.figure(grids[model]) for model in order}
    frame[f"{main.name} [95 %]"] = [interval_text(figures[model]) for model in order]
    for measure in others:
        frame[f"{measure.name} [95 %]"] = [interval_text(measure.figure(by_measure[measure][model])) for model in order]
    rivals, paired = [model for model in order if model != reference], seeds >= PAIRS
    gaps = {model: main.gap(difference(grids[reference], grids[model], paired_seeds=paired)) for model in rivals}
    gap = f"{titles[reference]} less it [95 %]"
    if rivals:
        frame[gap] = [interval_text(gaps[model]) if model in gaps else "" for model in order]
    else:  # one network alone differs from none and is first among none
        marked = tests = False
    if tests:
        means = {model: unit_means(grids[model]) for model in order}
        values = {model: wilcoxon(means[reference], means[model]) for model in rivals}
        frame["p, these trained networks only"] = _adjusted(values, order)
    ranks = pd.DataFrame()
    if marked:
        shares = rank_frequencies(grids, main.merit > 0, paired_seeds=paired)
        frame["First %"] = [f"{100 * share:.0f}" for share in shares[:, 0]]
        ranks = pd.DataFrame(shares, index=[titles[model] for model in order], columns=range(1, len(order) + 1))
    marks = pd.DataFrame("", index=frame.index, columns=frame.columns)
    if rivals:
        marks[gap] = ["best" if marked and model in gaps and gaps[model].excludes_zero else "" for model in order]
    drawn = f"{units} {unit_words(task, cells, scores)} and {seeds} seeds of each model"
    drawn += f", {fold_count(cells)} folds together" if fold_count(cells) else ""
    return Certainty(
        f"How sure: two-way bootstrap over {drawn}{', seeds in pairs' * paired}.",
        frame,
        marks,
        (_note(main, titles[reference], len(rivals), f"{unit_word(cells, known)}s", tests, marked),),
        titles[reference],
        {titles[model]: interval for model, interval in gaps.items()},
        {titles[model]: interval for model, interval in figures.items()},
        ranks,
        main.name,
        known,
        {measure.name: measure for measure in by_measure},
        {measure.name: {titles[model]: grid for model, grid in of.items()} for measure, of in by_measure.items()},
        paired,
    )


def _without_claim(
    why: str,
    known: bool,
    right: pd.DataFrame | None = None,
    reference: str = "",
    titles: Mapping[str, str] | None = None,
    tests: bool = False,
) -> Certainty:
    """What is said where there is one seed or one unit: nothing of methods, of single classifiers how many are right.

    Args:
        known: whether it is known whose the cases are.
        right: (cases, models) booleans, or None.
        titles: of each model, the best first.
        tests: McNemar's p as well.
    """
    caption = f"No claim about a method is made: {why}."
    if right is None or titles is None or len(titles) < 2:
        return Certainty(caption, pd.DataFrame(), pd.DataFrame(), patients_known=known)
    counts = [f"{right[model].sum()} of {len(right)}" for model in titles]
    frame = pd.DataFrame({"Model": list(titles.values()), "Right": counts})
    notes: tuple[str, ...] = ()
    if tests:
        rivals = [model for model in titles if model != reference]
        values = {model: mcnemar(right[reference].to_numpy(), right[model].to_numpy()) for model in rivals}
        frame[f"p against {titles[reference]}, these two trained networks only"] = _adjusted(values, titles)
        note = (
            "p: McNemar, exact, of the images that one of two networks has right and the other has not, Holm over the "
            f"{len(rivals)} comparisons of this table; it takes images as independent, which those of one patient are "
            "not, and says nothing of another training."
        )
        notes = (note,)
    marks = pd.DataFrame("", index=frame.index, columns=frame.columns)
    return Certainty(caption, frame, marks, notes, patients_known=known)


def _adjusted(values: Mapping[str, float], order: Iterable[str]) -> list[str]:
    """p-values of rivals as texts, adjusted by Holm, in the order of a table; blank for the reference."""
    adjusted = dict(zip(values, holm(list(values.values())), strict=True))
    return [p_text(adjusted[model]) if model in adjusted else "" for model in order]


def scores_of(rows: pd.DataFrame, measure: Measure) -> Scores:
    """One model's sums and counts by seed, unit and class.

    Args:
        rows: of cases.csv, with `seed`; the unit is `unit` where that was joined, else `patient`.
    """
    return scores_of_models(rows.assign(model=""), measure, [""])[""]


def scores_of_models(rows: pd.DataFrame, measure: Measure, models: Sequence[str]) -> dict[str, Scores]:
    """`scores_of` of each of several models with the same seeds and units.

    Args:
        rows: as in `scores_of`, with `model`; of no other models.
    """
    unit = unit_column(rows)
    axes = rows["seed"], rows[unit], rows["class"] if measure.by_class else np.zeros(len(rows))
    places, names = zip(*(pd.factorize(axis, sort=True) for axis in axes), strict=True)
    shape = (len(models), *map(len, names))
    codes: list[Any] = [pd.Index(models).get_indexer(pd.Index(rows["model"])), *places]
    place = np.ravel_multi_index(tuple(codes), shape)
    values = rows[measure.column].astype(float).reset_index(drop=True) * measure.factor
    grid = values.groupby(place).agg(["sum", "count"])
    grid = grid.reindex(range(math.prod(shape)), fill_value=0)
    strata = _strata(rows[rows["model"] == models[0]], unit) if measure.stratified else None
    sums, counts = (grid[name].to_numpy(float).reshape(shape) for name in ("sum", "count"))
    return {model: Scores(sums[k], counts[k], strata) for k, model in enumerate(models)}


def _strata(rows: pd.DataFrame, unit: str) -> np.ndarray:
    """(P,): what class each unit is of, in order of their names; one that is alone in it joins the largest."""
    of_seed = rows[rows["seed"] == rows["seed"].iloc[0]]  # all seeds are tested on the same units
    once = of_seed[[unit, "class"]].drop_duplicates().sort_values([unit, "class"])
    classes = once.groupby(unit)["class"].agg(" + ".join)
    sizes = classes.value_counts()
    return classes.where(classes.map(sizes) > 1, sizes.index[0]).to_numpy(str)


def limited(measure: Measure, rows: pd.DataFrame) -> Measure:
    """A distance's measure with the highest that it can be: the largest diagonal of a volume, where all are known.

    The strict HD95 of a structure that only one of prediction and reference has is its volume's diagonal; a case
    without any such structure does not say how large it is.
    """
    column = f"hd95_{'mm' if '_mm_' in measure.column else 'vox'}_strict"
    if measure.merit > 0 or not {column, "outcome"} <= set(rows):
        return measure
    only_one = rows[rows["outcome"].isin(["missed", "invented"])]
    diagonals = only_one.groupby("case")[column].max().reindex(rows["case"].unique()).astype(float)
    return measure if diagonals.isna().any() else replace(measure, most=float(diagonals.max()))


def unit_column(rows: pd.DataFrame) -> str:
    """The column that says whose a row is: `unit` where that was joined, else `patient`."""
    return "unit" if "unit" in rows else "patient"


def unit_word(cells: pd.DataFrame, known: bool) -> str:
    """What is resampled beside seeds: `patient`, `unit` where something else stands for it, or `image`.

    Args:
        known: whether it is known whose the cases are; an image stands for itself where that is not.
    """
    if "units" in cells and cells["units"].notna().all():
        return "unit"
    return "patient" if known else "image"


def patients_known(cells: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Whether it is known whose the cases are, by records of one comparison; a volume is taken as one patient's.

    Args:
        cells: their `split_leak` has a share of patients where these are known; older records lack it.
        rows: of cases.csv, whose patients are otherwise known where they are more than the cases' own names.
    """
    units = cells["units"].dropna() if "units" in cells else pd.Series(dtype=str)
    if units.astype(str).str.contains(UNKNOWN, regex=False).any():
        return False
    leaks = [leak for leak in cells.get("split_leak", ()) if isinstance(leak, dict) and "patient" in leak]
    if (cells["task"] == "segmentation").all():
        notes = cells["split_note"].dropna() if "split_note" in cells else pd.Series(dtype=str)
        return not notes.astype(str).str.contains(UNKNOWN, regex=False).any()
    if any(leak["patient"] is not None for leak in leaks):
        return True
    return not leaks and _named_apart(rows)


def _named_apart(rows: pd.DataFrame) -> bool:
    return rows.empty or bool((rows["patient"].astype(str) != rows["case"].astype(str)).any())


def unit_words(task: ModuleType, cells: pd.DataFrame, rows: pd.DataFrame) -> str:
    """What was resampled beside seeds, in the plural."""
    words = cells["units"].iloc[0] if "units" in cells else None
    if pd.notna(words):
        return str(words)
    if (cells["task"] == "segmentation").all():
        return str(task.UNITS[rows["patient"].nunique() < rows["case"].nunique()])
    return str(task.UNITS[patients_known(cells, rows)])


def reference_model(cells: pd.DataFrame, order: Sequence[str], asked: str | None = None) -> str:
    """The model that was asked for, where it is ranked; else the proposed one; else the only one of the user's own.

    Of several versions the newest, before any config of it; without such a model the best; blank without any.
    """
    ranked = cells[cells["model"].isin(list(order))]
    names = ranked["model"].map(bare_name)
    found = [names == asked, ranked["family"] == "proposed"]
    for own in (names.map(_is_of_a_user).astype(bool), ranked["family"] == "other"):
        found += [own] if ranked["model"][own].nunique() == 1 else []
    for meant in found:
        if meant.any():
            plain = ~ranked["model"].str.contains("[", regex=False)
            return str(ranked.assign(plain=plain)[meant].sort_values(["version", "plain"])["model"].iloc[-1])
    return "".join(order[:1])


def _is_of_a_user(name: str) -> bool:
    """Whether a model is named by its place in code, `net.py:Net`, which is no library's."""
    name = name.partition("[")[0]
    return ":" in name and not is_of_library(name)


def bare_name(model: str) -> str:
    """A row's model without the version that a table names where it holds several: `unet_s` of `unet_s v2`."""
    return re.sub(r" v[0-9]+$", "", model)


def interval_text(interval: Interval) -> str:
    """The figure with its interval, or alone where it has none; blank where it is not defined."""
    ends = "" if math.isnan(interval.low) else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return "" if math.isnan(interval.value) else f"{interval.value:.2f}{ends}"


def p_text(value: float) -> str:
    """A p-value in three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _note(main: Measure, reference: str, family: int, units: str, tests: bool, marked: bool) -> str:
    p = f" p: Wilcoxon over {units} on means over seeds, Holm over the {family} comparisons of this table; it says "
    bold = f"Bold: the difference in {main.name} from {reference} excludes 0."
    first = f" First %: of resamples, by {main.name}."
    told = bold if marked else NO_RANKS if family else ""
    return (
        f"Intervals hold for other seeds and other {units} like these, and are not adjusted for their number. "
        f"{'Units of one class are drawn within their class. ' if main.stratified else ''}"
        f"{told}{f'{p}nothing of another training.' if tests else ''}{first if marked else ''}"
    ).rstrip()
