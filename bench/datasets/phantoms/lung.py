"""Phantoms of SARS-COV2-CT-Scan: drawn axial CT slices of the chest in lung window, in the data set's layout.

No pixel comes from a patient. A phantom patient is a chest (thorax.py), a tree of vessels grown from the hila in 3D and
cut by each slice, and what any lung may have: more density towards the back, dependent atelectasis, haze, nodules,
fissures, breathing motion. The findings are ellipsoids with a ragged border in the same 3D frame, so that the slices of
a patient resemble each other: `covid` is ground glass, patchy and near the pleura, `cap` a consolidation with air
bronchograms that stops at the fissure. Everything else is drawn without regard to the finding: the same patient, z and
rng give the slice with it and without.

Anatomy is rounded from general knowledge; grey levels, sizes and how much slices resemble each other (64 x 64 grey:
neighbours correlate at about 0.8, patients at 0.56) were set after the real files; contrast and number of the findings
so that, taught on 80 patients of each class, a linear classifier stays below 0.75 and a small CNN lands between 0.85
and 0.97 on others. The default 12 are too few for that. No result on phantoms says anything about medicine.

Shapes and units as in thorax.py: (H, W) = (y, x), mm, z from 0 at the apex of the lungs to 1 at the diaphragm, HU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from bench.datasets.phantoms.shapes import Field, ellipse, paint
from bench.datasets.phantoms.thorax import SOFT, Body, axes, chest, diaphragm, fissure_y, grain, lungs, new_body, smooth
from bench.errors import UserError

# Raise it when the same seed draws other images.
VERSION = 1
# Patients of each class, and slices of each patient.
PATIENTS, SLICES = 12, 5
FINDINGS = ("normal", "covid", "cap")
_FOLDERS = {"normal": "non-COVID/Non-Covid", "covid": "COVID/Covid"}


@dataclass(frozen=True)
class Opacity:
    """An ellipsoid in the lungs: centre and radii (z, normal, tangent) in mm, turned in the plane.

    Attributes:
        tone: HU added in the middle; what exceeds soft tissue is cut.
        ragged: how far noise moves the border, over the radius.
        lobe: +1 or -1 ends it at the fissure, behind or in front; 0 does not.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float
    tone: float
    ragged: float = 0.5
    lobe: int = 0


@dataclass(frozen=True)
class Patient:
    """One phantom patient: what all slices share.

    Attributes:
        vessels: (N, 7): z, y, x of both ends in mm, radius.
        findings: finding -> its opacities; `normal` has none.
        haze: opacities that are no finding.
        nodules: (N, 4): z, y, x, radius in mm.
        lung, gravity, dependent: HU of the parenchyma, its rise to the back, and of dependent atelectasis (0: none).
        margins: of the crop about the ribs in mm: front, back, right, left.
        thickness, pixel: of a slice and of its pixels, mm.
        blur, grain, motion: the kernel in pixels, noise in HU, and breathing in mm (0: none).
        window: centre and width in HU.
    """

    body: Body
    vessels: Field
    findings: dict[str, tuple[Opacity, ...]]
    haze: tuple[Opacity, ...]
    nodules: Field
    lung: float
    gravity: float
    dependent: float
    margins: Field
    thickness: float
    pixel: float
    blur: float
    grain: float
    motion: float
    window: tuple[float, float]


def draw(folder: Path, seed: int = 0, patients: int = PATIENTS, slices: int = SLICES) -> None:
    """Writes `COVID/Covid (N).png` and `non-COVID/Non-Covid (N).png`; a patient's slices have consecutive numbers.

    Patient k of either class has the same colour mode (RGB or RGBA, by turns) and the same pixel size, so that neither
    tells the class. In the part of the real set that we saw, all of COVID is RGB and all of non-COVID is RGBA.

    Args:
        seed: the same seed gives the same bytes; a patient does not depend on how many there are.
        patients: of each class.
        slices: of each patient.
    """
    from PIL import Image

    for finding, stem in _FOLDERS.items():
        (folder / stem).parent.mkdir(parents=True)
        for k in range(patients):
            pixel = float(np.random.default_rng([seed, k, VERSION]).uniform(0.75, 1.2))
            mode = ("RGB", "RGBA")[(k + seed) % 2]
            rng = np.random.default_rng([seed, FINDINGS.index(finding), k, VERSION])
            for i, image in enumerate(series(new_patient(rng, pixel), finding, slices, rng)):
                path = folder / f"{stem} ({k * slices + i + 1}).png"
                Image.fromarray(image).convert(mode).save(path, compress_level=1)


