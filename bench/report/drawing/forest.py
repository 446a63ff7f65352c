"""Forest plots: a row for each difference, with its interval about a line at 0 and the zone of ties around it."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING

from bench.analysis.comparison import Table
from bench.analysis.statistics import Interval
from bench.report.drawing.style import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    PAPER,
    named,
    new_figure,
    row_edges,
    set_rows,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def differences(table: Table) -> Figure:
    """The reference's figure less each model's, with 95 % intervals; those that exclude 0 filled."""
    sure = table.sure
    how = sure.caption.partition(": ")[2]
    label = f"{sure.reference} less the model, {sure.measure}, 95 % interval"
    return forest(sure.gaps, f"{table.where}. {how[:1].upper()}{how[1:]}", label)


def tie_zone(gaps: Mapping[str, Interval]) -> float:
    """Half the width of the zone of ties: the median half-width of the intervals.

    A difference inside it is one that about half of these comparisons could not have told from none.
    """
    return median((gap.high - gap.low) / 2 for gap in gaps.values())


@styled
def forest(gaps: Mapping[str, Interval], title: str, label: str) -> Figure:
    """A row for each difference: a point with its interval about a line at 0, filled where it excludes 0."""
    zone = tie_zone(gaps)
    names = [named(name) for name in gaps]
    edges = row_edges(names, 0.2)
    figure, axis = new_figure(0.75 + edges[-1], title)
    axis.axvspan(-zone, zone, color=LIGHT, alpha=0.6, linewidth=0)
    axis.axvline(0, color=INK, linewidth=0.8)
    for height, gap in zip(set_rows(axis, names, edges), gaps.values(), strict=True):
        colour = BLUE if gap.low > 0 else ORANGE if gap.high < 0 else GREY
        axis.plot([gap.low, gap.high], [height, height], color=colour, linewidth=1.6, solid_capstyle="butt")
        face = colour if gap.excludes_zero else PAPER
        axis.plot([gap.value], [height], "o", color=colour, markerfacecolor=face, markersize=5)
    axis.grid(axis="x")
    key = f"Filled: it excludes 0. Shaded: zone of ties, \u00b1{zone:.1f}, the intervals' median half-width."
    figure.supxlabel(f"{label}\n{key}", fontsize="medium")  # centred on the figure, which long names leave room for
    return figure
