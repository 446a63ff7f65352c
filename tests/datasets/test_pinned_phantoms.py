"""The pixels of the phantoms are pinned: who changes one raises the `VERSION` of its module, and the hash here.

Records name phantoms by version, so that other pixels under one version would mix results that cannot be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.phantoms import abdomen, cardiac, chest, lung, skin
from bench.datasets.readers.acdc import SPEC as ACDC
from bench.datasets.readers.large_covid import SPEC as LARGE


def heart(folder: Path) -> Iterator[np.ndarray]:
    cardiac.draw(folder, 0, {"train": 1})
    for case in ACDC.read_cases(folder, "nifti"):
        yield case.image
        yield np.asarray(case.label)


def abdomen_ct(folder: Path) -> Iterator[np.ndarray]:
    image, label = abdomen.new_patient(np.random.default_rng(0))
    yield image.astype(np.float32)
    yield label


def lungs(folder: Path) -> Iterator[np.ndarray]:
    for finding in lung.FINDINGS:
        rng = np.random.default_rng(0)
        yield from lung.series(lung.new_patient(rng, 1.0), finding, 1, rng)


def chest_ct(folder: Path) -> Iterator[np.ndarray]:
    chest.draw(folder, 0, patients=1, slices=1)
    for case in LARGE.read_cases(folder, "curated"):
        yield case.image


def skin_photographs(folder: Path) -> Iterator[np.ndarray]:
    """Before they are packed: the pixels of a JPEG depend on the library that packs it."""
    for label in (0, 1):
        rng = np.random.default_rng(0)
        images = list(skin.photographs(skin.new_subject(rng), label, rng))
        yield from images
        yield skin.augmented_copy(images[0], rng, moved=True)


@pytest.mark.parametrize(
    ("draw", "version", "expected"),
    [
        (heart, cardiac.VERSION, "1 a2f5d5bc2349d5db"),
        (abdomen_ct, abdomen.VERSION, "1 b0807803bc665ba3"),
        (lungs, lung.VERSION, "1 afe7d6721101cdac"),
        (chest_ct, chest.VERSION, "1 0d40e687f0f63ba9"),
        (skin_photographs, skin.VERSION, "1 ef506cbcfcf77fbd"),
    ],
)
def test_phantoms_of_a_version_are_the_same_pixels(
    draw: Callable[[Path], Iterator[np.ndarray]], version: int, expected: str, tmp_path: Path
) -> None:
    digest = hashlib.sha256()
    for array in draw(tmp_path):
        digest.update(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    assert f"{version} {digest.hexdigest()[:16]}" == expected
