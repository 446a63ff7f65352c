"""Phantoms of Synapse: drawn abdominal CT with eight organs, in TransUNet's layout.

No pixel comes from a patient. A body is an ellipse of fat with a muscle wall, spine, ribs and bowel; in it lie liver
(two lobes), stomach with its air, spleen, kidneys with bright cortex, gallbladder (one patient in ten has none), a bent
pancreas, aorta and vena cava, each at its place, size and HU in the portal-venous phase, moved, scaled and dented from
patient to patient. Anatomy is rounded from general knowledge, our choice: a result on phantoms says that the plumbing
works, no more.

Shapes: (D, H, W) = (z, y, x); z grows to the feet, y to the back, x to the patient's left. Lengths are mm, tones HU.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, zoom

from bench.datasets.splits.assignment import load_split

# Raise it when the same seed draws other images.
VERSION = 1
PATIENTS = {"train": 6, "val": 2, "test": 3}
SLICES, SIDE, THICKNESS = 26, 160, 8.0
_WINDOW = (-125.0, 275.0)
_AORTA, _GALLBLADDER, _LEFT_KIDNEY, _RIGHT_KIDNEY, _LIVER, _PANCREAS, _SPLEEN, _STOMACH = range(1, 9)
Field = np.ndarray
# Ellipsoids: label, centre (z, y, x), radii (z, y, x), HU. What comes later lies over what came before.
_ORGANS = (
    (_LIVER, (62, -5, -78), (72, 78, 72), 108),
    (_LIVER, (45, -52, -5), (36, 34, 62), 108),
    (_STOMACH, (58, -42, 66), (52, 36, 40), 35),
    (_SPLEEN, (56, 30, 98), (46, 40, 26), 120),
    (_RIGHT_KIDNEY, (132, 42, -62), (50, 26, 28), 185),
    (_LEFT_KIDNEY, (120, 42, 62), (50, 26, 28), 185),
    (_GALLBLADDER, (104, -52, -58), (28, 18, 15), 10),
)


def draw(folder: Path, seed: int = 0, patients: Mapping[str, int] | None = None) -> None:
    """Writes `train_npz/` and `test_vol_h5/` for the first patients of each part of the transunet split.

    Args:
        seed: the same seed gives the same values.
        patients: part -> how many; by default 6 train, 2 val, 3 test.
    """
    import h5py

    (folder / "train_npz").mkdir(parents=True)
    (folder / "test_vol_h5").mkdir()
    parts = load_split("synapse", "transunet").parts
    for part, count in (PATIENTS if patients is None else patients).items():
        for patient in parts[part][:count]:
            image, label = new_patient(np.random.default_rng([seed, int(patient), VERSION]))
            low, high = _WINDOW
            image = ((np.clip(image, low, high) - low) / (high - low)).astype(np.float32)
            if part == "test":
                with h5py.File(folder / "test_vol_h5" / f"case{patient}.npy.h5", "w") as file:
                    file["image"], file["label"] = image, label.astype(np.float32)
                continue
            for z in range(len(image)):
                path = folder / "train_npz" / f"case{patient}_slice{z:03d}.npz"
                np.savez(path, image=image[z], label=label[z].astype(np.float32))


def new_patient(rng: Generator) -> tuple[Field, Field]:
    """One abdomen: HU (D, H, W) float64 and labels (D, H, W) uint8."""
    pixel = rng.uniform(2.0, 2.3)
    size = rng.uniform(0.9, 1.1)
    z = (np.arange(SLICES) * THICKNESS + rng.uniform(-6, 6))[:, None, None]
    y, x = ((np.arange(SIDE) - (SIDE - 1) / 2) * pixel / size for _ in range(2))
    y, x = y[None, :, None], x[None, None]
    dents = [_noise(rng, 24 / pixel) for _ in range(2)]
    image, wall = _body(z, y, x, dents[1], rng)
    label = np.zeros(image.shape, dtype=np.uint8)
    _bowel(image, wall, z, y, x, rng)
    has_gallbladder = rng.random() < 0.9
    for organ, centre, radii, tone in _ORGANS:
        middle = np.array(centre) + rng.normal(0, 5, 3)
        extent = np.array(radii) * rng.normal(1, 0.08, 3).clip(0.8, 1.2)
        distance = _ellipsoid(z, y, x, middle, extent)
        inside = (distance + 0.12 * dents[0] < 1) & (wall < -4)
        if organ == _GALLBLADDER and not has_gallbladder:
            continue
        _paint(image, label, inside, organ, tone + rng.normal(0, 6))
        if organ in (_LEFT_KIDNEY, _RIGHT_KIDNEY):
            image[inside & (distance < 0.35)] -= 95  # the pelvis
        if organ == _STOMACH:
            image[inside & (y < middle[1] - rng.uniform(0.2, 0.7) * extent[1])] = -900
    path = _pancreas(rng)
    _paint(image, label, _near(z, y, x, path, rng.uniform(11, 14)) & (wall < -4), _PANCREAS, rng.normal(92, 6))
    aorta = np.array([[0.0, 28, 8], [220, 30, 4]]) + rng.normal(0, 2, 3)
    vena_cava = aorta - np.array([0, 2, 30])
    _paint(image, label, _near(z, y, x, vena_cava, 11.0), 0, rng.normal(130, 8))
    _paint(image, label, _near(z, y, x, aorta, rng.uniform(9, 12)), _AORTA, rng.normal(160, 10))
    texture = 5 * _noise(rng, 1.5)
    image = gaussian_filter(image + texture, (0, 0.6, 0.6)) + rng.normal(0, rng.uniform(8, 16), image.shape)
    return image, label


def _body(z: Field, y: Field, x: Field, dents: Field, rng: Generator) -> tuple[Field, Field]:
    """The abdomen without organs, and the signed distance to the inner side of its wall in mm, negative inside."""
    depth, width = rng.uniform(105, 120), rng.uniform(150, 170)
    radius = np.sqrt((y / depth) ** 2 + (x / width) ** 2) + 0 * z
    skin = (radius - 1) * depth
    wall = skin + rng.uniform(22, 30) + 2 * dents
    image = np.where(skin < 0, -105.0, -1000.0)
    image[(wall > -2) & (wall < 9)] = 55  # muscle
    image[(wall > 1) & (wall < 6) & (np.cos(z / 7 + 9 * np.arctan2(y, x)) > 0.8) & (z < 90)] = 380  # ribs
    back = np.hypot(y - 64, x)
    image[(np.hypot(y - 66, np.abs(x) - 34) < 20) & (skin < 0)] = 60
    image = np.where(back < 21, 210 + 50 * np.cos(z * 2 * np.pi / 32), image)  # vertebrae and discs
    image[(np.hypot(y - 88, x) < 8) & (skin < 0)] = 30
    return image, np.maximum(wall, np.maximum(24 - back, -100))


def _bowel(image: Field, wall: Field, z: Field, y: Field, x: Field, rng: Generator) -> None:
    for _ in range(16):
        middle = np.array([rng.uniform(110, 215), rng.uniform(-75, 15), rng.uniform(-110, 110)])
        loop = (_ellipsoid(z, y, x, middle, rng.uniform(14, 26, 3)) < 1) & (wall < -4)
        image[loop] = rng.uniform(20, 70)
        if rng.random() < 0.3:
            image[loop & (y < middle[1] - 4)] = -800


def _pancreas(rng: Generator) -> Field:
    """Points (N, 3) from the head by the duodenum over the spine to the tail by the spleen."""
    share = np.linspace(0, 1, 12)
    points = np.stack([118 - 42 * share, -4 - 26 * np.sin(np.pi * share) + 34 * share**2, -42 + 118 * share], 1)
    return points + rng.normal(0, 4, 3)


def _paint(image: Field, label: Field, inside: Field, organ: int, tone: float) -> None:
    image[inside], label[inside] = tone, organ


def _ellipsoid(z: Field, y: Field, x: Field, centre: Field, radii: Field) -> Field:
    """Distance from the centre over the radius in that direction."""
    parts = ((axis - c) / r for axis, c, r in zip((z, y, x), centre, radii, strict=True))
    return np.sqrt(sum(part**2 for part in parts))


def _near(z: Field, y: Field, x: Field, path: Field, radius: float) -> Field:
    """Voxels within so many mm of a path of points (N, 3)."""
    near = np.zeros((z.size, y.size, x.size), dtype=bool)
    for start, end in pairwise(path):
        step = end - start
        along = ((z - start[0]) * step[0] + (y - start[1]) * step[1] + (x - start[2]) * step[2]) / (step @ step)
        along = np.clip(along, 0, 1)
        off = [axis - s - along * length for axis, s, length in zip((z, y, x), start, step, strict=True)]
        near |= sum(part**2 for part in off) < radius**2
    return near


def _noise(rng: Generator, grain: float) -> Field:
    """Smooth noise (D, H, W) of deviation about 1; `grain` is its size in pixels."""
    coarse = rng.normal(0, 1, (SLICES, *(max(4, int(SIDE / grain)) + 2,) * 2))
    coarse = gaussian_filter(coarse, 0.8)
    field = zoom(coarse, (1, SIDE / coarse.shape[1], SIDE / coarse.shape[2]), order=1)
    return field / field.std()
