"""What `medbench evaluate` prints: every figure by class, the mean with its interval, and the gap of two methods."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.analysis.certainty import Measure, interval_text, limited, p_text, scores_of
from bench.analysis.conventions import MEASURES
from bench.analysis.predictions import Judged
from bench.analysis.segmentation import POLICIES
from bench.analysis.sheet import Sheet
from bench.analysis.statistics import (
    Interval,
    Scores,
    can_be_resampled,
    difference,
    figure,
    unit_means,
    wilcoxon,
    with_seeds,
)
from bench.metrics.doctor import TOLERANCE, Compared

TITLES = {"pred": "Predictions", "versus": "The others'"}
GAP = "pred - versus"
MEAN = "mean"
CSV = ("method", "metric", "class", "value", "low", "high", "p", "sets", "patients", "cases")
_NOTES = (
    "A class's figure is the mean over its cases, averaged over sets of predictions; Mean: over classes.",
    *(f"{policy}: {meaning}." for policy, meaning in POLICIES.items()),
    "Missed and invented: structures, as a mean over sets. Intervals are not adjusted for their number.",
)
_TEST = (
    "p: Wilcoxon over patients on means over sets, unadjusted: of these predictions only, not of another training, "
    "and not of the methods."
)


def prediction_figures(judged: Judged, tests: bool = False) -> pd.DataFrame:
    """All figures in long form, the columns `CSV`: by method, metric and class (`mean`: over classes).

    `low`, `high`: the 95 % interval, nan with fewer than two patients; rows of the method `pred - versus` are
    differences, `p` their paired test where `tests` asks for it. Shares in %.
    """
    measures = [limited(m, judged.rows) for m in MEASURES if judged.rows[m.column].notna().any()]
    cases, patients = judged.rows["case"].nunique(), judged.rows["patient"].nunique()
    shared = {"patients": patients, "cases": cases}
    rows: list[dict[str, Any]] = []
    for method, folders in judged.folders.items():
        of_method = judged.rows[judged.rows["method"] == method]
        row = {"method": method, "sets": len(folders), **shared}
        for measure in measures:
            for name, of_class in _levels(of_method, judged.classes):
                interval = _interval(scores_of(of_class, measure), measure)
                rows.append({**row, "metric": measure.name, "class": name, **vars(interval)})
        for outcome in ("missed", "invented"):
            for name, of_class in _levels(of_method, judged.classes, "all"):
                count = int((of_class["outcome"] == outcome).sum()) / len(folders)
                rows.append({**row, "metric": outcome, "class": name, "value": count})
    if len(judged.folders) == 2:
        rows += [{**row, **shared} for row in _gaps(judged, measures, tests)]
    return pd.DataFrame(rows).reindex(columns=list(CSV))


def _levels(rows: pd.DataFrame, classes: tuple[str, ...], overall: str = MEAN) -> Iterator[tuple[str, pd.DataFrame]]:
    yield overall, rows
    for name in classes:
        yield name, rows[rows["class"] == name]


def _gaps(judged: Judged, measures: list[Measure], tests: bool) -> Iterator[dict[str, Any]]:
    methods = [judged.rows[judged.rows["method"] == method] for method in ("pred", "versus")]
    for measure in measures:
        for levels in zip(*(_levels(rows, judged.classes) for rows in methods), strict=True):
            ours, theirs = (scores_of(rows, measure) for _, rows in levels)
            gap, p = Interval(figure(ours) - figure(theirs), math.nan, math.nan), math.nan
            if can_be_resampled(ours, theirs) and not math.isnan(gap.value):
                gap = measure.gap(difference(with_seeds(ours), with_seeds(theirs)))
                p = wilcoxon(unit_means(ours), unit_means(theirs)) if tests else math.nan
            yield {"method": GAP, "metric": measure.name, "class": levels[0][0], **vars(gap), "p": p}


def _interval(scores: Scores, measure: Measure) -> Interval:
    value = figure(scores)
    if math.isnan(value) or not can_be_resampled(scores):
        return Interval(value, math.nan, math.nan)
    return measure.figure(with_seeds(scores))


def prediction_sheets(judged: Judged, tests: bool = False) -> list[Sheet]:
    """A table for each method, and one of their differences, with p-values where `tests` asks for them."""
    figures = prediction_figures(judged, tests)
    sheets = [_method_sheet(judged, method, figures[figures["method"] == method]) for method in judged.folders]
    if len(judged.folders) == 2:
        sheets.append(_gap_sheet(judged, figures, tests))
    first = sheets[0]
    return [replace(first, notes=(*judged.notes, *_NOTES)), *sheets[1:]]


def _method_sheet(judged: Judged, method: str, figures: pd.DataFrame) -> Sheet:
    rows = []
    for metric, of_metric in figures.groupby("metric", sort=False):
        values, known = dict(zip(of_metric["class"], of_metric["value"], strict=True)), of_metric.set_index("class")
        counted = metric in ("missed", "invented")
        row = {"Metric": str(metric).capitalize() if counted else metric}
        for name in judged.classes:
            row[name] = _number(values[name], 1 if counted else 2)
        row["Mean [95 %]"] = f"{_number(values['all'], 1)} in all" if counted else _text(known.loc[MEAN])
        rows.append(row)
    folders = ", ".join(map(str, judged.folders[method]))
    caption = f"{TITLES[method]}: {folders}. {_resampling(judged, (method,))}"
    return Sheet(caption, pd.DataFrame(rows), details=judged.classes[::-1])


def _gap_sheet(judged: Judged, figures: pd.DataFrame, tests: bool) -> Sheet:
    means = figures[figures["class"] == MEAN].set_index(["method", "metric"])
    rows = []
    for metric in means.loc[GAP].index:
        gap = means.loc[(GAP, metric)]
        row = {"Metric": metric}
        row |= {TITLES[method]: _number(means.loc[(method, metric), "value"]) for method in judged.folders}
        row["Difference [95 %]"] = _text(gap)
        if tests:
            row["p, these predictions only"] = "" if pd.isna(gap["p"]) else p_text(gap["p"])
        rows.append(row)
    caption = f"Predictions less the others', means over classes. {_resampling(judged, tuple(judged.folders))}"
    return Sheet(caption, pd.DataFrame(rows), (_TEST,) if tests else ())


def _resampling(judged: Judged, methods: tuple[str, ...]) -> str:
    """What the intervals are over, and what may be claimed."""
    cases, patients = judged.rows["case"].nunique(), judged.rows["patient"].nunique()
    who = (
        f"{cases} cases of {patients} patients" if judged.patients_known else f"{cases} cases, each taken as a patient"
    )
    if judged.left_out:
        who += f" ({len(judged.left_out)} of {cases + len(judged.left_out)} labels left out, without a prediction)"
    if patients < 2:
        return f"{who}: no interval, and no claim."
    sets = [len(judged.folders[method]) for method in methods]
    if min(sets) > 1:
        counts = " and ".join(str(n) for n in dict.fromkeys(sets))
        return f"{who}. Intervals: two-way bootstrap over patients and {counts} sets of predictions (seeds)."
    what, why = "patients alone", "there is one set of predictions"
    if max(sets) > 1:
        what, why = "patients and the sets of the method with several", "the other method has one set of predictions"
    return (
        f"{who}. Intervals: bootstrap over {what}, for {why}: they say nothing of another training, and no claim about "
        "a method is made."
    )


def _number(value: float, decimals: int = 2) -> str:
    return "" if pd.isna(value) else f"{value:.{decimals}f}"


def _text(row: Any) -> str:
    return interval_text(Interval(row["value"], row["low"], row["high"]))


def compared_sheet(comparisons: Sequence[Compared]) -> Sheet:
    """Our metrics beside medpy's."""
    rows = [
        {
            "Metric": metric.metric,
            "Pairs": f"{metric.pairs}",
            "Undefined in both": f"{metric.undefined}",
            "Largest difference": f"{metric.difference:.1e}",
            "Of": metric.worst if metric.difference else "",
            "Speed x medpy": f"{metric.ratio:.1f}",
            "Agrees": "yes" if metric.agrees else "NO",
        }
        for metric in comparisons
    ]
    agrees = f"Agrees: every difference is at most {TOLERANCE:g}, in voxels, mm, or of Dice."
    speed = "Speed: CPU seconds of medpy's over ours, on drawn hearts and an abdomen."
    empty = "Two empty masks are left out: medpy gives Dice 0, ours none, and the empty policy decides."
    notes = (agrees, speed, empty)
    caption = "Metrics beside medpy's, on drawn volumes and on hard small ones."
    return Sheet(caption, pd.DataFrame(rows), notes, left=("Of",), details=("Of", "Undefined in both"))
