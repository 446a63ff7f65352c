"""Every case a point: Dice, or the probability of the true class, by class and model, with the mean beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.behind import ClassPoints, class_points, families
from bench.analysis.comparison import Table
from bench.report.drawing.style import (
    BLUE,
    GREY,
    INK,
    PAPER,
    name_points,
    named,
    new_panels,
    row_edges,
    set_rows,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 3  # side by side
MOST_CLASSES = 12
MOST_NAMED = 3000  # points of a figure that have words; where there are more, the lowest of each row
MOST_POINTS = 300  # of one model and class: what a row can show; of more every k-th is drawn, and the title says so


@styled
def class_strips(table: Table) -> Figure | None:
    """A panel for each class, a row for each model; None where no case is scored."""
    found = class_points(table)
    titles = [title for title in families(table) if any((title, name) in found.means for name in found.classes)]
    titles = [title for title in titles if (found.points["title"] == title).any()]
    classes = found.classes[:MOST_CLASSES]
    if not titles or not classes:
        return None
    largest = int(found.points.groupby(["title", "class"]).size().max())
    step = -(-largest // MOST_POINTS)
    drawn = "each point a case" if step == 1 else f"one point for each {step} cases"
    rest = len(found.classes) - len(classes)
    more = f"; {rest} further classes are not drawn" if rest else ""
    title = f"{table.where}. By class, {drawn}: {found.what}; diamond: {found.measure}{more}"
    columns = min(PANELS, len(classes))
    rows = -(-len(classes) // columns)
    names = [named(name) for name in titles]
    edges = row_edges(names, 0.15)
    height = rows * (0.45 + edges[-1])
    figure, axes = new_panels(height, title, rows, columns, sharex=True, sharey=True)
    for axis in axes[len(classes) :]:
        axis.set_visible(False)
    middles = set_rows(axes[0], names, edges)
    most_named = MOST_NAMED // (len(classes) * len(titles))
    for axis, name in zip(axes, classes, strict=False):
        _panel(axis, found, dict(zip(titles, middles, strict=True)), name, (step, most_named))
        for edge in edges[1:-1]:
            axis.axhline(edge, color=GREY, linewidth=0.25, alpha=0.6)
    proposed = next((t for t, family in families(table).items() if family == "proposed"), None)
    for axis in axes[::columns]:
        for label, own in zip(axis.get_yticklabels(), titles, strict=False):
            label.set_fontweight("bold" if own == proposed else "normal")
    return figure


def _panel(axis: Axes, found: ClassPoints, heights: dict[str, float], name: str, most: tuple[int, int]) -> None:
    """One class: of each row its points about its height, apart in the same way each time.

    Args:
        most: every how many points one is drawn, and how many of a row, the lowest, have their case's id.
    """
    step, most_named = most
    of_class = found.points[found.points["class"] == name]
    axis.grid(axis="x")
    for title, height in heights.items():
        rows = of_class[of_class["title"] == title].iloc[::step]
        values = rows["value"].to_numpy()
        apart = height + 0.045 * np.sin(2.4 * np.arange(len(values)))
        is_named = np.isin(np.arange(len(values)), np.argsort(values, kind="stable")[:most_named])
        look: dict[str, Any] = {"color": BLUE, "markersize": 1.8, "alpha": 0.45, "markeredgewidth": 0}
        if not is_named.all():
            axis.plot(values[~is_named], apart[~is_named], "o", **look)
        (line,) = axis.plot(values[is_named], apart[is_named], "o", **look)
        pairs = zip(rows.loc[is_named, "case"], values[is_named], strict=True)
        words = [f"{case}: {value:.1f}" for case, value in pairs]
        name_points(line, f"{found.classes.index(name)}-{list(heights).index(title)}", words)
        mean = found.means.get((title, name))
        if mean is not None:
            axis.plot([mean], [height], "D", color=INK, markerfacecolor=PAPER, markersize=3.6, markeredgewidth=0.9)
    axis.set_title(named(name, 24))
    axis.set_xlim(-3, 103)
    axis.set_xticks([0, 50, 100])
    axis.tick_params(axis="y", length=0)
