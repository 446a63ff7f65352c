"""Outlines of masks on an image: closed ones, along its edges too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def outline(axis: Axes, mask: np.ndarray, colour: str, **look: Any) -> None:
    """Draws the outline of a mask (H, W) between its pixels and the others; what lies beyond the image is none of it.

    The axis keeps its limits: where a mask reaches the image's edge, its line lies on the edge.

    Args:
        look: `linewidths`, `linestyles`.
    """
    if not mask.any():
        return
    limits = axis.get_xlim(), axis.get_ylim()
    down, across = (np.arange(-1, side + 1) for side in mask.shape)
    lines = axis.contour(across, down, np.pad(mask, 1), levels=[0.5], colors=[colour], **look)
    lines.set_clip_on(False)  # else half of a line on the edge is cut off
    axis.set_xlim(limits[0])
    axis.set_ylim(limits[1])
