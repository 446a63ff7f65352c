"""Tables and texts on a terminal: no line over its width, no word or number broken, what has no room is named.

Every table that is printed goes through `show`. A terminal that is too narrow gets fewer columns, and their names
below; `--wide` gets all, and so does what is no terminal, a pipe or a file, unless COLUMNS says how wide it is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

WIDE = 160  # columns of what is no terminal, and of --wide where the terminal has fewer
CAPTION_LINES = 3
LONGEST = 30  # a word beyond that, such as the path of a file, may end after a sign in it
# What a column of words has at least, where its longest text has as much: the rows' names, and any other; no text but
# those names takes more than about three lines.
NAMES, WORDS, TEXT_LINES = 24, 16, 3
FIGURE = 24  # a column of figures with a longer text than that is one of words
BREAKS = re.compile(r"(?<=\s)(?=[^\s%])|(?<=,)(?=[^\s\d])|(?<=[^\s\[(])(?=\[)")
SIGNS = re.compile(r"(?<=[/:=_-])(?=\w)")
LABEL = re.compile(r"^ *(?:\d+\. |\S+(?: \S+)? {2,})?")  # what a line's text stands behind: `classes   `, `  1. `
SENTENCES = re.compile(r"(?<=\.) (?=\S)")
CLAUSES = re.compile(r"(?<=[,;:]) | (?=with )")


class Screen(Console):
    """A console that knows how much a table may show, and whose closed pipe (`| head`) does not end a run.

    Attributes:
        wide: whether tables show all their columns.
    """

    def __init__(self, wide: bool = False, **options: Any) -> None:
        super().__init__(**options)
        columns = os.environ.get("COLUMNS", "")
        has_width = bool(options.get("width") or (columns.isdecimal() and int(columns)))
        if not has_width and not self.is_terminal:
            self.width = WIDE
        self.wide = wide or not (self.is_terminal or has_width)

    def on_broken_pipe(self) -> None:
        """Goes on without printing."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def print_note(self, text: str, style: str = "", indent: int = 0) -> None:
        """Prints a text as it is, wrapped between words; lines but the first are indented."""
        first, *others = wrap(text, self.width)
        if others and indent:
            others = [f"{' ' * indent}{line}" for line in wrap(text[len(first) :].lstrip(), self.width - indent)]
        for line in (first, *others):
            self.print(Text(line, style), soft_wrap=True)

    def print_lines(self, text: str) -> None:
        """Prints lines as they are; on a terminal wrapped between words, below where their text starts."""
        for line in text.splitlines():
            label = LABEL.search(line)
            if self.is_terminal and label is not None:
                self.print_note(line, indent=min(label.end() or 2, self.width // 2))
            else:
                self.print(Text(line), soft_wrap=True)


@dataclass(frozen=True)
class ScreenColumn:
    """One column of a table on a terminal.

    Attributes:
        name: what it is called where it has no room.
        head: what stands above it, a line each; blank: the name, wrapped.
        words: whether it holds texts, which stand to the left and wrap; figures stand to the right and whole.
        detail: a narrow terminal leaves out the highest first, of equals the last.
    """

    name: str
    head: str = ""
    words: bool = False
    detail: int = 0


@dataclass(frozen=True)
class ScreenTable:
    """A table on a terminal: `rows` hold a text and its style for each column.

    The first column is always shown, and of two, as of names and their values, the second too.
    """

    caption: str
    columns: tuple[ScreenColumn, ...]
    rows: Sequence[Sequence[tuple[str, str]]]
    notes: tuple[str, ...] = ()


def show(screen: Screen, table: ScreenTable) -> None:
    """Prints a table below at most three lines of its caption, and above the rest of it and the notes."""
    caption, rest = split_caption(table.caption, screen.width)
    for line in caption:
        screen.print(Text(line, "italic"), soft_wrap=True)
    widths = fit(table, max(screen.width, WIDE) if screen.wide else screen.width, everything=screen.wide)
    left_out = [column.name for column, width in zip(table.columns, widths, strict=True) if width is None]
    if table.rows:
        _print_body(screen, table, widths)
    if left_out:
        names = "; ".join(name.replace("\n", " ") for name in left_out)
        screen.print_note(f"not shown at {screen.width} columns: {names}; --wide shows all")
    for note in filter(None, (rest, *table.notes)):
        screen.print_note(note, "dim")
    screen.print()


def _print_body(screen: Screen, table: ScreenTable, widths: Sequence[int | None]) -> None:
    """Printed at the table's own width, so that rich neither breaks a word nor cuts a line."""
    body = Table(box=SIMPLE, padding=0)
    kept = [k for k, width in enumerate(widths) if width is not None]
    for k in kept:
        column, width = table.columns[k], widths[k]
        head = "\n".join(wrap(column.head or column.name, width or 0))
        body.add_column(Text(head), justify="left" if column.words else "right", width=width, no_wrap=True)
    for row in table.rows:
        texts = ((row[k], widths[k] or 0, table.columns[k].words) for k in kept)
        body.add_row(*(Text("\n".join(wrap(t, w) if words else [t]), style) for (t, style), w, words in texts))
    options = screen.options.update(width=_total(width for width in widths if width is not None))
    screen.print(Segments(screen.render(body, options)), crop=False)


def fit(table: ScreenTable, width: int, everything: bool = False) -> list[int | None]:
    """The width of each column, None for one that is left out; `everything` leaves out none, however wide."""
    texts = [[row[k][0] for row in table.rows] for k in range(len(table.columns))]
    bounds = [_bounds(column, texts[k], k == 0) for k, column in enumerate(table.columns)]
    pair = len(bounds) == 2
    if pair:
        room = width - _total((bounds[0][0], 0))
        bounds[1] = (max(_narrowest(table.columns[1], texts[1]), min(bounds[1][0], room)), bounds[1][1])
    order = sorted(range(len(bounds)), key=lambda k: (k > 0, table.columns[k].detail, k))
    widths: dict[int, int] = {}
    for k in order:
        if not widths or pair or everything or _total([*widths.values(), bounds[k][0]]) <= width:
            widths[k] = bounds[k][0]
    spare = width - _total(widths.values())
    for k in order:
        if k in widths and spare > 0:
            more = min(spare, bounds[k][1] - widths[k])
            widths[k] += more
            spare -= more
    return [widths.get(k) for k in range(len(bounds))]


def _bounds(column: ScreenColumn, texts: Sequence[str], names: bool) -> tuple[int, int]:
    """What a column needs, and what it can use."""
    narrowest = _narrowest(column, texts)
    if not column.words:
        return narrowest, narrowest
    most = max([narrowest, *map(cell_len, texts)])
    usual = NAMES if names else max(WORDS, -(-most // TEXT_LINES))
    return max(narrowest, min(most, usual)), most


def _narrowest(column: ScreenColumn, texts: Sequence[str]) -> int:
    """What the longest figure of a column takes, or the longest piece of one of words."""
    wrapped = [piece for text in texts for piece in pieces(text)] if column.words else texts
    return max(map(cell_len, (*pieces(column.head or column.name), *wrapped)), default=0)


def _total(widths: Iterable[int]) -> int:
    """A blank before each column, and one at the end."""
    known = list(widths)
    return sum(known) + len(known) + 1


def pieces(text: str) -> list[str]:
    """The text between the places where a line may end: blanks, commas, and brackets that open."""
    words = [word.strip() for line in text.splitlines() for word in BREAKS.split(line)]
    return [part for word in words for part in (SIGNS.split(word) if cell_len(word) > LONGEST else [word])]


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells that end between words; a single word that is longer has a line of its own."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        lines.append("")
        for word in BREAKS.split(paragraph):
            for part in SIGNS.split(word) if cell_len(word.rstrip()) > width else [word]:
                if lines[-1].strip() and cell_len((lines[-1] + part).rstrip()) > width:
                    lines.append("")
                lines[-1] += part
    return [line.rstrip() for line in lines]


def split_caption(caption: str, width: int) -> tuple[list[str], str]:
    """The lines of the sentences that have room in three, and the rest.

    Of a sentence that has no room as a whole its first clauses are shown, and it stands in the rest as well.
    """
    sentences, shown = SENTENCES.split(caption), ""
    while sentences and _has_room(f"{shown} {sentences[0]}", width):
        shown = f"{shown} {sentences.pop(0)}"
    clauses = CLAUSES.split(sentences[0]) if sentences else []
    for k in range(len(clauses) - 1, 0, -1):
        if _has_room(begun := f"{shown} {' '.join(clauses[:k])} ...", width):
            shown = begun
            break
    return wrap(shown.strip(), width)[:CAPTION_LINES], " ".join(sentences)


def _has_room(text: str, width: int) -> bool:
    return len(wrap(text.strip(), width)) <= CAPTION_LINES


def is_words(texts: Iterable[str]) -> bool:
    """Whether a column is too wide to stand whole: it wraps like one of words."""
    return max(map(cell_len, texts), default=0) > FIGURE
