"""Score against cost: what points of accuracy or Dice are bought with, and which models no other beats in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.behind import COSTS, cost_points, unbeaten
from bench.analysis.comparison import Table
from bench.report.drawing.style import (
    FAMILIES,
    GREY,
    INK,
    OTHER,
    PAPER,
    SMALL,
    legend_height,
    log_axis,
    named,
    new_panels,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def tradeoff(table: Table) -> Figure | None:
    """A panel for each known cost, the points numbered and named below; None with fewer than two models."""
    points = cost_points(table)
    costs = [cost for cost in COSTS if (points[cost] > 0).sum() > 1]
    if len(points) < 2 or not costs:
        return None
    bars = ", bars: 95 % intervals" if points["low"].notna().any() else ""
    what = f"Score against cost; line: models that no other beats in both{bars}"
    names = [f"{k}  {title}" for k, title in enumerate(points["title"], start=1)]
    below = legend_height(names) + 0.18
    figure, axes = new_panels(2.6 + below, f"{table.where}. {what}", 1, len(costs), sharey=True)
    for axis, cost in zip(axes, costs, strict=True):
        _panel(axis, points, cost)
    axes[0].set_ylabel(table.main.header)
    _key(figure, points, names)
    return figure


def _panel(axis: Axes, points: pd.DataFrame, cost: str) -> None:
    known = points[points[cost] > 0].reset_index()
    axis.grid()
    front = unbeaten(known[cost].to_numpy(), known["score"].to_numpy())
    axis.plot(known[cost][front], known["score"][front], color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)
    for row in known.to_dict("records"):
        marker, colour = FAMILIES.get(row["family"], OTHER)
        if row["low"] == row["low"]:
            axis.plot([row[cost]] * 2, [row["low"], row["high"]], color=colour, linewidth=0.8, alpha=0.6, zorder=2)
        size = 8.0 if row["family"] == "proposed" else 7.0
        axis.plot([row[cost]], [row["score"]], marker, color=colour, markersize=size, zorder=3, markeredgewidth=0)
        number = str(row["index"] + 1)
        axis.annotate(number, (row[cost], row["score"]), color=PAPER, fontsize=5.5, ha="center", va="center", zorder=4)
    log_axis(axis)
    axis.set_xlabel(COSTS[cost][0])


def _key(figure: Figure, points: pd.DataFrame, names: list[str]) -> None:
    """Which number is which model, then which marker is which family."""
    from matplotlib.lines import Line2D

    handles = []
    for family in points["family"]:
        marker, colour = FAMILIES.get(family, OTHER)
        handles.append(Line2D([], [], marker=marker, color=colour, linestyle="", markersize=5))
    title = ", ".join(f"{family}: {SHAPES.get(family, 'triangle down')}" for family in dict.fromkeys(points["family"]))
    legend = figure.legend(
        handles,
        [named(name) for name in names],
        loc="outside lower left",
        ncols=2,
        handletextpad=0.2,
        columnspacing=1.0,
        title=title,
        title_fontsize=SMALL,
        alignment="left",
    )
    legend.get_title().set_color(GREY)


SHAPES = {"proposed": "circle", "cnn": "square", "transformer": "triangle", "hybrid": "diamond"}
