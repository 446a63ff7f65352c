"""Corruptions of images: each worse with its severity, the same wherever it is drawn, and within the image's range."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from bench.runs.corruptions import CORRUPTIONS, OF_MODALITY, SEVERITIES, corrupted, corruptions_of

GREY_ALONE = {"window shift"}


def body(height: int = 96, width: int = 90) -> np.ndarray:
    """(H, W) from 0 to 1: a disc with a bright core on a darker ground, with a texture."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radius = np.hypot(y, x)
    texture = 0.05 * np.sin(60 * y) * np.sin(47 * x)
    return 0.1 + texture + 0.4 / (1 + np.exp(30 * (radius - 0.7))) + 0.4 / (1 + np.exp(40 * (radius - 0.3)))


VOLUME = (np.stack([body(), body()]) * 900 + 100).astype(np.float32)
PHOTO = np.rint(255 * np.stack([body(), 0.8 * body(), 0.5 * body()])).astype(np.uint8)


def change(array: np.ndarray, name: str, severity: int) -> float:
    """Root mean square over two cases, as a share of the array's range."""
    changes = [corrupted(array, name, severity, f"c{k}").astype(float) - array for k in range(2)]
    return float(np.sqrt(np.mean(np.square(changes)))) / float(np.ptp(array))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_severity_and_keeps_shape_type_and_range(name: str) -> None:
    for array in (VOLUME, PHOTO):
        if array is PHOTO and name in GREY_ALONE:
            continue
        changes = [change(array, name, severity) for severity in SEVERITIES]
        assert all(after > 0.9 * before for before, after in pairwise(changes)), changes
        assert 5e-5 < changes[0] < changes[-1] < 0.6
        found = corrupted(array, name, 5, "c")
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
        low, high = np.percentile(array, (0.5, 99.5)) if array is VOLUME else (0, 255)
        assert low - 1e-3 <= found.min() <= found.max() <= high + 1e-3


def test_the_same_case_is_corrupted_in_the_same_way_and_others_otherwise() -> None:
    first, again, other = (corrupted(VOLUME, "noise", 3, case) for case in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, corrupted(VOLUME, "noise", 2, "a"))
    digest = hashlib.sha256(np.rint(first).astype(np.int32).tobytes()).hexdigest()
    assert digest[:12] == "52aec61d7008", "seeds or severities changed: figures of before are no longer comparable"


def test_pictures_in_colour_with_label_maps_are_corrupted_as_photographs_are() -> None:
    for name in set(CORRUPTIONS) - GREY_ALONE:
        found = corrupted(PHOTO[None], name, 3, "c")
        assert (found.shape, found.dtype) == ((1, *PHOTO.shape), np.uint8)
        np.testing.assert_array_equal(found[0], corrupted(PHOTO, name, 3, "c"))


def test_what_formulas_say_is_what_is_done() -> None:
    image = np.array([[[0, 51, 102, 204, 255]] * 5], np.uint8)
    share = image[0] / 255
    darker = corrupted(image, "brightness down", 5, "c")[0]
    np.testing.assert_array_equal(darker, np.rint(255 * 0.5 * share))
    brighter = corrupted(image, "brightness up", 5, "c")[0]
    np.testing.assert_array_equal(brighter, np.rint(255 * np.minimum(1.5 * share, 1)))
    np.testing.assert_array_equal(corrupted(image, "gamma up", 1, "c")[0], np.rint(255 * share**1.1))
    flat = corrupted(image, "contrast down", 5, "c")[0] / 255
    np.testing.assert_allclose(flat, share.mean() + 0.4 * (share - share.mean()), atol=0.002)


def test_a_modality_has_the_corruptions_of_all_and_its_own() -> None:
    common = set(corruptions_of(None))
    for modality, own in OF_MODALITY.items():
        assert set(corruptions_of(modality)) == common | set(own)
    assert set().union(*(corruptions_of(m) for m in OF_MODALITY)) == set(CORRUPTIONS)
    assert set(corruptions_of("us")) == common
