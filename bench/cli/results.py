"""`medbench results ...`: order in the results folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.archive import archive
from bench.cli.options import RESULTS, SHOWN, Display, Option, gathered
from bench.cli.terminal import PATH, TEXT, NumberFrom, say
from bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.records.choice import Choice

CHOICE: Option = gathered(
    "choice",
    "bench.records.choice:Choice",
    click.option("--models", type=TEXT, help="Names, globs, families, name[field=value], -name; by commas."),
    click.option("--dataset", type=TEXT, help="Of these, by commas (acdc, acdc-phantom)."),
    click.option("--preset", type=TEXT, help="As captions name it (quick with steps=50)."),
    click.option("--split", type=TEXT, help="Of these, by commas."),
    click.option("--seeds", type=TEXT, help="How many (3) or which (0,4,)."),
    click.option("--version", type=TEXT, help="Of the model."),
    click.option(
        "--status", type=click.Choice(["complete", "failed", "diverged", "pruned", "unfinished"]), help="Of the cell."
    ),
)
OLDER = click.option("--older", type=NumberFrom(0), metavar="DAYS", help="Written longer ago.")
NEWER = click.option("--newer", type=NumberFrom(0), metavar="DAYS", help="Written since.")


@click.group()
def results() -> None:
    """Stored results: what lies there, delete, merge, export, check."""


@results.command("list")
@CHOICE
@OLDER
@NEWER
@RESULTS
@SHOWN
def list_cells(choice: Choice, older: float | None, newer: float | None, results: Path, display: Display) -> None:
    """List the cells, finished or not, with their state, age and size.

    \b
    Example:
      medbench results list --status failed
    """
    from bench.records.keeping import kept_cells
    from bench.report.kept import kept_sheet

    cells = kept_cells(results, choice, older, newer)
    display.show([kept_sheet(cells, results)])
    _say_notes(cells.attrs["notes"])


@results.command()
@click.argument("key")
@RESULTS
@SHOWN
def show(key: str, results: Path, display: Display) -> None:
    """Print all facts of one cell, named by its key or the key's beginning.

    \b
    Example:
      medbench results show 311f61b8ca32 --results results/example
    """
    from bench.records.choice import UNFINISHED
    from bench.records.keeping import kept_cells
    from bench.records.store import read_record
    from bench.report.kept import cell_sheet

    cells = kept_cells(results)
    found = cells[cells["key"].str.startswith(key)]
    if len(found) > 1 and found["key"].nunique() == 1:  # begun in one place, and ended in another
        found = found[found["status"] != UNFINISHED]
    if len(found) != 1:
        raise UserError(
            f"Expected the key of one cell, or its beginning, but {len(found)} of {len(cells)} begin with {key!r}: "
            "`medbench results list` names them."
        )
    cell = found.iloc[0].to_dict()
    display.show([cell_sheet(cell, read_record(cell["folder"]))])


@results.command()
@CHOICE
@OLDER
@NEWER
@click.option("--yes", is_flag=True, help="Delete without asking.")
@RESULTS
def rm(choice: Choice, older: float | None, newer: float | None, yes: bool, results: Path) -> None:
    """Delete cells with all their files: say which, ask, and say what was deleted.

    \b
    Example:
      medbench results rm --status failed --older 30
    """
    from bench.records.choice import ALL
    from bench.records.keeping import folders_of, kept_cells, remove_folders

    if choice == ALL and older is None and newer is None:
        raise UserError("Expected what to delete: --status failed, or --models NAME; --models all is everything.")
    cells = kept_cells(results, choice, older, newer)
    folders = folders_of(results, cells)
    if not folders:
        click.echo("Nothing to delete.")
        return
    for folder in folders:
        click.echo(folder)
    what = f"{len(folders)} folders, {cells['bytes'].sum() / 1e6:.1f} MB"
    if not yes and not _agreed(f"Delete these {what}, weights and figures too?"):
        click.echo("Nothing was deleted.")
        return
    removed, notes, faults = remove_folders(results, folders)
    click.echo(f"Deleted: {len(removed)} of {what}.")
    _say_notes([*notes, *faults])
    if faults:
        raise UserError(f"{len(faults)} of {len(folders)} folders could not be deleted: see above.")


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question, default=False)
    except click.Abort:
        raise UserError("No answer: nothing was deleted. --yes deletes without asking.") from None


@results.command()
@click.argument("others", nargs=-1, required=True, type=PATH)
@RESULTS
def merge(others: tuple[Path, ...], results: Path) -> None:
    """Take whole cells from other results folders: new ones, and complete ones in place of failed or unfinished ones.

    \b
    Example:
      medbench results merge results/example --results merged
    """
    from bench.records.keeping import merge_results

    merged = merge_results(results, others)
    copied, replaced, kept = (len(keys) for keys in (merged.copied, merged.replaced, merged.kept))
    left = f", {len(merged.left)} left out: see below" if merged.left else ""
    click.echo(f"{copied} copied, {replaced} in place of failed or unfinished ones, {kept} were there{left}")
    _say_notes(merged.notes)


@results.command()
@click.option("--to", "form", type=click.Choice(["csv", "json", "parquet"]), required=True, help="The file's format.")
@click.option("--output", type=PATH, required=True, help="The file.")
@click.option("--cells", "of_cells", is_flag=True, help="A row per cell in place of one per case, class and metric.")
@CHOICE
@RESULTS
def export(form: str, output: Path, of_cells: bool, choice: Choice, results: Path) -> None:
    """Write all results as one long table: a row per cell, part, weights, case, class and metric.

    \b
    Example:
      medbench results export --to csv --output results.csv --dataset acdc
    """
    from bench.records.named_file import write_named
    from bench.report.kept import exported

    table = _exported_table(results, choice, of_cells)
    write_named(output, exported(table, form))
    click.echo(f"{len(table)} rows in {output}")
    _say_notes(table.attrs.get("notes", ()))


def _exported_table(results: Path, choice: Choice, of_cells: bool) -> pd.DataFrame:
    from bench.records.long_table import load_results
    from bench.records.store import load_cells

    if not of_cells:
        return load_results(results, **vars(choice))
    cells = load_cells(results)
    notes, cells = cells.attrs["notes"], choice.of(cells)
    cells.attrs["notes"] = notes
    return cells


@results.command()
@RESULTS
def check(results: Path) -> None:
    """Verify all files against their hashes, keys and headers; name what is damaged and what to do.

    Histories and predictions are read to their end. Cells of `tuning` and `development` below the folder count too.

    \b
    Example:
      medbench results check --results results/example
    """
    from bench.records.checking import damage_in

    whole, damaged = damage_in(results)
    for line in damaged:
        click.echo(line)
    cells = "1 cell is" if whole == 1 else f"{whole} cells are"
    lines = f"; {len(damaged)} line{'s' * (len(damaged) != 1)} on what is not" if damaged else ""
    click.echo(f"{cells} whole{lines}")
    if damaged:
        sys.exit(1)


def _say_notes(notes: Any) -> None:
    from bench.report.notes import few

    for line in few(notes):
        say(line, 0)


results.add_command(archive)
