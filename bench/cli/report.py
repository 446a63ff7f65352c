"""`medbench report`: tables and figures of all stored results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from bench.cli.options import RESULTS, Display, Option, displayed, gathered
from bench.cli.terminal import PATH, TEXT, make_console
from bench.errors import UserError


@dataclass(frozen=True)
class Selection:
    """Which of the stored results are in the tables: of a data set, with columns per class, arms, p-values."""

    results: Path
    dataset: str | None
    classes: bool
    arms: bool
    tests: bool


SELECTION: Option = gathered(
    "selection",
    f"{__name__}:Selection",
    RESULTS,
    click.option("--dataset", type=TEXT, help="Only tables of this dataset (acdc, acdc-phantom)."),
    click.option("--classes", is_flag=True, help="Columns per class as well: Dice, or sensitivity."),
    click.option("--arms", is_flag=True, help="Arms of ablations as rows too."),
    click.option("--tests", is_flag=True, help="p-values too: of these trained networks only."),
)


@click.command()
@SELECTION
@click.option("--trials", is_flag=True, help="What tuning tried and chose instead, as markdown.")
@click.option("--ranks", is_flag=True, help="How often each model has each rank instead, as markdown.")
@click.option("--conventions", is_flag=True, help="What other metric conventions do to the same runs instead.")
@click.option("--figures", type=PATH, metavar="DIR", help="Draw differences and ranks there instead, PNG and PDF.")
@displayed("Write to a file.  [standard output]")
def report(
    selection: Selection, trials: bool, ranks: bool, conventions: bool, figures: Path | None, display: Display
) -> None:
    """Print the tables of all stored results; one table per comparison, never mixed.

    \b
    Example:
      medbench report --format latex
    """
    if trials + ranks + conventions + (figures is not None) > 1:
        raise UserError("Expected one of --trials, --ranks, --conventions and --figures, but got several.")
    if conventions:
        from bench.report.conventions_text import conventions_text

        _write(conventions_text(selection.results, selection.dataset), display.output)
    elif trials:
        from bench.report.trials import trials_text

        _write(trials_text(selection.results), display.output)
    elif figures is not None:
        _draw(selection, figures)
    else:
        _tables(selection, ranks, display)


def _tables(selection: Selection, ranks: bool, display: Display) -> None:
    from bench.report.render import print_tables, render_tables, results_tables

    asked, chosen = None if selection.arms else (), selection
    tables, notes = results_tables(
        chosen.results, dataset=chosen.dataset, classes=chosen.classes, asked=asked, tests=chosen.tests
    )
    if display == Display("rich") and not ranks:
        print_tables(make_console(), tables, notes)
    else:
        _write(render_tables(tables, "ranks" if ranks else display.form, notes), display.output)


def _draw(selection: Selection, folder: Path) -> None:
    from bench.report.figures import draw_report
    from bench.report.notes import few
    from bench.report.render import results_tables

    asked, chosen = None if selection.arms else (), selection
    tables, notes = results_tables(
        chosen.results, dataset=chosen.dataset, classes=chosen.classes, asked=asked, tests=chosen.tests
    )
    for line in (*(line for lines in draw_report(tables, folder) for line in lines), *few(notes)):
        click.echo(line)


def _write(text: str, output: Path | None) -> None:
    from bench.records.store import write_text

    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_text(output, text)
    except OSError as error:
        raise UserError(f"Cannot write {output}: {error.strerror}. Name another file with --output.") from None
