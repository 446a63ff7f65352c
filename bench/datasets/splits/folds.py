"""Other divisions than a split's own: cross-validation by group, smaller training parts, and whatever is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.base import PARTS, Assignment, Split
from bench.datasets.splits.dealing import by_part, deal, group_sizes, order
from bench.datasets.splits.grouping import doubt, kept_together
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Case, Prepared

ANY = "any"
_ORDER = 20260105
INNER = "inner"  # `blocks/inner5`: five folds of the training part of `blocks`


def deal_folds(cases: Sequence[Case], split: Split, indices: Sequence[int], folds: int) -> list[list[int]]:
    """Cases dealt to folds group by group; ascending positions, every one in one fold.

    In an order that is a constant, larger groups first, each goes to the fold that has the fewest cases of its class
    (of all classes in segmentation).
    """
    members = _members(cases, split, sorted(indices))
    names = sorted(members)
    shuffled = [names[i] for i in np.random.default_rng(_ORDER).permutation(len(names))]
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for name in sorted(shuffled, key=lambda name: -len(members[name])):
        label = cases[members[name][0]].label
        min(dealt, key=lambda fold: (sum(cases[i].label == label for i in fold), len(fold))).extend(members[name])
    return [sorted(fold) for fold in dealt]


def fold_split(cases: Sequence[Case], split: Split, folds: int, fold: int) -> Split:
    """One fold of a cross-validation over all cases of a split: that fold tests, the next one validates.

    Folds by patient leak nothing, so that the flag of a random split is dropped; where a case's patient is unknown, a
    fold is as random as the split it takes the cases of, and keeps its flag.

    Args:
        fold: 0 to folds - 1.

    Raises:
        UserError: fewer groups than folds.
    """
    listed = {name for part in PARTS for name in split.parts[part]}
    indices = [i for i, case in enumerate(cases) if split.member(case) in listed]
    groups = len(_members(cases, split, indices))
    if groups < folds:
        raise UserError(f"Expected {folds} patients or groups or more for {folds} folds, but {groups} are present.")
    dealt = deal_folds(cases, split, indices, folds)
    part_of: dict[str, str] = {}
    for number, members in enumerate(dealt):
        part = "test" if number == fold else "val" if number == (fold + 1) % folds else "train"
        part_of |= {split.member(cases[i]): part for i in members}
    source = f"ours: {folds} folds by group over all parts of {split.name}: one tests, the next validates"
    present = {split.member(cases[i]) for i in indices}
    if _are_grouped(cases, split, indices):
        split = replace(split, flag=None)
    official = None
    if not split.unpublished:
        official = split.official_cases or round(len(indices) * len(listed) / len(present))
    parts = by_part(list(part_of), part_of.__getitem__)
    note = split.note if split.unpublished else ""
    return replace(split, name=f"{split.name}/{folds}", source=source, parts=parts, official_cases=official, note=note)


def inner_split(cases: Sequence[Case], split: Split, folds: int, fold: int) -> Split:
    """One fold of the training part of a split: it validates, the rest of that part trains, and nothing is tested.

    Recipes and designs are chosen on such folds: no case of the split's own validation and test parts is in any part.
    The flag of a random split is left out as in `fold_split`.

    Args:
        fold: 0 to folds - 1.

    Raises:
        UserError: a number that is no fold, or fewer groups in the training part than folds.
    """
    if not 0 <= fold < folds:
        raise UserError(f"Expected a fold from 0 to {folds - 1} of {folds} folds of a training part, but got {fold}.")
    listed = set(split.parts["train"])
    indices = [i for i, case in enumerate(cases) if split.member(case) in listed]
    groups = len(_members(cases, split, indices))
    if groups < folds:
        raise UserError(
            f"Expected {folds} patients or groups or more in the training part of {split.name} for {folds} folds, but "
            f"{groups} are present."
        )
    held_out = {split.member(cases[i]) for i in deal_folds(cases, split, indices, folds)[fold]}
    present = {split.member(cases[i]) for i in indices}
    official = None if split.unpublished else round(len(indices) * len(listed) / len(present))
    if split.official_cases is not None:  # as many of the published cases as of those that are here
        official = round(split.official_cases * len(indices) / _count_listed(cases, split))
    return replace(
        split,
        name=f"{split.name}/{INNER}{folds}",
        source=f"ours: {folds} folds by group of the training part of {split.name}: one validates, nothing is tested",
        parts=by_part(sorted(present), lambda name: "val" if name in held_out else "train"),
        flag=None if _are_grouped(cases, split, indices) else split.flag,
        official_cases=official,
        note="",
        untested=True,
    )


def _count_listed(cases: Sequence[Case], split: Split) -> int:
    """How many of the cases stand in any part."""
    listed = {name for part in PARTS for name in split.parts[part]}
    return sum(split.member(case) in listed for case in cases)


def any_split(prepared: Prepared) -> Split:
    """Whatever is there, dealt about 60 / 15 / 25 % by patient; for files that are not the published ones.

    Where patients are unknown, what counts as one in an interval stays together, or near-duplicates. Of two volumes'
    patients one trains and validates (the one with more classes), the other tests.
    """
    units = prepared.spec.units
    groups = kept_together(prepared) if units is None else units(prepared)
    sizes = group_sizes(prepared.cases, lambda case: groups[case.case])
    source = "ours: whatever files are there, dealt about 60/15/25 % by patient where patients are known"
    if prepared.spec.task == "segmentation" and len(sizes) == 2:
        shown = {groups[case.case]: sum(n > 0 for n in case.voxels) for case in prepared.cases}
        first, last = sorted(sizes, key=lambda name: (-shown[name], name))
        part_of = {first: ("train", "val"), last: ("test",)}
        source = "ours: whatever files are there: of two patients one trains and validates, the other tests"
    else:
        part_of = {name: (part,) for name, part in deal(sizes, f"{prepared.spec.name} any 1").items()}
    group_of = {case.patient: groups[case.case] for case in prepared.cases}
    parts = {part: tuple(name for name, group in group_of.items() if part in part_of[group]) for part in PARTS}
    kept = {name: group for name, group in group_of.items() if group != name}
    count = len(prepared.cases)
    return Split(ANY, source, parts, official_cases=count, groups=kept, note=doubt(prepared))


def take_training(cases: Sequence[Case], split: Split, assignment: Assignment, count: int, seed: int) -> Assignment:
    """The assignment with so many of the training patients (or groups), in the proportions of the classes.

    For one seed a larger count holds every patient of a smaller one; another seed draws others.

    Raises:
        UserError: fewer than there are, or so few that a class is left without a case.
    """
    members = _members(cases, split, assignment.indices["train"])
    if not 1 <= count <= len(members):
        raise UserError(f"Expected 1 to {len(members)} training patients or groups, which are there, but got {count}.")
    classes: dict[int | None, list[str]] = {}
    for name in order(sorted(members), f"training part {seed}"):
        classes.setdefault(cases[members[name][0]].label, []).append(name)
    ranked = [(rank / len(names), name) for names in classes.values() for rank, name in enumerate(names)]
    taken = {name for _, name in sorted(ranked, key=lambda pair: pair[0])[:count]}
    indices = tuple(sorted(i for name in taken for i in members[name]))
    missing = {case.label for case in cases} - {cases[i].label for i in indices}
    if missing and None not in missing:
        raise UserError(
            f"Expected a case of every class among {count} training patients: ask for {len(classes)} or more."
        )
    train = {
        **assignment.counts["train"],
        "present_patients": len({cases[i].patient for i in indices}),
        "cases": len(indices),
    }
    return replace(
        assignment,
        indices={**assignment.indices, "train": indices},
        counts={**assignment.counts, "train": train},
    )


def count_training(
    cases: Sequence[Case], divided: Sequence[tuple[Split, Assignment]], subset: int | float | None
) -> int | None:
    """Training patients (or groups) for `subset`, a number or a share in (0, 1]; None where that is all of them.

    One number for all folds, which are pooled in one table: a share is of the first fold's, and at most what each has.
    """
    present = [len(_members(cases, split, assignment.indices["train"])) for split, assignment in divided]
    if subset is None or (isinstance(subset, float) and subset == 1.0):
        return None
    count = min(max(1, round(subset * present[0])), *present) if isinstance(subset, float) else subset
    return None if set(present) == {count} else count


def _are_grouped(cases: Sequence[Case], split: Split, indices: Sequence[int]) -> bool:
    """Whether each case has a patient, or a group of the split, that keeps it out of a second fold."""
    return not any(cases[i].patient == cases[i].case and split.member(cases[i]) not in split.groups for i in indices)


def _members(cases: Sequence[Case], split: Split, indices: Sequence[int]) -> dict[str, list[int]]:
    """Group -> the positions of its cases; a group is a patient, or what the split keeps together."""
    members: dict[str, list[int]] = {}
    for i in indices:
        members.setdefault(split.groups.get(split.member(cases[i]), cases[i].patient), []).append(i)
    return members
