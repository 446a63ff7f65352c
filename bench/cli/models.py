"""`medbench models`: which networks there are, and whether they are what they claim to be."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click

from bench.cli.options import JSON, reject_given
from bench.cli.terminal import TEXT, make_console, say, wide_option
from bench.errors import UserError, unknown
from bench.zoo.entry import Family


@click.command()
@click.option("--preset", default="quick", type=TEXT, help="Mark the models that `all` means under it.  [quick]")
@click.option("--task", type=click.Choice(["segmentation", "classification"]))
@click.option("--family", type=TEXT, help="proposed, cnn, transformer, hybrid, other or chance.")
@click.option("--check", is_flag=True, help="Each network's costs beside the published ones, as stored.")
@click.option("--recount", is_flag=True, help="With --check: count them anew; minutes.")
@click.option("--doctor", type=TEXT, metavar="NAME", help="Check that one network keeps the contract.")
@JSON
@wide_option
@click.pass_context
def models(
    context: click.Context, doctor: str | None, check: bool, recount: bool, form: str, wide: bool, **listed: Any
) -> None:
    """List the models, with citation, size and list; check their costs, or one's health.

    \b
    Example:
      medbench models --preset paper
    """
    from bench.report.plans import checks_sheet, doctor_line, models_sheet
    from bench.report.sheets import print_sheets

    if listed["family"] not in (None, *get_args(Family)):
        raise unknown("family", listed["family"], get_args(Family))
    if doctor is not None:
        reject_given(context, ("preset", "task", "family", "check", "recount", "form", "wide"), "--doctor")
        from bench.zoo.contract import examine

        failed = 0
        for finding in examine(doctor):
            failed += not finding[1]
            click.echo(doctor_line(finding))
        sys.exit(say(f"Error: {failed} checks of {doctor} failed.", 2) if failed else 0)
    if recount and not check:
        raise UserError("--recount is of --check: add it.")
    if check:
        from bench.cost.published import check_costs

        checks = check_costs(listed["task"], listed["family"], recount)
    if form == "json":
        from bench.report.json_rows import checks_document, models_document

        click.echo(checks_document(checks) if check else models_document(**listed), nl=False)
    else:
        print_sheets(make_console(wide), [checks_sheet(checks) if check else models_sheet(**listed)])
