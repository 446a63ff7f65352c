"""All pairs that correlate: none missed, none invented, turned and mirrored ones found, in linear memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bench.datasets.splits import pairs
from bench.datasets.splits.pairs import ANGLES, ORIENTATIONS, correlating, discs, exact_correlation, oriented


def pictures(n: int, seed: int = 0, common: float = 0.0) -> np.ndarray:
    """(n, 64, 64) uint8, smooth; with `common` they share a picture, as slices of CT do."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.normal(size=(n, 64, 64)), (0, 4, 4)) + common * gaussian_filter(
        rng.normal(size=(64, 64)), 4
    )
    low, high = fields.min((1, 2), keepdims=True), fields.max((1, 2), keepdims=True)
    return np.round(255 * (fields - low) / (high - low)).astype(np.uint8)


@pytest.mark.parametrize(("common", "block"), [(0.0, 16), (1.0, 50), (2.5, 50), (2.5, 1024)])
def test_every_pair_is_found_and_no_other(common: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "BLOCK", block)
    small = pictures(60, common=common)
    least = 0.4
    expected = {}
    for i in range(60):
        for j in range(i + 1, 60):
            best = max(exact_correlation(small[i], oriented(small[j], *way)) for way in ORIENTATIONS)
            if best >= least:
                expected[i, j] = best
    found = list(correlating(small, least, ORIENTATIONS))
    assert {(pair.i, pair.j): pair.correlation for pair in found} == expected
    assert len(found) == len(expected) > 0
    for pair in found:
        turned = oriented(small[pair.j], pair.degrees, pair.mirrored)
        assert exact_correlation(small[pair.i], turned) == pair.correlation


@pytest.mark.parametrize("way", ORIENTATIONS)
def test_a_turned_copy_is_found_with_its_turn(way: tuple[int, bool]) -> None:
    small = pictures(8)
    small[5] = oriented(small[2], *way)
    found = [(p.i, p.j, p.correlation) for p in correlating(small, 0.99, ORIENTATIONS)]
    assert found == [(2, 5, 1.0)]
    (pair,) = correlating(small, 0.99, ORIENTATIONS)
    np.testing.assert_array_equal(oriented(small[5], pair.degrees, pair.mirrored), small[2])


@pytest.mark.parametrize("degrees", [0, 12, 100, 250])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copy_turned_by_any_angle_is_found_by_its_disc(degrees: int, mirrored: bool) -> None:
    small = pictures(8)
    small[5] = oriented(small[2], degrees, mirrored)
    (pair,) = correlating(small, 0.92, ANGLES, disc=True)
    assert (pair.i, pair.j) == (2, 5)
    again = discs(oriented(small[5:6], pair.degrees, pair.mirrored))[0]
    assert exact_correlation(discs(small[2:3])[0], again) == pair.correlation
    assert degrees == 0 or not list(correlating(small, 0.97, ORIENTATIONS))


def test_discs_keep_what_is_in_them_and_their_mean() -> None:
    small = pictures(3)
    disc = discs(small)
    assert (disc[:, 32, :] != small[:, 32, :]).sum() <= 3 * 4
    assert all(len(np.unique(image[:4, :4])) == 1 for image in disc)


def test_pictures_of_one_grey_level_resemble_only_their_equals() -> None:
    small = np.concatenate([pictures(2), np.full((2, 64, 64), 7, np.uint8), np.full((1, 64, 64), 9, np.uint8)])
    assert [(p.i, p.j) for p in correlating(small, 0.9, ORIENTATIONS)] == [(2, 3)]


def test_nothing_and_one_have_no_pairs() -> None:
    for n in (0, 1):
        assert list(correlating(pictures(3)[:n], 0.5)) == []


@pytest.mark.slow
@pytest.mark.parametrize("common", [0.0, 1.0])
def test_twenty_thousand_pictures_take_under_a_minute_and_no_square_of_memory(common: float) -> None:
    """In all eight orientations, on two cores; a square of single-precision correlations would take 1.6 GB."""
    small = np.concatenate([pictures(2000, seed, common) for seed in range(10)])
    small[12_345] = oriented(small[77], 90, True)
    tracemalloc.start()
    begin = time.perf_counter()
    found = {(pair.i, pair.j) for pair in correlating(small, 0.92, ORIENTATIONS)}
    seconds, peak = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"common {common}: {seconds:.0f} s, {len(found)} pairs, {peak / 2**20:.0f} MiB")
    assert (77, 12_345) in found
    assert seconds < 60
    assert peak < 200 * 2**20
