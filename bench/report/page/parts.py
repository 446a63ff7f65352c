"""What a page is made of: sections in a fixed order, in each a part for each comparison, in each words and tables.

Rooms above this one (ablations) and work of others (galleries, the literature) hand in parts of their own; a section
without a part is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.analysis.sheet import BOLD, UNDERLINED, Sheet
from bench.report.escaping import plain
from bench.report.page.inline_svg import InlineFigure

# Id -> title, in the order of the page.
SECTIONS = {
    "conclusions": "What may and may not be concluded",
    "leaders": "Results",
    "cost": "Score against cost",
    "differences": "Differences",
    "training": "Learning curves",
    "cases": "Case by case",
    "gallery": "Worst, median and best",
    "ablation": "What each module is worth",
    "ranks": "Ranks",
    "classes": "By class",
    "literature": "Beside the literature",
    "speed": "Speed and memory",
    "search": "Search",
    "provenance": "Where each row comes from",
    "data": "The data",
}
GALLERY = "gallery"  # the section of cases' pictures, which only who asks for them gets
_NUMBER = re.compile(r"[-+\u2212]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_DETAIL = re.compile(r"([-+\d.,]+) ((?:\[[^\]]*\]|\u00b1[\d.]+)(?: \u00b1[\d.]+)?)")


@dataclass(frozen=True)
class PageCell:
    """A text of a table.

    Attributes:
        detail: an interval or a deviation, which stands small below. number: what the cell is sorted by.
        mark: `best`, `second` or blank.
    """

    text: str
    detail: str = ""
    number: str = ""
    mark: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table that can be sorted, and filtered and downloaded where it has a `key`.

    Attributes:
        columns: names, the rows' own first. numeric: which of them hold figures.
        key: of the downloads of the page; blank for a table without.
    """

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[PageCell, ...], ...]
    notes: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Part:
    """One block of a section.

    Attributes:
        heading: blank where the section's title says it.
        words: paragraphs. lists: title -> sentences.
        is_open: whether it is shown before anybody asks for it.
    """

    heading: str
    words: tuple[str, ...] = ()
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    figures: tuple[InlineFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()
    is_open: bool = True

    @property
    def size(self) -> int:
        """About how many bytes of a page it takes; texts are counted a little longer than they are, for escapes."""
        texts = [self.heading, *self.words, *(line for lines in self.lists.values() for line in lines)]
        cells = [cell for table in self.tables for row in table.rows for cell in row]
        notes = [note for table in self.tables for note in (table.caption, table.caption, *table.notes)]
        written = sum(len(text.encode()) + 12 for text in (*texts, *notes))
        in_cells = sum(len(f"{cell.text}{cell.detail}".encode()) + (70 if cell.number else 30) for cell in cells)
        drawn = sum(len(figure.element.encode()) + len(figure.caption.encode()) + 40 for figure in self.figures)
        return 200 + int(1.05 * (written + in_cells)) + drawn


@dataclass
class Page:
    """All parts by section, in order, and what the page's head says.

    Attributes:
        downloads: key of a table -> format -> text of a file.
        notes: what was left out, in lines.
        room: bytes that are left. What is added when there is no room for it is left out, and named in `without`;
            pictures of cases take none of it.
    """

    title: str
    summary: tuple[str, ...]
    parts: dict[str, list[Part]] = field(default_factory=dict)
    downloads: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    room: int = 3 * 10**6
    without: list[str] = field(default_factory=list)

    def add(self, section: str, *parts: Part) -> None:
        """Appends parts to a section of `SECTIONS`, those that there is room for."""
        if section not in SECTIONS:
            raise ValueError(f"Expected a section among {', '.join(SECTIONS)}, but got {section!r}.")
        for part in parts:
            size = 0 if section == GALLERY else part.size
            if size > self.room:
                self.without.append(f"{SECTIONS[section]}: {part.heading}" if part.heading else SECTIONS[section])
                continue
            self.room -= size
            self.parts.setdefault(section, []).append(part)

    def add_files(self, key: str, files: dict[str, str]) -> None:
        """The downloads of a table, where there is room for them."""
        size = sum(int(1.1 * len(text.encode())) for text in files.values())
        if size <= self.room:
            self.room -= size
            self.downloads[key] = files

    @cached_property
    def sections(self) -> list[tuple[str, str, list[Part]]]:
        """Id, title and parts of each section that has a part."""
        return [(name, title, self.parts[name]) for name, title in SECTIONS.items() if self.parts.get(name)]


def page_table(sheet: Sheet, key: str = "") -> PageTable:
    """A sheet as a table of the page: a column holds figures where most of its texts begin with one."""
    rows = [[_cell(plain(text), mark) for text, mark in row] for row in sheet.rows()]
    columns = tuple(plain(str(name)) for name in sheet.frame.columns)
    numeric = tuple(
        k > 0 and name not in sheet.left and _is_numeric([row[k] for row in rows])
        for k, name in enumerate(sheet.frame.columns)
    )
    return PageTable(plain(sheet.caption), columns, numeric, tuple(map(tuple, rows)), sheet.notes, key)


def _cell(text: str, mark: str) -> PageCell:
    """A figure with its interval apart from it, or words; a figure is written for the script as it reads one."""
    found = _NUMBER.match(text.lstrip("(<> "))
    number = found[0].replace(",", "").replace("\u2212", "-") if found else ""
    apart = _DETAIL.fullmatch(text)
    figure, detail = apart.groups() if apart else (text, "")
    return PageCell(figure, detail, number, {BOLD: "best", UNDERLINED: "second"}.get(mark, ""))


def _is_numeric(cells: Sequence[PageCell]) -> bool:
    filled = [cell for cell in cells if cell.text]
    return bool(filled) and sum(bool(cell.number) for cell in filled) * 2 > len(filled)
