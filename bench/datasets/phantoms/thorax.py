"""The chest that lung phantoms are drawn in: ribs, spine, mediastinum with heart and aorta, liver; lungs as an outline.

Everything is a signed distance on a slice's grid, negative inside; tones are painted from the skin inwards.
Numbers are rounded from general knowledge of the anatomy, not fitted to a data set.

Shapes: (H, W) = (y, x), y grows towards the back, x towards the patient's left. Lengths are mm from the middle of the
chest, z is 0 at the apex of the lungs and 1 at the diaphragm, tones are Hounsfield units (HU).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from bench.datasets.phantoms.shapes import Field, ellipse, paint

AIR, FAT, SOFT = -1000.0, -80.0, 45.0

# The chest along z: half width and half depth over the patient's, then the heart's (above it the great vessels') centre
# (x, y) and radii (x, y) in mm.
_LEVELS = (0.0, 0.1, 0.2, 0.32, 0.45, 0.58, 0.7, 0.85, 1.0)
_WIDTH = (0.42, 0.62, 0.78, 0.9, 0.96, 1.0, 1.0, 1.0, 0.98)
_DEPTH = (0.5, 0.68, 0.82, 0.92, 0.98, 1.0, 1.0, 0.98, 0.95)
_HEART = (
    (0, 0, 2, 6, 5, 9, 17, 23, 21),
    (-5, -8, -12, -22, -28, -30, -32, -34, -34),
    (28, 28, 27, 25, 31, 43, 53, 58, 54),
    (24, 28, 31, 36, 38, 44, 48, 46, 40),
)
# Where a vertebra lies: y from its centre, x.
_BACK, _ACROSS = np.array([-20, 62]), np.array([-45, 45])


@dataclass(frozen=True)
class Body:
    """The outlines of a patient; lengths in mm.

    Attributes:
        height, width, depth: of the lungs; half of them across.
        power: of the superellipse of the ribs' inside, 2 is an ellipse.
        wall: from pleura to skin.
        heart: size over the table's.
        spine: y of the vertebrae's centre.
        fissure: y of the oblique fissure in the middle of the height, over `depth`.
        ribs: phases of the ribs on the right and left side.
        noise: (32, 32, 32) smooth periodic noise of unit size, the grain of everything that must agree between slices.
    """

    height: float
    width: float
    depth: float
    power: float
    wall: float
    heart: float
    spine: float
    fissure: float
    ribs: tuple[float, float]
    noise: Field


def new_body(rng: Generator) -> Body:
    """Draws the outlines of a patient."""
    depth = rng.uniform(84, 112)
    noise = smooth(rng.standard_normal((32, 32, 32)), 1.2, mode="wrap")
    return Body(
        height=rng.uniform(200, 250),
        width=rng.uniform(124, 148),
        depth=depth,
        power=rng.uniform(2.15, 2.6),
        wall=rng.uniform(24, 42),
        heart=rng.uniform(0.82, 1.15),
        spine=depth * rng.uniform(0.38, 0.48),
        fissure=rng.uniform(-0.15, 0.25),
        ribs=(rng.random(), rng.random()),
        noise=(noise / noise.std()).astype(np.float32),
    )


# -- shapes --------------------------------------------------------------------------------------------------


def smooth(field: Field, width: float, mode: str = "nearest") -> Field:
    """A Gaussian `width` pixels wide."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(field, width, mode=mode, truncate=3)


def axes(body: Body, z: float | Field) -> tuple[Field, Field]:
    """Half depth and half width (mm) inside the ribs at z = 0..1."""
    z = np.asarray(z)
    return body.depth * np.interp(z, _LEVELS, _DEPTH), body.width * np.interp(z, _LEVELS, _WIDTH)


def _heart(body: Body, z: float | Field) -> tuple[Field, Field, Field, Field]:
    """Centre (y, x) and radii (y, x) of the heart or of the great vessels above it."""
    cx, cy, rx, ry = (body.heart * np.interp(np.asarray(z), _LEVELS, row) for row in _HEART)
    return cy, cx, ry, rx


def _ribcage(body: Body, z: float | Field, y: Field, x: Field) -> Field:
    """Signed distance along the ray from the middle, negative inside the ribs."""
    b, a = axes(body, z)
    rho = (np.abs(y / b) ** body.power + np.abs(x / a) ** body.power) ** (1 / body.power)
    return np.hypot(y, x) * (1 - 1 / np.maximum(rho, 1e-3))


