"""How sure a figure and a difference are: two-way bootstrap over seeds and patients, paired tests, rank frequencies.

A model's `Scores` are sums and counts for each seed, unit and class. The unit is the patient (in classification the
subject, or the group of near-duplicates); its frames or images are summed first. A figure is the mean over classes of
the mean over cases, averaged over seeds: what the tables show, recomputed on each resample.

The bootstrap draws one patient, and one seed of each model, less than there are: a resample of n - 1 of n has the
variance of the mean that is sought, where one of n falls short of it by (n - 1) / n, a third with three seeds (our
choice). All models see the same patients in a resample. The percentile interval is then stretched about the figure by
Student's t over the normal's quantile, with Satterthwaite's degrees of freedom: with three seeds, and noise that is of
seeds alone, the percentiles are too narrow (`tests/analysis/test_statistics.py` simulates it). With paired seeds, which
make nine resamples of three, an interval is no narrower than t times the standard deviation of the resamples.
Units that are of one class each are drawn within their class, as a split deals them: how many of a class there are is
its choice, no chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.analysis.resampling import Draws, draw_seeds, draw_units, drawn_sums

RESAMPLES = 4000
SEED = 20261125  # of the resampling: a table that is made twice is the same
LEVEL = 0.95
PAIRS = 3  # seeds from which on they are paired: of two pairs equals are called different in up to 11 %


@dataclass(frozen=True, eq=False)
class Scores:
    """One model's scores in one comparison; what is drawn of one object is kept (`_runs_of_resamples`).

    Attributes:
        sums: (S, P, C) float64, S seeds, P units, C classes: scores summed over a unit's cases.
        counts: (S, P, C), how many were summed; 0 where a unit has none of a class.
        strata: (P,), what each unit is drawn within, two units or more each; None: all are drawn alike.
    """

    sums: np.ndarray
    counts: np.ndarray
    strata: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.sums.ndim != 3 or self.counts.shape != self.sums.shape:
            raise ValueError(f"Expected sums and counts (S, P, C), but got {self.sums.shape} and {self.counts.shape}.")
        if self.strata is not None and self.strata.shape != self.sums.shape[1:2]:
            raise ValueError(f"Expected a stratum for each of {self.sums.shape[1]} units, but got {self.strata.shape}.")

    @property
    def members(self) -> list[np.ndarray]:
        """The units of each stratum, as boolean (P,)."""
        strata = np.zeros(self.sums.shape[1]) if self.strata is None else self.strata
        return [strata == stratum for stratum in np.unique(strata)]


@dataclass(frozen=True)
class Interval:
    """A figure or a difference, and the ends of its 95 % interval, in one unit."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is told from none."""
        return self.low > 0 or self.high < 0

    def within(self, least: float, most: float) -> Interval:
        """The interval with its ends cut where the figure's range ends; nan stays."""
        return Interval(self.value, float(np.clip(self.low, least, most)), float(np.clip(self.high, least, most)))


def can_be_resampled(*models: Scores) -> bool:
    """Whether there are units to resample: two or more that have a class, in each stratum."""
    return all(
        min(np.count_nonzero(scores.counts.sum(axis=(0, 2))[members]) for members in scores.members) > 1
        for scores in models
    )


def with_seeds(scores: Scores) -> Scores:
    """One set counts as two that are equal: no variance of seeds, so that an interval is over units alone."""
    if len(scores.sums) > 1:
        return scores
    return Scores(np.repeat(scores.sums, 2, axis=0), np.repeat(scores.counts, 2, axis=0), scores.strata)


def figure(scores: Scores) -> float:
    """The mean over classes of the mean over cases, averaged over seeds; nan where no class has a case."""
    return float(_all_units(scores).mean())


def interval(scores: Scores, resamples: int = RESAMPLES) -> Interval:
    """The figure with its percentile interval over patients and seeds.

    Raises:
        ValueError: fewer than two seeds or patients.
    """
    return contrast({"": scores}, {"": 1.0}, resamples)


def difference(scores: Scores, other: Scores, resamples: int = RESAMPLES, paired_seeds: bool = False) -> Interval:
    """The figure of one model less another's, with its interval: the claim that a method is better, or not.

    Args:
        paired_seeds: as in `contrast`.

    Raises:
        ValueError: fewer than two seeds or patients, or other units; paired seeds of which one has more.
    """
    return contrast({"one": scores, "other": other}, {"one": 1.0, "other": -1.0}, resamples, paired_seeds)


