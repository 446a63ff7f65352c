"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bench.analysis.certainty import bare_name
from bench.analysis.comparison import CSV, Table, kinds_of_models, summarise
from bench.analysis.footnotes import chosen_notes
from bench.analysis.shown import DEFAULT, Shown, named_apart
from bench.analysis.throughput import with_throughput
from bench.analysis.units import with_units
from bench.errors import UserError, unknown
from bench.records.choice import ALL, Choice
from bench.records.garbage import no_collection
from bench.records.profiles import load_profiles
from bench.records.store import load_cells_and_cases
from bench.report.escaping import csv_text, markdown_text
from bench.report.leaks import audit_notes, with_leaks
from bench.report.notes import few, in_a_line, notes_text
from bench.report.screen import WIDE, Screen
from bench.report.sheets import Setting, print_sheets, render_sheets, to_latex, to_markdown
from bench.report.table_sheets import (
    certainty_rows,
    class_sheet,
    interval_sheet,
    screen_sheet,
    table_setting,
    table_sheet,
)

CHECKLIST = "The claims checklist of each table: medbench report --checklist"


@no_collection()
def results_tables(
    results: str | Path,
    comparisons: Collection[str] | None = None,
    choice: Choice = ALL,
    classes: bool = False,
    kept: Collection[str] | None = (),
    tests: bool = False,
    shown: Shown = DEFAULT,
) -> tuple[list[Table], tuple[str, ...]]:
    """The tables of a results folder: of all cells, of those of some comparison keys, or of those that are meant.

    Beside them, in lines, what of the folder was left out: damaged records are named and take no table away.

    Arms of ablations are set aside but for those of `kept` and those that the choice names; None shows them all.
    p-values are shown with `tests`; `shown` says which of the stored figures.

    Where its `profiles` hold a model's speed at the same input, the table shows it.

    Raises:
        UserError: no such folder, no records in it, or none that are meant; no model of the reference's name.
    """
    cells, cases = load_cells_and_cases(results)
    profiles = load_profiles(results)
    notes = (*cells.attrs["notes"], *profiles.attrs["notes"], *audit_notes(results))
    cells.attrs = {}  # which pandas copies with every frame that is made of this one
    if not len(cells):
        raise UserError(
            f"No records in {str(results)!r}. Run `medbench run` first, or name another with --results DIR."
            f"{in_a_line(notes)}"
        )
    meant = choice.of(cells)
    if shown.reference not in (None, *meant["model"]):
        raise unknown("model of the tables to take differences from", str(shown.reference), set(meant["model"]))
    fewer = chosen_notes(cells, meant)
    if comparisons is not None:
        meant = meant[meant["comparison"].isin(list(comparisons))]
    cells, clashes = _without_clashes(meant)
    cells, cases = with_units(with_leaks(cells, results), named_apart(cases[cases["key"].isin(cells["key"])]), results)
    cells = with_throughput(cells.reset_index(drop=True), profiles)
    kept = None if kept is None else {*kept, *choice.configs}
    tables = summarise(cells, cases, classes, kept, tests, shown)
    return [_with_notes(table, fewer, shown.reference) for table in tables], (*notes, *clashes)


def _with_notes(table: Table, fewer: dict[str, str], reference: str | None) -> Table:
    notes = [fewer[table.key]] if table.key in fewer else []
    if reference is not None and table.sure.reference and bare_name(_model_of(table)) != reference:
        notes.append(f"Differences are from {table.sure.reference}: {reference} has no rank in this table.")
    return replace(table, footnotes=(*table.footnotes, *notes)) if notes else table


def _model_of(table: Table) -> str:
    """The model that the table's differences are from."""
    return str(table.figures.loc[table.figures["title"] == table.sure.reference, "model"].iloc[0])


def _without_clashes(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The cells but those that share comparison, model, version, seed and fold with another, and lines on these."""
    same = ["comparison", "model", "version", "seed", "fold"]
    twice = cells.duplicated(same, keep=False)
    notes = [
        f"Left out: {rows['model'].iloc[0]} seed {rows['seed'].iloc[0]} of {rows['dataset'].iloc[0]}, comparison "
        f"{rows['comparison'].iloc[0]}, has several cells ({', '.join(rows['key'])}) of one version: its defaults "
        "changed and its version did not. Raise the version, or move the older cells' folders away."
        for _, rows in cells[twice].groupby(same, dropna=False, sort=False)
    ]
    return cells[~twice], notes


def print_tables(screen: Screen, tables: list[Table], checklist: bool = False, notes: Sequence[str] = ()) -> None:
    """Prints tables; which models are reduced or reconstructed is said once, below the last.

    Args:
        checklist: the claims checklist too, which what is no terminal always gets.
        notes: what was left out, in lines, to stand below.
    """
    checklist = checklist or not screen.is_terminal
    for table in tables:
        by_class = class_sheet(table)
        below = [interval_sheet(table)] if by_class is None else [by_class, interval_sheet(table)]
        print_sheets(screen, [screen_sheet(table), *below])
        if checklist:
            for line in ("Claims checklist", *(f"  {line}" for line in table.checklist)):
                screen.print_note(line, indent=4)
            screen.print()
    for line in (*kinds_of_models(tables), *([] if checklist else [CHECKLIST]), *few(notes)):
        screen.print_note(line)


def render_tables(tables: list[Table], form: str, notes: Sequence[str] = ()) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`.

    Args:
        notes: what was left out, in lines, to stand below.
    """
    if form == "csv":
        return to_csv(tables, notes)
    if form == "rich":
        screen = Screen(wide=True, file=io.StringIO(), width=WIDE)
        print_tables(screen, tables, checklist=True, notes=notes)
        return screen.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(_with_what_stands_below(table, form) for table in tables) + notes_text(notes, form)


def _with_what_stands_below(table: Table, form: str) -> str:
    """A table as `markdown` or `latex`, then its classes, its intervals and its claims checklist."""
    by_class = class_sheet(table)
    classes = [] if by_class is None else [render_sheets([by_class], form)]
    intervals = interval_sheet(table)
    if form == "latex":
        notes = (*intervals.notes, f"Claims checklist. {table.checklist[0]}", *table.checklist[1:])
        caption = f"{table.where}. {intervals.caption}"  # a float may stand far from the table's own
        sure = to_latex(replace(intervals, caption=caption, notes=notes), Setting("scriptsize", 3))
        return "\n".join([to_latex(table_sheet(table), table_setting(table)), *classes, sure])
    questions = "\n".join(f"- {markdown_text(line)}" for line in table.checklist)
    sure = f"{to_markdown(intervals)}\nClaims checklist:\n\n{questions}\n"
    return "\n".join([to_markdown(table_sheet(table)), *classes, sure])


def to_csv(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """All tables as one long CSV: a row per comparison, model, metric and class, numbers in full.

    Behind a comparison's figures stand those of `table_sheets.certainty_rows`: differences, ranks, and the checklist.
    The last rows, of metric `note`, say what was left out.
    """
    frames = [frame for table in tables for frame in (table.figures, certainty_rows(table).reindex(columns=CSV))]
    if notes:
        frames.append(pd.DataFrame([{"metric": "note", "text": note} for note in few(notes)], columns=CSV))
    return csv_text(pd.concat(frames or [pd.DataFrame(columns=CSV)], ignore_index=True))
