"""A table in short: its first rows, few columns, and put into a file of the user's own between two markers.

Cut from tables that are made already: no figure is computed here, so that a short table says what the long one says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.apart import measure_of
from bench.analysis.comparison import RECONSTRUCTION, Table
from bench.analysis.footnotes import is_of_choice
from bench.analysis.sheet import Sheet
from bench.analysis.throughput import FORMS
from bench.errors import UserError
from bench.records.store import write_text
from bench.report.table_sheets import texts

if TYPE_CHECKING:
    from bench.analysis.certainty import Certainty

INTERVAL = " [95 %]"  # behind a measure's name, in the header of its intervals
BEGIN, END = "<!-- begin: {} -->", "<!-- end -->"
COSTS = ("params", "macs", *FORMS.values())


def top_rows(table: Table, count: int) -> Table:
    """The table's first rows, the proposed model and the reference always among them; a footnote tells of the others.

    Marks and shares of ranks stay those of the whole table.
    """
    titles = list(table.frame["Model"])
    always = [title for title in dict.fromkeys((_proposed(table), table.sure.reference)) if title in titles]
    rest = [title for title in titles if title not in always]
    late = [title for title in always if title not in titles[:count]]
    kept = [*always, *rest[: max(0, count - len(always))]] if late else titles[:count]
    if len(kept) == len(titles):
        return table
    note = f"{len(kept)} of {len(titles)} rows: the first ones and the proposed model."
    if table.sure.reference in titles and table.sure.reference != _proposed(table):
        note = f"{len(kept)} of {len(titles)} rows: the first ones and {table.sure.reference}."
    return with_rows(table, kept, note)


def with_rows(table: Table, kept: Sequence[str], note: str) -> Table:
    """The table's rows of these titles, in its own order, and a footnote on the others."""
    rows = table.frame["Model"].isin(kept)
    return replace(
        table,
        frame=table.frame[rows].reset_index(drop=True),
        marks=table.marks[rows].reset_index(drop=True),
        figures=table.figures[table.figures["title"].isin(kept)],
        sure=_certainty_of(table.sure, kept),
        footnotes=(*table.footnotes, note),
    )


def _proposed(table: Table) -> str | None:
    """The title of the row that differences are taken from where it is a proposed model, else of the first such row."""
    proposed = list(table.figures.loc[table.figures["family"] == "proposed", "title"].unique())
    if table.sure.reference in proposed:
        return table.sure.reference
    return next((title for title in table.frame["Model"] if title in proposed), None)


def _certainty_of(sure: Certainty, kept: Sequence[str]) -> Certainty:
    if sure.frame.empty:
        return sure
    rows = sure.frame["Model"].isin(list(kept))
    return replace(
        sure,
        frame=sure.frame[rows].reset_index(drop=True),
        marks=sure.marks[rows].reset_index(drop=True),
        gaps={title: gap for title, gap in sure.gaps.items() if title in kept},
        figures={title: figure for title, figure in sure.figures.items() if title in kept},
        ranks=sure.ranks.loc[sure.ranks.index.isin(list(kept))],
    )


def brief_sheet(table: Table, chosen: bool = False) -> Sheet:
    """A table's few columns: the model, its figures with their intervals, what it costs, its seeds.

    Where nothing is claimed (one seed), and in a row that has no interval, the figures stand without.

    Args:
        chosen: the table's columns were asked for, and are shown all.
    """
    frame, intervals = table.frame[["Model"]].copy(), _intervals(table)
    claims = bool(len(intervals.columns))
    for column in table.columns:
        measure = measure_of(table.sure, column) if claims else None
        header = f"{measure.name}{INTERVAL}" if measure is not None else column.header
        plain = texts(table.frame[column.header], column.decimals)
        if measure is not None and header in intervals:
            known = frame["Model"].map(intervals[header])
            frame[header] = [text if pd.isna(one) else one for one, text in zip(known, plain, strict=True)]
        elif chosen or column.metric in COSTS or (column.merit and not claims):
            frame[column.header] = plain
    frame["Seeds"] = table.frame["Seeds"].astype(str)
    return Sheet(_caption(table), frame, _notes(table), name=f"{table.name}-{table.key}-brief")


def _intervals(table: Table) -> pd.DataFrame:
    """Of a table's intervals those of the figures themselves, not those of differences; a row per title."""
    figures = [f"{name}{INTERVAL}" for name in table.sure.measures]
    return table.sure.frame.set_index("Model")[figures] if figures else pd.DataFrame()


def _caption(table: Table) -> str:
    """The table's caption, but for its lists of models."""
    sentences = table.caption.rstrip(".").split(". ")
    return ". ".join(sentence for sentence in sentences if not _lists_models(sentence)) + "."


def _lists_models(sentence: str) -> bool:
    return sentence.startswith("Reduced width") or sentence.endswith(RECONSTRUCTION)


def _notes(table: Table) -> tuple[str, ...]:
    """What the titles and the intervals mean, and how many rows are left out; the rest stands below the long table."""
    shown = " ".join(table.frame["Model"])
    titles = [
        "(reduced): a smaller form of a published network, which says nothing about that one" * ("(reduced)" in shown),
        f"(reconstr.): {RECONSTRUCTION}" * ("(reconstr.)" in shown),
    ]
    rows = [note for note in table.footnotes if is_of_choice(note)]
    speed = [note for note in table.footnotes if note.startswith("x ")]
    named = "; ".join(filter(None, titles))
    return (*rows, *([f"{named}."] if named else []), *speed, table.sure.caption)


def write_into(path: Path, name: str, text: str) -> None:
    """Replaces what stands between a file's markers `<!-- begin: NAME -->` and `<!-- end -->`; the rest stays.

    Raises:
        UserError: the file cannot be read or written, or has not these two markers, once and in this order.
    """
    begin = BEGIN.format(name)
    try:
        old = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {path}: {getattr(error, 'strerror', None) or 'it is no UTF-8'}.") from None
    head, first, rest = old.partition(begin)
    _, last, tail = rest.partition(END)
    if not (first and last) or begin in rest:
        raise UserError(
            f"Expected one {begin} and an {END} behind it in {path}, but found {old.count(begin)} of the first: write "
            "both on lines of their own where the table belongs."
        )
    try:
        write_text(path, f"{head}{begin}\n{text.strip()}\n{END}{tail}")
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from None
