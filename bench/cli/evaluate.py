"""`medbench evaluate`: others' predictions scored, and trained networks on other data sets or under corruptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.options import DATA, DATA_ROOT, DEVICE, Display, Option, displayed, gathered, reject_given
from bench.cli.predict import TRUST, WEIGHTS
from bench.cli.terminal import PATH, TEXT, make_console, say
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.predictions import Predictions
    from bench.analysis.robustness import Elsewhere


def _names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _spacing(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (2, 3) or not all(0 < size < 1e6 for size in sizes):
        raise UserError(f"Expected --spacing to be positive mm as z,y,x or y,x, but got {text!r}.")
    return sizes


REQUEST: Option = gathered(
    "request",
    "bench.analysis.predictions:Predictions",
    click.option("--pred", multiple=True, type=PATH, help="Folder of predictions; again for each seed."),
    click.option("--label", type=PATH, help="Folder of the reference's label maps."),
    click.option("--versus", multiple=True, type=PATH, help="Folder of another method's; again for each seed."),
    click.option(
        "--classes", type=TEXT, callback=_names, help="Names by label id, background first.  [the labels' ids]"
    ),
    click.option(
        "--spacing", type=TEXT, callback=_spacing, help="mm along z,y,x or y,x.  [the label's NIfTI header; PNG: none]"
    ),
    click.option("--patient-regex", type=TEXT, help="The first group with text in a name is the patient.  [the case]"),
    click.option("--patients", type=PATH, help="CSV with the columns case and patient.  [each case is a patient]"),
    click.option(
        "--missing",
        type=click.Choice(["error", "empty", "skip"]),
        default="error",
        help="A prediction not there: all background, or its case left out.  [error]",
    ),
    click.option("--threads", default=1, type=click.IntRange(1), help="Threads over classes.  [1]"),
)


ELSEWHERE: Option = gathered(
    "elsewhere",
    "bench.analysis.robustness:Elsewhere",
    click.option(
        "--run", "runs", multiple=True, type=PATH, help="A run's folder, in place of --pred; again for others."
    ),
    click.option("--dataset", "datasets", type=TEXT, help="Score the run's network on these data sets, by commas."),
    click.option("--corruptions", is_flag=True, help="Score it on its own test part, corrupted in five severities."),
    click.option("--map", "mapping", multiple=True, metavar="THEIRS=OURS", help="A class that the network calls so."),
    *(DATA, DATA_ROOT, WEIGHTS, DEVICE, TRUST),
)


# What goes with one of the two ways to use the command alone.
_OF_PRED = ("classes", "spacing", "patient_regex", "patients", "missing", "threads", "tests")
_OF_OTHERS = ("mapping", "data")
_OF_RUN = ("datasets", "corruptions", "mapping", "data", "data_root", "weights", "device", "trust")


@click.command()
@REQUEST
@ELSEWHERE
@click.option("--tests", is_flag=True, help="p-values of differences too: of these predictions only.")
@displayed("Write cases.csv and the conventions there.", "json")
@click.pass_context
def evaluate(context: click.Context, request: Predictions, elsewhere: Elsewhere, tests: bool, display: Display) -> None:
    """Score folders of label maps of any method (NIfTI, PNG), or a run's network elsewhere, with intervals.

    \b
    Example:
      medbench evaluate --pred PREDICTIONS --label LABELS --classes background,RV,Myo,LV --output SCORES
    """
    if elsewhere.runs:
        if request.pred or request.label or request.versus:
            raise UserError("Expected --pred with --label, or --run with --dataset or --corruptions, but got both.")
        reject_given(context, _OF_PRED, "--run")
        if elsewhere.corruptions:
            reject_given(context, _OF_OTHERS, "--corruptions")
        _judge(elsewhere, display)
        return
    for option, given in (("--pred", request.pred), ("--label", request.label)):
        if not given:
            raise click.UsageError(f"Missing option '{option}' (or '--run').")
    reject_given(context, _OF_RUN, "--pred")
    if not request.versus:
        reject_given(context, ("tests",), "--pred without --versus")
    _score(request, tests, display)


def _judge(elsewhere: Elsewhere, display: Display) -> None:
    """Scores runs elsewhere; `--output` takes the rows of all cases."""
    from contextlib import nullcontext

    from bench.analysis.predictions import FACTS, check_output
    from bench.analysis.robustness import judge_elsewhere
    from bench.metrics.cases import CONVENTIONS
    from bench.records.store import write_json, write_text
    from bench.report.escaping import csv_text
    from bench.report.progress import counting

    if display.output:
        check_output(display.output, elsewhere.scored)
    with counting(make_console(), "done") if display.form == "rich" else nullcontext(lambda *_: None) as report:
        judged = judge_elsewhere(elsewhere, report)
    if display.form == "json":
        from bench.report.json_text import document, sheet_table

        click.echo(document("evaluate", map(sheet_table, judged.sheets)), nl=False)
    else:
        display.show(judged.sheets)
    if display.output:
        write_json(display.output / FACTS, {"conventions": CONVENTIONS, **elsewhere.scored})
        write_text(display.output / "cases.csv", csv_text(judged.rows))
        say(f"written   {display.output / 'cases.csv'}, {display.output / FACTS}", 0)


def _score(request: Predictions, tests: bool, display: Display) -> None:
    from contextlib import nullcontext

    from bench.analysis.predictions import check_output, score_predictions, scored_folders, write_scores
    from bench.report.escaping import csv_text
    from bench.report.judged import prediction_figures, prediction_sheets
    from bench.report.progress import counting

    if display.output:
        check_output(display.output, scored_folders(request.folders))
    with counting(make_console(), "cases") if display.form == "rich" else nullcontext(lambda *_: None) as report:
        judged = score_predictions(request, lambda done, total: report("", done, total))
    written = write_scores(judged, display.output) if display.output else []
    if display.form == "csv":
        click.echo(csv_text(prediction_figures(judged, tests)), nl=False)
    elif display.form == "json":
        from bench.report.json_text import document, frame_table

        table = frame_table("figures", prediction_figures(judged, tests), judged.notes)
        click.echo(document("evaluate", [table]), nl=False)
    else:
        display.show(prediction_sheets(judged, tests))
    if written:
        say(f"written   {', '.join(map(str, written))}", 0)
