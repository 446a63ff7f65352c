"""`medbench doctor`: our metrics beside medpy's."""

from __future__ import annotations

import sys

import click

from bench.cli.terminal import make_console, say, wide_option
from bench.errors import UserError


@click.command()
@click.option("--metrics", is_flag=True, help="Compare Dice, HD95 and ASSD with medpy's, on drawn volumes.")
@wide_option
def doctor(metrics: bool, wide: bool) -> None:
    """Check our metrics against medpy's: the largest difference, and how much faster ours are.

    \b
    Example:
      medbench doctor --metrics
    """
    from bench.metrics.doctor import compare_with_medpy
    from bench.report.judged import compared_sheet
    from bench.report.sheets import print_sheets

    if not metrics:
        raise UserError("Expected --metrics. A network is examined by `medbench models --doctor NAME`.")
    found = compare_with_medpy()
    print_sheets(make_console(wide), [compared_sheet(found)])
    differing = [one.metric for one in found if not one.agrees]
    if differing:
        sys.exit(say(f"Error: {', '.join(differing)} differ from medpy's.", 1))
