"""Arms of equal size: within 1 % of the full model, in a name that builds what it says."""

from __future__ import annotations

import itertools

import pytest
import torch

from ablations.matched import Matched, match, nearest
from bench.errors import UserError
from bench.zoo.complexity import Complexity, complexity
from bench.zoo.registry import build_model, canonical_name, parse_model

SLOTS = ("laffn", "sem", "sdffn")
ALL_REMOVED = "mednext_tiny[laffn=none,sem=none,sdffn=none]"
INPUTS = {"segmentation": (1, 4, 128), "classification": (1, 2, 128)}


def cost(name: str, task: str) -> Complexity:
    channels, classes, size = INPUTS[task]
    return complexity(build_model(name, task, channels, classes, size), (1, channels, size, size))


def matched(name: str, budget: str, task: str, target: str = "mednext_tiny") -> Matched:
    """The arm, checked against its name: parsed, built and counted again."""
    arm = match(name, target, budget, task, *INPUTS[task])
    entry, config = parse_model(arm.name)
    assert canonical_name(entry, config) == arm.name
    assert {k: v for k, v in config.items() if k != "widths"} == {
        k: v for k, v in parse_model(name)[1].items() if k != "widths"
    }
    own, aim = cost(arm.name, task), cost(target, task)
    assert (arm.params, arm.macs) == (own.params, own.macs)
    assert arm.ratio == getattr(own, budget) / getattr(aim, budget)
    assert arm.within_one_percent == (0.99 <= arm.ratio <= 1.01)
    return arm


ONE_REMOVED = [f"mednext_tiny[{slot}=none]" for slot in SLOTS]
SEARCHES = list(itertools.product([*ONE_REMOVED, ALL_REMOVED], ("params", "macs"), INPUTS))
# Each budget and each task once; the other fourteen are slow.
FAST = [(ONE_REMOVED[0], "params", "segmentation"), (ONE_REMOVED[1], "macs", "classification")]


@pytest.mark.parametrize(
    ("name", "budget", "task"),
    [search if search in FAST else pytest.param(*search, marks=pytest.mark.slow) for search in SEARCHES],
)
def test_removals_reach_the_full_model_s_budget(name: str, budget: str, task: str) -> None:
    arm = matched(name, budget, task)
    assert arm.within_one_percent, arm
    widths, own = parse_model(arm.name)[1]["widths"], parse_model(name)[1]["widths"]
    assert all(w >= o for w, o in zip(widths, own, strict=True))
    assert parse_model(arm.name)[1]["fine"] == (16, 32)


@pytest.mark.slow
def test_a_dearer_arm_is_narrowed() -> None:
    arm = matched("mednext_tiny[laffn=mlp]", "params", "classification")
    assert arm.within_one_percent
    assert parse_model(arm.name)[1]["widths"] < (24, 56, 144, 256)


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("mednext_tiny", "macs"),
        ("mednext_tiny[sdffn=smt]", "params"),
        pytest.param("mednext_tiny[sdffn=glu]", "macs", marks=pytest.mark.slow),
    ],
)
def test_an_arm_at_the_budget_stays_as_it_is(name: str, budget: str) -> None:
    assert matched(name, budget, "classification").name == name


@pytest.mark.slow
def test_the_same_arm_every_time() -> None:
    arms = {match("mednext_tiny[sdffn=none]", "mednext_tiny", "params", "classification", 3, 2, 64) for _ in range(2)}
    assert len(arms) == 1


@pytest.mark.slow
def test_another_model_may_be_the_target() -> None:
    arm = matched("mednext_tiny", "params", "classification", target="mednext_small")
    assert arm.within_one_percent
    assert arm.ratio == arm.params / cost("mednext_small", "classification").params


def test_single_stages_are_tuned_where_one_factor_is_too_coarse() -> None:
    """Widths of a few channels: a factor moves several at once."""

    def area(widths: tuple[int, ...]) -> float:
        return sum(w * w for w in widths) / 157

    found = nearest((4, 4, 4, 4), area)
    assert abs(area(found) - 1) <= 0.01
    assert len(set(found)) > 1
    assert found[0] == 6


def test_what_cannot_be_reached_is_answered_with_the_nearest() -> None:
    assert nearest((3, 5), lambda widths: float(sum(widths))) == (1, 1)
    assert nearest((1,), lambda widths: 0.4 + 0.35 * widths[0]) == (2,)


@pytest.mark.slow
def test_a_target_that_is_too_small_for_any_width_is_answered_with_the_narrowest() -> None:
    arm = matched("mednext_tiny", "macs", "segmentation", target="mednext_tiny[fine=1-1,widths=1-1-1-1]")
    assert arm.name == "mednext_tiny[widths=1-1-1-1]"
    assert not arm.within_one_percent


@pytest.mark.parametrize("budget", ["params", "macs"])
@pytest.mark.parametrize("error", [ZeroDivisionError, RuntimeError])
def test_a_network_that_does_not_run_at_a_tried_width_is_one_line(
    budget: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(name: str, *_: object, **changed: object) -> torch.nn.Module:
        if changed:
            raise error("heads")
        return torch.nn.Conv2d(1, 4, 1)

    monkeypatch.setattr("bench.zoo.registry.build_model", built)
    with pytest.raises(UserError, match=rf"cannot be built with .* to match: {error.__name__}: heads"):
        match(ONE_REMOVED[0], "mednext_tiny", budget, "segmentation", *INPUTS["segmentation"])


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match="config has widths to match, but chance has none"):
        match("chance", "mednext_tiny", "params", "segmentation", 1, 4, 64)
    with pytest.raises(UserError, match="model with macs as the target, but chance has none"):
        match("mednext_tiny", "chance", "macs", "segmentation", 1, 4, 64)
    with pytest.raises(UserError, match=r"Unknown budget 'parms'\. Did you mean: params"):
        match("mednext_tiny", "mednext_tiny", "parms", "segmentation", 1, 4, 64)
    with pytest.raises(UserError, match="Unknown model"):
        match("mednext_tinny", "mednext_tiny", "params", "segmentation", 1, 4, 64)
