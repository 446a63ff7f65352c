"""`medbench profile`: what networks cost, counted and measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.options import DEVICE, RESULTS
from bench.cli.terminal import PATH, TEXT, make_console, say, wide_option
from bench.errors import UserError


@click.command()
@click.option("--models", type=TEXT, help="Names, globs, name[field=value], zoo or all, by commas.")
@click.option("--task", type=click.Choice(["classification", "segmentation"]), default="classification")
@click.option("--size", "--image-size", "image_size", default=224, help="Side of the square input, in pixels.  [224]")
@click.option("--channels", default=3, help="Channels of the input.  [3]")
@click.option("--classes", default=2, help="Classes of the output.  [2]")
@click.option("--batch", default=8, help="Images a pass.  [8]")
@click.option("--threads", default=2, help="torch's threads.  [2]")
@DEVICE
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="bf16, fp16: autocast.")
@click.option("--reference", type=TEXT, help="Any model.  [resnet18; segmentation: unet_s]")
@click.option("--fused", is_flag=True, help="The proposed model's inference form beside its training form.")
@click.option("--step", is_flag=True, help="Training steps in place of inference.")
@click.option(
    "--baseline",
    type=click.Choice(["reference", "plain"]),
    default="reference",
    help="Of --step: the reference's steps, or the same network's by torch's own gradients and AdamW.  [reference]",
)
@click.option("--compile", "compiled", is_flag=True, help="The candidates through torch.compile.")
@click.option(
    "--seconds",
    default=60.0,
    help="Of rounds for each row, where 50 rounds do not take longer; latency, batches: half.  [60]",
)
@click.option("--data-root", type=TEXT, help="Prepared data that a faster variant's metric is taken on.  [as in run]")
@click.option("--sweep", is_flag=True, help="Larger batches until there is no gain, however long it takes.")
@click.option("--complexity", is_flag=True, help="Parameters and MACs by three counters alone; no timing.")
@click.option(
    "--compare", type=PATH, metavar="DIR", help="Stored profiles of --results beside those of DIR; no timing."
)
@click.option(
    "--preset", default="quick", type=TEXT, help="Whose list `all` means: smoke, quick, standard or paper.  [quick]"
)
@RESULTS
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "csv", "json"]), default="rich")
@wide_option
def profile(form: str, complexity: bool, compare: Path | None, models: str | None, wide: bool, **request: Any) -> None:
    """Measure what models cost: MACs, speed beside a reference, by turns in one process, latency, memory.

    Faster variants stand beside the change of their outputs and, where runs in the results folder left weights, of
    their metric.

    \b
    Profiles are stored under results/profiles.
    Example:
      medbench profile --models mednext_tiny,mobilenetv3_small --task classification --size 224 --batch 8
    """
    from bench.cost.speed import count
    from bench.cost.speed import profile as measure
    from bench.report.costs import complexity_tables, profile_tables
    from bench.report.escaping import csv_text
    from bench.report.sheets import print_sheets, render_sheets

    if compare is not None and (models is not None or complexity):
        raise UserError("Expected --compare without --models and --complexity: it times and counts nothing.")
    if compare is not None:
        from bench.report.repeats import compare_results, repeat_table

        repeat = compare_results(request["results"], compare)
        tables, rows = [repeat_table(repeat)], repeat.rows
    elif models is None:
        raise UserError("Expected --models NAMES, such as --models all, or --compare DIR.")
    else:
        make, lay_out = (count, complexity_tables) if complexity else (measure, profile_tables)
        try:
            rows = make(models, report=lambda line: click.echo(line, err=True), **request)
        except KeyboardInterrupt:
            sys.exit(say("Interrupted. The profiles measured so far are stored.", 130))
        tables = lay_out(rows)
    if form == "rich":
        print_sheets(make_console(wide), tables)
    elif form == "json":
        from bench.report.json_text import document, frame_table

        click.echo(document("profile", [frame_table("profiles", rows)]), nl=False)
    else:
        click.echo(csv_text(rows) if form == "csv" else render_sheets(tables, form), nl=False)
    failures = [*rows["error"].dropna()] if "error" in rows else []
    for line in failures:
        say(f"Error: {line}", 2)
    if failures:
        sys.exit(2)
