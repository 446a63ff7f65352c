"""`medbench data add`: a data set of the user's own, recognised by its structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.options import DATA_ROOT, gathered
from bench.cli.terminal import PATH, TEXT, make_console

if TYPE_CHECKING:
    from bench.datasets.own.adding import Addition

_OPTIONS = (
    click.argument("name", default="", required=False),
    click.option("--from", "source", type=PATH, help="Folder, .zip, .npz, or .csv of paths that the data lie in."),
    click.option("--task", type=click.Choice(["classification", "segmentation"]), help="[by structure]"),
    click.option("--title", type=TEXT, help="Name in tables.  [NAME]"),
    click.option("--patients", type=PATH, help="CSV of cases and their patients (or subjects)."),
    click.option("--patient-pattern", type=TEXT, help=r"Regular expression on names: '^(P\d+)'."),
    click.option("--split", type=PATH, help="CSV of cases (or patients) and their part: train, val, test."),
    click.option("--classes", type=TEXT, help="A,B in order; A=0,B=#ff0000 by level, colour or folder."),
    click.option("--modality", type=TEXT, help="ct, mri, xray, us, photo, ...; for the record."),
    click.option("--allow-leak", is_flag=True, help="Take a --split with a patient in two parts; results are flagged."),
    click.option("--spec", type=PATH, help="TOML file of a data set, which the other options change."),
    click.option("--dry-run", is_flag=True, help="Only say what was understood."),
    click.option("--replace", is_flag=True, help="Replace what NAME was prepared from."),
)


@click.command("add")
@gathered("addition", "bench.datasets.own.adding:Addition", *_OPTIONS)
@DATA_ROOT
def data_add(addition: Addition, data_root: str | None) -> None:
    """Make a dataset of your own files: it is recognised by its structure, prepared, and described in a TOML file.

    \b
    Example:
      medbench data add my-lesions --from DIR --patients subjects.csv --dry-run
    """
    from bench.datasets.cache.prepared import resolve_root
    from bench.datasets.own.adding import add, understand
    from bench.report.data import added_text, prepared_text
    from bench.report.own_data import doubts_text, understood_text
    from bench.report.progress import counting
    from bench.zoo.registry import dataset_names

    console = make_console()
    root, _ = resolve_root(data_root, must_exist=False)
    understood = understand(addition, root, dataset_names())
    console.print_lines(understood_text(understood))
    if addition.dry_run:
        click.echo("dry run: nothing is prepared")
        return
    with counting(console, "cases") as report:
        prepared = add(understood, root, addition.replace, report)
    console.print_lines("\n".join([*doubts_text(prepared), prepared_text(prepared)]))
    click.echo(added_text(prepared, data_root))
