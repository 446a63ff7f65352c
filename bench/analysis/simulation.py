"""The smallest difference that so many seeds and units would show: from the interval that decides, by simulation.

What two models' scores vary by is estimated from stored ones: between seeds, between units, and what is left. From
these variances, data sets without any difference are drawn, and each gets the interval of `bench.analysis.statistics`.
A difference moves an interval as a whole, so that one of the size d is shown where the lower end lies above -d: the
share of the drawn data sets for which that holds is the power.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from bench.analysis.resampling import Draws, draw_seeds, draw_units, drawn_sums
from bench.analysis.statistics import PAIRS, Scores, interval_of_draws

DATASETS, RESAMPLES, SEED = 1500, 600, 20261127


def smallest_difference(models: Sequence[Scores], seeds: int, units: int, power: float = 0.8) -> float:
    """The smallest difference of two methods that so many seeds and units would show, four times in five.

    Args:
        models: stored, of equal units and of the same seeds in the same order, two or more.

    Raises:
        ValueError: fewer than two models, or models without two seeds in common.
    """
    if len(models) < 2 or len({model.sums.shape[:2] for model in models}) > 1 or models[0].sums.shape[0] < 2:
        raise ValueError("Expected at least two models of the same units and seeds, two seeds or more.")
    rng = np.random.default_rng(SEED)
    terms = 1 if seeds >= PAIRS else 2  # seeds that are not paired vary for each of the two models by itself
    of_seeds, of_units, rest = (math.sqrt(variance / terms) for variance in variances(models))
    gaps = [
        of_seeds * rng.normal(size=(seeds, 1, DATASETS))
        + of_units * rng.normal(size=(1, units, DATASETS))
        + rest * rng.normal(size=(seeds, units, DATASETS))
        for _ in range(terms)
    ]
    return float(np.quantile(-_lower_ends(gaps, _strata(models[0], units)), power))


def variances(models: Sequence[Scores]) -> tuple[float, float, float]:
    """Of the difference of two models: between seeds, between units, and of a single unit under a single seed.

    From the mean squares of an analysis of variance of each pair. Of these the median over pairs counts, since one
    model that hardly trains would outweigh all others (our choice), over what the median of such a mean square falls
    short of its expectation.
    """
    from scipy import stats

    members = models[0].members
    count, n = models[0].sums.shape[:2]
    freedom = np.array([count - 1, n - len(members), (count - 1) * (n - len(members))])
    parts = [unit_parts(model) for model in models]
    squares = [_squares(first - second, members) for first, second in itertools.combinations(parts, 2)]
    of_seeds, of_units, rest = np.median(squares, axis=0) / stats.chi2.median(freedom)
    return max((of_seeds - rest) / n, 0.0), max((of_units - rest) / count, 0.0), float(rest)


def unit_parts(scores: Scores) -> np.ndarray:
    """(S, P): each unit's part in each seed's figure; their mean over units is the figure.

    The figure and how it would change with the unit's share: what a ratio of sums varies by over units.
    """
    counts = scores.counts.sum(axis=1, keepdims=True).astype(float)  # (S, 1, C)
    known = counts[:, 0] > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        means = scores.sums.sum(axis=1, keepdims=True) / counts
        parts = means + scores.sums.shape[1] * (scores.sums - scores.counts * means) / counts
    return np.where(known[:, None], parts, 0).sum(axis=2) / known.sum(axis=1, keepdims=True)


def _squares(gaps: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """(3,): sums of squares of (S, P) differences: of seeds, of units within strata, of what is left within strata."""
    count, n = gaps.shape
    of_seeds = n * float(((gaps.mean(axis=1) - gaps.mean()) ** 2).sum())
    of_units = rest = 0.0
    for of_stratum in members:
        within = gaps[:, of_stratum]
        by_unit, mean = within.mean(axis=0, keepdims=True), within.mean()
        of_units += count * float(((by_unit - mean) ** 2).sum())
        rest += float(((within - by_unit - within.mean(axis=1, keepdims=True) + mean) ** 2).sum())
    return np.array([of_seeds, of_units, rest])


def _strata(scores: Scores, units: int) -> np.ndarray:
    """(units,): the stored strata, in their proportions; one that is left with a single unit joins the largest."""
    stored = np.zeros(scores.sums.shape[1]) if scores.strata is None else scores.strata
    drawn = np.sort(stored)[np.linspace(0, len(stored) - 1, units).round().astype(int)]
    names, sizes = np.unique(drawn, return_counts=True)
    return np.where(np.isin(drawn, names[sizes > 1]), drawn, names[sizes.argmax()])


def _lower_ends(gaps: Sequence[np.ndarray], strata: np.ndarray) -> np.ndarray:
    """(K,): the lower end of the interval of each of K data sets: independent terms of a difference, (S, P, K) each."""
    rng = np.random.default_rng(SEED)
    members = [strata == stratum for stratum in np.unique(strata)]
    times, scales = draw_units(members, RESAMPLES, rng)
    draws, runs = 0.0, np.stack([term.mean(axis=1) for term in gaps])  # (T, S, K)
    for term in gaps:
        by_seed = drawn_sums(Draws(times, scales / len(strata)), term)
        draws = draws + (draw_seeds(len(term), RESAMPLES, rng)[:, :, None] * by_seed).sum(axis=1)
    freedom, paired = len(strata) - len(members), len(gaps) == 1
    return np.array(
        [
            interval_of_draws(float(run.sum(axis=0).mean()), of_one, list(run), freedom, at_least_t=paired).low
            for run, of_one in zip(runs.transpose(2, 0, 1), np.transpose(draws), strict=True)
        ]
    )
