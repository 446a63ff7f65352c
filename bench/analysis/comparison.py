"""The results tables of a paper, from records: one table per comparison key.

What differs by task stands in `analysis.segmentation` and `analysis.classification`, which have the same functions.
A failed cell and a row that lacks seeds are shown as such and never ranked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pandas as pd

from bench.analysis import classification, segmentation
from bench.analysis.aside import common_seeds, set_aside
from bench.analysis.certainty import Certainty, certainty
from bench.analysis.checklist import PROVENANCE, checklist
from bench.analysis.columns import Column
from bench.analysis.folds import fold_count, missing_folds, pooled, same_folds, whole_seeds
from bench.analysis.own_settings import own_settings
from bench.analysis.short_budget import budget_mark, is_short_comparison
from bench.analysis.shown import DEFAULT, Shown, shown_cases
from bench.analysis.throughput import FORMS, throughput_columns, throughput_note
from bench.errors import UserError

VERSION = re.compile(r"(.*?)( v[0-9]+)?", re.DOTALL)
TASKS: dict[str, ModuleType] = {"segmentation": segmentation, "classification": classification}

SUBSTITUTE = "SUBSTITUTE images: other files in the dataset's layout, no result about it"
PHANTOM = "PHANTOM images: a plumbing check, no result about real patients"
RECONSTRUCTION = "our reconstruction from the abstract of PLoS ONE e0340108"
SHARED = ["comparison", "dataset", "source", "split", "preset", "weights", "partial", "model", "family"]
CSV = [
    *SHARED,
    "title",
    "status",
    "ranked",
    "seeds",
    "folds",
    "metric",
    "unit",
    "class",
    "value",
    "sd_seeds",
    "sd_cases",
    *("low", "high", "text"),
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
        columns: those of the frame between `Model` and `Seeds`.
        figures: the same numbers in the long form of `to_csv`, classes included.
        sure: intervals and differences. checklist: what a reviewer would ask, answered.
        setting: what data sets must share to be ranked together, blank where a table may not be: no real images, a
            flagged split.
        headline: ranked model -> its title, and the figure that orders the rows.
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
    figures: pd.DataFrame
    sure: Certainty
    checklist: tuple[str, ...]
    task: str
    setting: str
    headline: dict[str, tuple[str, float]]

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
    asked: Collection[str] | None = None,
    tests: bool = False,
    shown: Shown = DEFAULT,
) -> list[Table]:
    """One table per comparison key, in order of dataset, preset and key; keys are never mixed.

    Only the test part counts. A figure is a mean over seeds; of what, its task's module says.

    Args:
        cells: a row per cell, as `bench.records.store.load_cells` gives them.
        cases: a row per cell, part, weights, case and class, as `bench.records.store.load_cases` gives them.
        classes: show Dice, or sensitivity, per class too.
        asked: models to show though they are arms of an ablation, which are else set aside; None: all.
        tests: p-values beside the intervals.
        shown: which of the stored figures.

    Raises:
        UserError: two cells of one model and seed in one comparison.
    """
    if cells.empty:
        return []
    order = [
        "dataset",
        "preset",
        "comparison",
        "model",
        "version",
    ]  # whatever the folders' order is, which has keys in it
    cells = cells.drop_duplicates("key").sort_values(order, kind="stable")
    cases = cases.drop_duplicates(["key", "part", "weights", "case", "class"])
    groups = (set_aside(group, asked) for _, group in cells.groupby("comparison", sort=False))
    scores = shown_cases(cases, shown)
    return [_table(group, scores, classes, notes, tests, shown) for group, notes in groups if len(group)]


def _table(
    cells: pd.DataFrame, scores: pd.DataFrame, classes: bool, aside: tuple[str, ...], tests: bool, shown: Shown
) -> Table:
    _check_seeds(cells)
    first = pooled(cells)
    task = TASKS[first["task"]]
    scored = cells[(cells["status"] == "complete") & cells["key"].isin(scores["key"])]
    there, scored = scored, same_folds(scored)
    full, titles = common_seeds(scored), titles_of(cells)
    rows = [row for title in titles.items() for row in _model_figures(*title, task, cells, scored, scores, full, shown)]
    figures = pd.DataFrame(rows).reindex(columns=CSV)
    columns = (*task.columns(figures, cells, classes, shown), *throughput_columns(cells))
    headline = dict.fromkeys(titles, float("nan")) | task.headline(figures)
    chance = set(cells.loc[cells["family"] == "chance", "model"])
    order = sorted(titles, key=lambda model: (model in chance, pd.isna(headline[model]), -headline[model]))
    frame = pd.DataFrame([_row(figures[figures["model"] == model], columns, full) for model in order])
    ranked = figures.drop_duplicates("model").set_index("model")["ranked"].loc[order]
    reduced = cells.drop_duplicates("model").set_index("model")["reduced_from"].dropna()
    known = (task.note(first, figures, shown), throughput_note(cells))
    notes = (*filter(None, known), *_footnotes(cells, titles, ranked, full), *_missing(cells, titles, there), *aside)
    short = is_short_comparison(first)
    marks = _marks(frame, columns, [not short and one for one in ranked])
    best = [model for model in order if ranked[model] and pd.notna(headline[model])]
    rows_of_best = scores.merge(scored.loc[scored["model"].isin(best), ["key", "model", "seed"]], on="key")
    sure = certainty(task, scored, rows_of_best[rows_of_best["seed"].isin(full)], best, titles, tests, shown, not short)
    asked = checklist(first, cells, titles, ranked, sure, shown)
    return Table(
        key=first["comparison"],
        name=first["dataset"],
        where=_where(first),
        lead=_lead(first),
        split=_split(first),
        preset=f"preset {preset_words(first['preset'])}",
        about=about(first, scored, shown),
        reduced={titles[model]: reduced[model] for model in order if model in reduced.index},
        reconstructed=tuple(title for title in dict.fromkeys(cells["title"]) if "reconstr" in title),
        footnotes=notes,
        frame=frame,
        marks=marks,
        columns=columns,
        figures=figures.assign(ranked=figures["ranked"] & (not short)),
        sure=sure,
        checklist=asked,
        task=first["task"],
        setting=_setting(first),
        headline={model: (titles[model], float(headline[model])) for model in best if not short},
    )


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
    for model, title in zip(cells["model"], cells["title"], strict=True):
        name, version = VERSION.fullmatch(model).groups("")  # type: ignore[union-attr]
        plain = title.removesuffix(version)
        config = f" [{name.partition('[')[2]}" if "[" in name else ""
        titles[model] = (plain if config in plain else plain + config) + version
    shown = list(titles.values())
    return {model: t if shown.count(t) == 1 else f"{t} ({model})" for model, t in titles.items()}


def _model_figures(
    model: str,
    title: str,
    task: ModuleType,
    cells: pd.DataFrame,
    scored: pd.DataFrame,
    scores: pd.DataFrame,
    full: frozenset[int],
    shown: Shown,
) -> list[dict[str, Any]]:
    """All figures of one row in long form; without a scored cell those of scores are missing."""
    own, done = cells[cells["model"] == model], scored[scored["model"] == model]
    shared = {name: own.iloc[0][name] for name in SHARED if name != "weights"} | {
        "weights": shown.weights_label(own.iloc[0]["averaged"])
    }
    is_ranked = bool(full) and shared["family"] != "chance" and full <= whole_seeds(done)
    have, folds = done["fold"].nunique(), fold_count(cells)
    shared |= {"title": title, "status": _status(own, done), "seeds": done["seed"].nunique(), "ranked": is_ranked}
    shared |= {"folds": (f"{folds}" if have == folds else f"{have} of {folds}") if folds else None}
    rows = task.figures(scores.merge(done[["key", "seed"]], on="key"), done, shown)
    for metric, unit, values in (
        ("params", "M", own["params"].astype(float) / 1e6),
        ("macs", "G", own["macs"].astype(float) / 1e9),
    ):
        rows.append({"metric": metric, "unit": unit, "class": "", "value": values.astype(float).mean()})
    for metric in FORMS.values():
        if metric in own and own[metric].notna().any():
            rows.append({"metric": metric, "unit": "x", "class": "", "value": own[metric].mean()})
    return [{**shared, **row} for row in rows]


def _status(own: pd.DataFrame, done: pd.DataFrame) -> str:
    """`complete`, or what became of the other seeds: `failed (1 of 3 seeds)`; of folds the runs are counted."""
    rest = own.loc[~own["key"].isin(done["key"]), "status"]
    rest = rest.replace("complete", "of other folds" if fold_count(own) else "without scores")
    counts, runs = rest.value_counts().sort_index(), "runs" if fold_count(own) else "seeds"
    return ", ".join(f"{status} ({n} of {len(own)} {runs})" for status, n in counts.items()) or "complete"


def _row(figures: pd.DataFrame, columns: Sequence[Column], full: frozenset[int]) -> dict[str, Any]:
    """One row of the frame: a number per column (nan where not defined), and what became of its seeds."""
    known = figures.set_index(["metric", "class"])
    first = figures.iloc[0]
    row: dict[str, Any] = {"Model": first["title"]}
    for c in columns:
        row[c.header] = float(known[c.figure].get((c.metric, c.level), float("nan")))
    seeds = f"{first['seeds']} of {len(full)}" if first["seeds"] < len(full) else str(first["seeds"])
    seeds += f" x {first['folds']}" if pd.notna(first["folds"]) else ""
    status = [] if first["status"] == "complete" else [first["status"]]
    row["Seeds"] = "; ".join([seeds, *status] if first["seeds"] or not status else status)
    return row


def _marks(frame: pd.DataFrame, columns: Sequence[Column], ranked: list[bool]) -> pd.DataFrame:
    """`best` and `second` per column of merit, as shown: equals share a mark; one row alone is no best."""
    marks = pd.DataFrame("", index=frame.index, columns=frame.columns)
    for column in columns:
        values = frame.loc[ranked, column.header].dropna().round(column.decimals)
        if column.merit and len(values) > 1:
            rank = values.rank(method="min", ascending=column.merit < 0)
            marks.loc[rank.index[rank == 1], column.header] = "best"
            marks.loc[rank.index[rank == 2], column.header] = "second"
    return marks


def caption_marks(first: pd.Series[Any]) -> list[str]:
    """What counts against a comparison's figures, to stand before all else."""
    return [mark for mark in (*image_marks(first), budget_mark(first["images_seen"])) if mark]