def lungs(body: Body, mm: float | Field, y: Field, x: Field) -> Field:
    """Signed distance, about, to the lungs at z = `mm` below the apex: the ribcage without mediastinum and spine."""
    z = np.asarray(mm) / body.height
    heart = _heart(body, z)
    across = np.abs(x)
    column = np.maximum(across - 16 - 0.3 * np.maximum(y - body.spine, 0), body.spine - 45 - y)
    septum = np.maximum(
        np.abs(x - 0.3 * heart[1]) - 3.5 - 0.3 * np.maximum(-y - 0.8 * axes(body, z)[0], 0), y - heart[0]
    )
    hilum = 0.01 + np.exp(-(((z - 0.5) / 0.09) ** 2))
    hila = ellipse(y, across, body.spine - 40, 28, 12 * hilum, 20 * hilum)
    aorta = ellipse(y, x, body.spine - 20, 22, 12, 12) + 40 * np.clip(0.35 - z, 0, 0.3)
    middle = np.minimum.reduce(np.broadcast_arrays(ellipse(y, x, *heart), column, septum, hila, aorta))
    return np.maximum(_ribcage(body, z, y, x), -middle)


def fissure_y(body: Body, z: float, x: Field) -> Field:
    """y of the oblique fissure: from the upper back to the lower front, curved."""
    return body.depth * (body.fissure + 1.3 * (0.5 - z)) - 0.12 * np.abs(x) + 6 * np.sin(x / 30)


def grain(body: Body, mm: float, y: Field, x: Field, scale: float) -> Field:
    """The body's noise on the grid of y (H, 1) and x (1, W), `scale` mm a voxel."""
    plane: Field = body.noise
    for place in (np.float64(mm), y.ravel(), x.ravel()):
        at = place / scale
        low = np.floor(at).astype(int)
        part = (at - low).astype(np.float32).reshape(*np.shape(at), *(1,) * (plane.ndim - 1))
        plane = plane[low % 32] * (1 - part) + plane[(low + 1) % 32] * part
        plane = np.moveaxis(plane, 0, -1) if np.ndim(at) else plane
    return plane


# -- tones ---------------------------------------------------------------------------------------------------


def chest(body: Body, z: float, y: Field, x: Field) -> Field:
    """All but the lungs, (H, W) in HU."""
    mm = z * body.height
    depth = _ribcage(body, z, y, x)
    coarse, fine = grain(body, mm, y, x, 14), grain(body, mm, y, x, 4)
    image = np.full(depth.shape, AIR)
    wall = body.wall * (1 + 0.3 * (x**2 - y**2) / (x**2 + y**2 + 1))
    paint(image, depth - wall + 2 * coarse, 30.0)
    paint(image, depth - wall + 2 * coarse + 2, FAT + 15 * fine)
    paint(image, np.maximum(depth - 0.6 * wall, 0.6 * (6 - 8 * coarse - depth)) + 2 * fine, SOFT, soft=3)
    phase = np.abs(np.arctan2(x, y)) / 0.7 + 2.6 * z + np.where(x < 0, *body.ribs)
    rib = np.hypot((phase % 1 - 0.5) / 0.24, (depth - 7) / 4.5)
    b, _ = axes(body, z)
    paint(image, depth - 1.5, SOFT)
    for size, tone in ((1.0, 420.0), (0.6, 180.0)):
        paint(image, 4 * (rib - size), tone + 40 * fine)
        paint(image, ellipse(y, x, -b - 8, 0, 6 * size, 20 * size), tone + 40 * fine)
    paint(image, np.maximum(depth + 2, y - body.spine), FAT + 30 * coarse, soft=3)
    cy, cx, ry, rx = _heart(body, z)
    paint(image, ellipse(y, x, cy, cx, ry - 4, rx - 4) + 2 * coarse, SOFT + 12 * coarse)
    paint(image, ellipse(y, x, body.spine - 20, 22, 11, 11), SOFT + 10)
    near = tuple(
        slice(*np.searchsorted(place.ravel(), ends)) for place, ends in ((y, body.spine + _BACK), (x, _ACROSS))
    )
    _spine(image[near], body, y[near[0]], x[:, near[1]], fine[near])
    return image


def _spine(image: Field, body: Body, y: Field, x: Field, fine: Field) -> None:
    """A vertebra: body, arch, processes, canal."""
    s, across = body.spine, np.abs(x)
    for size, tone in ((0.0, 480.0), (3.0, 200.0)):
        parts = (
            ellipse(y, x, s, 0, 15 - size, 18 - size),
            ellipse(y, x, s + 22, 0, 14 - size, 16 - size),
            ellipse(y, across, s + 22, 24, 6 - size / 2, 15 - size),
            ellipse(y, x, s + 42, 0, 14 - size, 5 - size / 2),
        )
        paint(image, np.minimum.reduce(parts), tone + 50 * fine)
    paint(image, ellipse(y, x, s + 23, 0, 8, 10), 30.0)


def diaphragm(image: Field, body: Body, z: float, y: Field, x: Field) -> None:
    """The domes of the liver and, lower, of stomach and spleen, blurred where the slice only grazes them."""
    b, a = axes(body, z)
    for side, top in ((-1, 0.8), (1, 0.9)):
        if z > top:
            size = np.sqrt((z - top) / 0.2)
            dome = ellipse(y, x, -0.1 * b, side * 0.5 * a, 0.75 * b * size, 0.42 * a * size)
            paint(image, np.maximum(dome, _ribcage(body, z, y, x)), 60.0, soft=10)
