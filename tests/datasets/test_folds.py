"""Folds by group, nested training parts, whatever is there, and what of a test part was seen in training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.datasets.base import PARTS, Case, Split
from bench.datasets.splits.assignment import assign
from bench.datasets.splits.folds import (
    any_split,
    count_training,
    deal_folds,
    fold_split,
    inner_split,
    take_training,
)
from bench.datasets.splits.overlap import leak_figures
from bench.errors import UserError


def case(patient: int, view: int, label: int) -> Case:
    return Case(f"p{patient}_{view}", f"p{patient}", (1, 8, 8), None, 0, label=label)


CASES = [case(p, v, p % 2) for p in range(30) for v in range(1 + p % 3)]
PATIENTS = [f"p{p}" for p in range(30)]
ENTRIES = [{"case": c.case, "image_sha256": f"sha of {c.case}"} for c in CASES]
SPLIT = Split("s", "made", {"train": tuple(PATIENTS[:20]), "val": tuple(PATIENTS[20:24]), "test": tuple(PATIENTS[24:])})
ASSIGNED = assign(CASES, SPLIT)


def test_every_case_tests_in_one_fold_and_no_patient_is_in_two() -> None:
    splits = [fold_split(CASES, SPLIT, 5, fold) for fold in range(5)]
    tested = [name for split in splits for name in split.parts["test"]]
    assert sorted(tested) == sorted(PATIENTS)
    for fold, split in enumerate(splits):
        assert sorted(name for part in PARTS for name in split.parts[part]) == sorted(PATIENTS)
        assert split.parts["val"] == splits[(fold + 1) % 5].parts["test"]
        assert split.name == "s/5"
        labels = [c.label for c in CASES if c.patient in split.parts["test"]]
        assert 0.25 < sum(map(bool, labels)) / len(labels) < 0.75


def test_groups_stay_together_in_folds() -> None:
    split = replace(SPLIT, groups={f"p{p}": f"g{p // 3}" for p in range(30)})
    for members in deal_folds(CASES, split, range(len(CASES)), 4):
        inside = {CASES[i].patient for i in members}
        assert all({f"p{3 * (int(p[1:]) // 3) + k}" for k in range(3)} <= inside for p in inside)


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(UserError, match="Expected 31 patients or groups or more for 31 folds, but 30"):
        fold_split(CASES, SPLIT, 31, 0)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_larger_training_part_holds_a_smaller_one(seed: int) -> None:
    parts = [set(take_training(CASES, SPLIT, ASSIGNED, n, seed).indices["train"]) for n in (2, 6, 13, 20)]
    assert all(small < large for small, large in pairwise(parts))
    assert parts[-1] == set(ASSIGNED.indices["train"])
    for n, part in zip((2, 6, 13, 20), parts, strict=True):
        patients = {CASES[i].patient for i in part}
        assert len(patients) == n
        assert abs(sum(int(p[1:]) % 2 for p in patients) - n / 2) <= 1
        assert part == {i for i, c in enumerate(CASES) if c.patient in patients}


def test_other_seeds_draw_other_patients_and_leave_the_other_parts() -> None:
    one, two = (take_training(CASES, SPLIT, ASSIGNED, 6, seed) for seed in (0, 1))
    assert one.indices["train"] != two.indices["train"]
    assert one.indices["test"] == two.indices["test"] == ASSIGNED.indices["test"]
    assert one.counts["train"]["present_patients"] == 6


def test_too_few_or_too_many_training_patients_are_refused() -> None:
    with pytest.raises(UserError, match="Expected 1 to 20 training patients"):
        take_training(CASES, SPLIT, ASSIGNED, 21, 0)
    with pytest.raises(UserError, match="every class"):
        take_training(CASES, SPLIT, ASSIGNED, 1, 0)


@pytest.mark.parametrize(("subset", "count"), [(None, None), (5, 5), (0.5, 10), (0.01, 1), (1.0, None), (20, None)])
def test_a_share_of_the_training_patients_is_a_number_of_them(subset: int | float | None, count: int | None) -> None:
    assert count_training(CASES, [(SPLIT, ASSIGNED)], subset) == count


def test_folds_take_one_number_of_training_patients_together() -> None:
    train = ASSIGNED.indices["train"]
    first = CASES[train[0]].patient
    short = replace(ASSIGNED, indices={**ASSIGNED.indices, "train": [i for i in train if CASES[i].patient != first]})
    folds = [(SPLIT, ASSIGNED), (SPLIT, short)]
    whole = len({CASES[i].patient for i in train})
    assert count_training(CASES, folds, 1.0) is None
    assert count_training(CASES, folds, whole) == whole, "all of one fold is none of its own kind"
    assert count_training(CASES, folds, 0.999) == whole - 1
    assert count_training(CASES, folds[::-1], 0.5) == count_training(CASES, [folds[1], folds[1]], 0.5)


def anything(cases: list[Case], **manifest: Any) -> Any:
    spec = SimpleNamespace(name="d", task="segmentation" if cases[0].voxels else "classification", units=None)
    entries = [{"case": c.case, "image_sha256": f"sha of {c.case}"} for c in cases]
    return cast(Any, SimpleNamespace(cases=cases, spec=spec, manifest={"cases": entries, **manifest}))


def test_any_deals_all_that_is_there_by_patient() -> None:
    split = any_split(anything(CASES))
    assert sorted(name for part in PARTS for name in split.parts[part]) == sorted(PATIENTS)
    assert all(split.parts[part] for part in PARTS)
    assert (split.note, split.groups) == ("", {})


def test_any_keeps_near_duplicates_together_where_patients_are_unknown() -> None:
    unknown = [replace(c, patient=c.case) for c in CASES]
    alike = [[c.case for c in unknown if int(c.case[1:].partition("_")[0]) // 4 == k] for k in range(8)]
    split = any_split(anything(unknown, groups=alike))
    part_of = {name: part for part in PARTS for name in split.parts[part]}
    assert len(part_of) == len(unknown)
    assert all(len({part_of[name] for name in group}) == 1 for group in alike)
    assert set(part_of.values()) == set(PARTS)
    assert split.note == "patients unknown"
    fold = fold_split(unknown, split, 4, 0)
    tested = set(fold.parts["test"])
    assert all(tested >= set(group) or tested.isdisjoint(group) for group in alike)


def test_any_keeps_near_duplicates_of_the_unknown_together_where_some_patients_are_known() -> None:
    some = [c if i % 2 else replace(c, patient=c.case) for i, c in enumerate(CASES)]
    names = [c.case for i, c in enumerate(some) if i % 2 == 0]
    alike = [names[k::5] for k in range(5)]
    split = any_split(anything(some, groups=alike))
    part_of = {name: part for part in PARTS for name in split.parts[part]}
    assert all(len({part_of[name] for name in group}) == 1 for group in alike)
    assert split.note == f"patients of {len(names)} of {len(some)} cases unknown"


def test_a_fold_keeps_the_flag_while_any_patient_is_unknown() -> None:
    some = [c if i else replace(c, patient=c.case) for i, c in enumerate(CASES)]
    listed = {part: tuple(c.case for c in some[k::3]) for k, part in enumerate(PARTS)}
    random = Split("random-80-20", "made", listed, flag="images of one patient in training and test", by_case=True)
    assert fold_split(some, random, 5, 0).flag == inner_split(some, random, 5, 0).flag == random.flag


def test_any_of_two_patients_tests_on_the_one_with_fewer_classes() -> None:
    cases = [Case(n, n, (2, 8, 8), None, 0, voxels) for n, voxels in (("a", (9, 0, 1)), ("b", (8, 1, 1)))]
    split = any_split(anything(cases))
    assert split.parts == {"train": ("b",), "val": ("b",), "test": ("a",)}
    assigned = assign(cases, split)
    assert assigned.indices == {"train": (1,), "val": (1,), "test": (0,)}
    assert assigned.left_out == 0


def test_leaks_are_counted_over_test_cases() -> None:
    by_case = replace(
        SPLIT,
        parts={"train": ("p2_0", "p5_0"), "val": ("p8_0",), "test": ("p2_1", "p11_0", "p5_2", "p0_0")},
        by_case=True,
    )
    prepared = cast(
        Any, SimpleNamespace(cases=CASES, manifest={"cases": ENTRIES, "groups": [["p0_0", "p5_0"], ["p11_0", "p8_0"]]})
    )
    assert leak_figures(prepared, assign(CASES, by_case)) == {
        "patient": 0.5,
        "near_duplicate": 0.25,
        "validation": 0.25,  # p11_0, the like of p8_0
    }
    unknown = [replace(c, patient=c.case) for c in CASES]
    nameless = cast(Any, SimpleNamespace(cases=unknown, manifest={"cases": ENTRIES}))
    assert leak_figures(nameless, assign(unknown, by_case)) == {
        "patient": None,
        "near_duplicate": None,
        "validation": 0.0,
    }


def test_a_fold_by_patient_is_not_flagged_as_the_random_split_it_was_made_from() -> None:
    listed = {part: tuple(c.case for c in CASES[k::3]) for k, part in enumerate(PARTS)}
    random = Split("random-80-20", "made", listed, flag="images of one patient in training and test", by_case=True)
    fold = fold_split(CASES, random, 5, 0)
    assert fold.flag is None
    prepared = cast(Any, SimpleNamespace(cases=CASES, manifest={"cases": ENTRIES}))
    assert leak_figures(prepared, assign(CASES, fold))["patient"] == 0
    unknown = [replace(c, patient=c.case) for c in CASES]
    assert fold_split(unknown, random, 5, 0).flag == random.flag, "each image is dealt by itself, as there"


@pytest.mark.parametrize("by_case", [False, True])
def test_inner_folds_hold_the_training_part_alone_each_patient_out_once(by_case: bool) -> None:
    listed = {part: tuple(c.case for c in CASES if c.patient in SPLIT.parts[part]) for part in PARTS}
    split = replace(SPLIT, parts=listed, by_case=True, flag="random") if by_case else SPLIT
    training = {i for i, c in enumerate(CASES) if c.patient in SPLIT.parts["train"]}
    assigned = [assign(CASES, inner_split(CASES, split, 5, fold)) for fold in range(5)]
    for one in assigned:
        train, val = set(one.indices["train"]), set(one.indices["val"])
        assert train | val == training
        assert not {CASES[i].patient for i in train} & {CASES[i].patient for i in val}
        assert one.indices["test"] == ()
        assert one.left_out == len(CASES) - len(training)
        assert 0.25 < sum(CASES[i].label == 1 for i in val) / len(val) < 0.75
    assert sorted(i for one in assigned for i in one.indices["val"]) == sorted(training)
    fold = inner_split(CASES, split, 5, 0)
    assert (fold.name, fold.flag, fold.untested) == ("s/inner5", None, True)


def test_inner_folds_keep_groups_together_and_refuse_more_folds_than_there_are() -> None:
    split = replace(SPLIT, groups={f"p{p}": f"g{p // 5}" for p in range(30)})
    for fold in range(4):
        held_out = inner_split(CASES, split, 4, fold).parts["val"]
        assert sorted(held_out) == sorted(f"p{p}" for p in range(20) if f"p{p - p % 5}" in held_out)
    with pytest.raises(UserError, match="Expected 5 patients or groups or more in the training part of s for 5 folds"):
        inner_split(CASES, split, 5, 0)
    with pytest.raises(UserError, match="Expected a fold from 0 to 3"):
        inner_split(CASES, split, 4, 4)


def test_inner_folds_of_few_of_the_published_patients_are_partial() -> None:
    assert not assign(CASES, inner_split(CASES, SPLIT, 5, 0)).partial
    few = [c for c in CASES if int(c.patient[1:]) < 15]
    assert assign(few, inner_split(few, SPLIT, 5, 0)).partial
    counted = replace(SPLIT, official_cases=2 * len(CASES))
    assert assign(CASES, inner_split(CASES, counted, 5, 0)).partial


def test_a_leak_of_an_untested_split_is_that_of_its_validation_part() -> None:
    fold = inner_split(CASES, SPLIT, 5, 0)
    held_out = next(c.case for c in CASES if c.patient in fold.parts["val"])
    trained = next(c.case for c in CASES if c.patient in fold.parts["train"])
    prepared = cast(Any, SimpleNamespace(cases=CASES, manifest={"cases": ENTRIES, "groups": [[held_out, trained]]}))
    found = leak_figures(prepared, assign(CASES, fold))
    assert found["patient"] == 0
    assert found["near_duplicate"] == 1 / len(assign(CASES, fold).indices["val"])
