"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError, unknown
from bench.report.tables import Table, summarise, to_csv, to_latex, to_markdown, to_rich
from bench.store import load_cases, load_cells

if TYPE_CHECKING:
    from rich.console import Console


def results_tables(
    results: str | Path, comparisons: Collection[str] | None = None, dataset: str | None = None, classes: bool = False
) -> list[Table]:
    """The tables of a results folder: all, or those of some comparison keys or of one dataset.

    Raises:
        UserError: no such folder, no records in it, or none of that dataset.
    """
    cells, cases = load_cells(results), load_cases(results)
    if not len(cells):
        raise UserError(
            f"No records in {str(results)!r}. Run `medbench run` first, or name another with --results DIR."
        )
    if dataset is not None:
        if dataset not in set(cells["dataset"]):
            raise unknown("dataset among the records", dataset, set(cells["dataset"]))
        cells = cells[cells["dataset"] == dataset]
    if comparisons is not None:
        cells = cells[cells["comparison"].isin(list(comparisons))]
    return summarise(cells.reset_index(drop=True), cases, classes)


def print_tables(console: Console, tables: list[Table]) -> None:
    """Prints tables on a terminal."""
    for table in tables:
        console.print(to_rich(table))


def render_tables(tables: list[Table], form: str) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`."""
    if form == "csv":
        return to_csv(tables)
    if form == "rich":
        from rich.console import Console

        console = Console(file=io.StringIO(), width=120)
        print_tables(console, tables)
        return console.file.getvalue()  # type: ignore[attr-defined]
    render = to_markdown if form == "markdown" else to_latex
    return "\n".join(map(render, tables))
