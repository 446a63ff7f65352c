"""From stored results to a page: which part goes into which section, and how much of it a page has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.comparison import Table, kinds_of_models
from bench.analysis.conclusions import conclusions
from bench.analysis.provenance import provenance_sheet
from bench.analysis.short_budget import NO_RANKS
from bench.errors import UserError
from bench.records.garbage import no_collection
from bench.records.histories import find_folders
from bench.records.named_file import write_named
from bench.records.profiles import load_profiles
from bench.records.sweeps import load_sweeps
from bench.report.costs import profile_tables
from bench.report.figures import ranking_drawings, speed_drawings, table_drawings
from bench.report.leaks import leaks_sheets
from bench.report.notes import few
from bench.report.page.inline_svg import InlineFigure, inline
from bench.report.page.parts import Page, Part, page_table
from bench.report.page.rendering import LIMIT, render_page
from bench.report.page.sheets_of_rows import case_sheet, class_figures, counts_sheet, downloads, leader_sheet
from bench.report.sheets import Sheet

DRAWN = 5  # comparisons, the first ones, whose figures are drawn unless more are asked for, which takes seconds each
OF_OURS = 18_000  # bytes of the style sheet, the script and the frame
OPEN = 3  # comparisons, the first ones, whose parts are open at first
# Kind of figure -> its section.
PLACES = {
    "cost": "cost",
    "differences": "differences",
    "training": "training",
    "classes": "cases",
    "ranks": "ranks",
    "confusion": "classes",
    "roc": "classes",
    "reliability": "classes",
    "critical-difference": "ranks",
    "latency": "speed",
    "memory": "speed",
}
TABLES = {"cases": "By id. ", "classes": "Table. ", "provenance": "", "data": ""}
PROFILES = "Stored profiles"
NOTHING = "Nothing may be concluded about a method."


@dataclass(frozen=True)
class Asked:
    """What a page is made from.

    Attributes:
        results: the folder. over: what the axis of learning curves counts. drawn: comparisons whose figures are drawn.
        parts: section -> parts of rooms above this one, and of others' work.
    """

    results: Path
    over: str = "images"
    parts: Mapping[str, Sequence[Part]] | None = None
    drawn: int = DRAWN


def write_page(tables: Sequence[Table], asked: Asked, path: Path, notes: Sequence[str] = ()) -> Path:
    """Writes the page of these tables. Raises UserError where it cannot be written."""
    text = render_page(build_page(tables, asked, notes))
    write_named(path, text)
    return path


@no_collection()
def build_page(tables: Sequence[Table], asked: Asked, notes: Sequence[str] = ()) -> Page:
    """All sections that the records of these tables allow, in the order of the page."""
    datasets = list(dict.fromkeys(table.name for table in tables))
    title = f"medbench: {', '.join(datasets)}"
    left_out = (*few(notes), *_without_figures(tables[asked.drawn :]))
    page = Page(title, _summary(tables, asked.drawn), notes=left_out, room=LIMIT - OF_OURS)
    folders = find_folders(asked.results, {key for table in tables[: asked.drawn] for key in table.cells["key"]})
    for k, table in enumerate(tables):
        _add_table(page, table, k < OPEN)
    for k, table in enumerate(tables[: asked.drawn]):
        _add_figures(page, table, folders, asked.over, k < OPEN)
    for drawing in ranking_drawings(tables):
        page.add("ranks", Part("Over data sets", figures=(inline(drawing),)))
    for section, parts in (asked.parts or {}).items():
        page.add(section, *parts)
    _add_profiles(page, asked.results)
    _add_leaks(page, asked.results)
    for table in tables:
        _add_rows(page, table)
    for table in tables:
        page.add_files(_key(table), downloads(table, leader_sheet(table)))
    return page


def _without_figures(tables: Sequence[Table]) -> list[str]:
    """A line on the comparisons that are not drawn; none where all are."""
    listed = "; ".join(table.where for table in tables)
    return [f"Figures of {len(tables)} comparisons are not drawn: {listed}."] if tables else []


def _summary(tables: Sequence[Table], drawn: int) -> tuple[str, ...]:
    cells = sum(len(table.cells) for table in tables)
    first = (
        f"{len(tables)} comparison{'s' * (len(tables) != 1)}, {cells:,} runs. All is made from stored records; "
        "figures of different comparisons are not comparable. Click a column to sort by it."
    )
    more = (
        f"Figures are drawn of {drawn} of them, the first ones; --drawn N draws those of more, --dataset and --preset "
        "choose others."
    )
    return (first, *([more] if len(tables) > drawn else []), *kinds_of_models(tables))


def _key(table: Table) -> str:
    return f"{table.name}-{table.key[:8]}"


def _add_table(page: Page, table: Table, is_open: bool) -> None:
    """What a reader wants first: what may be concluded, and the table itself."""
    found, about = conclusions(table), f"{table.lead}, {table.preset}. {table.about}"
    lists = {"May be concluded": found.may or (NOTHING,), "May not be concluded": found.may_not}
    page.add("conclusions", Part(table.where, lists=lists, is_open=is_open))
    leaders = page_table(leader_sheet(table), _key(table))
    page.add("leaders", Part(table.where, (about,), tables=(leaders,), is_open=is_open))


def _add_figures(page: Page, table: Table, folders: Mapping[str, Path], over: str, is_open: bool) -> None:
    """The figures of one table, those of a section together."""
    found: dict[str, list[InlineFigure]] = {}
    for drawing in table_drawings(table, folders, over):
        found.setdefault(PLACES[drawing.kind], []).append(inline(drawing))
    for section, figures in found.items():
        page.add(section, Part(table.where, figures=tuple(figures), is_open=is_open))


def _add_rows(page: Page, table: Table) -> None:
    """Tables that are looked up, not read: closed at first."""
    sheets: dict[str, Sheet | None] = {
        "cases": case_sheet(table),
        "classes": class_figures(table),
        "provenance": provenance_sheet(table),
        "data": counts_sheet(table),
    }
    for section, sheet in sheets.items():
        if sheet is not None and len(sheet.frame):
            lists = {"Claims checklist": table.checklist} if section == "provenance" else {}
            part = Part(f"{TABLES[section]}{table.where}", (), lists, (), (page_table(sheet),), is_open=False)
            page.add(section, part)
    if table.sure.gaps and table.sure.ranks.empty:
        page.add("ranks", Part(table.where, (NO_RANKS,), is_open=False))


def _add_profiles(page: Page, results: Path) -> None:
    profiles = load_profiles(results)
    if profiles.empty:
        return
    figures = tuple(inline(drawing) for drawing in speed_drawings(profiles, load_sweeps(results)))
    page.add("speed", Part(f"{PROFILES}: latency and memory", figures=figures))
    tables = tuple(page_table(sheet) for sheet in profile_tables(profiles))
    page.add("speed", Part(f"{PROFILES}: all figures", tables=tables, is_open=False))


def _add_leaks(page: Page, results: Path) -> None:
    try:
        tables = tuple(page_table(sheet) for sheet in leaks_sheets(results) if len(sheet.frame))
    except UserError:  # no audits: nothing is known of leaks but what the records say
        return
    page.add("data", Part("Leaks: what audits found, and what they are worth", tables=tables, is_open=False))
