"""The results tables of a paper, from records: one table per comparison key.

What differs by task stands in `analysis.segmentation` and `analysis.classification`, which have the same functions.
A failed cell and a row that lacks seeds are shown as such and never ranked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.aside import common_seeds, set_aside
from bench.analysis.captions import TASKS, about, lead, preset_words, setting, split_words, where
from bench.analysis.certainty import Certainty, certainty
from bench.analysis.checklist import RECONSTRUCTED, checklist
from bench.analysis.columns import Column
from bench.analysis.folds import fold_count, pooled, same_folds, whole_seeds
from bench.analysis.footnotes import footnotes, missing_folds_note
from bench.analysis.short_budget import is_short, is_short_comparison
from bench.analysis.shown import DEFAULT, Shown, shown_cases, without_parts
from bench.analysis.statistics import mean_and_deviation
from bench.analysis.throughput import FORMS, throughput_columns, throughput_note
from bench.errors import UserError

VERSION = re.compile(r"(.*?)( v[0-9]+)?", re.DOTALL)
RECONSTRUCTION = "our reconstruction from the abstract of PLoS ONE e0340108"
SHARED = ["comparison", "dataset", "source", "split", "preset", "weights", "partial", "model", "family"]
OF_A_ROW = ("is_scored", "status", "seed", "fold", "split")  # what of its cells tells what a row lacks
CSV = [
    *(*SHARED, "title", "status", "ranked", "seeds", "folds"),
    *("metric", "unit", "class", "value", "sd_seeds", "sd_cases", "low", "high", "text"),
]


@dataclass(frozen=True, eq=False)
class Table:
    """One comparison, ready to render.

    Attributes:
        key: the comparison key; figures of different keys are not comparable.
        name: the dataset's name; phantoms have their own.
        where: dataset, images, preset and split in a line, for whatever has no caption.
        lead: what counts against the figures, then data set and images; split: its name, fold and flag; preset.
        about: the rest of the caption but for `reduced` and `reconstructed`.
        reduced: title -> the published network whose width was reduced. reconstructed: titles of our reconstructions.
        frame: rows in display order: `Model`, a number per column, `Seeds`. Shares in %.
        marks: of the frame's shape; `best`, `second` or blank.
        columns: those of the frame between `Model` and `Seeds`. main: of the figure that orders the rows, whether it is
            among them or not.
        figures: the same numbers in the long form of `to_csv`, classes included. ranked: those of ranked rows, of the
            ones too that a shorter table leaves out, for marks are of all.
        sure: intervals and differences. checklist: what a reviewer would ask, answered.
        setting: what data sets must share to be ranked together, blank where a table may not be: no real images, a
            flagged split.
        first: what its cells share (`bench.analysis.folds.pooled`). seeds: those that ranked rows have.
        shown: which of the stored figures these are.
        headline: ranked model -> its title, and the figure that orders the rows.
        cells: all of the comparison, a row each, with `shown_as`, the title of their row.
        scores: the rows of cases.csv that the figures are made of, with `seed` and `shown_as`; of seeds that all rows
            have, and of those that single rows have.
    """

    key: str
    name: str
    where: str
    lead: str
    split: str
    preset: str
    about: str
    reduced: dict[str, str]
    reconstructed: tuple[str, ...]
    footnotes: tuple[str, ...]
    frame: pd.DataFrame
    marks: pd.DataFrame
    columns: tuple[Column, ...]
    main: Column
    figures: pd.DataFrame
    ranked: pd.DataFrame
    sure: Certainty
    checklist: tuple[str, ...]
    task: str
    setting: str
    headline: dict[str, tuple[str, float]]
    first: pd.Series[Any]
    seeds: tuple[int, ...]
    shown: Shown
    cells: pd.DataFrame
    scores: pd.DataFrame

    @property
    def heading(self) -> str:
        """What stands above the table on a terminal."""
        return f"{self.lead}, {self.split}, {self.preset}."

    @property
    def caption(self) -> str:
        """All that files say above the table."""
        return " ".join([f"{self.lead}, {self.preset}.", self.about, *kinds_of_models([self])])


def kinds_of_models(tables: Sequence[Table]) -> list[str]:
    """Which networks of the tables are reduced, and which are reconstructions: a sentence each, where there are any."""
    reduced = {title: of for table in tables for title, of in table.reduced.items()}
    ours = dict.fromkeys(title for table in tables for title in table.reconstructed)
    narrow = ", ".join(f"{title} (of {of})" for title, of in reduced.items())
    return [f"Reduced width: {narrow}."] * bool(reduced) + [f"{', '.join(ours)}: {RECONSTRUCTION}."] * bool(ours)


def summarise(
    cells: pd.DataFrame,
    cases: pd.DataFrame,
    classes: bool = False,
    kept: Collection[str] | None = None,
    tests: bool = False,
    shown: Shown = DEFAULT,
) -> list[Table]:
    """One table per comparison key, in order of dataset, preset and key; keys are never mixed.

    Of a dataset, short budgets come last, and flagged splits after others: what is read first should mean most.

    Only the test part counts. A figure is a mean over seeds; of what, its task's module says.

    Args:
        cells: a row per cell, as `bench.records.store.load_cells` gives them.
        cases: a row per cell, part, weights, case and class, as `bench.records.store.load_cases` gives them.
        classes: show Dice, or sensitivity, per class too.
        kept: models to show though they are arms of an ablation, which are else set aside; None: all.
        tests: p-values beside the intervals.
        shown: which of the stored figures.

    Raises:
        UserError: two cells of one model and seed in one comparison.
    """
    if cells.empty:
        return []
    order = ["dataset", "short", "flagged", "preset", "comparison", "model", "version"]  # the folders' has keys in it
    flags = cells["split_flag"] if "split_flag" in cells else pd.Series(index=cells.index, dtype=object)
    against = {"short": cells["images_seen"].map(is_short), "flagged": flags.notna()}
    cells = cells.assign(**against).drop_duplicates("key").sort_values(order, kind="stable").drop(columns=[*against])
    scores = shown_cases(cases, shown).drop_duplicates(["key", "case", "class"])
    rows_of = scores.groupby(scores["key"].map(cells.set_index("key")["comparison"])).indices
    tables = []
    for comparison, of_comparison in cells.groupby("comparison", sort=False):
        in_table, notes = set_aside(of_comparison, kept)
        if len(in_table):
            own = scores.iloc[rows_of.get(comparison, [])]
            tables.append(_table(_compared(in_table, own, shown), notes, classes, tests))
    return tables


@dataclass(frozen=True, eq=False)
class _Compared:
    """The cells of one comparison key.

    Attributes:
        cells: all of them. first: what they share.
        has_scores: those with scores. scored: of these the ones on the same folds, which figures are made of.
        scores: the rows of cases.csv that count of `scored`, with `model` and `seed`.
        seeds: those that a ranked row has. titles: of each model.
        shown: which of the stored figures.
    """

    cells: pd.DataFrame
    first: pd.Series[Any]
    has_scores: pd.DataFrame
    scored: pd.DataFrame
    scores: pd.DataFrame
    seeds: frozenset[int]
    titles: dict[str, str]
    shown: Shown

    @property
    def task(self) -> ModuleType:
        """What differs by task."""
        return TASKS[self.first["task"]]

    @cached_property
    def folds(self) -> int:
        """`fold_count` of the cells."""
        return fold_count(self.cells)


def _compared(cells: pd.DataFrame, scores: pd.DataFrame, shown: Shown) -> _Compared:
    _check_seeds(cells)
    has_scores = cells[(cells["status"] == "complete") & cells["key"].isin(scores["key"])]
    scored = same_folds(has_scores)
    of_scored = without_parts(scores.merge(scored[["key", "model", "seed"]], on="key"), shown)
    return _Compared(cells, pooled(cells), has_scores, scored, of_scored, common_seeds(scored), titles_of(cells), shown)


def _table(compared: _Compared, aside: tuple[str, ...], classes: bool, tests: bool) -> Table:
    cells, titles, first, task = compared.cells, compared.titles, compared.first, compared.task
    rows_of = _figures(compared)
    rows = [row for own in rows_of.values() for row in own]
    figures = pd.DataFrame(rows).reindex(columns=CSV)
    columns = (*task.columns(figures, cells, classes, compared.shown), *throughput_columns(cells))
    headline = dict.fromkeys(titles, float("nan")) | task.headline(figures)
    chance = set(cells.loc[cells["family"] == "chance", "model"])
    others = {model for model, own in rows_of.items() if " of " in (own[0]["folds"] or "")}  # figures of other images
    order = sorted(titles, key=lambda m: (m in chance, pd.isna(headline[m]), m in others, -headline[m]))
    ranked = figures.drop_duplicates("model").set_index("model")["ranked"].loc[order]
    frame = pd.DataFrame([_row(rows_of[model], columns, compared) for model in order])
    best = [model for model in order if ranked[model] and pd.notna(headline[model])]
    claims = not is_short_comparison(first) and len(compared.seeds) > 1
    sure = _certainty(compared, best, tests)
    notes = (
        task.note(first, figures, compared.shown),
        throughput_note(cells),
        *footnotes(cells, titles, ranked, compared.seeds),
        missing_folds_note(cells, titles, compared.has_scores),
        *aside,
    )
    reduced = cells.drop_duplicates("model").set_index("model")["reduced_from"].dropna()
    return Table(
        key=first["comparison"],
        name=first["dataset"],
        where=where(first),
        lead=lead(first),
        split=split_words(first),
        preset=f"preset {preset_words(first['preset'])}",
        about=about(first, compared.scored, compared.shown),
        reduced={titles[model]: reduced[model] for model in order if model in reduced.index},
        reconstructed=tuple(title for title in dict.fromkeys(cells["title"]) if RECONSTRUCTED in title),
        footnotes=tuple(filter(None, notes)),
        frame=frame,
        marks=_marks(frame, columns, [claims and one for one in ranked]),
        columns=columns,
        main=columns[0],
        figures=figures.assign(ranked=figures["ranked"] & claims),
        ranked=figures[figures["ranked"] & claims],
        sure=sure,
        checklist=checklist(first, cells, titles, ranked, sure, compared.shown),
        task=first["task"],
        setting=setting(first),
        headline={model: (titles[model], float(headline[model])) for model in best if claims},
        first=first,
        seeds=tuple(sorted(compared.seeds)),
        shown=compared.shown,
        cells=cells.assign(shown_as=cells["model"].map(titles)),
        scores=compared.scores.assign(shown_as=compared.scores["model"].map(titles)),
    )


def _certainty(compared: _Compared, order: list[str], tests: bool) -> Certainty:
    """The intervals of the ranked models, from the seeds that all of them have."""
    scores = compared.scores
    rows = scores[scores["model"].isin(order) & scores["seed"].isin(compared.seeds)]
    marked = not is_short_comparison(compared.first)
    return certainty(compared.task, compared.scored, rows, order, compared.titles, tests, compared.shown, marked)


def _check_seeds(cells: pd.DataFrame) -> None:
    twice = cells[cells.duplicated(["model", "seed", "fold"], keep=False)]
    if len(twice):
        model = twice["model"].iloc[0]
        keys = ", ".join(twice.loc[twice["model"] == model, "key"])
        raise UserError(
            f"Expected one cell per model, version, seed and fold in a table, but {model} has several ({keys}): its "
            "defaults changed and its version did not. Raise the version, or delete the older cells' folders."
        )


def titles_of(cells: pd.DataFrame) -> dict[str, str]:
    """A title per model, with what its config changes: no arm reads as the model that it is an arm of."""
    titles: dict[str, str] = {}
    for model, title in zip(cells["model"].tolist(), cells["title"].tolist(), strict=True):
        name, version = VERSION.fullmatch(model).groups("")  # type: ignore[union-attr]
        plain = title.removesuffix(version)
        config = f" [{name.partition('[')[2]}" if "[" in name else ""
        titles[model] = (plain if config in plain else plain + config) + version
    shown = list(titles.values())
    return {model: t if shown.count(t) == 1 else f"{t} ({model})" for model, t in titles.items()}


def _figures(compared: _Compared) -> dict[str, list[dict[str, Any]]]:
    """Model -> all figures of its row in long form; without a scored cell those of scores are missing."""
    cells = compared.cells
    cells = cells.assign(is_scored=cells["key"].isin(compared.scored["key"]))
    firsts = cells.drop_duplicates("model").set_index("model", drop=False).to_dict("index")
    of_scores, costs = compared.task.figures(compared.scores, compared.shown, compared.titles), _costs(cells)
    rows_of, slim = {}, cells[list(OF_A_ROW)]
    for model, places in cells.groupby("model").indices.items():
        row = _shared(firsts[model], slim.iloc[places], compared)
        means, _ = mean_and_deviation(np.stack([values[places] for values in costs.values()]))
        of_costs = [
            {"metric": metric, "unit": unit, "class": "", "value": mean}
            for (metric, unit), mean in zip(costs, means, strict=True)
            if unit != "x" or not np.isnan(mean)
        ]
        rows_of[model] = [{**row, **figure} for figure in (*of_scores[model], *of_costs)]
    return {model: rows_of[model] for model in compared.titles}


def _costs(cells: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(metric, unit) -> what each cell costs; speeds, in times a reference's, only of rows that have one."""
    millions = {
        ("params", "M"): cells["params"].to_numpy(float) / 1e6,
        ("macs", "G"): cells["macs"].to_numpy(float) / 1e9,
    }
    return millions | {(metric, "x"): cells[metric].to_numpy(float) for metric in FORMS.values() if metric in cells}


