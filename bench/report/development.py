"""The table of candidates on folds of training patients: a row per model and variant, and what stands below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.analysis.captions import PHANTOM, SUBSTITUTE, preset_words
from bench.analysis.development import AVERAGE, MEASURES, RAW, Judged, Measure
from bench.analysis.pooled import Pooled, averaging, pool
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import short_words
from bench.analysis.statistics import Interval

PLACE = (
    "Figures of the held-out fold of the training part at the end of training, means over folds; the split's own "
    "validation and test parts are not read."
)
WEIGHTS = {RAW: "", AVERAGE: "average, "}
GAP, AVERAGING = "less first [95 %]", "average less raw, {} [95 %]"


def development_sheet(judged: Sequence[Judged]) -> Sheet:
    """The table of one dataset's candidates."""
    together = pool(judged)
    rows = [_row(one) for one in judged] + [_pooled_row(one, judged[0].task) for one in together]
    frame = pd.DataFrame(rows).fillna("")
    frame = frame.loc[:, [bool((frame[column] != "").any()) for column in frame]]
    details = tuple(str(column) for column in frame if str(column).endswith("by fold"))
    name = f"development-{judged[0].candidate.jobs[0].cell.dataset_label}"
    notes = (*_notes(judged), *([_pooled_note(together)] if together else []))
    return Sheet(_caption(judged), frame, notes, name=name, left=("Variant", "Cells"), details=details)


def _row(one: Judged) -> dict[str, str]:
    row = {"Model": one.candidate.model, "Variant": one.candidate.variant}
    for weights, words in WEIGHTS.items():
        for measure in MEASURES[one.task]:
            title = f"{words}{measure.title}" if words else measure.title
            values = one.figures.get(weights, {}).get(measure.name)
            row[title] = _number(one.mean(weights, measure.name), measure)
            row[f"{title}, by fold"] = ", ".join(_number(v, measure) for v in values.values()) if values else ""
            row[f"{title}, {GAP}"] = _gap(one.gaps.get(weights, {}).get(measure.name), measure)
    first = MEASURES[one.task][0]
    row[AVERAGING.format(first.title)] = _gap(averaging(one).get(first.name), first)
    row["Seconds"] = "" if math.isnan(one.seconds) else f"{one.seconds:.0f}"
    others = [status for status in one.statuses if status != "complete"]
    counted = ", ".join(f"{others.count(status)} {status}" for status in dict.fromkeys(others))
    row["Cells"] = f"{counted} of {len(one.statuses)}" if others else ""
    return row


def _pooled_row(one: Pooled, task: str) -> dict[str, str]:
    row = {"Model": f"all {len(one.models)} models", "Variant": one.variant}
    for weights, words in WEIGHTS.items():
        for measure in MEASURES[task]:
            row[f"{words}{measure.title}, {GAP}"] = _gap(one.gaps.get(weights, {}).get(measure.name), measure)
    first = MEASURES[task][0]
    row[AVERAGING.format(first.title)] = _gap(one.averaging.get(first.name), first)
    return row


def _pooled_note(together: Sequence[Pooled]) -> str:
    names = ", ".join(dict.fromkeys(model for one in together for model in one.models))
    return (
        f"all models: the mean over the networks ({names}) of their differences, unit by unit; the interval is over "
        "held-out patients or groups, for these networks and seeds. A field of a recipe is decided by it."
    )


def _number(value: float, measure: Measure) -> str:
    return "" if math.isnan(value) else f"{measure.factor * value:.{measure.decimals}f}"


def _gap(gap: Interval | None, measure: Measure) -> str:
    if gap is None or math.isnan(gap.value):
        return ""
    value, *ends = (f"{measure.factor * part:+.{measure.decimals}f}" for part in (gap.value, gap.low, gap.high))
    return value if math.isnan(gap.low) else f"{value} [{ends[0]}, {ends[1]}]"


def _caption(judged: Sequence[Judged]) -> str:
    cell, preset = judged[0].candidate.jobs[0].cell, judged[0].candidate.jobs[0].preset
    against = {"phantom": f"{PHANTOM}. ", "substitute": f"{SUBSTITUTE}. "}.get(cell.source["kind"], "")
    short = short_words(cell.protocol["steps"] * cell.protocol["batch_size"])
    base, _, inner = cell.split.partition("/inner")
    jobs = judged[0].candidate.jobs
    folds = sorted({job.cell.fold for job in jobs if job.cell.fold is not None})
    seeds = sorted({job.cell.seed for job in jobs})
    return (
        f"{against}{f'{short}. ' if short else ''}Development on {cell.dataset_label}, folds {_listed(folds)} of "
        f"{inner} of the training part of {base}; seeds {_listed(seeds)}; first variant: preset {preset_words(preset)}."
    )


def _over(judged: Sequence[Judged]) -> str:
    """What the intervals are over."""
    units = {one.units for one in judged if one.gaps}
    if units == {0}:
        return "folds"
    number = f" {max(units)}" if len(units) == 1 else ""
    return f"the{number} held-out patients or groups{' (folds where a cell keeps no cases)' * (0 in units)}"


def _listed(numbers: Sequence[Any]) -> str:
    return ", ".join(map(str, numbers))


def _notes(judged: Sequence[Judged]) -> tuple[str, ...]:
    varied = len({one.candidate.variant for one in judged}) > 1
    of_first = "the first variant of its model" if varied else "the first model"
    total = sum(one.total_seconds for one in judged)
    averaged = any(AVERAGE in one.figures for one in judged)
    average = "average: of the exponential average of the weights; without that word, of the weights themselves."
    notes = [
        PLACE,
        average if averaged else "",
        f"less first: the figure less that of {of_first}, paired, with Student's 95 % interval over {_over(judged)}."
        if any(one.gaps for one in judged)
        else "",
        f"Seconds: training of a cell. All cells of the table: {total / 3600:.2f} h.",
    ]
    return tuple(note for note in notes if note)
