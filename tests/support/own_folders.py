"""Small folders of a user's own data, drawn for tests: no image of them is anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from bench.datasets.base import Prepared
from bench.datasets.own.adding import Addition, Understood, add, understand
from bench.zoo.registry import dataset_names

SIDE = 24


def picture(seed: int, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    """Coarse noise that resembles no other seed's: uint8 of the shape, whose sides are multiples of 4."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (shape[0] // 4, shape[1] // 4, *shape[2:]))
    return np.kron(coarse, np.ones((4, 4, *(1 for _ in shape[2:])))).astype(np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_classes(folder: Path, counts: dict[str, int], first: int = 0) -> Path:
    """`NAME/p1_a.png`, two images a patient."""
    seed = first
    for name, count in counts.items():
        for i in range(count):
            seed += 1
            save(folder / name / f"{name[:1]}{i // 2}_{'ab'[i % 2]}.png", picture(seed))
    return folder


def disc(seed: int, values: tuple[int, int] = (0, 255)) -> np.ndarray:
    """A label map with a disc, of these two values."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = (y - 8 - seed % 8) ** 2 + (x - 12) ** 2 < 30
    return np.where(inside, values[1], values[0]).astype(np.uint8)


def write_pairs(folder: Path, count: int, values: tuple[int, int] = (0, 255), colour: bool = False) -> Path:
    """`images/c0.png` and `masks/c0.png`."""
    for i in range(count):
        shape = (SIDE, SIDE, 3) if colour else (SIDE, SIDE)
        save(folder / "images" / f"c{i}.png", picture(i, shape))
        save(folder / "masks" / f"c{i}.png", disc(i, values))
    return folder


def understood(root: Path, source: Path, name: str = "mine", **fields: object) -> Understood:
    return understand(Addition(name, source, **fields), root, dataset_names())  # type: ignore[arg-type]


def added(root: Path, source: Path, name: str = "mine", **fields: object) -> Prepared:
    return add(understood(root, source, name, **fields), root, bool(fields.get("replace")))


def nifti(path: Path, array: np.ndarray, x: float = 1.5, axes: str = "RAS", tilt: float = 0) -> Path:
    """Axes (z, y, x) -> a file, whose own axes point to `axes`, tilted by degrees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    affine = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]]) @ np.diag([x, 1.5, 4, 1])
    file = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
    )
    file = file.as_reoriented(turn)
    file.header.set_xyzt_units("mm", "sec")
    nibabel.save(file, path)
    return path