def _shared(first: dict[Any, Any], cells: pd.DataFrame, compared: _Compared) -> dict[str, Any]:
    """What all figures of a row have in common.

    Args:
        first: the first of the row's cells. cells: all of them, with `is_scored` and `OF_A_ROW`.
    """
    scored = cells[cells["is_scored"]]
    row = {name: first.get(name) for name in SHARED} | {"weights": compared.shown.weights_label(first["averaged"])}
    seeds, folds = compared.seeds, compared.folds
    row |= {"title": compared.titles[first["model"]], "status": status_of(cells), "seeds": scored["seed"].nunique()}
    row |= {"ranked": bool(seeds) and first["family"] != "chance" and seeds <= whole_seeds(scored)}
    has = scored["fold"].nunique() if folds else 0
    row |= {"folds": (f"{folds}" if has == folds else f"{has} of {folds}") if folds else None}
    return row


def status_of(cells: pd.DataFrame) -> str:
    """`complete`, or what became of a row's other seeds: `failed (1 of 3 seeds)`; of folds the runs are counted.

    Args:
        cells: those of one model, with `is_scored`.
    """
    rest = cells.loc[~cells["is_scored"], "status"]
    if rest.empty:
        return "complete"
    rest = rest.replace("complete", "of other folds" if fold_count(cells) else "without scores")
    counts, runs = rest.value_counts().sort_index(), "runs" if fold_count(cells) else "seeds"
    return ", ".join(f"{status} ({n} of {len(cells)} {runs})" for status, n in counts.items())


