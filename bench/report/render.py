"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.errors import UserError, unknown
from bench.profiles import load_profiles
from bench.report import sheets
from bench.report.by_class import class_sheet
from bench.report.certainty_text import (
    ranks_to_markdown,
    sure_rows,
    sure_to_latex,
    sure_to_markdown,
    sure_to_rich,
)
from bench.report.escaping import latex_text, markdown_text, stacked
from bench.report.leaks import with_leaks
from bench.report.tables import CSV, Table, summarise
from bench.report.throughput import with_throughput
from bench.report.units import with_units
from bench.store import load_cases, load_cells

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table as RichTable


def results_tables(
    results: str | Path,
    comparisons: Collection[str] | None = None,
    dataset: str | None = None,
    preset: str | None = None,
    classes: bool = False,
    asked: Collection[str] | None = (),
) -> list[Table]:
    """The tables of a results folder: all, or those of some comparison keys, of one dataset or of one preset.

    Arms of ablations are set aside but for those of `asked`; None shows them all.

    Where its `profiles` hold a model's speed at the same input, the table shows it.

    Raises:
        UserError: no such folder, no records in it, or none of that dataset or preset.
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
    if preset is not None:
        if preset not in set(cells["preset"]):
            raise unknown("preset among the records", preset, set(cells["preset"]))
        cells = cells[cells["preset"] == preset]
    if comparisons is not None:
        cells = cells[cells["comparison"].isin(list(comparisons))]
    cells, cases = with_units(with_leaks(cells, results), cases, results)
    cells = with_throughput(cells.reset_index(drop=True), load_profiles(results))
    return summarise(cells, cases, classes, asked)


def print_tables(console: Console, tables: list[Table]) -> None:
    """Prints tables on a terminal."""
    for table in tables:
        console.print(to_rich(table))
        by_class = class_sheet(table)
        if by_class is not None:
            console.print(sheets.to_rich(by_class))
        console.print(sure_to_rich(table))
        for line in ("Claims checklist", *(f"  {line}" for line in table.checklist), ""):
            console.print(line, markup=False, highlight=False)


def render_tables(tables: list[Table], form: str) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`; `ranks` is how often each model has each rank."""
    if form == "csv":
        return to_csv(tables)
    if form == "ranks":
        return "\n".join(map(ranks_to_markdown, tables))
    if form == "rich":
        from rich.console import Console

        console = Console(file=io.StringIO(), width=120)
        print_tables(console, tables)
        return console.file.getvalue()  # type: ignore[attr-defined]
    own, of_class, sure = (
        (to_markdown, sheets.to_markdown, sure_to_markdown)
        if form == "markdown"
        else (to_latex, sheets.to_latex, sure_to_latex)
    )
    texts = []
    for table in tables:
        by_class = class_sheet(table)
        texts += [own(table), *([] if by_class is None else [of_class(by_class)]), sure(table)]
    return "\n".join(texts)


def _texts(table: Table) -> list[dict[str, str]]:
    """The frame's rows as shown: fixed decimals, blank where a figure is not defined."""
    rows = [{"Model": str(model)} for model in table.frame["Model"]]
    for c in table.columns:
        for row, value in zip(rows, table.frame[c.header], strict=True):
            row[c.header] = "" if pd.isna(value) else f"{value:.{c.decimals}f}"
    return [{**row, "Seeds": str(seeds)} for row, seeds in zip(rows, table.frame["Seeds"], strict=True)]


def to_rich(table: Table) -> RichTable:
    """For a terminal of 100 columns: short headers; deviations of HD95 are left to the other formats."""
    from rich.box import SIMPLE
    from rich.table import Table as RichTable
    from rich.text import Text

    headers = {"Model": "Model", **{c.header: c.short for c in table.columns if c.short}, "Seeds": "Seeds"}
    title, caption = Text(table.caption), Text("\n".join(table.footnotes))
    rich = RichTable(title=title, caption=caption, box=SIMPLE, padding=0, caption_justify="left")
    for name, short in headers.items():
        side: JustifyMethod = "left" if name == "Model" else "right"
        least, most = {"Model": (12, None), "Seeds": (None, 9)}.get(name, (None, None))
        figure = name not in ("Model", "Seeds")
        rich.add_column(Text(short), justify=side, no_wrap=figure, min_width=least, max_width=most)
    styles = {"best": "bold", "second": "underline", "": ""}
    for row, marks in zip(_texts(table), table.marks.to_dict("records"), strict=True):
        rich.add_row(*(Text(row[name], style=styles[marks[name]]) for name in headers))
    return rich


def to_markdown(table: Table) -> str:
    """A GitHub table below its caption and above its footnotes; best bold, second underlined."""
    wraps = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    headers = ["Model", *(c.header for c in table.columns), "Seeds"]
    rows = [[markdown_text(name) for name in headers], ["---"] + ["---:"] * (len(headers) - 1)]
    for row, marks in zip(_texts(table), table.marks.to_dict("records"), strict=True):
        rows.append([wraps[marks[name]].format(markdown_text(row[name])) for name in headers])
    lines = [markdown_text(table.caption), "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", *(f"- {markdown_text(note)}" for note in table.footnotes)]) + "\n"


def to_latex(table: Table) -> str:
    """A `table` float for article and booktabs, everything escaped; best bold, second underlined."""
    narrow = len(table.frame.columns) > 13
    texts = pd.DataFrame([{stacked(k, narrow): latex_text(v) for k, v in row.items()} for row in _texts(table)])
    commands = table.marks.replace({"best": "textbf:--rwrap;", "second": "underline:--rwrap;"})
    commands.columns = texts.columns
    styler = texts.style.hide(axis="index").apply(lambda _: commands, axis=None)
    latex = styler.to_latex(
        hrules=True,
        caption=latex_text(table.caption),
        label=f"tab:{table.name}-{table.key}",
        position="htbp",
        position_float="centering",
        column_format="l" + "r" * (len(texts.columns) - 1),
    )
    size, gap = ("scriptsize", 2.0) if len(texts.columns) > 10 else ("footnotesize", 3.0)
    if narrow:
        gap = 1.4 if len(texts.columns) == 14 else 1.0
    latex = latex.replace("\\centering\n", f"\\centering\n\\{size}\n\\setlength{{\\tabcolsep}}{{{gap:g}pt}}\n", 1)
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in table.footnotes)
    return latex.replace("\\end{table}\n", f"{notes}\\end{{table}}\n")


def to_csv(tables: Sequence[Table]) -> str:
    """All tables as one long CSV: a row per comparison, model, metric and class, numbers in full.

    Behind a comparison's figures stand those of `certainty_text.sure_rows`: differences, ranks, and the checklist.
    """
    frames = [frame for table in tables for frame in (table.figures, sure_rows(table).reindex(columns=CSV))]
    return pd.concat(frames or [pd.DataFrame(columns=CSV)], ignore_index=True).to_csv(index=False, lineterminator="\n")
