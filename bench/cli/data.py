"""`medbench data ...`: what there is, how to get it, prepare it, verify it, audit it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.data_add import data_add
from bench.cli.options import DATA_ROOT, RESULTS, SHOWN, Display
from bench.cli.terminal import FOLDER, PATH, NumberFrom, make_console, wide_option
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared


@click.group()
def data() -> None:
    """Datasets: what there is, how to get it, prepare it, verify it."""


data.add_command(data_add)


@data.command("list")
@DATA_ROOT
@wide_option
def data_list(data_root: str | None, wide: bool) -> None:
    """List the datasets and which are prepared.

    \b
    Example:
      medbench data list
    """
    from bench.report.data import list_sheet
    from bench.report.sheets import print_sheets

    print_sheets(make_console(wide), [list_sheet(data_root)])


@data.command("info")
@click.argument("name")
@DATA_ROOT
def data_info(name: str, data_root: str | None) -> None:
    """Say what a dataset is, its licence and citation, how to get it, and what is prepared of it.

    \b
    Example:
      medbench data info acdc
    """
    from bench.report.data import info_text

    make_console().print_lines(info_text(name, data_root))


@data.command("prepare")
@click.argument("name")
@click.option("--from", "source", type=PATH, help="Folder in its original layout, or the .zip of one.")
@click.option("--phantom", is_flag=True, help="Draw phantoms in its place.")
@click.option("--replace", is_flag=True, help="Replace a cache that was prepared from other files.")
@DATA_ROOT
def data_prepare(name: str, source: Path | None, phantom: bool, replace: bool, data_root: str | None) -> None:
    """Read a dataset in its original layout into the cache, with a manifest.

    \b
    Example:
      medbench data prepare acdc --from DIR
    """
    from bench.datasets.cache.prepared import locate, prepare, resolve_root
    from bench.report.data import prepared_text
    from bench.report.progress import counting
    from bench.zoo.registry import dataset_spec

    if phantom == (source is not None):
        raise UserError("Expected --from DIR_OR_ZIP, or --phantom.")
    root, is_named = resolve_root(data_root, must_exist=False)
    with counting(make_console(), "cases") as report:
        if source is None:
            spec = dataset_spec(name, data_root)
            prepared = locate(spec, "phantom", root if is_named else None, report)
        else:
            spec, source = dataset_spec(name, data_root), _folder(name, source, data_root)
            prepared = prepare(spec, source, root, replace=replace, report=report)
    click.echo("kept: the same content is prepared already" if prepared.kept else "prepared")
    make_console().print_lines(prepared_text(prepared))


def _folder(name: str, source: Path, data_root: str | None) -> Path:
    """The folder of a source; of one's own data it may be one file that holds or names everything."""
    from bench.datasets.own.specs import folder_of
    from bench.zoo.registry import own_names

    return folder_of(source) if name in own_names(data_root) else source


_kind = click.option("--data", type=click.Choice(["real", "phantom"]), default="real", help="Which cache.  [real]")


def _opened(name: str, data: str, data_root: str | None) -> tuple[Prepared, Path]:
    """A prepared cache, real or of phantoms, and the root that it lies under."""
    from bench.datasets.cache.prepared import open_prepared, resolve_root
    from bench.zoo.registry import dataset_spec

    root = resolve_root(data_root)[0]
    return open_prepared(dataset_spec(name, data_root), root, "phantom" if data == "phantom" else "real"), root


@data.command("verify")
@click.argument("name")
@click.option("--from", "source", type=PATH, help="Compare with the original files as well: a folder or .zip.")
@_kind
@DATA_ROOT
def data_verify(name: str, source: Path | None, data: str, data_root: str | None) -> None:
    """Hash a prepared cache again and compare with its manifest; with --from, the original files as well.

    \b
    Example:
      medbench data verify acdc
    """
    from bench.datasets.cache.prepared import compare_source, verify
    from bench.report.data import prepared_text

    prepared, root = _opened(name, data, data_root)
    problems = verify(prepared)
    if problems:
        raise UserError(f"{len(problems)} problems in {prepared.folder}, prepare it again: {'; '.join(problems)}")
    changes = compare_source(prepared, _folder(name, source, data_root), root) if source else []
    if changes:
        shown = "; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else "")
        raise UserError(
            f"{source} is not what {prepared.folder} was prepared from, prepare it again with --replace: {shown}."
        )
    make_console().print_lines(prepared_text(prepared))
    click.echo("all hashes agree with the manifest" + (", and the original files with it" if source else ""))


