"""A table with the columns and in the order that a reader asks for; no figure is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from bench.analysis.columns import Column
from bench.analysis.comparison import Table
from bench.errors import UserError, unknown

CLASSES = "classes"
NAME, FAMILY = "name", "family"


def column_name(column: Column) -> str:
    """What a column is asked for by: `dice`, `hd95`, `dice-sd-seeds`, `balanced-accuracy`, `params`, `speed`.

    Both units of HD95 have one name; the columns of single classes are `classes` together.
    """
    if column.level not in ("", "mean") or column.metric == "sensitivity":
        return CLASSES
    name = column.metric.removesuffix("_strict").removesuffix("_transunet")
    name = "hd95" if name.startswith("hd95") else name.replace("_", "-")
    return name if column.figure == "value" else f"{name}-{column.figure.replace('_', '-')}"


def with_columns(tables: Sequence[Table], names: Sequence[str]) -> list[Table]:
    """The tables with the named columns alone, in the order of the names; `Model` and `Seeds` are always there.

    Raises:
        UserError: a name that no table has, or one given twice; those of another task's tables are no mistake.
    """
    known = {column_name(column) for table in tables for column in table.columns} | {CLASSES}
    for name in names:
        if name not in known:
            raise unknown("column", name, known)
    if twice := [name for name in dict.fromkeys(names) if list(names).count(name) > 1]:
        raise UserError(f"Expected distinct columns, but got {', '.join(twice)} more than once.")
    return [_with_columns(table, names) for table in tables]


def _with_columns(table: Table, names: Sequence[str]) -> Table:
    columns = tuple(column for name in names for column in table.columns if column_name(column) == name)
    headers = ["Model", *(column.header for column in columns), "Seeds"]
    return replace(table, columns=columns, frame=table.frame[headers], marks=table.marks[headers])


def sort_names(tables: Sequence[Table]) -> set[str]:
    """What rows can be sorted by."""
    return {column_name(column) for table in tables for column in table.columns} - {CLASSES} | {NAME, FAMILY}


def sorted_rows(tables: Sequence[Table], name: str) -> list[Table]:
    """The tables with their rows by a column: the best first, of costs the lowest; without a figure last.

    Raises:
        UserError: a column that no table has.
    """
    if name not in sort_names(tables):
        raise unknown("column to sort by", name, sort_names(tables))
    return [_sorted(table, name) for table in tables]


def _sorted(table: Table, name: str) -> Table:
    places = _places(table, name)
    if places is None:
        return table
    order = places.sort_values(kind="stable", na_position="last").index
    titles = list(table.frame.loc[order, "Model"])
    sure = table.sure
    if len(sure.frame):
        by_title = sure.frame["Model"].map(titles.index).sort_values(kind="stable").index
        sure = replace(
            sure,
            frame=sure.frame.loc[by_title].reset_index(drop=True),
            marks=sure.marks.loc[by_title].reset_index(drop=True),
            ranks=sure.ranks.loc[[title for title in titles if title in sure.ranks.index]],
        )
    frame, marks = (frame.loc[order].reset_index(drop=True) for frame in (table.frame, table.marks))
    return replace(table, frame=frame, marks=marks, sure=sure)


def _places(table: Table, name: str) -> pd.Series[float] | pd.Series[str] | None:
    """What the rows are sorted by, lowest first; None where the table has no such column."""
    if name == NAME:
        return table.frame["Model"].str.lower()
    if name == FAMILY:
        return table.frame["Model"].map(table.figures.drop_duplicates("title").set_index("title")["family"])
    column = next((column for column in table.columns if column_name(column) == name), None)
    if column is None:
        return None
    dearest_last = 1 if column.metric not in ("speed", "speed_fused") else -1
    return table.frame[column.header].astype(float) * (-column.merit or dearest_last)
