"""Near-duplicates: what belongs together is found, what does not is left apart, in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.datasets.readers.images import read_image
from bench.datasets.splits import duplicates
from bench.datasets.splits.duplicates import CORRELATION, SIZE, join, near_duplicates, perceptual_hash, thumbnail


def texture(seed: int, height: int = 200, width: int = 260) -> np.ndarray:
    """A smooth random picture (1, H, W) uint8."""
    field = gaussian_filter(np.random.default_rng(seed).random((height, width)), 12)
    low, high = field.min(), field.max()
    return ((field - low) / (high - low) * 255).astype(np.uint8)[None]


def groups(*images: np.ndarray) -> list[tuple[int, ...]]:
    return near_duplicates([thumbnail(image) for image in images])


def changed(image: np.ndarray, change: str) -> np.ndarray:
    pixels = image[0].astype(float)
    if change == "noise":
        pixels = pixels + np.random.default_rng(9).normal(0, 12, pixels.shape)
    elif change == "contrast":
        pixels = pixels * 0.6 + 30
    elif change == "size":
        return np.asarray(Image.fromarray(image[0]).resize((150, 190)))[None]
    elif change == "jpeg":
        pixels = np.round(pixels / 10) * 10
    elif change == "shift":
        pixels = np.roll(pixels, (2, 2), (0, 1))
    return pixels.clip(0, 255).astype(np.uint8)[None]


@pytest.mark.parametrize("change", ["none", "noise", "contrast", "size", "jpeg", "shift"])
def test_copies_are_found_among_others(change: str) -> None:
    others = [texture(seed) for seed in range(1, 30)]
    original = texture(0)
    assert groups(original, *others, changed(original, change)) == [(0, 30)]


def test_other_turned_and_inverted_pictures_are_left_apart() -> None:
    image = texture(0)
    assert groups(image, image[:, ::-1], image[:, :, ::-1], 255 - image, *(texture(s) for s in range(1, 30))) == []


def test_fewer_than_two_images_have_no_groups() -> None:
    assert groups() == groups(texture(0)) == []


def test_images_of_one_grey_level_resemble_only_their_equals() -> None:
    flat = [np.full((1, 90, 80), level, np.uint8) for level in (10, 10, 200)]
    assert groups(*flat, texture(0)) == [(0, 1)]


def test_the_decision_is_pearsons_correlation_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against numpy, for pairs of every strength; the hash is kept out of it."""
    monkeypatch.setattr(duplicates, "HASH_DISTANCE", 64)
    rng, base = np.random.default_rng(3), texture(0)[0].astype(float)
    strengths = np.linspace(0, 120, 60)
    noisy = [thumbnail(base.astype(np.uint8)[None])] + [
        (duplicates.thumbnail(base.astype(np.uint8)[None]) + rng.normal(0, s, (SIZE, SIZE)))
        .clip(0, 255)
        .astype(np.uint8)
        for s in strengths
    ]
    for other in noisy[1:]:
        r = np.corrcoef(noisy[0].ravel(), other.ravel())[0, 1]
        assert abs(r - CORRELATION) > 1e-9
        assert bool(near_duplicates([noisy[0], other])) == (r >= CORRELATION)


def test_thumbnails_of_grey_and_of_equal_channels_agree() -> None:
    image = texture(0)
    np.testing.assert_array_equal(thumbnail(image), thumbnail(np.repeat(image, 3, axis=0)))
    assert thumbnail(image).shape == (SIZE, SIZE)
    assert thumbnail(image).dtype == np.uint8


def test_the_hash_is_the_sign_of_neighbouring_areas() -> None:
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    assert perceptual_hash(ramp).all()
    assert not perceptual_hash(ramp[:, ::-1]).any()
    assert perceptual_hash(ramp).shape == (64,)


def test_the_hash_lets_hardly_any_similar_pair_go(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [texture(seed) for seed in range(12)]
    images += [changed(image, change) for image in images for change in ("noise", "shift")]
    with_hash = groups(*images)
    monkeypatch.setattr(duplicates, "HASH_DISTANCE", 64)
    assert groups(*images) == with_hash
    assert len(with_hash) == 12


@pytest.mark.parametrize("seed", range(3))
def test_groups_do_not_depend_on_the_order(seed: int) -> None:
    images = [texture(s) for s in range(6)]
    images += [changed(image, "noise") for image in images[:3]]
    order = np.random.default_rng(seed).permutation(len(images))
    found = groups(*(images[i] for i in order))
    assert {frozenset(int(order[i]) for i in group) for group in found} == {frozenset((k, k + 6)) for k in range(3)}


def test_chains_join() -> None:
    assert join(7, [(5, 4), (0, 2), (4, 2), (6, 6)]) == [(0, 2, 4, 5), (1,), (3,), (6,)]
    assert join(3, []) == [(0,), (1,), (2,)]
    chain = [(i, i + 1) for i in range(4999)]
    assert join(5000, chain[::-1]) == [tuple(range(5000))]


def test_real_neighbours_and_the_two_copies(real_data: Path) -> None:
    """Images 128/129 and 134/135 are the same slice twice; the first slice resembles none of another patient."""
    folder = real_data / "sars-cov-2-ct" / "COVID"
    names = [128, 129, 134, 135, 1, 60, 100, 190]
    assert groups(*(read_image(folder / f"Covid ({n}).png", 1) for n in names)) == [(0, 1), (2, 3)]
