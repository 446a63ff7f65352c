"""The footnotes of a results table: rows without a rank, tuned values, initial weights, what runs differ in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.analysis.aside import are_arms
from bench.analysis.checklist import PROVENANCE, trained
from bench.analysis.folds import fold_count, missing_folds
from bench.analysis.own_settings import own_settings
from bench.analysis.short_budget import is_short_comparison

TOLD = ("model", "seed")  # what a choice may leave out of a comparison


def footnotes(
    cells: pd.DataFrame, titles: dict[str, str], ranked: pd.Series[Any], seeds: frozenset[int]
) -> tuple[str, ...]:
    """Which rows are not ranked, what was chosen for each model, and what runs differ in though a table compares them.

    Args:
        cells: all of one comparison. titles, ranked: of each model in it. seeds: those that a ranked row has.
    """
    notes: list[str] = []
    chance = {*cells.loc[cells["family"] == "chance", "model"].unique()}
    lacking = in_a_row(titles[model] for model in ranked.index[~ranked] if model not in chance)
    if lacking:
        what = "Without an interval" if is_short_comparison(cells.iloc[0]) else "Not ranked"
        of = "seeds or folds" if fold_count(cells) else "seeds"
        notes.append(f"{what} for lack of {of} (all: {', '.join(map(str, sorted(seeds))) or 'none'}): {lacking}.")
    return (*notes, *own_settings(cells, titles), *provenance_notes(cells, titles))


def provenance_notes(cells: pd.DataFrame, titles: dict[str, str]) -> list[str]:
    """In which of device, CPU, torch and commit the runs of one table differ, those of one row among them."""
    notes: list[str] = []
    networks = trained(cells)
    for column, label in PROVENANCE.items():
        values = networks[column].map(lambda value: "unknown" if pd.isna(value) else str(value))
        common, *rest = sorted(values.unique(), key=lambda value: (-sum(values == value), value))
        shown = "; ".join(f"{v}: {in_a_row(networks['model'][values == v].map(titles).unique())}" for v in rest)
        if rest:
            notes.append(f"Runs differ in {label}: {common}, but {shown}.")
    return notes


def in_a_row(titles: Iterable[str]) -> str:
    """Titles by commas, in quotes that have one of their own: `full, "without sem, params matched"`."""
    return ", ".join(f'"{title}"' if ", " in title else title for title in titles)


def missing_folds_note(cells: pd.DataFrame, titles: dict[str, str], scored: pd.DataFrame) -> str:
    """The folds that rows lack, which have figures of the folds that they have, and no rank; blank where none lacks."""
    if not fold_count(cells):
        return ""
    texts = {model: missing_folds(*(frame[frame["model"] == model] for frame in (cells, scored))) for model in titles}
    lacking = "; ".join(f"{titles[model]}, {text}" for model, text in texts.items() if text)
    return f"Folds that are missing: {lacking}." * bool(lacking)


def chosen_notes(cells: pd.DataFrame, meant: pd.DataFrame) -> dict[str, str]:
    """Comparison -> what its table says of the cells that were not asked for, arms aside; none where all were."""
    notes = {}
    for comparison, stored in cells[cells["comparison"].isin(meant["comparison"])].groupby("comparison"):
        rows = stored[~are_arms(stored)]
        left = {
            column: {*rows[column].unique()} - {*meant.loc[meant["comparison"] == comparison, column].unique()}
            for column in TOLD
        }
        told = [f"{len(values)} stored {column}{'s' * (len(values) > 1)}" for column, values in left.items() if values]
        if told:
            notes[str(comparison)] = (
                f"Chosen: without {' and '.join(told)} of this comparison, which no mark, rank or adjusted p-value "
                "knows of."
            )
    return notes


def is_of_choice(note: str) -> bool:
    """Whether a footnote says which rows or seeds were not asked for, or are not shown."""
    return note.startswith("Chosen: ") or " rows: " in note
