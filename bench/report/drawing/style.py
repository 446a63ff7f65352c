"""The one style of all figures: width of a column, sizes of text, colours that the colour-blind tell apart, files.

A figure is as wide as a paper's column (LNCS, 122 mm), so that it is set at its own size and its text stays readable.
Lines and points differ by marker and dash too: nothing is told by colour alone. The same data give the same files.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from bench.errors import UserError
from bench.records.filenames import file_name
from bench.report.escaping import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Of Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
GREY, LIGHT, INK, PAPER = "#7F7F7F", "#D9D9D9", "#000000", "#FFFFFF"
COLUMN = 122 / 25.4  # inches: the column of LNCS
TEXT, SMALL = 8.0, 7.0  # pt
RASTER = 300  # dots an inch of the PNG
LABEL = 30  # characters of a model's name, after which a line is broken
# Suffix -> what a file of that form would say of when and by what it was made, which is left out.
FORMS = {".png": ("Software",), ".pdf": ("CreationDate", "Producer", "Creator"), ".svg": ("Date", "Creator")}
STYLE: Any = {  # of rcParams
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "figure.titlesize": SMALL,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",  # text stays text: it can be searched, edited and read aloud
    "pdf.fonttype": 42,
}
# Lines but the proposed model's: told apart by dash and marker where there is no colour.
COLOURS = (ORANGE, GREEN, PINK, INK, SKY, AMBER)
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1.5)))
LOWEST = 2.0  # of the `zorder` of lines
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "*")
# Family -> marker and colour, where what kind of network it is matters more than which.
FAMILIES = {"proposed": ("o", BLUE), "cnn": ("s", ORANGE), "transformer": ("^", GREEN), "hybrid": ("D", PINK)}
OTHER = ("v", GREY)

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def _in_style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """A function that draws, in the style of all figures."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        with _in_style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(height: float, title: str, width: float = COLUMN) -> tuple[Figure, Axes]:
    """An empty figure with one axis and a title that is wrapped to its width; sizes in inches."""
    figure, axes = new_panels(height, title, width=width)
    return figure, axes[0]


