"""`medbench results archive`: records, sources, environment and tables as one file for a reviewer."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import RESULTS
from bench.cli.terminal import PATH, say


@click.command()
@click.argument("file", type=PATH)
@RESULTS
@click.option("--weights", is_flag=True, help="The weights too; they are most of the size.")
def archive(file: Path, results: Path, weights: bool) -> None:
    """Write records, sources, environment and tables into FILE (.zip), for a reviewer.

    `medbench reproduce FILE --cells 3` trains a random sample of it again; unpacked, it is a results folder.

    \b
    Example:
      medbench results archive paper.zip
    """
    from bench.report.archive import write_archive
    from bench.report.notes import few

    written = write_archive(file, results, weights)
    for line in few(written.notes):
        say(line, 0)
    click.echo(f"written: {file}, {written.records} records, {written.size / 2**20:.1f} MB")
