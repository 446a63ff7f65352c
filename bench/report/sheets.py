"""A small table of texts with a caption above and notes below, for a terminal, in Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.sheet import BOLD, PLAIN, UNDERLINED, Sheet
from bench.report.escaping import csv_text, first_column, latex_label, latex_text, markdown_text, stacked
from bench.report.screen import Screen, ScreenColumn, ScreenTable, is_words, show

STACKED = 6  # columns from which LaTeX stacks headers a word a line and sets the table small
MARKDOWN = {BOLD: "**{}**", UNDERLINED: "<u>{}</u>", PLAIN: "{}"}
LATEX = {BOLD: "textbf:--rwrap;", UNDERLINED: "underline:--rwrap;", PLAIN: ""}


@dataclass(frozen=True)
class Setting:
    """How LaTeX sets a table: the font's size, the gap between columns in pt, headers a word a line, narrow ones."""

    size: str
    gap: float
    stacked: bool = True
    narrow: bool = False


def to_screen(sheet: Sheet) -> ScreenTable:
    """For a terminal."""
    columns = tuple(
        ScreenColumn(
            name,
            sheet.heads.get(name, ""),
            words=k == 0 or name in sheet.left or is_words(sheet.frame.iloc[:, k]),
            detail=len(sheet.details) - sheet.details.index(name) if name in sheet.details else 0,
        )
        for k, name in enumerate(sheet.frame.columns)
    )
    return ScreenTable(sheet.caption, columns, sheet.rows(), sheet.notes)


def print_sheets(screen: Screen, sheets: Sequence[Sheet]) -> None:
    """Prints all on a terminal."""
    for sheet in sheets:
        show(screen, to_screen(sheet))


def render_sheets(sheets: Sequence[Sheet], form: str) -> str:
    """The text of all as `markdown`, `latex` or `csv`."""
    if form == "csv":
        return to_csv(sheets)
    return "\n".join(map(to_markdown if form == "markdown" else to_latex, sheets))


def to_markdown(sheet: Sheet) -> str:
    """A GitHub table below its caption and above its notes."""
    lines = [markdown_text(sheet.caption), ""]
    if len(sheet.frame):
        rows = [[MARKDOWN[mark].format(markdown_text(text)) for text, mark in row] for row in sheet.rows()]
        head, *rest = [f"| {' | '.join(row)} |" for row in [list(map(markdown_text, sheet.frame.columns)), *rows]]
        sides = ["---" if k == 0 or name in sheet.left else "---:" for k, name in enumerate(sheet.frame.columns)]
        lines += [head, f"| {' | '.join(sides)} |", *rest, ""]
    return "\n".join([*lines, *(f"- {markdown_text(note)}" for note in sheet.notes)]).rstrip("\n") + "\n"


def to_latex(sheet: Sheet, setting: Setting | None = None) -> str:
    """A `table` float for article and booktabs, everything escaped.

    Args:
        setting: None: by the number of columns.
    """
    setting = setting or _setting(sheet.frame.shape[1])
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in sheet.notes)
    texts, first = first_column(sheet.frame.map(latex_text)) if len(sheet.frame) else (sheet.frame, "l")
    commands: Any = sheet.marks.replace(LATEX)
    latex = (
        texts.style.hide(axis="index")
        .apply(lambda _: commands, axis=None)
        .format_index(
            lambda name: stacked(str(name), setting.narrow) if setting.stacked else latex_text(str(name)),
            axis="columns",
        )
        .to_latex(
            hrules=True,
            caption=latex_text(sheet.caption),
            label=f"tab:{latex_label(sheet.name)}" if sheet.name else None,
            position="htbp",
            position_float="centering",
            column_format=first + "r" * (sheet.frame.shape[1] - 1),
        )
    )
    if not len(sheet.frame):
        latex = latex.partition("\\begin{tabular}")[0] + "\\end{table}\n"
    small = f"\\centering\n\\{setting.size}\n\\setlength{{\\tabcolsep}}{{{setting.gap:g}pt}}\n"
    return latex.replace("\\centering\n", small, 1).replace("\\end{table}\n", f"{notes}\\end{{table}}\n")


def _setting(columns: int) -> Setting:
    size = "tiny" if columns > 8 else "scriptsize" if columns >= STACKED else "footnotesize"
    return Setting(size, 2 if columns > 8 else 3, columns >= STACKED)


def to_csv(sheets: Sequence[Sheet]) -> str:
    """All in long form: the sheet's name, the row's, the column's, and the text."""
    columns = ["table", "row", "figure", "value"]
    long = []
    for sheet in sheets:
        if sheet.frame.empty:
            continue
        texts = sheet.frame.melt(id_vars=sheet.frame.columns[0], var_name="figure").assign(table=sheet.name)
        long.append(texts.rename(columns={sheet.frame.columns[0]: "row"})[columns])
    return csv_text(pd.concat(long, ignore_index=True) if long else pd.DataFrame(columns=columns))
