"""`medbench report`: tables and figures of all stored results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import CHECKLIST, FORM_OR_PAGE, RESULTS, Display, Option, displayed, gathered
from bench.cli.terminal import PATH, TEXT, make_console
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.comparison import Table
    from bench.analysis.curves import Curve
    from bench.analysis.sheet import Sheet


@dataclass(frozen=True)
class Selection:
    """Which of the stored results are in the tables, and which of their rows and columns."""

    results: Path
    dataset: str | None
    preset: str | None
    top: int | None
    classes: bool
    arms: bool
    tests: bool
    policy: str
    definition: str
    weights: str | None


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
    over: str

    def __post_init__(self) -> None:
        drawn = self.figures is not None and not self.budgets
        if self.trials + self.speeds + self.ranks + self.conventions + self.brief + self.budgets + drawn > 1:
            raise UserError(
                "Expected one of --trials, --speeds, --ranks, --conventions, --brief, --budgets and --figures, but got "
                "several; --budgets and --figures go together."
            )


SELECTION: Option = gathered(
    "selection",
    f"{__name__}:Selection",
    RESULTS,
    click.option("--dataset", type=TEXT, help="Only tables of this dataset (acdc, acdc-phantom)."),
    click.option("--preset", type=TEXT, help="Only tables of this preset, as captions name it (quick with steps=50)."),
    click.option("--top", type=click.IntRange(2), metavar="N", help="The first N rows, the proposed model among them."),
    click.option("--classes", is_flag=True, help="Columns per class as well: Dice, or sensitivity."),
    click.option("--arms", is_flag=True, help="Arms of ablations as rows too."),
    click.option("--tests", is_flag=True, help="p-values too: of these trained networks only."),
    click.option(
        "--policy", type=click.Choice(["strict", "transunet"]), default="strict", help="Of empty masks.  [strict]"
    ),
    click.option("--definition", type=click.Choice(["pooled", "max"]), default="pooled", help="Of HD95.  [pooled]"),
    click.option(
        "--weights",
        type=click.Choice(["best-val", "last", "average-best-val", "average-last"]),
        help="Whose.  [average-best-val where weights were averaged, else best-val]",
    ),
)
INSTEAD: Option = gathered(
    "instead",
    f"{__name__}:Instead",
    click.option("--brief", is_flag=True, help="Few columns: figures with intervals, costs, seeds."),
    click.option("--trials", is_flag=True, help="What tuning tried and chose instead, as markdown."),
    click.option("--speeds", is_flag=True, help="All stored profiles instead, as markdown."),
    click.option("--ranks", is_flag=True, help="How often each model has each rank instead, as markdown."),
    click.option("--conventions", is_flag=True, help="What other metric conventions do to the same runs instead."),
    click.option("--budgets", is_flag=True, help="Score against images seen, and against training patients, instead."),
    click.option("--figures", type=PATH, metavar="DIR", help="Draw all figures there instead, PDF, SVG and PNG."),
    click.option(
        "--over", type=click.Choice(["images", "steps"]), default="images", help="Axis of learning curves.  [images]"
    ),
)
INTO = click.option(
    "--into", type=PATH, metavar="FILE", help="Replace what its markers for --dataset enclose, as markdown."
)


@click.command()
@SELECTION
@INSTEAD
@INTO
@CHECKLIST
@displayed("Write to a file.  [standard output; report.html for html]", FORM_OR_PAGE)
def report(selection: Selection, instead: Instead, into: Path | None, checklist: bool, display: Display) -> None:
    """Print the tables of all stored results; one table per comparison, never mixed.

    \b
    Example:
      medbench report --format latex
    """
    form = display.form
    if into is not None:
        if selection.dataset is None or display.output or instead.figures or form not in ("rich", "markdown"):
            raise UserError("Expected --into with --dataset, without --output and --figures, and --format markdown.")
        form = "markdown"
    if form == "html":
        _write_page(selection, instead, display.output or Path("report.html"))
    elif instead.figures is not None:
        _draw(selection, instead.figures, instead)
    elif form == "rich" and display.output is None and _are_tables(instead):
        _print(selection, instead, checklist, display)
    elif into is not None and selection.dataset is not None:
        from bench.report.brief import write_into

        write_into(into, selection.dataset, _text(selection, instead, form))
    else:
        _write(_text(selection, instead, form), display.output)


def _are_tables(instead: Instead) -> bool:
    return not (instead.trials or instead.speeds or instead.ranks or instead.conventions)


def _tables(selection: Selection) -> tuple[list[Table], tuple[str, ...]]:
    from bench.analysis.shown import Shown
    from bench.report.brief import top_rows
    from bench.report.render import results_tables

    tables, notes = results_tables(
        selection.results,
        dataset=selection.dataset,
        preset=selection.preset,
        classes=selection.classes,
        kept=None if selection.arms else (),
        tests=selection.tests,
        shown=Shown(selection.policy, selection.definition, selection.weights),
    )
    return tables if selection.top is None else [top_rows(table, selection.top) for table in tables], notes


def _print(selection: Selection, instead: Instead, checklist: bool, display: Display) -> None:
    from bench.report.brief import brief_sheet
    from bench.report.notes import notes_text
    from bench.report.render import print_tables
    from bench.report.sheets import print_sheets

    if instead.budgets:
        sheets, notes = _curve_sheets(selection)
        print_sheets(make_console(display.wide), sheets)
        click.echo(notes_text(notes, "rich"), nl=False)
        return
    tables, notes = _tables(selection)
    if instead.brief:
        print_sheets(make_console(display.wide), [brief_sheet(table) for table in tables])
        click.echo(notes_text(notes, "rich"), nl=False)
    else:
        print_tables(make_console(display.wide), tables, checklist, notes)


def _curves(selection: Selection) -> tuple[list[Curve], tuple[str, ...]]:
    from bench.analysis.curves import stored_curves
    from bench.analysis.shown import Shown

    shown = Shown(selection.policy, selection.definition, selection.weights)
    return stored_curves(selection.results, selection.dataset, selection.preset, shown)


def _curve_sheets(selection: Selection) -> tuple[list[Sheet], tuple[str, ...]]:
    from bench.report.curves import curve_sheet

    curves, notes = _curves(selection)
    return [curve_sheet(curve) for curve in curves], notes


def _text(selection: Selection, instead: Instead, form: str) -> str:
    """The tables, or what replaces them, as text of a format; trials, speeds, ranks and conventions are Markdown."""
    from bench.report.brief import brief_sheet
    from bench.report.notes import notes_text
    from bench.report.render import render_tables
    from bench.report.sheets import render_sheets

    if instead.conventions:
        from bench.report.conventions_text import conventions_text

        return conventions_text(selection.results, selection.dataset, selection.weights)
    if instead.trials:
        from bench.report.trials import trials_text

        return trials_text(selection.results)
    if instead.speeds:
        from bench.report.costs import stored_profiles

        return stored_profiles(selection.results)
    of_sheets = "markdown" if form == "rich" else form
    if instead.budgets:
        sheets, notes = _curve_sheets(selection)
        return render_sheets(sheets, of_sheets) + notes_text(notes, of_sheets)
    tables, notes = _tables(selection)
    if instead.brief:
        return render_sheets([brief_sheet(table) for table in tables], of_sheets) + notes_text(notes, of_sheets)
    return render_tables(tables, "ranks" if instead.ranks else form, notes)


def _draw(selection: Selection, folder: Path, instead: Instead) -> None:
    from ablations.command import draw_stored
    from bench.report.figures import draw_report
    from bench.report.notes import few

    if instead.budgets:
        from bench.report.curves import draw_curves_in

        curves, notes = _curves(selection)
        for said in (*map(str, draw_curves_in(curves, folder)), *few(notes)):
            click.echo(said)
        return
    tables, notes = _tables(selection)
    drawn, left_out = draw_report(tables, folder, selection.results, instead.over)
    drawn += draw_stored(selection.results, tables, folder)
    for line in (*drawn, *few([*left_out, *notes])):
        click.echo(line)


def _write_page(selection: Selection, instead: Instead, path: Path) -> None:
    from ablations.page_parts import page_parts
    from bench.report.page.building import Asked, write_page

    if not _are_tables(instead) or instead.brief or instead.budgets or instead.figures:
        raise UserError(
            "Expected --format html without --trials, --speeds, --ranks, --brief and their like: all is in it."
        )
    tables, notes = _tables(selection)
    asked = Asked(selection.results, instead.over, page_parts(selection.results, tables))
    click.echo(write_page(tables, asked, path, notes))


def _write(text: str, output: Path | None) -> None:
    from bench.records.store import write_text

    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(output, text)
    except OSError as error:
        raise UserError(f"Cannot write {output}: {error.strerror}. Name another file with --output.") from None
