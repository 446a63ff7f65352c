"""What a field of the recipe does to several networks together, and the average of the weights beside the raw ones.

A recipe is one for all, so that its values are decided by all networks at once: the differences of each network are
averaged held-out unit by held-out unit, and Student's interval of that mean is over the units. The networks are those
that were tried, no sample of all networks (our choice): the interval says what new patients would do, not new networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.development import AVERAGE, RAW, Judged, differences, moved, paired
from bench.analysis.statistics import Interval, mean_interval

Gaps = dict[str, dict[str, Interval]]


@dataclass(frozen=True)
class Pooled:
    """A variant of the recipe with all networks that were tried under it and under their first variant.

    Attributes:
        models: their names, two or more.
        gaps: weights -> measure -> the mean over the networks of their differences to their first variants.
        averaging: measure -> the mean over the networks of the average's figure less that of the raw weights.
    """

    variant: str
    models: tuple[str, ...]
    gaps: Gaps
    averaging: dict[str, Interval]


def pool(judged: Sequence[Judged]) -> list[Pooled]:
    """A row for each variant that two or more models have, in their order; [] where only one model has variants."""
    firsts = _firsts(judged)
    found = []
    for variant in dict.fromkeys(one.candidate.variant for one in judged):
        own = [one for one in judged if one.candidate.variant == variant and _has_figures(one, firsts)]
        if len(own) > 1 and len(firsts) < len(judged):
            models = tuple(one.candidate.model for one in own)
            found.append(Pooled(variant, models, _pooled_gaps(own, firsts), _pooled_averaging(own)))
    return found


def averaging(one: Judged) -> dict[str, Interval]:
    """Measure -> the average's figure less that of the raw weights, paired, of one candidate."""
    raw, average = one.figures.get(RAW, {}), one.figures.get(AVERAGE, {})
    units, units_average = one.by_unit.get(RAW, {}), one.by_unit.get(AVERAGE, {})
    return {
        name: paired(average[name], raw[name], units_average.get(name, {}), units.get(name, {}))
        for name in average
        if name in raw
    }


def _firsts(judged: Sequence[Judged]) -> dict[str, Judged]:
    """The first variant of each model."""
    found: dict[str, Judged] = {}
    for one in judged:
        found.setdefault(one.candidate.model, one)
    return found


def _has_figures(one: Judged, firsts: Mapping[str, Judged]) -> bool:
    return bool(one.figures) and bool(firsts[one.candidate.model].figures)


def _pooled_gaps(own: Sequence[Judged], firsts: Mapping[str, Judged]) -> Gaps:
    found: Gaps = {}
    for weights in own[0].gaps:
        for name in own[0].gaps[weights]:
            gaps = [one.gaps.get(weights, {}).get(name) for one in own]
            of_units = [
                (one.by_unit.get(weights, {}).get(name), firsts[one.candidate.model].by_unit.get(weights, {}).get(name))
                for one in own
            ]
            interval = _mean_of(gaps, of_units)
            if interval is not None:
                found.setdefault(weights, {})[name] = interval
    return found


def _pooled_averaging(own: Sequence[Judged]) -> dict[str, Interval]:
    of_models = [averaging(one) for one in own]
    found = {}
    for name in of_models[0]:
        of_units = [(one.by_unit.get(AVERAGE, {}).get(name), one.by_unit.get(RAW, {}).get(name)) for one in own]
        interval = _mean_of([gaps.get(name) for gaps in of_models], of_units)
        if interval is not None:
            found[name] = interval
    return found


def _mean_of(
    gaps: Sequence[Interval | None], of_units: Sequence[tuple[dict[str, float] | None, dict[str, float] | None]]
) -> Interval | None:
    """The mean of the networks' differences, its interval over units; without ends where they have no common units."""
    known = [gap for gap in gaps if gap is not None]
    if len(known) < len(gaps):
        return None
    value = float(np.mean([gap.value for gap in known]))
    units = of_units[0][0]
    if not units or any(a is None or b is None or not units.keys() == a.keys() == b.keys() for a, b in of_units):
        return Interval(value, float("nan"), float("nan"))
    by_model = [differences({unit: a[unit] for unit in units}, b) for a, b in of_units if a and b]
    return moved(mean_interval(np.mean(by_model, axis=0)), value)
