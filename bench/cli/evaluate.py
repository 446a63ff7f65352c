"""`medbench evaluate`: others' predictions scored; `medbench doctor`: our metrics beside medpy's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.terminal import PATH, TEXT, make_console, say
from bench.errors import UserError


@click.command()
@click.option("--pred", required=True, multiple=True, type=PATH, help="Folder of predictions; again for each seed.")
@click.option("--label", required=True, type=PATH, help="Folder of the reference's label maps.")
@click.option("--versus", multiple=True, type=PATH, help="Folder of another method's; again for each seed.")
@click.option("--classes", type=TEXT, help="Names by label id, background first.  [the ids that the labels have]")
@click.option("--spacing", type=TEXT, help="mm along z,y,x or y,x.  [the label's NIfTI header; PNG: none]")
@click.option("--patient-regex", type=TEXT, help="Its first group in a file's name is the patient.  [the case]")
@click.option("--patients", type=PATH, help="CSV with the columns case and patient.  [each case is a patient]")
@click.option(
    "--missing",
    type=click.Choice(["error", "empty", "skip"]),
    default="error",
    help="A prediction not there: all background, or its case left out.  [error]",
)
@click.option("--tests", is_flag=True, help="p-values of differences too: of these predictions only.")
@click.option("--threads", default=1, type=click.IntRange(1), help="Threads over classes.  [1]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv"]), default="rich")
@click.option("--output", type=PATH, help="Write cases.csv and the conventions there.")
def evaluate(
    form: str, output: Path | None, classes: str | None, spacing: str | None, tests: bool, **request: Any
) -> None:
    """Score folders of NIfTI or PNG label maps, of any method, by all metrics, with intervals.

    \b
    Example:
      medbench evaluate --pred PREDICTIONS --label LABELS --classes background,RV,Myo,LV --output SCORES
    """
    from contextlib import nullcontext

    from bench.analysis.predictions import check_output, score_predictions, write_scores
    from bench.report.escaping import csv_safe
    from bench.report.judged import prediction_figures, prediction_sheets
    from bench.report.progress import counting
    from bench.report.sheets import render_sheets, to_rich

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    sizes = None if spacing is None else _spacing(spacing)
    if output:
        check_output(output)
    console = make_console()
    with counting(console, "cases") if form == "rich" else nullcontext(lambda *_: None) as report:
        request["report"] = lambda done, total: report("", done, total)
        judged = score_predictions(classes=names, spacing=sizes, **request)
    written = write_scores(judged, output) if output else []
    if form == "csv":
        click.echo(csv_safe(prediction_figures(judged, tests)).to_csv(index=False, lineterminator="\n"), nl=False)
    elif form == "rich":
        for sheet in prediction_sheets(judged, tests):
            console.print(to_rich(sheet))
    else:
        click.echo(render_sheets(prediction_sheets(judged, tests), form), nl=False)
    if written:
        say(f"written   {', '.join(map(str, written))}", 0)


def _spacing(text: str) -> tuple[float, ...]:
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (2, 3) or not all(0 < size < 1e6 for size in sizes):
        raise UserError(f"Expected --spacing to be positive mm as z,y,x or y,x, but got {text!r}.")
    return sizes


@click.command()
@click.option("--metrics", is_flag=True, help="Compare Dice, HD95 and ASSD with medpy's, on drawn volumes.")
def doctor(metrics: bool) -> None:
    """Check our metrics against medpy's: the largest difference, and how much faster ours are.

    \b
    Example:
      medbench doctor --metrics
    """
    from bench.metrics.doctor import compare_with_medpy
    from bench.report.judged import compared_sheet
    from bench.report.sheets import to_rich

    if not metrics:
        raise UserError("Expected --metrics. A network is examined by `medbench models --doctor NAME`.")
    found = compare_with_medpy()
    make_console().print(to_rich(compared_sheet(found)))
    differing = [one.metric for one in found if not one.agrees]
    if differing:
        sys.exit(say(f"Error: {', '.join(differing)} differ from medpy's.", 1))
