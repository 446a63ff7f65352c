"""A small table of texts with a caption above and notes below, for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench.report.escaping import latex_text, markdown_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table. `frame` holds texts; the first column is the rows' names. Without rows there is the caption alone."""

    caption: str
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def to_rich(sheet: Sheet) -> RichTable:
    """For a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table as RichTable
    from rich.text import Text

    title, notes = Text(sheet.caption), Text("\n".join(sheet.notes))
    rich = RichTable(title=title, caption=notes, box=SIMPLE, padding=0, title_justify="left", caption_justify="left")
    for k, name in enumerate(sheet.frame.columns):
        rich.add_column(Text(name), justify="right" if k else "left", no_wrap=k > 0)
    for row in sheet.frame.itertuples(index=False):
        rich.add_row(*map(Text, row))
    return rich


def render_sheets(sheets: Sequence[Sheet], form: str) -> str:
    """The text of all as `markdown` or `latex`."""
    return "\n".join(map(to_markdown if form == "markdown" else to_latex, sheets))


def to_markdown(sheet: Sheet) -> str:
    """A GitHub table below its caption and above its notes."""
    lines = [markdown_text(sheet.caption), ""]
    if len(sheet.frame):
        rows = [list(sheet.frame.columns), *sheet.frame.to_numpy().tolist()]
        head, *rest = [f"| {' | '.join(map(markdown_text, row))} |" for row in rows]
        lines += [head, f"| --- |{' ---: |' * (sheet.frame.shape[1] - 1)}", *rest, ""]
    return "\n".join([*lines, *(f"- {markdown_text(note)}" for note in sheet.notes)]).rstrip("\n") + "\n"


def to_latex(sheet: Sheet) -> str:
    """A `table` float for article and booktabs, everything escaped."""
    lines = ["\\begin{table}[htbp]", "\\centering", "\\footnotesize", "\\setlength{\\tabcolsep}{3pt}"]
    lines.append(f"\\caption{{{latex_text(sheet.caption)}}}")
    if len(sheet.frame):
        rows = [list(sheet.frame.columns), *sheet.frame.to_numpy().tolist()]
        head, *rest = [" & ".join(map(latex_text, row)) + " \\\\" for row in rows]
        columns = "l" + "r" * (sheet.frame.shape[1] - 1)
        body = ["\\toprule", head, "\\midrule", *rest, "\\bottomrule"]
        lines += [f"\\begin{{tabular}}{{{columns}}}", *body, "\\end{tabular}"]
    lines += [f"\\par\\raggedright {latex_text(note)}" for note in sheet.notes]
    return "\n".join([*lines, "\\end{table}", ""])