def contrast(
    groups: Mapping[str, Scores],
    weights: Mapping[str, float],
    resamples: int = RESAMPLES,
    paired_seeds: bool = False,
) -> Interval:
    """The weighted sum of several models' figures, with its interval: main effects and interactions of a factorial.

    Args:
        groups: at least those that have a weight; one without has no part in it.
        weights: of each model's figure.
        paired_seeds: the models share seeds, in their order: same initialisation, data order and augmentation. They
            then share the drawn seeds in a resample, and what a seed does to all alike cancels.

    Raises:
        ValueError: a weight of no model, or what `bootstrap` raises.
    """
    if not weights or not set(weights) <= set(groups):
        raise ValueError(f"Expected weights of some of {sorted(groups)}, but got {sorted(weights)}.")
    draws = bootstrap({name: groups[name] for name in weights}, resamples, paired_seeds)
    runs = [weight * _all_units(groups[name]) for name, weight in weights.items()]
    value = float(sum(run.mean() for run in runs))
    drawn = np.sum([weight * draws[name] for name, weight in weights.items()], axis=0)
    members = groups[next(iter(weights))].members
    freedom = len(members[0]) - len(members)
    if not paired_seeds:
        return interval_of_draws(value, drawn, runs, freedom)
    return interval_of_draws(value, drawn, [np.sum(runs, axis=0)], freedom, at_least_t=True)


def rank_frequencies(
    models: Mapping[str, Scores], higher: bool = True, resamples: int = RESAMPLES, paired_seeds: bool = False
) -> np.ndarray:
    """(M, M): how often each model, in their order, has rank 1, 2, ... among resamples; ties share the better."""
    draws = np.stack(list(bootstrap(models, resamples, paired_seeds).values()))
    ranks = _ranks(draws if higher else -draws)
    return np.stack([(ranks == k).mean(axis=1) for k in range(len(models))], axis=1)


def bootstrap(
    models: Mapping[str, Scores], resamples: int = RESAMPLES, paired_seeds: bool = False
) -> dict[str, np.ndarray]:
    """Model -> its figure on each resample (B,): the same patients for all, and seeds of its own.

    Args:
        paired_seeds: the same seeds for all, too.

    Raises:
        ValueError: a model with fewer than two seeds or patients, models of different units, or paired seeds of which
            one model has more than another.
    """
    units = {scores.sums.shape[1] for scores in models.values()}
    seeds = [scores.sums.shape[0] for scores in models.values()]
    if len(units) != 1 or min(units) < 2 or min(seeds) < 2:
        raise ValueError(f"Expected at least two seeds and two units, the same for all, but got {seeds} and {units}.")
    if paired_seeds and len(set(seeds)) != 1:
        raise ValueError(f"Expected paired seeds to be as many for each model, but got {seeds}.")
    members = next(iter(models.values())).members
    if min(map(np.count_nonzero, members)) < 2:
        raise ValueError("Expected at least two units in each stratum.")
    strata = tuple(member.tobytes() for member in members)
    counts = tuple(seeds[:1] if paired_seeds else seeds)
    chosen = _seeds_from_seed(strata, resamples, counts) * (len(seeds) if paired_seeds else 1)
    return {
        name: (_runs_of_resamples(scores, strata, resamples) * shares).sum(axis=1)
        for (name, scores), shares in zip(models.items(), chosen, strict=True)
    }


