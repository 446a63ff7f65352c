"""Learning curves: training loss, validation score and rate, the mean over seeds with their range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.comparison import Table
from bench.analysis.learning import VALIDATION, Learning
from bench.report.drawing.style import BLUE, GREY, legend_height, looks, named, new_panels, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS, IMAGES = "steps", "images"
OVER = {STEPS: "steps", IMAGES: "images seen"}
LONGEST = 45  # characters of the names of networks that share a rate
BANDED = 6  # lines, from which on the proposed model's range alone is shaded


@styled
def training_curves(table: Table, curves: Sequence[Learning], over: str = IMAGES) -> Figure | None:
    """Three panels, one below the other; None without a history.

    Args:
        curves: of the table's rows, as `bench.analysis.learning.learning_curves` gives them.
        over: what the axis counts, `steps` or `images`.
    """
    if not curves:
        return None
    runs = {len(curve.values["lr"]) for curve in curves}
    seeds = f"{min(runs)} to {max(runs)} runs" if len(runs) > 1 else f"{runs.pop()} runs"
    few = len(curves) < BANDED
    whose = "shaded" if few else "shaded for the proposed model alone"
    of_what = "one run each" if seeds == "1 runs" else f"mean over {seeds}, their range {whose}"
    title = f"{table.where}. Learning curves: {of_what}"
    names = [curve.title for curve in curves]
    figure, axes = new_panels(3.9 + legend_height(names), title, 3, 1, sharex=True, height_ratios=[2, 2, 1])
    styles = looks({curve.title: curve.family for curve in curves})
    labels = {"train_loss": "training loss", "val_score": VALIDATION[table.task], "lr": "rate"}
    for axis, (column, label) in zip(axes, labels.items(), strict=True):
        axis.grid()
        axis.set_ylabel(label)
        for curve in () if column == "lr" else reversed(curves):
            shaded = few or styles[curve.title]["color"] == BLUE
            _line(axis, curve, column, over, styles[curve.title], shaded)
    _rates(axes[-1], curves, over, styles)
    axes[-1].set_xlabel(OVER[over])
    axes[-1].set_xlim(left=0)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], texts[::-1], loc="outside lower left", ncols=2, handlelength=3.0, columnspacing=1.2)
    return figure


def _rates(axis: Axes, curves: Sequence[Learning], over: str, styles: dict[str, dict[str, Any]]) -> None:
    """The rate over training: of networks that share one a single line, in grey and with their names."""
    names = [named(curve.title) for curve in curves]
    left = list(range(len(curves)))
    while left:
        first = curves[left[0]]
        group = [left[0], *(k for k in left[1:] if _same_rates(curves[k], first, over))]
        left = [k for k in left if k not in group]
        known = ~np.isnan(first.values["lr"]).all(axis=0)
        if not known.any():
            continue
        places, values = _places(first, over)[known], np.nanmean(first.values["lr"][:, known], axis=0)
        if len(group) == 1:
            axis.plot(places, values, **{**styles[first.title], "marker": None})
            continue
        axis.plot(places, values, color=GREY, linewidth=2)
        whose, others = ([name for k, name in enumerate(names) if (k in group) == is_in] for is_in in (True, False))
        text = min(", ".join(whose), f"all but {', '.join(others)}" if others else "all", key=len)
        text = text if len(text) <= LONGEST else f"{len(group)} networks"
        middle = len(places) // 2
        axis.annotate(text, (places[middle], values[middle]), (4, 4), textcoords="offset points")


def _same_rates(curve: Learning, other: Learning, over: str) -> bool:
    """Whether all runs of both had one rate at each place."""
    if not np.array_equal(_places(curve, over), _places(other, over)):
        return False
    rates = np.concatenate([curve.values["lr"], other.values["lr"]])
    return bool(np.isclose(rates, rates[0], rtol=1e-6, atol=0).all())


def _places(curve: Learning, over: str) -> np.ndarray:
    """Where on the axis the rounds of a curve lie."""
    return curve.steps * (curve.batch if over == IMAGES else 1)


def _line(axis: Axes, curve: Learning, column: str, over: str, look: dict[str, Any], shaded: bool) -> None:
    values = curve.values[column]
    known = ~np.isnan(values).all(axis=0)
    if not known.any():
        return
    places = _places(curve, over)[known]
    means = np.nanmean(values[:, known], axis=0)
    look = {**look, "marker": None} if len(places) > 15 else look
    axis.plot(places, means, label=named(curve.title), **look)
    if shaded and len(values) > 1:
        low, high = np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
        axis.fill_between(places, low, high, color=look["color"], alpha=0.18, linewidth=0, zorder=1)
