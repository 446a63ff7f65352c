"""`medbench doctor`: this machine, its data and what is missing; our metrics beside medpy's."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.terminal import PATH, TEXT, make_console, say


@click.command()
@click.option("--metrics", is_flag=True, help="Compare Dice, HD95 and ASSD with medpy's, on drawn volumes.")
@click.option("--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]")
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
def doctor(metrics: bool, data_root: str | None, results: Path) -> None:
    """Say what this machine has (versions, devices, threads, disk, prepared data), and how to get what is missing.

    With --metrics: our metrics beside medpy's, the largest difference, and how much faster ours are. A network is
    examined by `medbench models --doctor NAME`.

    \b
    Example:
      medbench doctor
    """
    if metrics:
        sys.exit(_compare_metrics())
    from bench.report.doctor import doctor_text

    click.echo(doctor_text(results, data_root))


def _compare_metrics() -> int:
    from bench.metrics.doctor import compare_with_medpy
    from bench.report.judged import compared_sheet
    from bench.report.sheets import to_rich

    found = compare_with_medpy()
    make_console().print(to_rich(compared_sheet(found)))
    differing = [one.metric for one in found if not one.agrees]
    return say(f"Error: {', '.join(differing)} differ from medpy's.", 1) if differing else 0
