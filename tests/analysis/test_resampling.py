"""Sums over resamples are the same on every machine, and what is level is level."""

from __future__ import annotations

import numpy as np

from bench.analysis.resampling import Draws, draw_units, drawn_sums
from bench.analysis.statistics import Scores, rank_frequencies


def test_sums_over_resamples_are_exact_so_that_no_processor_s_order_of_adding_shows() -> None:
    rng = np.random.default_rng(0)
    values, strata = rng.random((3, 31, 2)), np.arange(31) % 3 > 0
    drawn = draw_units([strata, ~strata], 500, rng)
    order = rng.permutation(31)
    sums = drawn_sums(drawn, values)
    assert np.array_equal(sums, drawn_sums(Draws(drawn.times[:, order], drawn.scales[order]), values[:, order]))
    plain_sums = np.swapaxes((drawn.times * drawn.scales) @ values, 0, 1)
    assert np.allclose(sums, plain_sums, rtol=0, atol=1e-11)
    assert not drawn_sums(drawn, 0 * values).any()


def test_models_that_are_level_on_every_resample_are_both_first() -> None:
    right = np.random.default_rng(1).random((3, 20, 1)).round(1)
    times = np.full((3, 20, 1), 3.0)
    level = Scores(right + 1e-15, times)
    assert rank_frequencies({"one": Scores(right, times), "level": level}, paired_seeds=True)[:, 0].tolist() == [1, 1]
