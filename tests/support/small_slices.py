"""Small pictures in folders as SARS-COV2-CT-Scan has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.datasets.base import PARTS, Prepared, Split
from bench.datasets.cache.prepared import prepare
from bench.datasets.readers.sars_cov2_ct import SPEC


def slice_pixels(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth random picture (H, W) uint8; those of two seeds do not resemble each other."""
    field = gaussian_filter(np.random.default_rng(seed).random((height, width)), 3)
    return ((field - field.min()) / (field.max() - field.min()) * 255).astype(np.uint8)


def write_slices(folder: Path, covid: Iterable[int], other: Iterable[int]) -> Path:
    """A folder as SARS-COV2-CT-Scan has it, COVID as RGB and non-COVID as RGBA, with these numbers."""
    for name, stem, mode, numbers in (("COVID", "Covid", "RGB", covid), ("non-COVID", "Non-Covid", "RGBA", other)):
        (folder / name).mkdir(parents=True)
        for number in numbers:
            seed = 10 * number + (name == "COVID")
            Image.fromarray(slice_pixels(seed)).convert(mode).save(folder / name / f"{stem} ({number}).png")
    return folder


def prepared(folder: Path, root: Path) -> Prepared:
    return prepare(SPEC, folder, root, replace=True)


def part_of(split: Split) -> dict[str, str]:
    return {name: part for part in PARTS for name in split.parts[part]}