def series(patient: Patient, finding: str, count: int, rng: Generator) -> Iterator[np.ndarray]:
    """Consecutive slices of a patient from the head down, each (H, W) uint8."""
    step = rng.uniform(0.3, 0.55) / count
    start = rng.uniform(0.2, 0.88 - step * (count - 1))
    for i in range(count):
        yield slice_image(patient, start + step * i, finding, rng)


def slice_image(patient: Patient, z: float, finding: str, rng: Generator) -> np.ndarray:
    """One slice in lung window, (H, W) uint8; H and W follow from the patient, z and the crop that `rng` draws.

    Args:
        z: 0 at the apex of the lungs, 1 at the diaphragm.
        finding: one of FINDINGS; `rng` is drawn from alike for each.

    Raises:
        UserError: z or the finding does not exist.
    """
    if finding not in FINDINGS or not 0 <= z <= 1:
        raise UserError(f"Expected z in 0..1 and a finding of {', '.join(FINDINGS)}, but got z={z:g} and {finding!r}.")
    y, x = _grid(patient, z, rng)
    inside = smooth(lungs(patient.body, z * patient.body.height, y, x), 3 / patient.pixel)
    image = chest(patient.body, z, y, x)
    inside += 2.5 * grain(patient.body, z * patient.body.height, y, x, 24)
    paint(image, inside, _parenchyma(patient, z, y, x, inside, finding))
    _airways(image, patient, z, y, x, inside)
    diaphragm(image, patient.body, z, y, x)
    image = _acquired(image, patient, rng)
    centre, width = patient.window
    return np.round(255 * np.clip((image - centre) / width + 0.5, 0, 1)).astype(np.uint8)


# -- one patient ---------------------------------------------------------------------------------------------


def new_patient(rng: Generator, pixel: float) -> Patient:
    """Draws a patient who could have any of the findings.

    Args:
        pixel: mm; 0.75 to 1.2 gives images of about 200 to 400 pixels.
    """
    body = new_body(rng)
    haze = _peripheral(body, int(rng.integers(0, 6)), rng, tone=(60, 200), size=1.1)
    nodules = _spots(body, int(rng.integers(0, 7)), rng)
    return Patient(
        body=body,
        vessels=_tree(body, rng),
        findings={"normal": (), "covid": _covid(body, rng), "cap": _cap(body, rng)},
        haze=haze,
        nodules=np.column_stack([nodules, rng.uniform(1.5, 4, len(nodules))]),
        lung=rng.uniform(-905, -805),
        gravity=rng.uniform(10, 80),
        dependent=rng.uniform(60, 300) * (rng.random() < 0.5),
        margins=rng.uniform([0, 2, 0, 0], [26, 34, 22, 22]),
        thickness=rng.uniform(2, 5),
        pixel=pixel,
        blur=rng.uniform(0.45, 0.9),
        grain=rng.uniform(12, 45),
        motion=rng.uniform(1, 4) * (rng.random() < 0.3),
        window=(rng.uniform(-590, -520), rng.uniform(1450, 1650)),
    )


def _tree(body: Body, rng: Generator) -> Field:
    """Vessels (N, 7) that fork eight times from the two hila until they leave the lungs."""
    out, way = (np.tile(np.arange(18), 2) + 0.5) / 18, 2.4 * np.arange(36)
    side = np.repeat([-1.0, 1.0], 18)
    start = np.stack([0.48 * body.height + 0 * side, body.spine - 40 + 0 * side, 28 * side], 1)
    flat = np.sqrt(1 - out**2)
    ahead = np.stack([flat * np.cos(way), flat * np.sin(way), side * out], 1) + rng.normal(0, 0.2, start.shape)
    hila, radius, rows = start, rng.uniform(2.2, 3.8, len(side)), []
    for order in range(8):
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        end = start + ahead * (22 * 0.9**order * rng.uniform(0.6, 1.3, (len(start), 1)))
        rows.append(np.concatenate([start, end, radius[:, None]], 1))
        kept = np.repeat(np.flatnonzero((order < 1) | (lungs(body, *end.T) < -2)), 2)
        outward = (end - hila)[kept] / np.linalg.norm(end - hila, axis=1, keepdims=True)[kept]
        start, hila = end[kept], hila[kept]
        ahead = ahead[kept] + 0.3 * outward + rng.normal(0, 0.5, start.shape)
        radius = radius[kept] * rng.uniform(0.6, 0.85, len(kept))
    return np.concatenate(rows)