@data.command("audit")
@click.argument("name")
@click.option("--threshold", default=0.92, type=NumberFrom(0.5, 1), help="Correlation of near-duplicates.  [0.92]")
@click.option("--any-angle", is_flag=True, help="Look for copies turned by any angle; some five times as long.")
@click.option("--output", type=PATH, help="Write audit.json, pairs.csv and a contact sheet of the worst pairs there.")
@_kind
@DATA_ROOT
def data_audit(
    name: str, threshold: float, any_angle: bool, output: Path | None, data: str, data_root: str | None
) -> None:
    """Look for duplicates, leaks of the splits, and what predicts the label without the picture.

    \b
    Example:
      medbench data audit msld --output DIR
    """
    from bench.datasets.audit.findings import audit
    from bench.datasets.cache.prepared import verify
    from bench.report.audits import audit_text, pairs_file, write_audit
    from bench.report.progress import counting

    prepared, _ = _opened(name, data, data_root)
    try:
        with pairs_file(output) if output else nullcontext() as each, counting(make_console(), "blocks") as report:
            audited = audit(prepared, threshold, lambda done, total: report("", done, total), any_angle, each)
        make_console().print_lines(audit_text(audited.figures, verify(prepared)))
        written = write_audit(output, prepared, audited) if output else []
    except OSError as error:
        raise UserError(f"Cannot write under {output}: {error.strerror}. Name another folder.") from None
    if written:
        click.echo(f"written   {', '.join(map(str, written))}")


@data.command("leaks")
@click.option("--results", default="results", type=FOLDER, help="Folder with audits/*.json and records.  [results]")
@SHOWN
def data_leaks(results: Path, display: Display) -> None:
    """Print the leaks that audits found, and the accuracy of models on leaking splits beside the others.

    \b
    Example:
      medbench data leaks --results results/example
    """
    from bench.report.leaks import leaks_sheets

    display.show(leaks_sheets(results))


@data.command("units")
@click.argument("name")
@RESULTS
@_kind
@DATA_ROOT
def data_units(name: str, results: Path, data: str, data_root: str | None) -> None:
    """Write which images count as one in intervals beside results that lack it; `medbench run` does so itself.

    \b
    Example:
      medbench data units sars-cov2-ct --results results
    """
    from bench.datasets.splits.unit_table import unit_table
    from bench.records.store import check_writable, write_units

    prepared, _ = _opened(name, data, data_root)
    table = unit_table(prepared, prepared.name)
    if table is None:
        click.echo(f"{prepared.name}: one patient is one unit, nothing to write")
        return
    check_writable(results)
    click.echo(f"{prepared.name}: {table['unit']}, written to {write_units(results, table)}")


@data.command("draw")
@click.argument("name")
@click.argument("folder", type=PATH)
@click.option("--seed", default=0, type=click.IntRange(0), help="Another seed draws other phantoms.  [0]")
def data_draw(name: str, folder: Path, seed: int) -> None:
    """Write a dataset's phantoms into a new folder, in the original layout.

    \b
    Example:
      medbench data draw msld DIR
    """
    from bench.zoo.registry import dataset_spec

    spec = dataset_spec(name)
    if spec.draw_phantom is None:
        raise UserError(f"No phantoms can be drawn of {name}: nothing here knows how its images look.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"Expected a new or empty folder, but {folder} is there already.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spec.draw_phantom(folder, seed)
    except OSError as error:
        raise UserError(f"Cannot write under {folder}: {error.strerror}.") from None
    click.echo(f"drew phantoms of {name} in {folder}, no patient's image")
