"""What a report makes of stored results in place of whole tables: sheets, which every format writes alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records.choice import Choice
from bench.report.selection import Selection, selected_tables

if TYPE_CHECKING:
    from bench.analysis.curves import Curve

Sheets = tuple[list[Sheet], tuple[str, ...]]


def sheets_instead(view: str, selection: Selection) -> Sheets:
    """The sheets of a view, one of `VIEWS`, and what was left out, in lines.

    Raises:
        UserError: a wish that the view does not read, or nothing stored that it shows.
    """
    reject_unread(view, selection)
    return VIEWS[view](selection)


def reject_unread(view: str, selection: Selection) -> None:
    """Raises UserError for a wish that a view, one of `READS`, passes over."""
    given = [field.name for field in fields(selection) if getattr(selection, field.name) != field.default]
    unread = [f"--{name}" for name in given if name not in {"results", *READS[view]}]
    if unread:
        raise UserError(f"Expected --{view} without {' and '.join(unread)}, which it does not read.")


def _ranks(selection: Selection) -> Sheets:
    from bench.report.table_sheets import rank_sheet

    tables, notes = selected_tables(selection)
    return [rank_sheet(table) for table in tables], notes


def _brief(selection: Selection) -> Sheets:
    from bench.report.brief import brief_sheet

    tables, notes = selected_tables(selection)
    return [brief_sheet(table, selection.columns is not None) for table in tables], notes


def _budgets(selection: Selection) -> Sheets:
    from bench.report.curves import curve_sheet

    curves, notes = selected_curves(selection)
    return [curve_sheet(curve) for curve in curves], notes


def selected_curves(selection: Selection) -> tuple[list[Curve], tuple[str, ...]]:
    """The curves that were asked for, and what was left out, in lines; a curve's preset is named without its steps.

    Raises:
        UserError: a wish that curves do not read, or no curve.
    """
    from bench.analysis.curves import stored_curves

    reject_unread("budgets", selection)
    choice = Choice(selection.models, selection.dataset, None, selection.split, selection.seeds)
    return stored_curves(selection.results, selection.preset, selection.shown, choice)


def _conventions(selection: Selection) -> Sheets:
    from bench.analysis.conventions import convention_sheets

    return convention_sheets(selection.results, selection.choice, selection.weights)


def _trials(selection: Selection) -> Sheets:
    from bench.report.trials import trial_sheets

    return trial_sheets(selection.results)


def _speeds(selection: Selection) -> Sheets:
    from bench.report.costs import stored_profiles

    return stored_profiles(selection.results)


VIEWS: dict[str, Callable[[Selection], Sheets]] = {
    "brief": _brief,
    "ranks": _ranks,
    "budgets": _budgets,
    "conventions": _conventions,
    "trials": _trials,
    "speeds": _speeds,
}
CELLS, FIGURES = {"models", "dataset", "preset", "split", "seeds"}, {"policy", "definition", "weights"}
ROWS = CELLS | FIGURES | {"reference", "sort", "top", "arms"}
# Which wishes each view reads beside the folder, and those that are no sheets.
READS = {
    "brief": ROWS | {"columns"},
    "ranks": ROWS,
    "budgets": CELLS | FIGURES,
    "conventions": CELLS | {"weights"},
    "trials": set(),
    "speeds": set(),
    "figures": ROWS,
    "bibtex": CELLS | {"arms", "top", "literature"},
    **dict.fromkeys(("table accuracy", "table evaluation"), ROWS | {"columns", "tests", "literature"}),
    "table ablation": {"dataset"},
    "table leaks": set(),
    "table cost": ROWS,
    "table per-class": ROWS | {"classes"},
    "table significance": ROWS | {"tests"},
}
