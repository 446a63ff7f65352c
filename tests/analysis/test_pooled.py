"""A field of the recipe, decided by several networks together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.analysis.development import AVERAGE, RAW, Judged, paired
from bench.analysis.pooled import averaging, pool
from bench.runs.development import Candidate

UNITS = {  # model -> variant -> accuracy of each held-out unit
    "resnet10t": {"mixup=0.2": (0.5, 0.7, 0.9), "mixup=0": (0.6, 0.7, 0.8)},
    "deit_tiny": {"mixup=0.2": (0.2, 0.4, 0.3), "mixup=0": (0.5, 0.5, 0.5)},
}


def judged(model: str, variant: str, average: float = 0.1, **changed: Any) -> Judged:
    """A candidate of one fold; its average is better than its raw weights by the same in all units."""
    values, first = UNITS[model][variant], UNITS[model]["mixup=0.2"]
    of_unit = {
        weights: {"accuracy": {f"p{k}": value + more for k, value in enumerate(values)}}
        for weights, more in ((RAW, 0.0), (AVERAGE, average))
    }
    figures = {
        weights: {"accuracy": {0: float(np.mean(list(own["accuracy"].values())))}} for weights, own in of_unit.items()
    }
    base = {f"p{k}": value for k, value in enumerate(first)}
    gap = paired(figures[RAW]["accuracy"], {0: float(np.mean(first))}, of_unit[RAW]["accuracy"], base)
    gaps = {} if variant == "mixup=0.2" else {RAW: {"accuracy": gap}}
    whole: dict[str, Any] = {"figures": figures, "gaps": gaps, "by_unit": of_unit} | changed
    return Judged(
        Candidate(model, dict([variant.split("=")]), ()),
        "classification",
        statuses=("complete",),
        seconds=1.0,
        ended=1,
        **whole,
    )


def every(**changed: Any) -> list[Judged]:
    return [judged(model, variant, **changed) for model in UNITS for variant in UNITS[model]]


def test_differences_are_averaged_over_networks_within_each_unit() -> None:
    first, second = pool(every())
    assert (first.variant, first.gaps, first.models) == ("mixup=0.2", {}, ("resnet10t", "deit_tiny"))
    gap = second.gaps[RAW]["accuracy"]
    of_units = [(0.1 + 0.3) / 2, (0.0 + 0.1) / 2, (-0.1 + 0.2) / 2]
    half = stats.t.ppf(0.975, 2) * np.std(of_units, ddof=1) / math.sqrt(3)
    assert gap.value == pytest.approx(0.1)
    assert (gap.low, gap.high) == (pytest.approx(0.1 - half), pytest.approx(0.1 + half))


def test_the_average_of_the_weights_is_held_against_the_raw_ones() -> None:
    assert averaging(judged("deit_tiny", "mixup=0"))["accuracy"].value == pytest.approx(0.1)
    gap = pool(every())[1].averaging["accuracy"]
    assert (gap.value, gap.low, gap.high) == (pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))


def test_networks_without_common_units_have_a_mean_and_no_interval() -> None:
    candidates = every()
    candidates[3] = judged("deit_tiny", "mixup=0", by_unit={})
    gap = pool(candidates)[1].gaps[RAW]["accuracy"]
    assert gap.value == pytest.approx(0.1)
    assert math.isnan(gap.low)


def test_one_network_and_variants_that_only_one_has_are_not_pooled() -> None:
    assert pool(every()[:2]) == []
    assert [one.variant for one in pool(every()[:3])] == ["mixup=0.2"]
    unfinished = [*every()[:3], judged("deit_tiny", "mixup=0", figures={}, gaps={}, by_unit={})]
    assert [one.variant for one in pool(unfinished)] == ["mixup=0.2"]
    assert pool([every()[0], every()[2]]) == [], "nothing varies"
