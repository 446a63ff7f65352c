"""LaTeX for a paper: floats that fit its column, and in comments all that a table of a report says beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bench.analysis.comparison import Table
from bench.analysis.literature import Published
from bench.analysis.sheet import Sheet
from bench.report.escaping import latex_text
from bench.report.notes import few
from bench.report.paper_float import lay_out, signs, to_float
from bench.report.paper_tables import (
    accuracy_float,
    class_float,
    cost_float,
    sheet_float,
    significance_float,
    with_published,
)
from bench.report.paper_words import Wishes, comments, comments_of, evaluation, head_comments

FLOATS = {
    "accuracy": accuracy_float,
    "cost": cost_float,
    "per-class": class_float,
    "significance": significance_float,
}


def paper_text(
    tables: Sequence[Table],
    wishes: Wishes,
    notes: Sequence[str] = (),
    published: Mapping[str, Sequence[Sequence[Published]]] | None = None,
) -> str:
    """A float for each comparison, below it in comments what it leaves out, and the paragraph on the evaluation.

    Of the kind `evaluation` the paragraphs alone, as text.

    Args:
        notes: what was left out of all tables, in lines.
        published: comparison -> rows of published figures (`bench.analysis.literature.beside`), of `accuracy` alone.
    """
    parts = [head_comments(wishes)]
    for table in tables:
        if wishes.kind == "evaluation":
            parts.append(f"{{\\sloppy {_paragraph(table)}\\par}}\n")
            continue
        made, rows = FLOATS[wishes.kind](table, wishes), (published or {}).get(table.key, ())
        if rows and wishes.kind == "accuracy":
            made = with_published(table, made, wishes, rows)
        laid = lay_out(made, wishes.width)
        text = to_float(laid, wishes.width) if laid.table.rows else comments([f"No row for {laid.caption}"])
        text += comments(map(_differs, rows))
        paragraph = comments(["A paragraph for the section on the evaluation (--table evaluation):"])
        paragraph += comments([_paragraph(table)])
        parts.append(f"{text}{comments_of(table, wishes, laid.further, laid.dropped)}{paragraph}")
    return "\n".join([*parts, *([comments(few(notes))] if notes else [])])


def _differs(row: Sequence[Published]) -> str:
    """What is known of a published row that differs from the table, and why it is in doubt."""
    first = row[0]
    doubt = f" In doubt: {first.flag}." if first.flag else ""
    return f"Published: {first.model}, {first.differs or 'set-up not stated'}.{doubt} Source: {first.source}"


def _paragraph(table: Table) -> str:
    """The sentences on the evaluation as LaTeX, in which long names may be broken behind their commas."""
    return re.sub(r",(?=\w)", r",\\allowbreak{}", signs(latex_text(" ".join(evaluation(table)))))


def paper_sheets(sheets: Sequence[Sheet], wishes: Wishes, notes: Sequence[str] = ()) -> str:
    """The same of sheets of texts: ablations, leaks."""
    parts = [head_comments(wishes)]
    for sheet in sheets:
        laid = lay_out(sheet_float(sheet, wishes), wishes.width)
        dropped = [f"Columns without room: {', '.join(laid.dropped)} (--width)."] if laid.dropped else []
        text = to_float(laid, wishes.width) if laid.table.rows else comments([f"No row for {laid.caption}"])
        parts.append(text + comments([*laid.further, *dropped, *sheet.notes]))
    return "\n".join([*parts, *([comments(few(notes))] if notes else [])])
