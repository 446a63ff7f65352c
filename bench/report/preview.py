"""Before anything is trained: a contact sheet of what augmentation does to a data set, and the curve of the rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records.filenames import file_name
from bench.report.drawing.outlines import outline
from bench.report.drawing.style import BLUE, GREY, ORANGE, new_figure, save_as, styled
from bench.zoo.registry import dataset_spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.runs.augmented import Augmented

CELL = 1.25  # inches of an image's side
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#F0E442", "#56B4E9", "#E69F00", GREY)  # of classes, then over again
# Fields of the protocol that augment, with the value at which they do nothing.
AUGMENTING = {
    **dict.fromkeys(("flip", "upside_down", "rot90", "rotate", "zoom", "intensity", "low_resolution"), 0.0),
    "crop": 1.0,
    **dict.fromkeys(("colour", "erasing", "mixup"), 0.0),
}


def draw_previews(previews: Sequence[Augmented], folder: Path) -> list[Path]:
    """Writes a contact sheet and a curve of the rate for each data set and recipe, as PNG.

    Raises:
        UserError: the folder cannot be written to.
    """
    paths = []
    for preview in previews:
        cell = preview.job.cell
        stem = file_name(f"{cell.dataset_label}-{preview.job.preset.partition(' ')[0]}")
        drawn = {"augmentation": contact_sheet(preview), "rate": rate_curve(preview)}
        paths += [save_as(figure, folder / f"{stem}-{name}.png") for name, figure in drawn.items()]
    return paths


@styled
def contact_sheet(preview: Augmented) -> Figure:
    """A row for each training image: as the network gets it, then as steps would see it, masks as outlines."""
    draws, count = preview.images.shape[:2]
    figure, axis = new_figure(CELL * count, _heading(preview, _augmentation(preview.job.cell.protocol)), CELL * draws)
    axis.remove()
    axes = figure.subplots(count, draws, squeeze=False)
    classes = len(dataset_spec(preview.job.cell.dataset, preview.job.data_root).classes)
    for row in range(count):
        low, high = np.percentile(preview.images[0, row], (0.5, 99.5))
        for column in range(draws):
            shown = axes[row, column]
            _show(shown, (preview.images[column, row] - low) / max(high - low, 1e-6))
            if preview.labels.ndim > 1:
                _outline(shown, preview.labels[column, row], classes)
            shown.set_xticks([])
            shown.set_yticks([])
        axes[row, 0].set_ylabel(_in_lines(preview.names[row]), fontsize=6)
    for column, head in enumerate(("as loaded", *map(_draw_name, range(1, draws), preview.mixed))):
        axes[0, column].set_title(head, fontsize=7)
    return figure


@styled
def rate_curve(preview: Augmented) -> Figure:
    """The learning rate over the steps; a line for each rate that a network of the request takes."""
    protocol = preview.job.cell.protocol
    words = f"Learning rate: {protocol['schedule']}, warm-up over {100 * protocol['warmup']:g} % of the steps"
    figure, axis = new_figure(3.0, _heading(preview, words))
    for rate, values in sorted(preview.rates.items()):
        axis.plot(preview.steps + 1, values, label=f"rate {rate:g}", linewidth=1.6)
    seen = protocol["steps"] * protocol["batch_size"]
    axis.set_xlabel(f"step, of {protocol['steps']:,} with {protocol['batch_size']} images each: {seen:,} images seen")
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)
    axis.grid(linewidth=0.4, alpha=0.6)
    axis.legend(frameon=False)
    return figure


def _heading(preview: Augmented, words: str) -> str:
    cell = preview.job.cell
    kind = {"phantom": "PHANTOM images. ", "substitute": "SUBSTITUTE images. "}.get(cell.source["kind"], "")
    title = dataset_spec(cell.dataset, preview.job.data_root).title
    return f"{kind}{title} ({cell.dataset_label}), preset {preview.job.preset}. {words}"


def _augmentation(protocol: dict[str, Any]) -> str:
    acting = [f"{name} {protocol[name]:g}" for name, idle in AUGMENTING.items() if protocol[name] != idle]
    return f"Augmentation of training images: {', '.join(acting) or 'none'}"


def _draw_name(number: int, mixed: float | None) -> str:
    return f"draw {number}" if mixed is None else f"draw {number}, mixed {100 * mixed:.0f} %"


def _in_lines(name: str) -> str:
    """A case's name in at most three lines beside its row; its slice or class in a line of its own."""
    words = name.replace(" (", "\n(").replace(", ", "\n").split("\n")
    parts = [word[i : i + 22] for word in words for i in range(0, len(word), 22)]
    return "\n".join(parts[:3])


def _show(axis: Axes, image: np.ndarray) -> None:
    """An image (C, S, S) in [0, 1]: grey, or in colour where it has three channels."""
    clipped = np.clip(image, 0, 1)
    if len(clipped) == 3:
        axis.imshow(np.moveaxis(clipped, 0, -1), interpolation="nearest")
    else:
        axis.imshow(clipped[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _outline(axis: Axes, labels: np.ndarray, classes: int) -> None:
    for label in range(1, classes):
        outline(axis, labels == label, COLOURS[(label - 1) % len(COLOURS)], linewidths=0.7)
