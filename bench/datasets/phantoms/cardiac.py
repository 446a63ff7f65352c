"""Phantoms of ACDC: drawn short-axis stacks of the heart, in the challenge's NIfTI layout.

No pixel comes from a patient. A heart is a bright LV cavity in a dark ring of myocardium and a bright RV crescent that
hugs its septum and ends before the apex; around it chest wall, lung, liver, stomach and vessels (bright rounds that are
not a ventricle); above the base atria and the aortic root, below the apex nothing to segment. In end-systole the
cavities are smaller, the wall is thicker, and the base has moved towards the apex. Numbers are rounded from general
knowledge of the anatomy, not fitted to the data set: a result on phantoms says that the plumbing works, no more.

Shapes: (D, H, W) = (z, y, x). Lengths are mm, angles rad, 0 pointing right and growing downwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from bench.datasets.phantoms.shapes import Field, ellipse, paint
from bench.datasets.splits.assignment import load_split

# Raise it when the same seed draws other images.
VERSION = 1
PATIENTS = {"train": 8, "val": 3, "test": 5}
_GROUPS = ("NOR", "DCM", "HCM", "MINF", "RV")
_RV, _MYO, _LV = 1, 2, 3


@dataclass(frozen=True)
class _Grid:
    """The voxels: (D, H, W) and the spacing (z, y, x)."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def plane(self) -> tuple[Field, Field]:
        """Coordinates (y, x) of a slice's pixels from its centre."""
        _, h, w = self.shape
        y, x = np.mgrid[:h, :w].astype(np.float64)
        return (y - (h - 1) / 2) * self.spacing[1], (x - (w - 1) / 2) * self.spacing[2]


@dataclass(frozen=True)
class _Heart:
    """One heart in one phase; the LV's axis runs from `base` (z) over `length`.

    Attributes:
        centre, tilt: (y, x) of the axis at the base, and its way to the apex.
        endo, wall: the cavity's radius and the wall's thickness at the base.
        septum: direction from the LV to the RV; `rv_width` is the crescent's half angle, `rv_end` where it ends.
        wobble: (order, amplitude, phase) of the contour's departures from a circle.
        papillary: directions of the two papillary muscles.
    """

    group: str
    centre: tuple[float, float]
    tilt: tuple[float, float]
    base: float
    length: float
    endo: float
    wall: float
    septum: float
    rv_depth: float
    rv_width: float
    rv_end: float
    wobble: tuple[tuple[int, float, float], ...]
    papillary: tuple[float, float]


def draw(folder: Path, seed: int = 0, patients: Mapping[str, int] | None = None) -> None:
    """Writes `training/patientXXX/` for the first patients of each part of the mtunet split.

    Args:
        seed: the same seed gives the same bytes.
        patients: part -> how many; by default 8 train, 3 val, 5 test.
    """
    parts = load_split("acdc", "mtunet").parts
    for part, count in (PATIENTS if patients is None else patients).items():
        for i, patient in enumerate(parts[part][:count]):
            group = _GROUPS[i % len(_GROUPS)]
            rng = np.random.default_rng([seed, int(patient), VERSION])
            _write_patient(folder / "training" / f"patient{patient}", group, rng)


def _write_patient(folder: Path, group: str, rng: Generator) -> None:
    folder.mkdir(parents=True)
    es, frames = int(rng.integers(8, 13)), int(rng.integers(25, 31))
    height, weight = rng.uniform(155, 190), rng.uniform(55, 95)
    (folder / "Info.cfg").write_text(
        f"ED: 1\nES: {es}\nGroup: {group}\nHeight: {height:.1f}\nNbFrame: {frames}\nWeight: {weight:.1f}\n",
        encoding="utf-8",
    )
    grid = _grid(rng)
    heart = _heart(grid, group, rng)
    body = _body(grid, rng)
    gain, bias = rng.uniform(180, 420), _bias(grid, rng)
    for frame, phase in ((1, heart), (es, _contracted(heart, rng))):
        image, label = _render(grid, phase, body, rng)
        image = gain * _acquired(image * bias, rng)
        _save(folder / f"{folder.name}_frame{frame:02d}.nii.gz", image.astype(np.int16), grid)
        _save(folder / f"{folder.name}_frame{frame:02d}_gt.nii.gz", label, grid)


def _save(path: Path, volume: np.ndarray, grid: _Grid) -> None:
    import nibabel

    dz, dy, dx = grid.spacing
    file = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([dx, dy, dz, 1.0]))
    file.header.set_xyzt_units("mm", "sec")
    nibabel.save(file, path)


