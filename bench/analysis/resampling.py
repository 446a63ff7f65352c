"""What a bootstrap draws, and sums over it that are the same to the last bit on every machine.

A matrix product adds in an order of the processor's, and its last bits with it: two models that are level on a resample
were one or the other ahead, machine by machine. Whole multiples of one power of two, whose sum stays below 2^52 of it,
have one sum in any order, so values are rounded to such multiples first: to about 1e-11 of the largest, and less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BITS = 52  # of a float64's sums that no order of adding changes


class Draws(NamedTuple):
    """Resamples of units.

    Attributes:
        times: (B, P), whole numbers: how often each of B resamples has each of P units.
        scales: (P,), what a unit counts each time.
    """

    times: np.ndarray
    scales: np.ndarray


def draw_units(members: Sequence[np.ndarray], resamples: int, rng: np.random.Generator) -> Draws:
    """Of each stratum (boolean (P,)) one unit less than there are, scaled to as many."""
    times, scales = np.zeros((resamples, len(members[0]))), np.ones(len(members[0]))
    for of_stratum in members:
        n = np.count_nonzero(of_stratum)
        times[:, of_stratum] = rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples)
        scales[of_stratum] = n / (n - 1)
    return Draws(times, scales)


def draw_seeds(count: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(B, S): the share that each seed has in each resample, which draws one less than there are."""
    return rng.multinomial(count - 1, np.full(count, 1 / count), size=resamples) / (count - 1)


def drawn_sums(draws: Draws, values_SPC: np.ndarray) -> np.ndarray:
    """(B, S, C): the values (S, P, C) of the units summed over each resample."""
    sums = np.zeros((len(draws.times), len(values_SPC), values_SPC.shape[2]))
    for scale in np.unique(draws.scales):
        alike = draws.scales == scale
        sums += scale * _exact_sums(draws.times[:, alike], values_SPC[:, alike])
    return sums


def _exact_sums(times_BP: np.ndarray, values_SPC: np.ndarray) -> np.ndarray:
    most = float(times_BP.sum(axis=1).max() * np.abs(values_SPC).max(initial=0.0))
    step = 2.0 ** (math.frexp(most)[1] - BITS) if 0 < most < math.inf else 1.0
    return np.einsum("bp,spc->bsc", times_BP, np.rint(values_SPC / step), optimize=True) * step
