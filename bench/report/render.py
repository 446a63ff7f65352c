"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from bench.analysis.comparison import CSV, Table, kinds_of_models, summarise
from bench.analysis.throughput import with_throughput
from bench.analysis.units import with_units
from bench.errors import UserError, unknown
from bench.records.profiles import load_profiles
from bench.records.store import load_cases, load_cells
from bench.report import sheets
from bench.report.by_class import class_sheet
from bench.report.certainty_text import (
    ranks_to_markdown,
    sure_rows,
    sure_to_latex,
    sure_to_markdown,
    sure_to_screen,
)
from bench.report.escaping import latex_text, markdown_text, stacked
from bench.report.leaks import with_leaks
from bench.report.screen import WIDE, Screen, ScreenColumn, ScreenTable, show

CHECKLIST = "The claims checklist of each table: medbench report --checklist"


def results_tables(
    results: str | Path,
    comparisons: Collection[str] | None = None,
    dataset: str | None = None,
    classes: bool = False,
    asked: Collection[str] | None = (),
) -> list[Table]:
    """The tables of a results folder: all, or those of some comparison keys or of one dataset.

    Arms of ablations are set aside but for those of `asked`; None shows them all.

    Where its `profiles` hold a model's speed at the same input, the table shows it.

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
    cells, cases = with_units(with_leaks(cells, results), cases, results)
    cells = with_throughput(cells.reset_index(drop=True), load_profiles(results))
    return summarise(cells, cases, classes, asked)


def print_tables(screen: Screen, tables: list[Table], checklist: bool = False) -> None:
    """Prints tables; which models are reduced or reconstructed is said once, below the last.

    Args:
        checklist: the claims checklist too, which what is no terminal always gets.
    """
    checklist = checklist or not screen.is_terminal
    for table in tables:
        show(screen, to_screen(table))
        by_class = class_sheet(table)
        if by_class is not None:
            show(screen, sheets.to_screen(by_class))
        show(screen, sure_to_screen(table))
        if checklist:
            for line in ("Claims checklist", *(f"  {line}" for line in table.checklist)):
                screen.print_note(line, indent=4)
            screen.print()
    for line in (*kinds_of_models(tables), *([] if checklist else [CHECKLIST])):
        screen.print_note(line)


def render_tables(tables: list[Table], form: str) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`; `ranks` is how often each model has each rank."""
    if form == "csv":
        return to_csv(tables)
    if form == "ranks":
        return "\n".join(map(ranks_to_markdown, tables))
    if form == "rich":
        screen = Screen(wide=True, file=io.StringIO(), width=WIDE)
        print_tables(screen, tables, checklist=True)
        return screen.file.getvalue()  # type: ignore[attr-defined]
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


def to_screen(table: Table) -> ScreenTable:
    """For a terminal: short headers, best bold, second underlined; what is no heading stands in the notes."""
    columns = (
        ScreenColumn("Model", words=True),
        *(ScreenColumn(c.header, c.short, detail=c.detail) for c in table.columns),
        ScreenColumn("Seeds", words=bool(table.frame["Seeds"].str.len().gt(len("12 of 12")).any())),
    )
    styles = {"best": "bold", "second": "underline", "": ""}
    rows = [
        [(text, styles[marks[name]]) for name, text in row.items()]
        for row, marks in zip(_texts(table), table.marks.to_dict("records"), strict=True)
    ]
    return ScreenTable(table.heading, columns, rows, (table.about, *table.footnotes))


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
