"""Shapes that several phantoms are drawn of: signed distances on a slice's grid, negative inside, painted softly.

Shapes: (H, W) = (y, x); lengths in the unit of the grid.
"""

from __future__ import annotations

import numpy as np

Field = np.ndarray


def paint(image: Field, distance: Field, value: float | Field, soft: float = 1.5) -> None:
    """Fills where a signed distance is negative, with an edge that is `soft` wide."""
    image += np.clip(0.5 - distance / soft, 0, 1) * (value - image)


def ellipse(
    y: Field,
    x: Field,
    cy: float | Field,
    cx: float | Field,
    ry: float | Field,
    rx: float | Field,
    turn: float = 0.0,
) -> Field:
    """Signed distance, about, to an ellipse of centre (cy, cx) and radii (ry, rx), turned by so many rad."""
    down, right = y - cy, x - cx
    if turn:
        c, s = np.cos(turn), np.sin(turn)
        down, right = down * c - right * s, down * s + right * c
    return (np.hypot(down / ry, right / rx) - 1) * np.minimum(ry, rx)