def _row(figures: Sequence[dict[str, Any]], columns: Sequence[Column], compared: _Compared) -> dict[str, Any]:
    """One row of the frame: a number per column (nan where not defined), and what became of its seeds."""
    by_place = {(figure["metric"], figure["class"]): figure for figure in figures}
    first, all_seeds = figures[0], len(compared.seeds)
    row: dict[str, Any] = {"Model": first["title"]}
    for column in columns:
        figure = by_place.get((column.metric, column.level), {})
        row[column.header] = float(figure.get(column.figure, float("nan")))
    seeds = f"{first['seeds']} of {all_seeds}" if first["seeds"] < all_seeds else str(first["seeds"])
    seeds += f" x {first['folds']}" if first["folds"] else ""
    status = [] if first["status"] == "complete" else [first["status"]]
    if not first["ranked"] and first["family"] != "chance" and first["seeds"] >= all_seeds > 0 and not first["folds"]:
        status.append("other seeds")
    row["Seeds"] = "; ".join([seeds, *status] if first["seeds"] or not status else status)
    return row


def _marks(frame: pd.DataFrame, columns: Sequence[Column], ranked: list[bool]) -> pd.DataFrame:
    """`best` and `second` per column of merit, as shown: equals share a mark; of one row, or one seed, none is."""
    marks = pd.DataFrame("", index=frame.index, columns=frame.columns)
    for column in columns:
        values = frame.loc[ranked, column.header].dropna().round(column.decimals)
        if column.merit and len(values) > 1:
            rank = values.rank(method="min", ascending=column.merit < 0)
            marks.loc[rank.index[rank == 1], column.header] = "best"
            marks.loc[rank.index[rank == 2], column.header] = "second"
    return marks
