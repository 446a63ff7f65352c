"""Curves as a table, a row per model and a column per place, and as a figure over a log axis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.analysis.curves import AXES, Curve, Line, Point
from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records.filenames import file_name
from bench.report.drawing.style import (
    FORMS,
    legend_below,
    legend_height,
    looks,
    named,
    new_figure,
    save,
    save_as,
    slug,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEAR = 0.07  # share of the axis under which two places have room for one label
DODGE, SPREAD = 0.009, 0.05  # share of the axis between the intervals of two lines, and at most of all lines together


def curve_sheet(curve: Curve) -> Sheet:
    """The table of a curve; nothing in it is marked best."""
    word = AXES[curve.axis][1]
    rows = [
        {"Model": line.title} | {f"{place:,} {word}": _text(line.points.get(place), curve) for place in curve.places}
        for line in curve.lines
    ]
    interval = "[95 %]" if _has_intervals(curve) else "without intervals, which take two seeds and two patients"
    return Sheet(
        curve.caption, pd.DataFrame(rows), (f"{curve.measure} {interval}.", *curve.notes), name=slug(curve.name)
    )


def _has_intervals(curve: Curve) -> bool:
    return any(not math.isnan(point.figure.low) for line in curve.lines for point in line.points.values())


def _text(point: Point | None, curve: Curve) -> str:
    """`78.28 [72.06, 83.57]`; what a row lacks of its seeds behind it in brackets."""
    if point is None:
        return ""
    value, low, high = (f"{x:.{curve.decimals}f}" for x in (point.figure.value, point.figure.low, point.figure.high))
    lacks = f"({point.runs})" if " of " in point.runs or not point.runs[:1].isdigit() else ""
    shown = value if math.isnan(point.figure.low) else f"{value} [{low}, {high}]"
    shown = "" if math.isnan(point.figure.value) else shown
    return " ".join(filter(None, (shown, lacks)))


def check_path(path: Path | None) -> None:
    """Raises UserError for a file whose suffix names no form of a figure, before anything is run for it."""
    if path is not None and path.suffix not in FORMS:
        raise UserError(f"Expected --figure to be a file that ends in {', '.join(FORMS)}, but got {path.name!r}.")


def draw_curves(curves: Sequence[Curve], path: Path) -> list[Path]:
    """Writes the figure of one curve to the path, of several to files beside it that name the data set too."""
    if len(curves) == 1:
        return [save_as(curve_figure(curves[0]), path)]
    named = {file_name(f"{path.stem}-{slug(curve.name)}"): curve for curve in curves}
    return [save_as(curve_figure(curve), path.with_name(f"{name}{path.suffix}")) for name, curve in named.items()]


def draw_curves_in(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """Writes the figure of each curve into a folder, PNG and PDF."""
    return [path for curve in curves for path in save(curve_figure(curve), folder / file_name(slug(curve.name)))]


@styled
def curve_figure(curve: Curve) -> Figure:
    """A line per model with its 95 % intervals; the proposed model's thick and below the others."""
    intervals = ", with 95 % intervals" if _has_intervals(curve) else ""
    drawn = [line for line in curve.lines if any(not math.isnan(p.figure.value) for p in line.points.values())]
    titles = [line.title for line in drawn]
    figure, axis = new_figure(2.7 + legend_height(titles), f"{curve.title}{intervals}")
    axis.set_xscale("log")
    styles, apart = looks({line.model: line.family for line in drawn}), _apart(curve.places, len(drawn))
    for k, line in enumerate(drawn):
        _draw_line(axis, line, styles[line.model], math.exp(apart * (k - (len(drawn) - 1) / 2)))
    _label_places(axis, curve.places)
    axis.set_xlabel(AXES[curve.axis][0])
    axis.set_ylabel(curve.measure)
    axis.grid(axis="y")
    legend_below(figure, axis)
    return figure


def _draw_line(axis: Axes, line: Line, style: dict[str, Any], shift: float) -> None:
    known = [(x, p.figure) for x, p in sorted(line.points.items()) if not math.isnan(p.figure.value)]
    places = [x * shift for x, _ in known]
    for x, figure in zip(places, (figure for _, figure in known), strict=True):
        if not math.isnan(figure.low):
            axis.plot([x, x], [figure.low, figure.high], color=style["color"], linewidth=1.0, alpha=0.6, zorder=2)
    axis.plot(places, [figure.value for _, figure in known], label=named(line.title), **style)


def _apart(places: Sequence[int], lines: int) -> float:
    """How far apart the intervals of two lines stand at one place, in the logarithm; all together clear of the next."""
    gaps = np.diff(np.log(places))
    return float(min(min(DODGE, SPREAD / max(lines, 1)) * gaps.sum(), gaps.min() / (lines + 1)))


def _label_places(axis: Axes, places: Sequence[int]) -> None:
    """A tick for each place; a label where it has room, from the largest down."""
    where = np.log(places) / math.log(places[-1] / places[0])
    labelled: list[int] = []
    for k in reversed(range(len(places))):
        if all(abs(where[k] - where[other]) >= NEAR for other in labelled):
            labelled.append(k)
    axis.set_xticks(places, [f"{place:,}" if k in labelled else "" for k, place in enumerate(places)])
    axis.minorticks_off()
