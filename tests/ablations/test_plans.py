"""The arms of an ablation: which there are, what they are called, and what is refused."""

from __future__ import annotations

import pytest

from ablations.plans import Arm, Plan, label, make_arms, null_seeds
from bench.errors import UserError
from bench.models.slots import SLOTS


def labels_of(arms: list[Arm]) -> list[str]:
    return [label(dict(arm.changes)) for arm in arms]


def test_a_factorial_is_every_subset_once_the_full_model_first() -> None:
    arms = make_arms(Plan(factorial=True))
    assert arms[0] == Arm("mednext_tiny")
    assert len({arm.model for arm in arms}) == 8
    removed = [frozenset(dict(arm.changes)) for arm in arms]
    assert len(set(removed)) == 8
    assert removed[-1] == frozenset(SLOTS)
    assert all(set(dict(arm.changes).values()) <= {"none"} for arm in arms)


def test_leave_one_out_is_part_of_the_factorial() -> None:
    some, all_of_them = make_arms(Plan(leave_one_out=True)), make_arms(Plan(factorial=True))
    assert labels_of(some) == ["full", "without laffn", "without sem", "without sdffn"]
    assert set(some) <= set(all_of_them)
    assert make_arms(Plan(leave_one_out=True, remove=["sem"])) == some


def test_removals_and_swaps_combine() -> None:
    arms = make_arms(Plan(remove=["sem+laffn"], swap=["sem=strip", "laffn=separable+sem=dw3"]))
    assert labels_of(arms) == ["full", "without laffn + sem", "sem=strip", "laffn=separable, sem=dw3"]
    assert arms[1].model == "mednext_tiny[laffn=none,sem=none]"
    assert arms[3].model == "mednext_tiny[laffn=separable,sem=dw3]"


def test_an_arm_of_a_config_keeps_the_config() -> None:
    arms = make_arms(Plan("mednext_tiny[act=gelu]", remove=["sem"]))
    assert [arm.model for arm in arms] == ["mednext_tiny[act=gelu]", "mednext_tiny[act=gelu,sem=none]"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"remove": ["sme"]}, "Unknown slot 'sme'. Did you mean: sem?"),
        ({"swap": ["sem=stripe"]}, "Unknown filling of slot sem 'stripe'. Did you mean: strip?"),
        ({"swap": ["sem"]}, "Expected a swap SLOT=FILLING, such as sem=strip, but got 'sem'."),
        ({"swap": ["smo=strip"]}, "Unknown slot 'smo'"),
        ({"swap": ["sem=dilated"]}, "Expected something to ablate"),
        ({}, "Expected something to ablate"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(asked: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        make_arms(Plan(**asked))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_a_model_without_slots_is_refused() -> None:
    with pytest.raises(UserError, match="Model 'unet_s' has no slots to ablate"):
        make_arms(Plan("unet_s", leave_one_out=True))


def test_the_null_arm_takes_other_seeds() -> None:
    assert null_seeds([0, 1, 2]) == [3, 4, 5]
    assert null_seeds([7, 2]) == [8, 9]
    assert label({}) == "full"
    assert label({"sem": "none"}, "params") == "without sem, params matched"
