"""Ranks as figures: how often each model has each among the resamples, and the mean ones over data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.certainty import p_text
from bench.analysis.comparison import Table
from bench.analysis.rankings import Ranking
from bench.analysis.statistics import average_ranks, critical_difference, friedman
from bench.report.drawing.style import BLUE, GREY, INK, SMALL, named, new_figure, row_edges, set_rows, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def rank_map(table: Table) -> Figure:
    """How often each model has each rank among the resamples, in %, as a heat map."""
    sure = table.sure
    shares = 100 * sure.ranks.to_numpy(float)
    title = f"{table.where}. Share of the resamples in % in which a model has a rank, by {sure.measure}"
    names = [named(str(model)) for model in sure.ranks.index]
    edges = row_edges(names, 0.2)
    figure, axis = new_figure(0.6 + edges[-1], title)
    middles = set_rows(axis, names, edges)
    axis.pcolormesh(np.arange(shares.shape[1] + 1), edges, shares, cmap="Blues", vmin=0, vmax=100, edgecolors="face")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            text = "" if share == 0 else f"{share:.0f}" if share >= 0.5 else "<1"
            colour = "#FEFEFE" if share > 55 else "#010101"  # on the map's own colours, whatever the page's theme
            axis.text(j + 0.5, middles[i], text, ha="center", va="center", color=colour, fontsize=SMALL)
    axis.set_xticks(np.arange(shares.shape[1]) + 0.5, [str(rank) for rank in sure.ranks.columns])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xlabel("rank")
    return figure


@styled
def critical(ranking: Ranking) -> Figure:
    """Mean ranks over data sets, a bar over models that Nemenyi's test does not tell apart.

    Source: Demsar, JMLR 7 (2006) 1, figure 1.
    """
    ranks = average_ranks(ranking.figures)
    n, m = ranking.figures.shape
    distance = critical_difference(m, n)
    order = np.argsort(ranks, kind="stable")
    bars = cliques(ranks[order], distance)
    half = (m + 1) // 2
    title = (
        f"Mean ranks over {n} data sets ({', '.join(ranking.datasets)}), preset {ranking.setting}. Friedman's test (F "
        f"form): p {p_text(friedman(ranking.figures))}; critical difference (Nemenyi, 0.05): {distance:.2f} ranks"
    )
    figure, axis = new_figure(0.9 + 0.1 * len(bars) + 0.22 * half, title)
    axis.spines[:].set_visible(False)
    axis.set_yticks([])
    axis.xaxis.set_visible(False)
    first = 0.55 + 0.3 * len(bars)  # below the axis, of the first model's name
    axis.set_xlim(-0.75 * m, 1.75 * m + 1)
    axis.set_ylim(first + 0.7 * half, -1.7)
    axis.plot([1, m], [0, 0], color=INK, linewidth=1)
    for rank in range(1, m + 1):
        axis.plot([rank, rank], [0, -0.2], color=INK, linewidth=1)
        axis.text(rank, -0.3, str(rank), ha="center", va="bottom", fontsize=SMALL)
    end = min(1 + distance, m)
    axis.plot([1, end], [-1.2, -1.2], color=INK, linewidth=2, solid_capstyle="butt")
    cut = "" if end == 1 + distance else ", longer than the axis"
    axis.text(end + 0.05 * m, -1.2, f"critical difference {distance:.2f}{cut}", va="center", fontsize=SMALL)
    for k, i in enumerate(order):
        left = k < half
        side, level = (0.9, first + 0.7 * k) if left else (m + 0.1, first + 0.7 * (m - 1 - k))
        axis.plot([ranks[i], ranks[i], side], [0, level, level], color=GREY, linewidth=0.9)
        text = f"{ranking.models[i]}  {ranks[i]:.2f}" if left else f"{ranks[i]:.2f}  {ranking.models[i]}"
        place = side + (-0.1 if left else 0.1)
        axis.text(place, level, text, ha="right" if left else "left", va="center", fontsize=SMALL)
    for k, (start, stop) in enumerate(bars):
        low, high = ranks[order[start]], ranks[order[stop]]
        axis.plot([low - 0.03, high + 0.03], [0.3 + 0.3 * k] * 2, color=BLUE, linewidth=2.5, solid_capstyle="butt")
    return figure


def cliques(ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """First and last position of each longest run of ascending mean ranks that lie within the distance."""
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.flatnonzero(ranks <= rank + distance)[-1])
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs
