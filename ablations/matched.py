"""A control of equal size: an arm widened or narrowed to the full model's parameters or MACs.

Without it, "fewer parameters" is mistaken for "missing module". What is matched is one field of the config, a width or
the widths of the stages, all by one factor; depths, kernels and the segmenter's fine convolutions stay. Our choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ablations.plans import WIDTHS, width_field
from bench.errors import UserError, unknown
from bench.zoo.registry import parse_model, placed_name

TOLERANCE = 0.01
BUDGETS = ("params", "macs")
LARGEST_FACTOR = 64.0

Widths = tuple[int, ...]


@dataclass(frozen=True)
class Matched:
    """An arm at the target's budget, or as near to it as its widths reach.

    Attributes:
        name: the model's name with its place, its widths in the brackets unless they are its own.
        params, macs: of this model, for one image.
        ratio: its budget over the target's.
        within_one_percent: whether the ratio is 1 to 1 %.
    """

    name: str
    params: int
    macs: int
    ratio: float
    within_one_percent: bool


def match(
    model_name: str,
    target: str,
    budget: str,
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    widen: str | None = None,
) -> Matched:
    """Widens or narrows a model until its budget is the target's to 1 %, or the nearest reachable.

    One that is within 1 % already stays as it is. Otherwise all widths are scaled by the factor, rounded to whole
    numbers, that comes nearest; where that is not within 1 %, single widths are tuned, the last stage's first.

    Args:
        target: the model that has the budget, by name.
        budget: `params` or `macs`.
        widen: the field of the config that holds widths; None: the first of `WIDTHS` that it has.

    Raises:
        UserError: an unknown budget or model, a model whose config has no widths, a target that costs nothing, a task
            that one of them does not do, or widths that the network cannot be built with.
    """
    from bench.zoo.complexity import complexity, inference_parameters
    from bench.zoo.registry import build_model

    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    entry, config = parse_model(model_name)
    field = width_field(entry, widen)
    if field is None:
        raise UserError(
            f"Expected a model whose config has widths to match, but {entry.name} has none of {', '.join(WIDTHS)}: "
            "name its field with --widen."
        )
    stored = config[field]
    start: Widths = stored if isinstance(stored, tuple) else (stored,)

    def value(widths: Widths) -> Any:
        return widths if isinstance(stored, tuple) else widths[0]

    def done(call: Callable[[], Any], name: str, changed: dict[str, Any]) -> Any:
        try:
            return call()
        except UserError:
            raise
        except Exception as error:  # of a network's own code
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(f"{name} cannot be built with {changed or 'its own config'} to match: {line}") from error

    def counts_of(name: str, **changed: Any) -> Any:
        network = build_model(name, task, in_channels, num_classes, image_size, **changed)
        return complexity(network, (1, in_channels, image_size, image_size))

    def cost(name: str, **changed: Any) -> int:
        if budget == "macs":
            return done(lambda: counts_of(name, **changed), name, changed).macs
        network = done(lambda: build_model(name, task, in_channels, num_classes, image_size, **changed), name, changed)
        return sum(p.numel() for p in inference_parameters(network))

    target_cost = cost(target)
    if target_cost == 0:
        raise UserError(f"Expected a model with {budget} as the target, but {target} has none.")
    ratio = cache(lambda widths: cost(model_name, **{field: value(widths)}) / target_cost)
    widths = start if _near(ratio(start)) else nearest(start, ratio)
    changed = {field: value(widths)}
    counts = done(lambda: counts_of(model_name, **changed), model_name, changed)
    name = placed_name(entry, {**config, field: value(widths)})
    return Matched(name, counts.params, counts.macs, ratio(widths), _near(ratio(widths)))


def _near(ratio: float) -> bool:
    return abs(ratio - 1) <= TOLERANCE


def nearest(start: Widths, ratio: Callable[[Widths], float]) -> Widths:
    """The widths that bring a ratio, which grows with them, nearest to 1: one factor first, then stage by stage."""
    tried: dict[Widths, float] = {}

    def attempt(widths: Widths) -> float:
        tried[widths] = ratio(widths)
        return tried[widths]

    def best() -> Widths:
        return min(tried, key=lambda widths: (abs(tried[widths] - 1), widths))

    def scaled(factor: float) -> Widths:
        return tuple(max(1, round(factor * width)) for width in start)

    _cross(attempt, scaled)
    for stage in reversed(range(len(start))):
        if _near(tried[best()]):
            break
        _tune(attempt, best(), stage)
    return best()


def _cross(attempt: Callable[[Widths], float], scaled: Callable[[float], Widths]) -> None:
    """Tries factors: doubles or halves until the ratio crosses 1, then closes in, linearly in the logarithms."""
    low = high = 1.0
    if attempt(scaled(1.0)) < 1:
        while attempt(scaled(high)) < 1 and high < LARGEST_FACTOR:
            low, high = high, 2 * high
    else:
        while attempt(scaled(low)) > 1 and max(scaled(low)) > 1:
            low, high = low / 2, low
    below, above = attempt(scaled(low)), attempt(scaled(high))
    while below < 1 - TOLERANCE / 10 and above > 1 + TOLERANCE / 10 and high / low > 1 + 1e-4:
        part = math.log(below) / (math.log(below) - math.log(above))
        middle = low * (high / low) ** min(max(part, 0.1), 0.9)
        value = attempt(scaled(middle))
        if value < 1:
            low, below = middle, value
        else:
            high, above = middle, value


def _tune(attempt: Callable[[Widths], float], start: Widths, stage: int) -> None:
    """Tries widths of one stage, by bisection, until the ratio crosses 1 between two neighbours."""

    def at(width: int) -> Widths:
        return (*start[:stage], width, *start[stage + 1 :])

    low, high = max(1, start[stage] // 2), 2 * start[stage]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if attempt(at(middle)) < 1 else (low, middle)
    attempt(at(low)), attempt(at(high))