def _spots(body: Body, count: int, rng: Generator) -> Field:
    """Points (count, 3) in the lungs, at least 4 mm from their border, evenly along z: z, y, x in mm."""
    size = np.array([body.height, body.depth, body.width])
    low, high = [0, -1, -1], [1, 1, 1]
    tries = rng.uniform(low, high, (count, 100, 3))
    tries[..., 0] = 0.15 + 0.75 * (np.arange(count)[:, None] + tries[:, :1, 0]) / max(count, 1)
    return np.array([t[(lungs(body, *t.T) < -4).argmax()] for t in tries * size]).reshape(count, 3)


def _peripheral(body: Body, count: int, rng: Generator, tone: tuple[float, float], size: float) -> tuple[Opacity, ...]:
    """Flat opacities along the pleura, more of them at the back, their z spread evenly over the lungs."""
    opacities = []
    for i in range(count):
        z = 0.15 + 0.75 * (i + rng.uniform(0.2, 0.8)) / count
        b, a = axes(body, z)
        angle, inset = rng.uniform(-0.5, 1.1), rng.uniform(0.78, 0.97)
        side = 1 if rng.random() < 0.5 else -1
        y, x = float(inset * b * np.sin(angle)), float(side * inset * a * np.cos(angle))
        radii = (rng.uniform(26, 42), size * rng.uniform(7, 15), size * rng.uniform(12, 28))
        turn = float(np.arctan2(y, x))
        opacities.append(Opacity((z * body.height, y, x), radii, turn, rng.uniform(*tone)))
    return tuple(opacities)


def _covid(body: Body, rng: Generator) -> tuple[Opacity, ...]:
    """Ground glass, so much of it along z that hardly a slice is without; in some it is small or faint."""
    severity = rng.uniform(0.85, 1.2)
    return _peripheral(body, int(rng.integers(8, 16)), rng, tone=(240 * severity, 420 * severity), size=severity)


def _cap(body: Body, rng: Generator) -> tuple[Opacity, ...]:
    """Dense opacities that fill a part of a lobe."""
    opacities = []
    for z, y, x in _spots(body, int(rng.integers(3, 5)), rng):
        lobe = 1 if y > fissure_y(body, z / body.height, x) else -1
        radii = tuple(rng.uniform([50, 22, 22], [80, 44, 44]))
        opacities.append(Opacity((z, y, x), radii, rng.uniform(0, np.pi), 1800, 0.4, lobe))
    return tuple(opacities)


