"""A small table of texts with a caption above and notes below, for a terminal, in Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.report.escaping import csv_safe, latex_label, latex_text, markdown_text, stacked

if TYPE_CHECKING:
    from rich.table import Table as RichTable

STACKED = 6  # columns from which LaTeX stacks headers a word a line and sets the table small


def to_rich(sheet: Sheet) -> RichTable:
    """For a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table as RichTable
    from rich.text import Text

    title, notes = Text(sheet.caption), Text("\n".join(sheet.notes))
    rich = RichTable(title=title, caption=notes, box=SIMPLE, padding=0, title_justify="left", caption_justify="left")
    wide = sheet.frame.shape[1] >= STACKED
    for k, name in enumerate(sheet.frame.columns):
        rich.add_column(Text(name), justify="right" if k else "left", no_wrap=k > 0 and not wide)
    for row in sheet.rows():
        rich.add_row(*(Text(text, style="bold" if mark else "") for text, mark in row))
    return rich


def render_sheets(sheets: Sequence[Sheet], form: str) -> str:
    """The text of all as `markdown`, `latex` or `csv`."""
    if form == "csv":
        return to_csv(sheets)
    return "\n".join(map(to_markdown if form == "markdown" else to_latex, sheets))


def to_markdown(sheet: Sheet) -> str:
    """A GitHub table below its caption and above its notes."""
    lines = [markdown_text(sheet.caption), ""]
    if len(sheet.frame):
        rows = [[f"**{markdown_text(t)}**" if mark else markdown_text(t) for t, mark in row] for row in sheet.rows()]
        head, *rest = [f"| {' | '.join(row)} |" for row in [list(map(markdown_text, sheet.frame.columns)), *rows]]
        lines += [head, f"| --- |{' ---: |' * (sheet.frame.shape[1] - 1)}", *rest, ""]
    return "\n".join([*lines, *(f"- {markdown_text(note)}" for note in sheet.notes)]).rstrip("\n") + "\n"


def to_latex(sheet: Sheet) -> str:
    """A `table` float for article and booktabs, everything escaped."""
    caption = latex_text(sheet.caption)
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in sheet.notes)
    if not len(sheet.frame):
        return f"\\begin{{table}}[htbp]\n\\centering\n\\caption{{{caption}}}\n{notes}\\end{{table}}\n"
    columns = sheet.frame.shape[1]
    texts = sheet.frame.map(latex_text)
    marks = [["textbf:--rwrap;" if mark else "" for _, mark in row] for row in sheet.rows()]
    commands: Any = pd.DataFrame(marks, texts.index, texts.columns)
    latex = (
        texts.style.hide(axis="index")
        .apply(lambda _: commands, axis=None)
        .format_index(lambda name: (stacked if columns >= STACKED else latex_text)(str(name)), axis="columns")
        .to_latex(
            hrules=True,
            caption=caption,
            label=f"tab:{latex_label(sheet.name)}" if sheet.name else None,
            position="htbp",
            position_float="centering",
            column_format="l" + "r" * (columns - 1),
        )
    )
    size, gap = ("tiny", 2) if columns > 8 else ("scriptsize", 3) if columns >= STACKED else ("footnotesize", 3)
    latex = latex.replace("\\centering\n", f"\\centering\n\\{size}\n\\setlength{{\\tabcolsep}}{{{gap}pt}}\n", 1)
    return latex.replace("\\end{table}\n", f"{notes}\\end{{table}}\n")


def to_csv(sheets: Sequence[Sheet]) -> str:
    """All in long form: the sheet's name, the row's, the column's, and the text."""
    columns = ["table", "row", "figure", "value"]
    long = []
    for sheet in sheets:
        own = sheet.frame.melt(id_vars=sheet.frame.columns[0], var_name="figure").assign(table=sheet.name)
        long.append(own.rename(columns={sheet.frame.columns[0]: "row"})[columns])
    frame = pd.concat(long, ignore_index=True) if long else pd.DataFrame(columns=columns)
    return csv_safe(frame).to_csv(index=False, lineterminator="\n")
