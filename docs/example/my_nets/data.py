"""A data set for medbench by a reader of one's own: arrays that are named by class and patient, `0_P01_a.npy`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bench import DatasetSpec, RawImage


def list_cases(folder: Path, layout: str) -> list[Callable[[], RawImage]]:
    """A function for each file, which reads it when it is called."""
    return [partial(read_case, path) for path in sorted(folder.glob("*.npy"))]


def read_case(path: Path) -> RawImage:
    """One image: (H, W) uint8 in the file, (C, H, W) for the cache."""
    label, patient, _ = path.stem.split("_")
    return RawImage(path.stem, patient, np.load(path, allow_pickle=False)[None], int(label), files=(path,))


SPEC = DatasetSpec(
    name="my-arrays",
    task="classification",
    channels=1,
    classes=("healthy", "sick"),
    list_cases=list_cases,
)
