"""`medbench doctor`: this machine, its data and what is missing; our metrics beside medpy's."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.options import DATA_ROOT, RESULTS
from bench.cli.terminal import make_console, say, wide_option


@click.command()
@click.option("--metrics", is_flag=True, help="Compare Dice, HD95 and ASSD with medpy's, on drawn volumes.")
@DATA_ROOT
@RESULTS
@wide_option
def doctor(metrics: bool, data_root: str | None, results: Path, wide: bool) -> None:
    """Say what this machine has (versions, devices, threads, disk, prepared data), and how to get what is missing.

    With --metrics: our metrics beside medpy's, the largest difference, and how much faster ours are. A network is
    examined by `medbench models --doctor NAME`.

    \b
    Example:
      medbench doctor
    """
    if metrics:
        sys.exit(_compare_metrics(wide))
    from bench.report.doctor import doctor_text

    make_console(wide).print_lines(doctor_text(results, data_root))


def _compare_metrics(wide: bool) -> int:
    from bench.metrics.doctor import compare_with_medpy
    from bench.report.judged import compared_sheet
    from bench.report.sheets import print_sheets

    comparisons = compare_with_medpy()
    print_sheets(make_console(wide), [compared_sheet(comparisons)])
    differing = [comparison.metric for comparison in comparisons if not comparison.agrees]
    return say(f"Error: {', '.join(differing)} differ from medpy's.", 1) if differing else 0