def _tubes(patient: Patient, z: float, y: Field, x: Field, rows: Field) -> Field:
    """How much of each pixel the cut tubes (N, 7) fill, (H, W) in 0..1."""
    near, far = rows[:, :3], rows[:, 3:6]
    rise = far[:, 0] - near[:, 0]
    rise = np.where(np.abs(rise) < 1e-3, 1e-3, rise)
    ends = (z * patient.body.height + np.array([[-0.5], [0.5]]) * patient.thickness - near[:, 0]) / rise
    first, last = np.clip(ends.min(0), 0, 1), np.clip(ends.max(0), 0, 1)
    cut = np.flatnonzero(last > first)
    run, radius = (far - near)[cut, 1:], rows[cut, 6]
    head, tail = near[cut, 1:] + first[cut, None] * run, near[cut, 1:] + last[cut, None] * run
    origin, shape, reach = np.array([y[0, 0], x[0, 0]]), np.array([y.size, x.size]), radius[:, None] + patient.pixel
    low = np.clip((np.minimum(head, tail) - reach - origin) // patient.pixel, 0, shape).astype(int)
    high = np.clip((np.maximum(head, tail) + reach - origin) // patient.pixel + 2, 0, shape).astype(int)
    # Every pixel of every tube's box at once: `tube` and its place in the box.
    height, width = (high - low).T
    tube = np.repeat(np.arange(len(cut)), height * width)
    place = np.arange(len(tube)) - np.repeat(np.cumsum(height * width) - height * width, height * width)
    i, j = low[tube, 0] + place // width[tube], low[tube, 1] + place % width[tube]
    off, axis = np.stack([y[i, 0], x[0, j]], 1) - head[tube], (tail - head)[tube]
    along = np.clip((off * axis).sum(1) / ((axis**2).sum(1) + 1e-9), 0, 1)
    distance = np.hypot(*(off - along[:, None] * axis).T)
    share = np.zeros((y.size, x.size))
    part = np.clip(0.5 + (radius[tube] - distance) / patient.pixel, 0, 1)
    np.maximum.at(share, (i, j), part * np.minimum(1, 3 * radius / patient.thickness)[tube])
    return share


# -- one slice -----------------------------------------------------------------------------------------------


def _grid(patient: Patient, z: float, rng: Generator) -> tuple[Field, Field]:
    """y (H, 1) and x (1, W) of the pixels: a crop about the ribcage, its margins a little other in each slice."""
    b, a = axes(patient.body, z)
    top, bottom, left, right = np.maximum(0, patient.margins + rng.uniform(-7, 7, 4))
    y = np.arange(-b - top, b + bottom, patient.pixel)
    x = np.arange(-a - left, a + right, patient.pixel)
    return y[:, None], x[None]


def _parenchyma(patient: Patient, z: float, y: Field, x: Field, inside: Field, finding: str) -> Field:
    """What the lungs are made of, (H, W) in HU, as if they filled the slice."""
    body, mm = patient.body, z * patient.body.height
    coarse, fine = grain(body, mm, y, x, 22), grain(body, mm, y, x, 5)
    image = patient.lung + patient.gravity * y / body.depth + 15 * coarse + 12 * fine
    band = np.clip((inside + 10 + 5 * coarse) / 6, 0, 1) * np.clip((y / body.depth - 0.3) / 0.4, 0, 1)
    image = image + patient.dependent * band * (0.8 + 0.3 * fine)
    fissure = fissure_y(body, z, x)
    image += 90 * np.clip(1.2 - np.abs(y - fissure), 0, 1)
    for opacity in (*patient.haze, *patient.findings[finding]):
        _opacify(image, opacity, mm, y, x, y - fissure, coarse + 0.6 * fine)
    vessels = _tubes(patient, z, y, x, patient.vessels)
    reach = patient.nodules[:, 3:] * [1, 0, 0]
    nodules = np.hstack([patient.nodules[:, :3] - reach, patient.nodules[:, :3] + reach, patient.nodules[:, 3:]])
    share = np.maximum(vessels, _tubes(patient, z, y, x, nodules))
    image += share * np.maximum(SOFT - 20 - image, 0)
    return np.minimum(image, SOFT)


def _opacify(image: Field, opacity: Opacity, mm: float, y: Field, x: Field, behind: Field, noise: Field) -> None:
    """Adds an opacity's cut at height `mm`; `behind` is the distance behind the fissure."""
    (cz, cy, cx), (rz, rn, rt) = opacity.centre, opacity.radii
    height = (mm - cz) / rz
    if abs(height) > 1.5:
        return
    c, s = np.cos(opacity.turn), np.sin(opacity.turn)
    v, u = (y - cy) * s + (x - cx) * c, (y - cy) * c - (x - cx) * s
    radius = np.sqrt(height**2 + (v / rn) ** 2 + (u / rt) ** 2)
    share = np.clip(1.5 * (1 - radius - opacity.ragged * noise), 0, 1)
    if opacity.lobe:
        share = share * np.clip(opacity.lobe * behind, 0, 1)
    image += opacity.tone * share * (1 + 0.25 * noise)


def _airways(image: Field, patient: Patient, z: float, y: Field, x: Field, inside: Field) -> None:
    """Trachea, main bronchi, and the bronchi beside the larger vessels: what shows in a consolidation."""
    body = patient.body
    low = body.spine - 28
    split = np.clip((z - 0.4) / 0.1, 0, 1)
    if z < 0.55:
        size = 9 - 3 * split
        for side in (-1, 1):
            paint(image, ellipse(y, x, low, side * 26 * split, size, size + 4 * split), -980.0)
    large = patient.vessels[patient.vessels[:, 6] > 1.1]
    beside = large + np.array([0, 0, 1, 0, 0, 1, 0]) * 1.9 * large[:, 6:]
    for grow, tone in ((0.75, -200.0), (0.5, -960.0)):
        tubes = beside * np.array([1, 1, 1, 1, 1, 1, grow])
        image += _tubes(patient, z, y, x, tubes) * np.clip((4 - inside) / 3, 0, 1) * (tone - image)


def _acquired(image: Field, patient: Patient, rng: Generator) -> Field:
    """Breathing (three places at once), the kernel's blur, and noise with a little grain."""
    shift = patient.motion * rng.uniform(0.3, 1) / patient.pixel
    rows = np.arange(len(image)) + np.round(np.array([[0.0], [0.5], [1.0]]) * shift).astype(int)
    image = smooth(image[np.minimum(rows, len(image) - 1)].mean(0), patient.blur)
    noise = smooth(rng.standard_normal(image.shape, dtype=np.float32), 0.6)
    return image + patient.grain / 0.47 * noise
