"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.comparison import CSV, Table, summarise
from bench.analysis.shown import DEFAULT, Shown
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
    sure_to_rich,
)
from bench.report.escaping import csv_safe, first_column, latex_label, latex_text, markdown_text, stacked
from bench.report.leaks import audit_notes, with_leaks
from bench.report.notes import few, in_a_line, notes_text

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table as RichTable


def results_tables(
    results: str | Path,
    comparisons: Collection[str] | None = None,
    dataset: str | None = None,
    classes: bool = False,
    asked: Collection[str] | None = (),
    tests: bool = False,
    shown: Shown = DEFAULT,
) -> tuple[list[Table], tuple[str, ...]]:
    """The tables of a results folder: all, or those of some comparison keys or of one dataset.

    Beside them, in lines, what of the folder was left out: damaged records are named and take no table away.

    Arms of ablations are set aside but for those of `asked`; None shows them all. p-values are shown with `tests`;
    `shown` says which of the stored figures.

    Where its `profiles` hold a model's speed at the same input, the table shows it.

    Raises:
        UserError: no such folder, no records in it, or none of that dataset.
    """
    cells, cases = load_cells(results), load_cases(results)
    profiles = load_profiles(results)
    notes = (*cells.attrs["notes"], *profiles.attrs["notes"], *audit_notes(results))
    if not len(cells):
        raise UserError(
            f"No records in {str(results)!r}. Run `medbench run` first, or name another with --results DIR."
            f"{in_a_line(notes)}"
        )
    if dataset is not None:
        if dataset not in set(cells["dataset"]):
            raise unknown("dataset among the records", dataset, set(cells["dataset"]))
        cells = cells[cells["dataset"] == dataset]
    if comparisons is not None:
        cells = cells[cells["comparison"].isin(list(comparisons))]
    cells, clashes = _without_clashes(cells)
    overall = {"mean": "mean (class)"}  # `mean` is what stands for the mean over classes
    cases = cases.assign(**{"class": cases["class"].where(cases["outcome"].isna(), cases["class"].replace(overall))})
    cells, cases = with_units(with_leaks(cells, results), cases, results)
    cells = with_throughput(cells.reset_index(drop=True), profiles)
    return summarise(cells, cases, classes, asked, tests, shown), (*notes, *clashes)


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


def print_tables(console: Console, tables: list[Table], notes: Sequence[str] = ()) -> None:
    """Prints tables on a terminal, and below them what was left out."""
    for table in tables:
        console.print(to_rich(table))
        by_class = class_sheet(table)
        if by_class is not None:
            console.print(sheets.to_rich(by_class))
        console.print(sure_to_rich(table))
        for line in ("Claims checklist", *(f"  {line}" for line in table.checklist), ""):
            console.print(line, markup=False, highlight=False)
    for line in few(notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def render_tables(tables: list[Table], form: str, notes: Sequence[str] = ()) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`; `ranks` is how often each model has each rank.

    Args:
        notes: what was left out, in lines, to stand below.
    """
    if form == "csv":
        return to_csv(tables, notes)
    if form == "ranks":
        return "\n".join(map(ranks_to_markdown, tables)) + notes_text(notes)
    if form == "rich":
        from rich.console import Console

        console = Console(file=io.StringIO(), width=120)
        print_tables(console, tables, notes)
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
    return "\n".join(texts) + notes_text(notes, form)


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
    texts, first = first_column(pd.DataFrame(_texts(table)).map(latex_text))
    commands = table.marks.replace({"best": "textbf:--rwrap;", "second": "underline:--rwrap;"})[texts.columns]
    styler = texts.style.hide(axis="index").apply(lambda _: commands, axis=None)
    styler = styler.format_index(lambda name: stacked(str(name), narrow), axis="columns")
    latex = styler.to_latex(
        hrules=True,
        caption=latex_text(table.caption),
        label=f"tab:{latex_label(table.name)}-{table.key}",
        position="htbp",
        position_float="centering",
        column_format=first + "r" * (len(texts.columns) - 1),
    )
    size, gap = ("scriptsize", 2.0) if len(texts.columns) > 10 else ("footnotesize", 3.0)
    if narrow:
        gap = 1.4 if len(texts.columns) == 14 else 1.0
    latex = latex.replace("\\centering\n", f"\\centering\n\\{size}\n\\setlength{{\\tabcolsep}}{{{gap:g}pt}}\n", 1)
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in table.footnotes)
    return latex.replace("\\end{table}\n", f"{notes}\\end{{table}}\n")


def to_csv(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """All tables as one long CSV: a row per comparison, model, metric and class, numbers in full.

    Behind a comparison's figures stand those of `certainty_text.sure_rows`: differences, ranks, and the checklist. The
    last rows, of metric `note`, say what was left out.
    """
    frames = [frame for table in tables for frame in (table.figures, sure_rows(table).reindex(columns=CSV))]
    if notes:
        frames.append(pd.DataFrame([{"metric": "note", "text": note} for note in few(notes)], columns=CSV))
    frame = pd.concat(frames or [pd.DataFrame(columns=CSV)], ignore_index=True)
    return csv_safe(frame).to_csv(index=False, lineterminator="\n")