# -- one patient ---------------------------------------------------------------------------------------------


def _grid(rng: Generator) -> _Grid:
    pixel = round(float(rng.uniform(1.4, 1.7)), 4)
    shape = (int(rng.integers(7, 10)), int(rng.integers(124, 151)), int(rng.integers(120, 147)))
    return _Grid(shape, (round(float(rng.uniform(8, 10)), 1), pixel, pixel))


def _heart(grid: _Grid, group: str, rng: Generator) -> _Heart:
    """A heart in end-diastole; its base lies near the first slice, its apex before the last."""
    (depth, *_), (dz, *_) = grid.shape, grid.spacing
    endo = rng.uniform(23, 28) * {"DCM": 1.22, "HCM": 0.9, "RV": 0.92}.get(group, 1.0)
    wall = rng.uniform(7.5, 10) * {"DCM": 0.9, "HCM": 1.55}.get(group, 1.0)
    septum = np.pi + rng.uniform(-0.35, 0.75)
    base = rng.uniform(-0.3, 0.85) * dz
    orders = [(2, rng.uniform(0.02, 0.07)), (3, rng.uniform(0.01, 0.035)), (5, rng.uniform(0.0, 0.015))]
    return _Heart(
        group=group,
        centre=(rng.uniform(-20, 14), rng.uniform(-6, 24)),
        tilt=(rng.uniform(2, 12), rng.uniform(2, 12)),
        base=base,
        length=(depth - 1 - rng.uniform(0.15, 0.6)) * dz - base,
        endo=endo,
        wall=wall,
        septum=septum,
        rv_depth=rng.uniform(28, 36) * {"RV": 1.3, "DCM": 0.95}.get(group, 1.0),
        rv_width=rng.uniform(1.15, 1.4),
        rv_end=rng.uniform(0.7, 0.85),
        wobble=tuple((order, size, rng.uniform(0, 2 * np.pi)) for order, size in orders),
        papillary=(septum + np.pi - rng.uniform(0.6, 1.0), septum + np.pi + rng.uniform(0.7, 1.2)),
    )


def _contracted(heart: _Heart, rng: Generator) -> _Heart:
    """The same heart in end-systole: weakly contracting in DCM and after an infarct."""
    weak = heart.group in ("DCM", "MINF")
    shortening = rng.uniform(0.05, 0.08) if weak else rng.uniform(0.11, 0.16)
    return replace(
        heart,
        base=heart.base + shortening * heart.length,
        length=heart.length * (1 - shortening),
        endo=heart.endo * (rng.uniform(0.8, 0.88) if weak else rng.uniform(0.6, 0.7)),
        wall=heart.wall * (rng.uniform(1.1, 1.2) if weak else rng.uniform(1.35, 1.5)),
        rv_depth=heart.rv_depth * (rng.uniform(0.8, 0.9) if weak else rng.uniform(0.6, 0.75)),
    )


# -- shapes --------------------------------------------------------------------------------------------------


def _rimmed(
    image: Field, plane: tuple[Field, Field], oval: tuple[float, ...], wall: float, wall_tone: float, tone: float
) -> None:
    """Paints an organ with a darker wall: `oval` is its centre (y, x) and radii (y, x), `wall` how thick that is."""
    cy, cx, ry, rx = oval
    paint(image, ellipse(*plane, cy, cx, ry + wall, rx + wall), wall_tone, soft=2)
    paint(image, ellipse(*plane, cy, cx, ry, rx), tone, soft=2)


