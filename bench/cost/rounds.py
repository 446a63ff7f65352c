"""Two networks timed by turns: what drifts (clock, heat, other load) drifts for both, and their ratio holds.

Absolute speeds drift by 10 to 40 % from one minute to the next on a shared machine, the median of the per-round ratios
by about 3 %. A round times a short block of passes of each of the two; which one comes first is swapped each round.

From one process to the next the ratio moves by more than its rounds show (where memory came to lie, which core it runs
on), so the rounds are those of several processes, and the interval draws processes first and rounds within them second
(as Kalibera and Jones, ISMM 2013, ask for each level at which a measurement can start anew).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PROCESSES = 5
LEAST_ROUNDS = 10  # of a process
PRECISION = 0.02  # of the ratio: the half-width of its interval at which the rounds of one process end
LEVEL, RESAMPLES, SEED = 0.95, 2000, 0

Timer = Callable[[], float]


@dataclass
class Samples:
    """What was timed: an entry of each list is a round.

    Attributes:
        candidate, reference: seconds of one pass, the mean over the round's block.
        candidate_first: whether the candidate's block came first.
        process: number of the process that the round is of.
        seconds: of all rounds together.
    """

    candidate: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    candidate_first: list[bool] = field(default_factory=list)
    process: list[int] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Ratio:
    """How many times as many images a second the candidate takes: the median over rounds, with its interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width, as a fraction of the value."""
        return (self.high - self.low) / 2 / self.value


def alternate(
    candidate: Timer,
    reference: Timer,
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
    least: int = LEAST_ROUNDS,
) -> Samples:
    """Times rounds, an even number, until the ratio's interval is narrow enough or the budget is spent.

    Args:
        candidate, reference: time one block each, and return the seconds of one pass.
        budget: seconds of all rounds; the last two may go beyond it.
        least: how many rounds there are in any case.
    """
    samples, start = Samples(), clock()
    while True:
        for first in (True, False):
            turns = [(samples.candidate, candidate), (samples.reference, reference)]
            for seconds, timer in turns if first else reversed(turns):
                seconds.append(timer())
            samples.candidate_first.append(first)
            samples.process.append(0)
        samples.seconds = clock() - start
        enough = len(samples.candidate) >= least
        if enough and (samples.seconds >= budget or ratio(samples).half_width <= PRECISION):
            return samples


def together(parts: list[Samples]) -> Samples:
    """The samples of several processes as one, numbered in order."""
    return Samples(
        candidate=[t for part in parts for t in part.candidate],
        reference=[t for part in parts for t in part.reference],
        candidate_first=[first for part in parts for first in part.candidate_first],
        process=[number for number, part in enumerate(parts) for _ in part.candidate],
        seconds=sum(part.seconds for part in parts),
    )


def ratio(samples: Samples) -> Ratio:
    """The median over processes of the median over rounds, and its percentile bootstrap interval (95 %, constant seed).

    Each process counts alike, however many rounds it took. Of P > 1 processes P - 1 are drawn, and of each as many
    rounds as it has: P of P would make the interval too narrow by a factor of sqrt(1 - 1 / P) (Rao and Wu, JASA 1988).
    Of one process its rounds alone are drawn. How often intervals hold the true ratio is simulated in the tests: with
    five processes that differ by 1.2 % (sd) at least 94 of 100 times, by 2.5 % at least 90.
    """
    ratios, process = np.asarray(samples.reference) / np.asarray(samples.candidate), np.asarray(samples.process)
    groups = [ratios[process == number] for number in np.unique(process)] if len(process) else [ratios]
    rng, draws = np.random.default_rng(SEED), max(1, len(groups) - 1)
    resampled = np.array([np.median(rng.choice(g, (RESAMPLES, draws, len(g))), axis=2) for g in groups])
    drawn = rng.integers(len(groups), size=(RESAMPLES, draws))
    medians = np.median(np.take_along_axis(resampled, drawn[np.newaxis], axis=0)[0], axis=1)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(float(np.median([np.median(g) for g in groups])), float(low), float(high))


def figures(samples: Samples, batch: int) -> dict[str, Any]:
    """What a profile states, from its raw samples: the ratio, and each network's own speed beside it.

    Returns:
        ratio, low, high, half_width (a fraction), flagged (it is over `PRECISION`), rounds and processes (how many),
        seconds, and for candidate and reference each: images_per_second and ms_per_batch (medians over rounds),
        ms_p25, ms_p75, ms_best.
    """
    interval = ratio(samples)
    return {
        "ratio": interval.value,
        "low": interval.low,
        "high": interval.high,
        "half_width": interval.half_width,
        "flagged": interval.half_width > PRECISION,
        "rounds": len(samples.candidate),
        "processes": len(set(samples.process)),
        "seconds": samples.seconds,
        "candidate": _speed(samples.candidate, batch),
        "reference": _speed(samples.reference, batch),
    }


def _speed(seconds: list[float], batch: int) -> dict[str, float]:
    p25, p50, p75 = (float(q) for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return {
        "images_per_second": batch / p50,
        "ms_per_batch": 1e3 * p50,
        "ms_p25": 1e3 * p25,
        "ms_p75": 1e3 * p75,
        "ms_best": 1e3 * min(seconds),
    }
