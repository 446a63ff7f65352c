"""The shipped split lists, and which part a present case belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.datasets.base import PARTS, Split
from bench.datasets.splits.assignment import assign, load_list, load_split, split_names
from bench.errors import UserError


@dataclass(frozen=True)
class Case:
    patient: str


SPLIT = Split("toy", "here", {"train": ("1", "2", "3"), "val": ("4",), "test": ("5", "6", "7", "8", "9")})


@pytest.mark.parametrize("name", ["mtunet", "ssl4mis"])
def test_shipped_lists_are_70_10_20_and_disjoint(name: str) -> None:
    split = load_split("acdc", name)
    assert [len(split.parts[part]) for part in PARTS] == [70, 10, 20]
    assert {p for part in PARTS for p in split.parts[part]} == {f"{i:03d}" for i in range(1, 101)}
    assert split.source.startswith("github:")


def test_the_two_test_lists_share_the_four_known_patients() -> None:
    mtunet, ssl4mis = (load_split("acdc", name) for name in ("mtunet", "ssl4mis"))
    assert set(mtunet.parts["test"]) & set(ssl4mis.parts["test"]) == {"008", "024", "064", "081"}
    assert len(set(ssl4mis.parts["train"]) & set(mtunet.parts["test"])) == 15


@pytest.mark.parametrize(
    ("name", "part", "published"), [("mtunet", "train", 1304), ("mtunet", "val", 182), ("ssl4mis", "train", 1312)]
)
def test_slice_counts_sum_to_the_published_numbers(name: str, part: str, published: int) -> None:
    slices = load_list("acdc", name)["slices"]
    assert sum(sum(slices[patient].values()) for patient in load_split("acdc", name).parts[part]) == published


def test_both_lists_agree_on_every_stack_they_both_know() -> None:
    mtunet, ssl4mis = (load_list("acdc", name)["slices"] for name in ("mtunet", "ssl4mis"))
    assert len(mtunet) == 80
    assert all(ssl4mis[patient] == count for patient, count in mtunet.items())


def test_unknown_split_names_the_near_one() -> None:
    with pytest.raises(UserError, match="Did you mean: mtunet"):
        load_split("acdc", "mtunett")
    with pytest.raises(UserError, match="Unknown split of other"):
        load_split("other", "mtunet")
    assert split_names("acdc") == ["mtunet", "ssl4mis"]


def test_assign_counts_patients_and_cases_and_leaves_strangers_out() -> None:
    cases = [Case(p) for p in ("1", "1", "2", "x", "4", "5", "6", "7", "8", "8", "x")]
    result = assign(cases, SPLIT)
    assert result.indices == {"train": (0, 1, 2), "val": (4,), "test": (5, 6, 7, 8, 9)}
    assert result.counts == {
        "train": {"present_patients": 2, "official_patients": 3, "cases": 3},
        "val": {"present_patients": 1, "official_patients": 1, "cases": 1},
        "test": {"present_patients": 4, "official_patients": 5, "cases": 5},
    }
    assert result.left_out == 2
    assert not result.partial  # 4 of 5 is 80 %, which is enough


def test_under_80_percent_of_the_test_patients_is_partial() -> None:
    assert assign([Case(p) for p in "14567"], SPLIT).partial


def test_empty_parts_are_named_with_the_counts() -> None:
    with pytest.raises(UserError) as caught:
        assign([Case("1"), Case("5")], SPLIT)
    assert "val is empty (patients present: train 1 of 3, val 0 of 1, test 1 of 5)" in str(caught.value)
    with pytest.raises(UserError, match="train and val are empty"):
        assign([Case("5")], SPLIT)


def test_a_patient_in_two_parts_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"train": ["001"], "val": ["002"], "test": ["001"]}
    monkeypatch.setattr("bench.datasets.splits.assignment.load_list", lambda *_: {"source": "", "parts": parts})
    with pytest.raises(AssertionError, match="twice"):
        load_split("acdc", "mtunet")


def test_without_an_official_list_the_published_number_of_cases_decides() -> None:
    cases = [Case(p) for p in "145"]
    unlisted = replace(SPLIT, parts={"train": ("1",), "val": ("4",), "test": ("5",)}, official_cases=4)
    result = assign(cases, unlisted)
    assert result.counts["test"] == {"present_patients": 1, "official_patients": None, "cases": 1}
    assert result.partial  # 3 of 4
    assert not assign(cases, replace(unlisted, official_cases=3)).partial
    with pytest.raises(UserError, match=r"patients present: train 1, val 1, test 0\)"):
        assign(cases[:2], unlisted)