def _texture(shape: tuple[int, int], scale: float, rng: Generator) -> Field:
    """Smooth noise of unit size; `scale` in pixels."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return noise / (noise.std() + 1e-9)


def _taper(s: float) -> float:
    """The cavity's radius over the base's, from base (s = 0) to apex (s = 1)."""
    return float(np.sqrt(max(0.0, 1 - (0.965 * max(s, 0.0)) ** 2.3)))


@dataclass(frozen=True)
class _Ventricles:
    """Signed distances of one slice, negative inside; `centre` and the two radii for what lies around."""

    endo: Field
    epi: Field
    rv: Field
    rv_wall: Field
    centre: tuple[float, float]
    radius: float


def _ventricles(plane: tuple[Field, Field], heart: _Heart, s: float, jitter: tuple[float, float]) -> _Ventricles:
    """The contours at height s of the axis, in polar form about it, so that the RV always touches the septum."""
    cy, cx = (c + t * s + j for c, t, j in zip(heart.centre, heart.tilt, jitter, strict=True))
    y, x = plane[0] - cy, plane[1] - cx
    r, angle = np.hypot(y, x), np.arctan2(y, x)
    waves = 1 + sum(a * np.cos(k * (angle - phase)) for k, a, phase in heart.wobble)
    endo = heart.endo * _taper(s)
    thin = 0.62 if heart.group == "MINF" else 1.0
    wall = heart.wall * (1 - 0.25 * s**2) * (1 - (1 - thin) * np.exp(-(_turned(angle, heart.septum + 2.2) ** 2)))
    off = _turned(angle, heart.septum) / heart.rv_width
    shrink = max(0.0, 1 - (max(s, 0.0) / heart.rv_end) ** 2.2)
    depth = (
        heart.rv_depth * np.sqrt(shrink) * np.cos(np.clip(off + 0.12 * np.sin(np.pi * off), -1, 1) * np.pi / 2) ** 0.8
    )
    epi = endo * waves + wall
    # A wall of 2.5 mm around the crescent; the crescent itself begins where the LV's wall ends.
    rv = np.where((depth > 2.5) & (r > epi), r - epi - depth, 99.0)
    return _Ventricles(r - endo * waves, r - epi, rv, r - epi - depth - 2.5, (cy, cx), float(endo + heart.wall))


def _turned(angle: Field, origin: float) -> Field:
    """The angle from a direction, in -pi..pi."""
    return (angle - origin + np.pi) % (2 * np.pi) - np.pi


# -- what surrounds the heart --------------------------------------------------------------------------------


def _body(grid: _Grid, rng: Generator) -> Field:
    """Chest wall, lung, liver, stomach, aorta: (D, H, W), the same in both phases."""
    y, x = grid.plane()
    top, left = float(y.min()), float(x.min())
    chest = (
        rng.uniform(10, 25),
        rng.uniform(-20, 10),
        -top * rng.uniform(1.0, 1.12) + 15,
        -left * rng.uniform(1.1, 1.3) + 10,
    )
    liver = (rng.uniform(66, 80), rng.uniform(-70, -45), rng.uniform(42, 52), rng.uniform(70, 90))
    stomach = (rng.uniform(70, 85), rng.uniform(35, 60), rng.uniform(13, 19), rng.uniform(17, 26))
    aorta = (rng.uniform(52, 62), rng.uniform(52, 68), rng.uniform(9, 12))
    tissue = (rng.uniform(0, 15), -rng.uniform(62, 78), rng.uniform(45, 60), rng.uniform(22, 30))
    vessels = [(rng.uniform(-70, 40), rng.uniform(50, 90), rng.uniform(2, 5)) for _ in range(7)]
    vessels += [(rng.uniform(-60, 10), rng.uniform(-90, -70), rng.uniform(2, 5)) for _ in range(4)]
    tones = rng.uniform([0.75, 0.22, 0.05, 0.34, 0.45, 0.8], [0.95, 0.3, 0.1, 0.44, 0.8, 0.95])
    fat, muscle, lung, meat, content, blood = map(float, tones)
    slices = []
    for k in range(grid.shape[0]):
        image, z = np.zeros_like(y), k / (grid.shape[0] - 1)
        skin = ellipse(y, x, *chest)
        grain = 1 + 0.08 * _texture(y.shape, 2.0, rng)
        for inset, tone in ((0, 0.3), (2, fat), (rng.uniform(9, 11), muscle), (20, lung)):
            paint(image, skin + inset, tone * grain, soft=2)
        paint(image, ellipse(y, x, *tissue, 0.2) + 3 * _texture(y.shape, 5.0, rng), 0.5 * grain, soft=5)
        for vy, vx, radius in vessels:
            paint(image, ellipse(y, x, vy + 8 * z, vx, radius, radius * 1.3), 0.6 * blood, soft=2)
        paint(image, ellipse(y, x, liver[0] - 22 * z, liver[1] + 12 * z, *liver[2:], -0.25), meat * grain, soft=2)
        _rimmed(image, (y, x), (stomach[0] - 8 * z, *stomach[1:]), 4.0, 0.25, content)
        _rimmed(image, (y, x), (*aorta, aorta[2]), 2.5, 0.3, blood)
        slices.append(image)
    return np.stack(slices)


def _atria(image: Field, shape: _Ventricles, plane: tuple[Field, Field], heart: _Heart, blood: float) -> None:
    """Above the base: two atria and the aortic root, bright and without a label."""
    (cy, cx), radius = shape.centre, shape.radius
    uy, ux = np.sin(heart.septum), np.cos(heart.septum)
    y, x = plane
    paint(image, ellipse(y, x, cy + 4, cx, radius * 1.25, radius * 1.6), 0.5, soft=6)
    paint(image, ellipse(y, x, cy + 8, cx + 3, radius * 0.72, radius * 0.95, 0.3), 0.85 * blood, soft=3)
    ry, rx = cy + uy * radius * 1.25 + 4, cx + ux * radius * 1.25
    paint(image, ellipse(y, x, ry, rx, radius * 0.7, radius * 0.62), 0.8 * blood, soft=3)
    _rimmed(image, plane, (cy - radius * 0.55, cx + ux * radius * 0.35, 12, 12), 2.5, 0.3, blood)


# -- one frame -----------------------------------------------------------------------------------------------


def _render(grid: _Grid, heart: _Heart, body: Field, rng: Generator) -> tuple[Field, np.ndarray]:
    """Image (arbitrary units about 0..1) and labels of one phase, (D, H, W)."""
    image, label = body.copy(), np.zeros(grid.shape, np.uint8)
    plane = grid.plane()
    blood, muscle = float(rng.uniform(0.7, 0.95)), float(rng.uniform(0.3, 0.44))
    for k in range(grid.shape[0]):
        s = (k * grid.spacing[0] - heart.base) / heart.length
        jitter = (float(rng.normal(0, 0.8)), float(rng.normal(0, 0.8)))
        shape = _ventricles(plane, heart, min(max(s, 0.0), 1.0), jitter)
        if 0 <= s <= 1:
            _draw_heart(image[k], shape, plane, heart, s, (blood, muscle), rng)
            label[k][shape.rv < 0] = _RV
            label[k][shape.epi < 0] = _MYO
            label[k][shape.endo < 0] = _LV
        elif s < 0:
            _atria(image[k], shape, plane, heart, blood)
        else:
            paint(image[k], shape.epi + 0.4 * shape.radius, 0.55, soft=8)
    return image, label


def _draw_heart(
    image: Field,
    shape: _Ventricles,
    plane: tuple[Field, Field],
    heart: _Heart,
    s: float,
    tones: tuple[float, float],
    rng: Generator,
) -> None:
    """Paints fat, the ventricles' walls and blood; papillary muscles darken the blood but stay labelled LV."""
    y, x = plane
    blood, muscle = tones
    flow = 1 + 0.06 * _texture(y.shape, 4.0, rng)
    outside = np.minimum(shape.rv_wall, shape.epi)
    paint(image, outside - 1 - 4 * _texture(y.shape, 6.0, rng), 0.58, soft=4)
    paint(image, outside, muscle * 1.05, soft=1.5)
    trabecula = np.clip(_texture(y.shape, 1.6, rng) - 0.8, 0, 1) * np.clip(1.2 + shape.rv / 12, 0, 1)
    paint(image, shape.rv, 0.94 * blood * flow * (1 - 0.5 * trabecula), soft=1.5)
    paint(image, shape.epi, muscle * (1 + 0.1 * _texture(y.shape, 3.0, rng)), soft=1.5)
    ragged = np.clip(_texture(y.shape, 1.4, rng) - 0.4, 0, 1) * np.clip(1 + shape.endo / 6, 0, 1)
    paint(image, shape.endo, blood * flow * (1 - 0.7 * ragged), soft=2.0)
    (cy, cx), endo = shape.centre, heart.endo * _taper(s)
    size = 0.2 * endo * (0.15 < s < 0.85)
    for angle in heart.papillary:
        py, px = cy + 0.68 * endo * np.sin(angle), cx + 0.68 * endo * np.cos(angle)
        paint(image, np.maximum(ellipse(y, x, py, px, size + 0.1, size + 0.1), shape.endo + 1), muscle * 1.3, soft=3)


def _bias(grid: _Grid, rng: Generator) -> Field:
    """The surface coil's shading, (H, W): brighter towards the chest wall."""
    y, x = grid.plane()
    y, x = y / y.max(), x / x.max()
    a, b, c = rng.uniform(-0.35, -0.1), rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.05)
    return np.exp(a * y + b * x + c * (x**2 + y**2))


def _acquired(image: Field, rng: Generator) -> Field:
    """The scanner's blur and Rician noise."""
    from scipy.ndimage import gaussian_filter

    width = float(rng.uniform(0.6, 1.0))
    image = gaussian_filter(image, (0, width, width))
    sigma = rng.uniform(0.025, 0.055)
    return np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape))