@lru_cache(maxsize=4)
def _seeds_from_seed(strata: tuple[bytes, ...], resamples: int, counts: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """`draw_seeds` of models with so many seeds in turn, behind the fixed draws of units."""
    rng = np.random.default_rng(SEED)
    rng.bit_generator.state = _units_from_seed(strata, resamples)[1]
    return tuple(draw_seeds(count, resamples, rng) for count in counts)


@lru_cache(maxsize=128)  # a table asks for each model's interval, its difference from the reference, and its ranks
def _runs_of_resamples(scores: Scores, strata: tuple[bytes, ...], resamples: int) -> np.ndarray:
    """(B, S): each seed's figure on the same resamples of units for all models."""
    return _by_seed(scores, _units_from_seed(strata, resamples)[0])


@lru_cache(maxsize=4)
def _units_from_seed(members: tuple[bytes, ...], resamples: int) -> tuple[Draws, Any]:
    """`draw_units` from the fixed seed, and the generator's state behind them: the same for all models of a table."""
    rng = np.random.default_rng(SEED)
    draws = draw_units([np.frombuffer(member, bool) for member in members], resamples, rng)
    draws.times.flags.writeable = draws.scales.flags.writeable = False
    return draws, rng.bit_generator.state


def _all_units(scores: Scores) -> np.ndarray:
    """(S,): each seed's figure over all units."""
    units = np.ones(scores.sums.shape[1])
    return _by_seed(scores, Draws(units[None], units))[0]


def _by_seed(scores: Scores, draws: Draws) -> np.ndarray:
    """(B, S): each seed's figure on each of B resamples of the units; a class that no unit has is left out."""
    sums, counts = drawn_sums(draws, scores.sums), drawn_sums(draws, scores.counts)
    with np.errstate(invalid="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    known = np.isfinite(means)
    with np.errstate(invalid="ignore"):
        return np.where(known, means, 0).sum(axis=2) / known.sum(axis=2)


def interval_of_draws(
    value: float, draws: np.ndarray, runs: Sequence[np.ndarray], of_units: int, at_least_t: bool = False
) -> Interval:
    """The percentile interval of the draws, its sides stretched by t over z.

    Args:
        runs: independent terms of the value by seed, (S,) each: what varies between seeds.
        of_units: degrees of freedom of what varies between units.
        at_least_t: no side shorter than t times the standard deviation of the draws.
    """
    from scipy import special

    if math.isnan(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    of_seeds = [(run.var(ddof=1) / len(run), len(run)) for run in runs]
    seeds = sum(variance for variance, _ in of_seeds)
    patients = max(float(np.nanvar(draws)) - seeds, 0.0)
    squares = sum(variance**2 / (n - 1) for variance, n in of_seeds) + patients**2 / of_units
    if squares == 0:
        return Interval(value, float(low), float(high))
    t = special.stdtrit((seeds + patients) ** 2 / squares, (1 + LEVEL) / 2)
    stretch, least = t / special.ndtri((1 + LEVEL) / 2), t * float(np.nanstd(draws)) * at_least_t
    below, above = (max(stretch * side, least) for side in (value - low, high - value))
    return Interval(value, float(value - below), float(value + above))


def mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of (M, N): the mean of what is known and its standard deviation (ddof = 1), nan where not defined."""
    values = np.ascontiguousarray(values, float)
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(axis=1) / count
        squares = np.where(known, (mean[:, None] - values) ** 2, 0).sum(axis=1)
        return mean, np.sqrt(np.where(count > 1, squares / (count - 1), math.nan))


def mean_interval(values: np.ndarray) -> Interval:
    """The mean of independent values (N,) with Student's interval; of one value, and of none, without ends (nan)."""
    from scipy import stats

    known = np.asarray(values, float)
    if len(known) < 2:
        return Interval(float(known.mean()) if len(known) else math.nan, math.nan, math.nan)
    mean = float(known.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return Interval(mean, mean - half, mean + half)


def _ranks(draws: np.ndarray) -> np.ndarray:
    """(M, B) ranks from 0, the highest first, what is not defined last."""
    known = np.where(np.isnan(draws), -np.inf, draws.round(10))  # level to the last bits is level
    return np.stack([(known > row).sum(axis=0) for row in known])


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """The p of a paired test over patients on means over seeds: of these trained networks, not of methods.

    Wilcoxon's signed ranks, two-sided, exact where scipy can; 1 where no pair differs. Both (P,). Gaps that are level
    to the ninth decimal are ties: means over seeds differ in their last bits.
    """
    from scipy import stats

    gaps = (np.asarray(first, float) - np.asarray(second, float)).round(9)
    gaps = gaps[np.isfinite(gaps)]
    return float(stats.wilcoxon(gaps).pvalue) if gaps.any() else 1.0


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact p of McNemar's test of two single classifiers: boolean (N,), which images each has right.

    Source: McNemar, Psychometrika 12 (1947) 153; the binomial form.
    """
    from scipy import stats

    only_first, only_second = int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0


def average_ranks(figures: np.ndarray) -> np.ndarray:
    """(M,): each model's mean rank over data sets, 1 the highest figure; ties share the mean of theirs.

    Args:
        figures: (N, M), a figure of each of M models on each of N data sets, higher is better.
    """
    from scipy import stats

    return stats.rankdata(-np.asarray(figures, float), axis=1).mean(axis=0)


def friedman(figures: np.ndarray) -> float:
    """The p of Friedman's test that M models rank alike on N data sets, in Iman and Davenport's F form.

    Source: Demsar, JMLR 7 (2006) 1, section 3.2.2. 0 where all data sets order the models in the same way.

    Args:
        figures: (N, M), as in `average_ranks`; two data sets and two models or more.
    """
    from scipy import stats

    n, m = np.shape(figures)
    chi = 12 * n / (m * (m + 1)) * float((average_ranks(figures) ** 2).sum() - m * (m + 1) ** 2 / 4)
    rest = n * (m - 1) - chi
    return float(stats.f.sf((n - 1) * chi / rest, m - 1, (m - 1) * (n - 1))) if rest > 1e-9 else 0.0


def critical_difference(models: int, datasets: int, alpha: float = 0.05) -> float:
    """By how much mean ranks must differ for two models to be told apart (Nemenyi), in ranks.

    Source: Demsar, JMLR 7 (2006) 1: q * sqrt(M (M + 1) / (6 N)), q the studentized range over sqrt(2).
    """
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - alpha, models, np.inf)) / math.sqrt(2)
    return q * math.sqrt(models * (models + 1) / (6 * datasets))


def holm(values: Sequence[float]) -> list[float]:
    """p-values of one family, adjusted by Holm's step-down (Scandinavian Journal of Statistics 6 (1979) 65)."""
    order = np.argsort(values, kind="stable")
    adjusted, running = np.empty(len(values)), 0.0
    for position, i in enumerate(order):
        running = max(running, min(1.0, (len(values) - position) * values[i]))
        adjusted[i] = running
    return adjusted.tolist()


def unit_means(scores: Scores) -> np.ndarray:
    """(P,): each unit's mean over classes of its cases' mean, averaged over seeds; nan for a unit without a case."""
    units = scores.sums.shape[1]
    return _by_seed(scores, Draws(np.eye(units), np.ones(units))).mean(axis=1)
