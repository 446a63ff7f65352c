"""A report's figures, PNG and PDF: differences with intervals, rank frequencies, and from five data sets critical ones.

Drawn from tables that are made already; the same tables give the same pixels.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.certainty import p_text
from bench.analysis.comparison import Table
from bench.analysis.rankings import LEAST, Ranking, rankings
from bench.analysis.short_budget import NO_RANKS
from bench.analysis.statistics import Interval, average_ranks, critical_difference, friedman
from bench.errors import UserError
from bench.records.filenames import file_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
RASTER = 200  # dots an inch of the PNG
# Suffix -> what a file of that form would say of when and by what it was made, which is left out.
FORMS = {".png": ("Software",), ".pdf": ("CreationDate", "Producer", "Creator"), ".svg": ("Date", "Creator")}
INCHES = 7.0  # width of a figure: a page's text


def draw_report(tables: Sequence[Table], folder: Path) -> tuple[list[Path], list[str]]:
    """Writes the figures that these tables allow; returns their paths, and a line for each kind that is left out.

    Raises:
        UserError: the folder cannot be written to.
    """
    drawn: list[tuple[str, Figure]] = []
    for table in tables:
        if table.sure.gaps:
            name = file_name(f"{table.name}-{table.key[:8]}")
            drawn.append((f"{name}-differences", differences(table)))
            drawn += [] if table.sure.ranks.empty else [(f"{name}-ranks", rank_map(table))]
    notes = [
        f"{table.where}: no figure. {table.sure.caption}"
        if not table.sure.reference
        else f"{table.where}: no figure, one model alone."
        for table in tables
        if not table.sure.gaps
    ]
    notes += [f"{t.where}: no figure of ranks. {NO_RANKS}" for t in tables if t.sure.gaps and t.sure.ranks.empty]
    ranked = rankings(tables)
    enough = [ranking for ranking in ranked if len(ranking.datasets) >= LEAST]
    drawn += [(_file_name(ranking), critical(ranking)) for ranking in enough]
    if not enough:
        most = max((len(ranking.datasets) for ranking in ranked), default=0)
        notes.append(
            f"No critical-difference figure: it needs {LEAST} data sets of real images with the same models, "
            f"{most} are there."
        )
    return [path for name, figure in drawn for path in save(figure, folder / name)], notes


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG and PDF, without a date in them. Raises UserError where it cannot be written."""
    return [save_as(figure, stem.with_name(f"{stem.name}.{kind}")) for kind in ("png", "pdf")]


def save_as(figure: Figure, path: Path) -> Path:
    """Writes a figure in the form that the path's suffix names, one of `FORMS`. Raises UserError where it cannot."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=RASTER, metadata=dict.fromkeys(FORMS[path.suffix]))
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Name another folder.") from None
    return path


def new_figure(height: float, title: str, width: float = INCHES) -> tuple[Figure, Axes]:
    """An empty figure with one axis and a title that is wrapped to its width; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(title, int(13.5 * width))
    figure = Figure(figsize=(width, height + 0.17 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("\n".join(lines), fontsize=9)
    return figure, axis


def differences(table: Table) -> Figure:
    """A forest plot: the reference's figure less each model's, with 95 % intervals; those that exclude 0 filled."""
    sure = table.sure
    how = sure.caption.partition(": ")[2]
    label = f"{sure.reference} less the model, {sure.measure},\n95 % interval; filled: it excludes 0"
    return forest(sure.gaps, f"{table.where}. {how[:1].upper()}{how[1:]}", label)


def forest(gaps: Mapping[str, Interval], title: str, label: str) -> Figure:
    """A row for each difference: a point with its interval about a line at 0, filled where it excludes 0."""
    figure, axis = new_figure(1.2 + 0.3 * len(gaps), title)
    axis.axvline(0, color="black", linewidth=0.8)
    for height, gap in enumerate(gaps.values()):
        colour = BLUE if gap.low > 0 else ORANGE if gap.high < 0 else GREY
        axis.plot([gap.low, gap.high], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        face = colour if gap.excludes_zero else "white"
        axis.plot([gap.value], [height], "o", color=colour, markerfacecolor=face, markersize=6)
    axis.set_yticks(range(len(gaps)), list(gaps), fontsize=9)
    axis.set_ylim(len(gaps) - 0.5, -0.5)
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    axis.tick_params(axis="x", labelsize=9)
    figure.supxlabel(label, fontsize=9)  # centred on the whole figure, which long names leave room for
    return figure


def rank_map(table: Table) -> Figure:
    """How often each model has each rank among the resamples, in %, as a heat map."""
    sure = table.sure
    shares = 100 * sure.ranks.to_numpy(float)
    title = f"{table.where}. Share of the resamples in % in which a model has a rank, by {sure.measure}"
    figure, axis = new_figure(0.9 + 0.3 * len(shares), title)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            text = "" if share == 0 else f"{share:.0f}" if share >= 0.5 else "<1"
            axis.text(j, i, text, ha="center", va="center", color="white" if share > 55 else "black", fontsize=8)
    axis.set_yticks(range(len(shares)), [str(model) for model in sure.ranks.index], fontsize=9)
    axis.set_xticks(range(shares.shape[1]), [str(rank) for rank in sure.ranks.columns], fontsize=9)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xlabel("rank", fontsize=9)
    return figure


# -- over data sets ------------------------------------------------------------------------------------------


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
    figure, axis = new_figure(1.1 + 0.13 * len(bars) + 0.3 * half, title)
    axis.spines[:].set_visible(False)
    axis.set_yticks([])
    axis.xaxis.set_visible(False)
    first = 0.55 + 0.3 * len(bars)  # below the axis, of the first model's name
    axis.set_xlim(-0.45 * m, 1.45 * m + 1)
    axis.set_ylim(first + 0.7 * half, -1.7)
    axis.plot([1, m], [0, 0], color="black", linewidth=1)
    for rank in range(1, m + 1):
        axis.plot([rank, rank], [0, -0.2], color="black", linewidth=1)
        axis.text(rank, -0.3, str(rank), ha="center", va="bottom", fontsize=9)
    end = min(1 + distance, m)
    axis.plot([1, end], [-1.2, -1.2], color="black", linewidth=2, solid_capstyle="butt")
    cut = "" if end == 1 + distance else ", longer than the axis"
    axis.text(end + 0.05 * m, -1.2, f"critical difference {distance:.2f}{cut}", va="center", fontsize=9)
    for k, i in enumerate(order):
        left = k < half
        side, level = (0.9, first + 0.7 * k) if left else (m + 0.1, first + 0.7 * (m - 1 - k))
        axis.plot([ranks[i], ranks[i], side], [0, level, level], color=GREY, linewidth=0.9)
        text = f"{ranking.models[i]}  {ranks[i]:.2f}" if left else f"{ranks[i]:.2f}  {ranking.models[i]}"
        axis.text(side + (-0.1 if left else 0.1), level, text, ha="right" if left else "left", va="center", fontsize=9)
    for k, (start, stop) in enumerate(bars):
        low, high = ranks[order[start]], ranks[order[stop]]
        axis.plot([low - 0.03, high + 0.03], [0.3 + 0.3 * k] * 2, color=BLUE, linewidth=3, solid_capstyle="butt")
    return figure


def cliques(ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """First and last position of each longest run of ascending mean ranks that lie within the distance."""
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.flatnonzero(ranks <= rank + distance)[-1])
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _file_name(ranking: Ranking) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", f"{ranking.setting} {len(ranking.datasets)}".lower()).strip("-")
    return file_name(f"critical-difference-{name}-{'-'.join(sorted(ranking.datasets))}")