def image_marks(first: pd.Series[Any]) -> list[str]:
    """What counts against figures on these images, whatever was trained on them."""
    marks = [
        {"phantom": PHANTOM, "substitute": SUBSTITUTE}.get(first["source"], ""),
        TASKS[first["task"]].PARTIAL if first["partial"] else "",
    ]
    return [mark for mark in marks if mark]


def preset_words(preset: str) -> str:
    """The preset as captions name it: a smoke run checks the plumbing."""
    return preset.replace("smoke", "smoke (plumbing check)", 1) if preset.startswith("smoke") else preset


def _lead(first: pd.Series[Any]) -> str:
    what = f"{first['dataset_title']} ({first['dataset']}), {first['source']} images"
    return ". ".join([*caption_marks(first), what])


def _split(first: pd.Series[Any]) -> str:
    flag = "" if pd.isna(first.get("split_flag")) else f", flagged: {first['split_flag']}"
    return f"split {first['split']}{first.get('fold_text', '')}{flag}"


def about(first: pd.Series[Any], scored: pd.DataFrame, shown: Shown) -> str:
    task = TASKS[first["task"]]
    seeds = ", ".join(map(str, sorted(set(scored["seed"])))) or "none"
    parts = [
        task.parts(first),
        f"{task.scored_on(first)}; seeds {seeds}; weights {shown.weights_label(first['averaged'])}",
        ""
        if pd.isna(first.get("train_patients"))
        else f"trained on {first['train_patients']:.0f} of the training patients or groups, drawn anew by each seed",
        f"{first['threads']} thread{'s' if first['threads'] > 1 else ''}",
        f"{first['left_out']} cases in no part are left out" if first["left_out"] else "",
    ]
    return ". ".join(part for part in parts if part) + "."


def _where(first: pd.Series[Any]) -> str:
    """`ACDC (acdc), preset quick, split ssl4mis`; of other than real images it says so first."""
    kind = {"phantom": "PHANTOM images, ", "substitute": "SUBSTITUTE images, "}.get(first["source"], "")
    name = f"{kind}{first['dataset_title']} ({first['dataset']})"
    against = f"{'' if pd.isna(first.get('split_flag')) else ' (flagged)'}{', partial' if first['partial'] else ''}"
    short = f" (short budget: {first['images_seen']:,} images seen)" if is_short_comparison(first) else ""
    return f"{name}, preset {first['preset']}{changes(first)}{short}, split {first['split']}{against}"


def _setting(first: pd.Series[Any]) -> str:
    usable = first["source"] == "real" and pd.isna(first.get("split_flag"))
    return f"{first['preset']}{changes(first)}" if usable else ""


def changes(first: pd.Series[Any]) -> str:
    """What else than the preset differs from a plain run: fewer training patients, pretrained weights."""
    few = first.get("train_patients")
    trained = "" if few is None or pd.isna(few) else f", {few:.0f} training patients or groups"
    folds = "" if pd.isna(first["fold"]) else f", {str(first['split']).partition('/')[2]} folds"
    return f"{trained}{folds}{'' if pd.isna(first.get('init')) else ', pretrained'}"


def _missing(cells: pd.DataFrame, titles: dict[str, str], there: pd.DataFrame) -> tuple[str, ...]:
    """A footnote on the folds that rows lack; such a row has figures of the folds that it has, and no rank."""
    texts = {m: missing_folds(cells[cells["model"] == m], there[there["model"] == m]) for m in titles}
    found = "; ".join(f"{titles[model]}, {text}" for model, text in texts.items() if text)
    return (f"Folds that are missing: {found}.",) if found else ()


def _footnotes(
    cells: pd.DataFrame, titles: dict[str, str], ranked: pd.Series[Any], full: frozenset[int]
) -> tuple[str, ...]:
    notes: list[str] = []
    chance = set(cells.loc[cells["family"] == "chance", "model"])
    lacking = ", ".join(titles[model] for model in ranked.index[~ranked] if model not in chance)
    if lacking:
        what = "Without an interval" if is_short_comparison(cells.iloc[0]) else "Not ranked"
        notes.append(f"{what} for lack of seeds (all: {', '.join(map(str, sorted(full))) or 'none'}): {lacking}.")
    notes += own_settings(cells, titles)
    for column, label in PROVENANCE.items():
        values = cells[column].map(lambda value: "unknown" if pd.isna(value) else str(value))
        common, *rest = sorted(set(values), key=lambda value: (-sum(values == value), value))
        shown = "; ".join(f"{v}: {', '.join(cells['model'][values == v].map(titles).unique())}" for v in rest)
        if rest:
            notes.append(f"Rows differ in {label}: {common}, but {shown}.")
    return tuple(notes)