def new_panels(
    height: float, title: str, rows: int = 1, columns: int = 1, width: float = COLUMN, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels, row by row, below a title that is wrapped to its width.

    Args:
        height: of the panels together, in inches.
        shared: `sharex`, `sharey` and what else `Figure.subplots` takes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(plain(title), int(17.5 * width))
    figure = Figure(figsize=(width, height + 0.14 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel().tolist()
    if lines:
        figure.suptitle("\n".join(lines), x=0.01, ha="left")
    return figure, axes


def named(title: str, width: int = LABEL) -> str:
    """A model's name, on several lines where it is long: broken at spaces, and at the commas of a config."""
    apart = re.sub(r",(?=\S)", ",\x01 ", plain(title))
    return textwrap.fill(apart, width, break_on_hyphens=False).replace("\x01 ", "").replace("\x01", "")


def row_edges(names: Sequence[str], least: float = 0.17) -> np.ndarray:
    """(N + 1,): where rows begin and end, in inches from the top, so that each name has room in its own."""
    heights = [max(least, 0.115 * (1 + name.count("\n")) + 0.05) for name in names]
    return np.concatenate([[0.0], np.cumsum(heights)])


def set_rows(axis: Axes, names: Sequence[str], edges: np.ndarray) -> np.ndarray:
    """Names the rows of an axis from the top; returns their middles (N,)."""
    middles = (edges[1:] + edges[:-1]) / 2
    axis.set_yticks(middles, list(names))
    axis.set_ylim(edges[-1], 0)
    return middles


def looks(families: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Model -> how its line is drawn: the proposed one's thick, pale and below the thin ones; chance faint.

    So it hides none; of thin ones that lie at one place the sparser dashes are on top, and both are seen.

    Args:
        families: model -> family, in display order.
    """
    others = zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False)
    found: dict[str, dict[str, Any]] = {}
    is_first = True
    for model, family in families.items():
        if family == "proposed" and is_first:
            found[model] = {
                "color": BLUE,
                "linewidth": 3.2,
                "alpha": 0.5,
                "marker": "o",
                "markersize": 5,
                "zorder": LOWEST,
            }
            is_first = False
        elif family == "chance":
            found[model] = {"color": GREY, "linewidth": 0.9, "linestyle": ":", "zorder": LOWEST + 0.5}
        else:
            colour, dash, marker = next(others)
            found[model] = {"color": colour, "linewidth": 1.0, "linestyle": dash, "marker": marker}
            found[model] |= {"markersize": 3.8, "markerfacecolor": PAPER, "zorder": LOWEST + 2 - _inked(dash)}
    return found


def _inked(dash: tuple[int, tuple[float, ...]]) -> float:
    """The share of a dashed line that is drawn."""
    return sum(dash[1][::2]) / sum(dash[1])


def legend_below(figure: Figure, axis: Axes, columns: int = 2) -> None:
    """The legend of one axis's lines below the whole figure."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=3.0, columnspacing=1.2)


def legend_height(titles: Sequence[str], columns: int = 2) -> float:
    """Inches that a legend below takes."""
    lines = sum(1 + named(title).count("\n") for title in titles)
    return 0.15 * -(-lines // columns) + 0.1


def log_axis(axis: Axes, which: str = "x") -> None:
    """A logarithmic axis with two to six ticks of plain numbers."""
    getattr(axis, f"set_{which}scale")("log")
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    ticks = _log_ticks(low, high)
    getattr(axis, f"set_{which}ticks")(ticks, [f"{tick:,.6g}" for tick in ticks])
    axis.minorticks_off()
    getattr(axis, f"set_{which}lim")(low, high)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers within the ends, as few kinds of them as make two ticks."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(k / 10 for k in range(10, 100, 2))):
        found = [step * 10.0**decade for decade in decades for step in steps]
        within = [tick for tick in found if low <= tick <= high]
        if len(within) > 1:
            return within[:: -(-len(within) // 5)]
    return [low, high]


POINTS = "points-"  # what the id of a line begins with whose points have words of their own


def name_points(line: Line2D, place: str, words: Sequence[str]) -> None:
    """Gives each point of a line words, which a page shows where one points at it.

    Args:
        place: of the line in its figure, unlike that of any other.
    """
    line.set_gid(f"{POINTS}{place}")
    line.set_label("_" + "\n".join(" ".join(plain(text).split()) for text in words))  # `_`: for no legend


def named_points(figure: Figure) -> dict[str, list[str]]:
    """Id -> the words of each point of a line that `name_points` gave some."""
    lines = (line for axis in figure.axes for line in axis.lines)
    return {
        gid: str(line.get_label())[1:].split("\n") for line in lines if (gid := str(line.get_gid())).startswith(POINTS)
    }


def slug(text: str) -> str:
    """Words as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG, PDF and SVG, without a date in them. Raises UserError where it cannot be written."""
    lay_out(figure)
    return [save_as(figure, stem.with_name(f"{stem.name}{suffix}")) for suffix in FORMS]


def lay_out(figure: Figure) -> None:
    """Gives everything in a figure its place, once for all forms that it is written in."""
    engine = figure.get_layout_engine()
    if engine is not None:
        with _in_style():
            engine.execute(figure)
        figure.set_layout_engine("none")


def save_as(figure: Figure, path: Path) -> Path:
    """Writes a figure in the form that the path's suffix names, one of `FORMS`. Raises UserError where it cannot."""
    import matplotlib

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _in_style(), matplotlib.rc_context({"svg.hashsalt": file_name(path.stem)}):
            figure.savefig(path, dpi=RASTER, metadata=dict.fromkeys(FORMS[path.suffix]))
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Name another folder.") from None
    return path
