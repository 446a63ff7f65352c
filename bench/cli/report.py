"""`medbench report`: tables and figures of all stored results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import CHECKLIST, DATA_ROOT, TITLED, Display, Option, displayed, gathered
from bench.cli.paper import PAPER, Paper, paper_latex
from bench.cli.selection import SELECTION
from bench.cli.terminal import PATH, make_console
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.comparison import Table
    from bench.report.selection import Selection
    from bench.runs.naming import Naming


@dataclass(frozen=True)
class Instead:
    """What is made of the stored results in place of whole tables; at most one."""

    brief: bool
    trials: bool
    speeds: bool
    ranks: bool
    conventions: bool
    budgets: bool
    figures: Path | None
    bibtex: bool
    over: str | None

    def __post_init__(self) -> None:
        drawn = self.figures is not None and not self.budgets
        several = (self.trials, self.speeds, self.ranks, self.conventions, self.brief, self.budgets, self.bibtex, drawn)
        if sum(several) > 1:
            raise UserError(
                "Expected one of --trials, --speeds, --ranks, --conventions, --brief, --budgets, --bibtex, --figures, "
                "but got several; --budgets and --figures go together."
            )

    @property
    def view(self) -> str | None:
        """The one of `bench.report.instead.VIEWS` that is asked for."""
        views = ("brief", "trials", "speeds", "ranks", "conventions", "budgets")
        return next((name for name in views if getattr(self, name)), None)

    def check(self, form: str, checklist: bool) -> None:
        """Raises UserError for what only whole tables or only drawn ones have, where others are asked for."""
        if self.over is not None and (self.budgets or (self.figures is None and form != "html")):
            raise UserError("Expected --over with --figures or --format html, whose learning curves it is of.")
        if self.bibtex and form != "rich":
            raise UserError(f"Expected --bibtex without --format {form}: citations are BibTeX.")
        if checklist and not (self.view is None and self.figures is None and not self.bibtex):
            raise UserError(
                "Expected --checklist with whole tables, without --brief, --ranks, --figures and their like."
            )


INSTEAD: Option = gathered(
    "instead",
    f"{__name__}:Instead",
    click.option("--brief", is_flag=True, help="Few columns: figures with intervals, costs, seeds."),
    click.option("--trials", is_flag=True, help="What tuning tried and chose instead."),
    click.option("--speeds", is_flag=True, help="All stored profiles instead."),
    click.option("--ranks", is_flag=True, help="How often each model has each rank instead."),
    click.option("--conventions", is_flag=True, help="What other metric conventions do to the same runs instead."),
    click.option("--budgets", is_flag=True, help="Score against images seen, and against training patients, instead."),
    click.option("--figures", type=PATH, metavar="DIR", help="Draw all figures there instead, PDF, SVG and PNG."),
    click.option(
        "--over", type=click.Choice(["images", "steps"]), help="Axis of learning curves in figures.  [images]"
    ),
    click.option("--bibtex", is_flag=True, help="Citations of the tables' networks and data sets instead."),
)


@dataclass(frozen=True)
class OnPage:
    """What the page shows beyond tables: pictures of so many cases of each kind, figures of so many comparisons.

    Attributes:
        data_root: where the images of the pictures lie.
    """

    gallery: int
    drawn: int | None
    data_root: str | None

    def check(self, form: str) -> None:
        """Raises UserError where what is of the page alone is asked of another format."""
        if form != "html" and (self.gallery or self.drawn is not None or self.data_root is not None):
            raise UserError("Expected --gallery, --drawn and --data-root with --format html, whose page has pictures.")
        if self.data_root is not None and not self.gallery:
            raise UserError("Expected --data-root with --gallery N, whose pictures need the images.")


ON_PAGE: Option = gathered(
    "on_page",
    f"{__name__}:OnPage",
    click.option(
        "--gallery",
        type=click.IntRange(0, 20),
        default=0,
        metavar="N",
        help="html: images of the N worst, median and best cases; they show patients.  [0: none]",
    ),
    click.option("--drawn", type=click.IntRange(0), metavar="N", help="html: figures of N comparisons.  [5]"),
    DATA_ROOT,
)
INTO = click.option(
    "--into", type=PATH, metavar="FILE", help="Replace what its markers for --dataset enclose, as markdown."
)


@click.command()
@SELECTION
@INSTEAD
@PAPER
@ON_PAGE
@INTO
@TITLED
@CHECKLIST
@displayed("Write to a file.  [standard output; report.html for html]", "json", "html")
def report(
    selection: Selection,
    instead: Instead,
    paper: Paper,
    on_page: OnPage,
    into: Path | None,
    naming: Naming,
    checklist: bool,
    display: Display,
) -> None:
    """Print the tables of all stored results; one table per comparison, never mixed.

    \b
    Example:
      medbench report --format latex
    """
    form = display.form
    naming.keep(selection.results)
    paper.check(form)
    on_page.check(form)
    instead.check(form, checklist)
    if paper.given and not _are_figures(instead):
        raise UserError(f"{', '.join(paper.given)}: of a paper's tables; leave them or the view out.")
    if selection.cases and (form == "html" or (form == "latex" and paper.is_paper and _are_figures(instead))):
        raise UserError(
            "Expected --cases without --format html, which has --gallery N, and in LaTeX with --style full."
        )
    if into is not None:
        if selection.dataset is None or display.output or instead.figures or form not in ("rich", "markdown"):
            raise UserError("Expected --into with --dataset, without --output and --figures, and --format markdown.")
        form = "markdown"
    if instead.figures is not None and (display.output or form != "rich"):
        raise UserError("Expected --figures DIR without --format and --output: it draws, in PDF, SVG and PNG.")
    if form == "html":
        _write_page(selection, instead, on_page, display.output or Path("report.html"))
    elif form == "latex" and paper.is_paper and _are_figures(instead):
        _write(paper_latex(selection, paper), display.output)
    elif instead.figures is not None:
        _draw(selection, instead.figures, instead)
    elif form == "rich" and display.output is None and not instead.bibtex:
        _print(selection, instead, checklist, display)
    elif into is not None and selection.only_dataset is not None:
        from bench.report.brief import write_into

        write_into(into, selection.only_dataset, _text(selection, instead, form))
    else:
        _write(_text(selection, instead, form), display.output)


def _are_figures(instead: Instead) -> bool:
    return _are_tables(instead) and instead.view is None and not instead.figures


def _are_tables(instead: Instead) -> bool:
    return not instead.bibtex and instead.view in (None, "brief", "budgets")


def _tables(selection: Selection) -> tuple[list[Table], tuple[str, ...]]:
    from bench.report.selection import selected_tables

    return selected_tables(selection)


def _print(selection: Selection, instead: Instead, checklist: bool, display: Display) -> None:
    from bench.report.instead import sheets_instead
    from bench.report.notes import notes_text
    from bench.report.render import print_tables
    from bench.report.selection import sheets_below
    from bench.report.sheets import print_sheets

    console = make_console(display.wide)
    if instead.view is not None:
        sheets, notes = sheets_instead(instead.view, selection)
        print_sheets(console, sheets)
        click.echo(notes_text(notes, "rich"), nl=False)
        return
    tables, notes = _tables(selection)
    print_tables(console, tables, checklist, notes)
    print_sheets(console, sheets_below(selection, tables))


def _text(selection: Selection, instead: Instead, form: str) -> str:
    """The tables, or what replaces them, as text of a format."""
    from bench.report.instead import reject_unread, sheets_instead
    from bench.report.json_text import results_document
    from bench.report.notes import notes_text
    from bench.report.render import render_tables
    from bench.report.selection import sheets_below
    from bench.report.sheets import render_sheets

    if form == "json" and not _are_figures(instead):
        raise UserError(
            "Expected --format json without --brief, --trials, --speeds, --ranks, --conventions, --budgets, --bibtex."
        )
    of_sheets = "markdown" if form == "rich" else form
    if instead.view is not None:
        sheets, notes = sheets_instead(instead.view, selection)
        return render_sheets(sheets, of_sheets) + notes_text(notes, of_sheets)
    if instead.bibtex:
        reject_unread("bibtex", selection)
    tables, notes = _tables(selection)
    if instead.bibtex:
        from bench.report.bibliography import bibliography
        from bench.report.selection import rows_below

        published = rows_below(selection, tables).values()
        return bibliography(tables, [figure for rows in published for row in rows for figure in row])
    below = sheets_below(selection, tables)
    if form == "json":
        return results_document(tables, below, notes)
    text = render_tables(tables, form, notes)
    return f"{text}\n{render_sheets(below, of_sheets)}" if below else text


def _draw(selection: Selection, folder: Path, instead: Instead) -> None:
    from ablations.command import draw_stored
    from bench.report.figures import draw_report
    from bench.report.instead import reject_unread
    from bench.report.notes import few

    if instead.budgets:
        from bench.report.curves import draw_curves_in
        from bench.report.instead import selected_curves

        curves, notes = selected_curves(selection)
        for said in (*map(str, draw_curves_in(curves, folder)), *few(notes)):
            click.echo(said)
        return
    reject_unread("figures", selection)
    tables, notes = _tables(selection)
    drawn, left_out = draw_report(tables, folder, selection.results, instead.over or "images")
    drawn += draw_stored(selection.results, tables, folder)
    for line in (*drawn, *few([*left_out, *notes])):
        click.echo(line)


def _write_page(selection: Selection, instead: Instead, on_page: OnPage, path: Path) -> None:
    from ablations.page_parts import page_parts
    from bench.report.page.building import DRAWN, Asked, write_page
    from bench.report.page.parts import GALLERY, Part, page_table
    from bench.report.selection import published_sheets

    if not _are_tables(instead) or instead.brief or instead.budgets or instead.figures:
        raise UserError(
            "Expected --format html without --trials, --speeds, --ranks, --brief and their like: all is in it."
        )
    tables, notes = _tables(selection)
    parts = page_parts(selection.results, tables)
    parts["literature"] = [Part("", tables=(page_table(sheet),)) for sheet in published_sheets(selection, tables)]
    if on_page.gallery:
        from bench.report.page.case_pictures import picture_parts

        parts[GALLERY] = picture_parts(tables, selection.results, on_page.gallery, on_page.data_root)
    drawn = DRAWN if on_page.drawn is None else on_page.drawn
    asked = Asked(selection.results, instead.over or "images", parts, drawn)
    click.echo(write_page(tables, asked, path, notes))


def _write(text: str, output: Path | None) -> None:
    from bench.records.named_file import write_named

    if output is None:
        click.echo(text, nl=False)
    else:
        write_named(output, text)
