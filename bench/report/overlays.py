"""Cases as pictures: image, reference, what each model made of it, and where it is wrong."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.analysis.gallery import Gallery, Scene, Shot
from bench.analysis.sheet import Sheet
from bench.records.filenames import file_name
from bench.report.drawing.outlines import outline
from bench.report.drawing.style import BLUE, GREY, ORANGE, save_as, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of foreground classes, in order: Okabe and Ito's, then lighter ones.
CLASSES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2", "#B2DF8A", "#FFFFFF")
ACROSS = 5  # panels side by side
PANEL = 2.1  # inches a side
MARGIN, LEAST = 0.2, 48  # about the structures, as a share of their extent; pixels that are shown at least
DOTS, COLOURS = 90, 256  # an inch, and in all, of a picture within a page
MISSED, INVENTED = ("#9ecae1", "#08519c"), ("#fdbe85", "#a63603")  # near the reference's border, far from it
KEY = "Figures: of the whole case. Dotted: the reference. Blue: missed; orange: invented, or taken for another class."
Maps = Mapping[tuple[str, str], np.ndarray]


def draw_gallery(gallery: Gallery, folder: Path, maps: Maps | None = None) -> list[Path]:
    """Writes a PNG for each scene.

    Args:
        maps: (case, model's title) -> occlusion map (S, S), where there is one.

    Raises:
        UserError: the folder cannot be written to.
    """
    paths = []
    for rank, scene in enumerate(gallery.scenes, start=1):
        name = file_name(f"{rank:02d}-{scene.case}")
        paths.append(save_as(scene_figure(scene, gallery.caption, maps or {}), folder / f"{name}.png"))
    return paths


@styled
def scene_png(scene: Scene, caption: str) -> bytes:
    """A scene as a small PNG of few colours, without its title, for a page that says it in words."""
    from PIL import Image

    figure = scene_figure(scene, caption, {})
    figure.suptitle("")
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def gallery_sheet(gallery: Gallery) -> Sheet:
    """The cases that are shown, with each model's figure."""
    patients = {scene.case: scene.place for scene in gallery.scenes}
    rows = [
        {"Case": case, "Shown": patients[str(case)].removeprefix(f"{case}, ").removeprefix(str(case))}
        | {title: f"{value:.1f}" if pd.notna(value) else "" for title, value in of_case.items()}
        for case, of_case in gallery.figures.iterrows()
    ]
    return Sheet(
        f"{gallery.caption}. {gallery.measure}", pd.DataFrame(rows), gallery.notes, name="cases", left=("Shown",)
    )


@styled
def scene_figure(scene: Scene, caption: str, maps: Maps) -> Figure:
    """Bands of two rows: image and reference first, then a column for each model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(ACROSS, len(scene.shots) + 1)
    bands = -(-(len(scene.shots) + 1) // columns)
    segments = isinstance(scene.truth, np.ndarray)
    title = textwrap.wrap(f"{caption}. {scene.place}.{f' {KEY}' if segments else ''}", int(13 * PANEL * columns))
    height, width = _panel(scene)
    figure = Figure(
        figsize=(PANEL * columns + 0.5, bands * (2 * PANEL * height / width + 0.7) + 0.17 * len(title)),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(title), fontsize=9)
    axes = np.asarray(figure.subplots(2 * bands, columns, squeeze=False))
    for axis in axes.flat:
        axis.axis("off")
    draw = _draw_labels if segments else _draw_classes
    places = [(2 * (k // columns), k % columns) for k in range(len(scene.shots) + 1)]
    draw(scene, [(axes[row, column], axes[row + 1, column]) for row, column in places], figure, maps)
    return figure


def _panel(scene: Scene) -> tuple[float, float]:
    """Height and width of what is shown of a scene, within 1 : 2."""
    whole = slice(0, scene.image.shape[0]), slice(0, scene.image.shape[1])
    rows, columns = _window(scene) if isinstance(scene.truth, np.ndarray) else whole
    down, across = scene.spacing or (1.0, 1.0)
    ratio = (rows.stop - rows.start) * down / ((columns.stop - columns.start) * across)
    return min(max(ratio, 0.5), 2.0), 1.0


def _show(axis: Axes, scene: Scene, title: str) -> None:
    down, across = scene.spacing or (1.0, 1.0)
    grey = scene.image.ndim == 2
    limits = np.percentile(scene.image, (0.5, 99.5)) if grey else (0, 255)
    axis.imshow(scene.image, cmap="gray" if grey else None, vmin=limits[0], vmax=limits[1], aspect=down / across)
    axis.set_title(
        "\n".join(line for part in title.split("\n") for line in textwrap.wrap(part, int(14 * PANEL))), fontsize=8
    )


# -- segmentation --------------------------------------------------------------------------------------------


def _window(scene: Scene) -> tuple[slice, slice]:
    """Rows and columns about everything that the reference or a model has in the slice; without any all of it."""
    assert isinstance(scene.truth, np.ndarray)
    marked = np.any([scene.truth > 0, *(shot.answer > 0 for shot in scene.shots)], axis=0)
    sides = []
    for axis, length in enumerate(marked.shape):
        found = np.flatnonzero(marked.any(axis=1 - axis))
        low, high = (found[0], found[-1] + 1) if len(found) else (0, length)
        wanted = max((high - low) * (1 + 2 * MARGIN), LEAST)
        middle = (low + high) / 2
        start = int(max(0, min(middle - wanted / 2, length - wanted)))
        sides.append(slice(start, int(min(length, np.ceil(start + wanted)))))
    return sides[0], sides[1]


def _draw_labels(scene: Scene, panels: Sequence[tuple[Axes, Axes]], figure: Figure, maps: Maps) -> None:
    assert isinstance(scene.truth, np.ndarray)
    rows, columns = _window(scene)
    errors = [error_distances(shot.answer, scene.truth, scene.spacing) for shot in scene.shots]
    farthest = max([np.ceil(np.abs(error)[np.isfinite(error)].max(initial=2.0)) for error in errors])
    (image, reference), *of_models = panels
    _show(image, scene, "Image")
    _show(reference, scene, "Reference" if scene.truth.any() else "Reference: nothing here")
    _contours(reference, scene.truth)
    _legend(reference, scene)
    picture: Any = None
    for shot, error, (contours, wrong) in zip(scene.shots, errors, of_models, strict=True):
        _show(contours, scene, f"{shot.title}\n{shot.figures}")
        _contours(contours, scene.truth, faint=True)
        _contours(contours, shot.answer)
        share = 100 * float((error != 0).mean())
        _show(wrong, scene, f"wrong: {share:.1f} % of the slice" if share else "no pixel is wrong")
        down, across = scene.spacing or (1.0, 1.0)
        shown = np.ma.masked_equal(error.clip(-farthest, farthest), 0)
        picture = wrong.imshow(shown, cmap=_error_map(), vmin=-farthest, vmax=farthest, aspect=down / across)
        _contours(wrong, scene.truth, faint=True)
    for axis in (axis for pair in panels for axis in pair):
        axis.set_xlim(columns.start - 0.5, columns.stop - 0.5)
        axis.set_ylim(rows.stop - 0.5, rows.start - 0.5)
    if scene.truth.any():  # else there is no border to measure from
        _colour_bar(figure, picture, [wrong for _, wrong in of_models], scene.unit)


def _colour_bar(figure: Figure, picture: Any, axes: list[Axes], unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    distance = FuncFormatter(lambda value, _: f"{abs(value):.0f}")
    bar = figure.colorbar(
        picture, ax=axes, fraction=0.03, pad=0.02, format=distance, ticks=MaxNLocator(5, integer=True)
    )
    bar.ax.tick_params(labelsize=7)
    bar.set_label(f"{unit} from the border", fontsize=7)


def error_distances(answer: np.ndarray, truth: np.ndarray, spacing: tuple[float, float] | None) -> np.ndarray:
    """(H, W): how far a wrong pixel lies from the nearest border of the reference; 0 where it is right.

    Below 0 where a structure is missed, above 0 where one is invented or taken for another. A wrong pixel beside the
    border is one pixel off; without any border it is infinitely far. Unit: mm, or pixels without spacing.
    """
    from scipy.ndimage import distance_transform_edt

    sides = spacing or (1.0, 1.0)
    border = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        change = np.diff(truth.astype(int), axis=axis) != 0
        border |= np.pad(change, [(0, int(axis == 0)), (0, int(axis == 1))])
        border |= np.pad(change, [(int(axis == 0), 0), (int(axis == 1), 0)])
    if border.any():
        distance = distance_transform_edt(~border, sampling=sides) + min(sides)
    else:
        distance = np.full(truth.shape, np.inf)
    return np.where(answer == truth, 0.0, np.where(answer == 0, -distance, distance))


def _contours(axis: Axes, labels: np.ndarray, faint: bool = False) -> None:
    """The outline of each class; the reference's behind a model's white, thin and dotted."""
    for label in (int(k) for k in np.unique(labels) if k > 0):
        colour = "white" if faint else CLASSES[(label - 1) % len(CLASSES)]
        width, style = (0.7, ":") if faint else (1.3, "-")
        outline(axis, labels == label, colour, linewidths=width, linestyles=style)


def _legend(axis: Axes, scene: Scene) -> None:
    from matplotlib.lines import Line2D

    assert isinstance(scene.truth, np.ndarray)
    present = sorted({int(k) for labels in (scene.truth, *(s.answer for s in scene.shots)) for k in np.unique(labels)})
    lines = [
        Line2D([], [], color=CLASSES[(k - 1) % len(CLASSES)], linewidth=1.5, label=scene.classes[k])
        for k in present
        if k
    ]
    if lines:
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.01), "borderaxespad": 0.2}
        columns: dict[str, Any] = {"ncols": min(3, len(lines)), "handlelength": 1.2, "columnspacing": 0.8}
        axis.legend(handles=lines, fontsize=7, frameon=False, **below, **columns)


def _error_map() -> Any:
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    little, much = (LinearSegmentedColormap.from_list("errors", ends) for ends in (MISSED, INVENTED))
    shades = np.linspace(0, 1, 128)
    return ListedColormap(np.concatenate([little(shades[::-1]), much(shades)]))


# -- classification ------------------------------------------------------------------------------------------


def _draw_classes(scene: Scene, panels: Sequence[tuple[Axes, Axes]], figure: Figure, maps: Maps) -> None:
    assert isinstance(scene.truth, int)
    (image, _), *of_models = panels
    _show(image, scene, f"Image: {scene.classes[scene.truth]}")
    found = {shot.title: maps[scene.case, shot.title] for shot in scene.shots if (scene.case, shot.title) in maps}
    most = max([float(np.abs(covered).max()) for covered in found.values()] + [0.01])
    picture: Any = None
    for shot, (bars, covered) in zip(scene.shots, of_models, strict=True):
        _bars(bars, scene, shot)
        if shot.title in found:
            said = scene.classes[int(shot.answer.argmax())]
            _show(covered, scene, f"covering lowers {said!r} by")
            height, width = scene.image.shape[:2]
            extent = (-0.5, width - 0.5, height - 0.5, -0.5)
            picture = covered.imshow(
                100 * found[shot.title], cmap="PuOr_r", vmin=-100 * most, vmax=100 * most, alpha=0.55, extent=extent
            )
    if picture is not None:
        bar = figure.colorbar(picture, ax=[covered for _, covered in of_models], fraction=0.03, pad=0.02)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("points of probability", fontsize=7)


def _bars(axis: Axes, scene: Scene, shot: Shot) -> None:
    """A bar for each class: the true one blue, a wrong answer orange."""
    said = int(shot.answer.argmax())
    colours = [BLUE if k == scene.truth else ORANGE if k == said else GREY for k in range(len(scene.classes))]
    axis.axis("on")
    axis.barh(range(len(scene.classes)), 100 * shot.answer, color=colours, height=0.6)
    for k, share in enumerate(100 * shot.answer):
        axis.text(2, k - 0.36, f"{scene.classes[k]}  {share:.1f} %", fontsize=7, va="bottom")
    axis.set_xlim(0, 100)
    axis.set_ylim(len(scene.classes) - 0.5, -0.75)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(shot.title, fontsize=8)
