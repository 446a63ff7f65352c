"""What classifiers' probabilities are worth: reliability, ROC curves and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.behind import Runs, families, probability_runs
from bench.analysis.comparison import Table
from bench.metrics.classification import confusion, reliability, roc
from bench.report.drawing.style import (
    GREY,
    SMALL,
    legend_below,
    legend_height,
    looks,
    named,
    new_panels,
    styled,
)
from bench.report.escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10  # of the reliability diagram: those of ECE are too many for few test images
MOST_CLASSES, MOST_MATRICES = 6, 12
SLANTED = 24  # characters of a class below a matrix
GRID = np.linspace(0, 1, 101)  # of one less specificity, at which ROC curves are averaged over seeds


@styled
def reliability_diagram(table: Table, models: Sequence[Runs]) -> Figure | None:
    """How often a model is right, by how sure it is, all seeds' images together; None without probabilities."""
    if not models:
        return None
    titles = [model.title for model in models]
    title = (
        f"{table.where}. Reliability: share of test images predicted right by the predicted class's probability, in "
        f"{BINS} bins, seeds together; below the line: too sure. Below: how many images are in each bin"
    )
    figure, (axis, counts) = new_panels(3.3 + legend_height(titles), title, 2, 1, sharex=True, height_ratios=[4, 1])
    axis.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
    styles = looks({title: family for title, family in families(table).items() if title in titles})
    for model in models:
        reference = np.concatenate([true for true, _ in model.runs])
        images, sure, right = reliability(reference, np.concatenate([given for _, given in model.runs]), BINS)
        known = images > 0
        axis.plot(100 * sure[known], 100 * right[known], label=named(model.title), **styles[model.title])
        counts.plot(100 * sure[known], images[known], **{**styles[model.title], "marker": None})
    least = 100 / len(models[0].classes)
    axis.set_xlim(max(0, least - 5), 101)
    axis.set_ylim(0, 103)
    axis.set_ylabel("predicted right (%)")
    counts.set_ylabel("images")
    counts.set_xlabel("probability of the predicted class (%)")
    for panel in (axis, counts):
        panel.grid()
    legend_below(figure, axis)
    return figure


@styled
def roc_curves(table: Table, models: Sequence[Runs]) -> Figure | None:
    """A panel for each class against the rest, of two classes for the last alone; means over seeds."""
    if not models:
        return None
    classes = models[0].classes
    shown = [len(classes) - 1] if len(classes) == 2 else list(range(len(classes)))[:MOST_CLASSES]
    titles = [model.title for model in models]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    rest = len(classes) - len(shown)
    more = f"; {rest} further classes are not drawn" if len(classes) > 2 and rest else ""
    title = f"{table.where}. ROC curves, each the mean over seeds{more}"
    height = 3.4 if len(shown) == 1 else 1.75
    figure, axes = new_panels(rows * height + legend_height(titles), title, rows, columns, sharex=True, sharey=True)
    styles = looks({title: family for title, family in families(table).items() if title in titles})
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, k in zip(axes, shown, strict=False):
        _roc_panel(axis, models, k, styles)
        axis.set_title(named(classes[k], 24))
    for axis in axes[max(0, len(shown) - columns) : len(shown)]:
        axis.set_xlabel("1 \u2212 specificity (%)")
        axis.xaxis.set_tick_params(labelbottom=True)
    for axis in axes[::columns]:
        axis.set_ylabel("sensitivity (%)")
    legend_below(figure, axes[0])
    return figure


def _roc_panel(axis: Axes, models: Sequence[Runs], k: int, styles: dict[str, dict[str, Any]]) -> None:
    axis.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
    for model in models:
        curves = [_at_grid(true == k, given[:, k]) for true, given in model.runs if 0 < (true == k).mean() < 1]
        if curves:
            look = {**styles[model.title], "marker": None}
            axis.plot(100 * GRID, 100 * np.mean(curves, axis=0), label=named(model.title), **look)
    axis.grid()
    axis.set_aspect("equal")
    axis.set_xlim(-1, 101)
    axis.set_ylim(-1, 101)


def _at_grid(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sensitivity at the grid's false alarms; at a vertical step its upper end."""
    x, y = roc(positive, scores)
    last = np.searchsorted(x, GRID, side="right") - 1
    following = np.minimum(last + 1, len(x) - 1)
    gap = x[following] - x[last]
    share = np.divide(GRID - x[last], gap, out=np.zeros_like(GRID), where=gap > 0)
    return np.where(GRID > 0, y[last] + share * (y[following] - y[last]), 0.0)


@styled
def confusion_matrices(table: Table, models: Sequence[Runs]) -> Figure | None:
    """A matrix for each model: the share of a true class's images that are taken for each, in %, over seeds."""
    if not models:
        return None
    shown, classes = models[:MOST_MATRICES], models[0].classes
    columns = min(2 if len(classes) > 4 else 3, len(shown))
    rows = -(-len(shown) // columns)
    rest = len(models) - len(shown)
    title = (
        f"{table.where}. Confusion: of a true class's test images (rows) the share predicted as each, in %, mean over "
        f"seeds{f'; {rest} further models are not drawn' if rest else ''}"
    )
    names, slanted = [named(name, 14) for name in classes], [_short(name) for name in classes]
    cell = max(0.24, 0.03 + 0.115 * max(1 + name.count("\n") for name in names))  # inches
    below = 0.035 * max(map(len, slanted)) * (1 + (len(shown) % columns > 0))
    height = 0.5 + rows * (0.4 + cell * len(classes)) + below
    figure, axes = new_panels(height, title, rows, columns, sharex=True, sharey=True)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, model in zip(axes, shown, strict=False):
        counts = np.mean([confusion(true, given) for true, given in model.runs], axis=0)
        with np.errstate(invalid="ignore"):
            _matrix(axis, 100 * counts / counts.sum(axis=1, keepdims=True))
        axis.set_title(named(model.title, 22), fontsize=SMALL)
    places = np.arange(len(classes)) + 0.5
    axes[0].set_yticks(places, names)
    for axis in axes:
        axis.set_xticks(places, slanted, rotation=40, ha="right", rotation_mode="anchor")
    for axis in axes[max(0, len(shown) - columns) : len(shown)]:  # the last of their columns
        axis.xaxis.set_tick_params(labelbottom=True)
    axes[0].invert_yaxis()
    figure.supxlabel("predicted", fontsize="medium")
    figure.supylabel("true", fontsize="medium")
    return figure


def _short(name: str) -> str:
    """A class in one line beside other slanted ones; the matrix's rows have all of it."""
    line = plain(name)
    return line if len(line) <= SLANTED else f"{line[: SLANTED - 1]}\u2026"


def _matrix(axis: Axes, shares: np.ndarray) -> None:
    axis.pcolormesh(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=100, edgecolors="face")
    for (i, j), share in np.ndenumerate(shares):
        text = "" if np.isnan(share) else f"{share:.0f}"
        colour = "#FEFEFE" if share > 55 else "#010101"
        axis.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=6, color=colour)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def drawn_models(table: Table) -> list[Runs]:
    """The classifiers of a table whose probabilities are kept; none of a segmentation."""
    return list(probability_runs(table)) if table.task == "classification" else []
