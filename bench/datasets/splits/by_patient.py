"""The general splits, of any prepared data set: by patient, and the one that comes with the files themselves.

Where no case tells its patient, near-duplicates are what is kept together, and what counts as one in an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.datasets.base import BY_PATIENT, GIVEN, PARTS, Split
from bench.datasets.splits.dealing import by_part, deal, group_sizes
from bench.datasets.splits.folds import any_split, deal_folds
from bench.datasets.splits.grouping import UNIT, UNKNOWN, doubt, kept_together
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

FEWEST = 3  # patients or groups that make three parts
NOTES = {
    BY_PATIENT: (
        "dealt about 60/15/25 % of each class by a constant seed, a patient in one part alone (near-duplicates "
        "together where patients are unknown)"
    ),
    GIVEN: "the division that came with the files",
}
FOLDS_OF_TRAIN = 5
CARVED = "a fixed fifth of train, by patient or group,"
LEAK = "cases of one patient stand in several parts"
TWICE = "one image stands in several parts"


def by_patient(prepared: Prepared) -> Split:
    """About 60/15/25 % of each class, by patient where patients are known, else by groups of near-duplicates.

    Of two patients in segmentation one trains and validates, the other tests.

    Raises:
        UserError: fewer than two patients or groups.
    """
    groups, note = kept_together(prepared), doubt(prepared)
    count = len(set(groups.values()))
    fewest = 2 if prepared.spec.task == "segmentation" else FEWEST
    if count < fewest:
        what = "patients" if note != UNKNOWN else "groups of images that are no near-duplicates"
        raise UserError(
            f"Expected {fewest} {what} or more to train, validate and test on, but {prepared.spec.name} has {count}: "
            "add cases."
        )
    if prepared.spec.task == "segmentation" and count == 2:
        halves = any_split(prepared)
        told = "of two patients one trains and validates, the other tests"
        notes = "; ".join(filter(None, (note, told)))
        return Split(BY_PATIENT, f"ours: {told}", halves.parts, note=notes, unpublished=True)
    sizes = group_sizes(prepared.cases, lambda case: groups[case.case])
    parts = deal(sizes, f"{prepared.spec.name} {BY_PATIENT} 1")
    kept = f"by {UNIT}" if note == UNKNOWN else f"by patient{'' if not note else f', else by {UNIT}'}"
    source = f"ours: {kept}, dealt about 60/15/25 % of each class by a constant seed"
    part_of = {case.patient: parts[groups[case.case]] for case in prepared.cases}
    listed = by_part(list(part_of), part_of.__getitem__)
    of_split = {case.patient: groups[case.case] for case in prepared.cases if groups[case.case] != case.patient}
    return Split(BY_PATIENT, source, listed, groups=of_split, note=note, unpublished=True)


def given(prepared: Prepared) -> Split:
    """The division that the files, or the user's table, gave each case; cases without a part are left out.

    Raises:
        UserError: no case has a part, or a part has none.
    """
    parts = {part: tuple(case.case for case in prepared.cases if case.part == part) for part in PARTS}
    is_carved = bool(parts["train"] and parts["test"] and not parts["val"])
    if is_carved:
        parts |= _carved(prepared, parts["train"])
    empty = [part for part, names in parts.items() if not names]
    if empty:
        raise UserError(
            f"Expected train, val and test in the division that came with {prepared.spec.name}, but "
            f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty: give one with --split, or leave it out."
        )
    told, unknown = f"{CARVED} validates" if is_carved else "", doubt(prepared)
    return Split(
        GIVEN,
        "; ".join(filter(None, (f"theirs: {NOTES[GIVEN]}", told, unknown))),
        parts,
        flag=_shared(prepared),
        groups=kept_together(prepared),
        by_case=True,
        unpublished=True,
        note="; ".join(filter(None, (unknown, told))),
    )


def _shared(prepared: Prepared) -> str | None:
    """Why the division that came with the files is not to be trusted: what stands in several of its parts."""
    patients: dict[str, set[str]] = {}
    images: dict[str, set[str]] = {}
    for case, entry in zip(prepared.cases, prepared.manifest["cases"], strict=True):
        if case.part:
            patients.setdefault(case.patient, set()).add(case.part)
            images.setdefault(entry["image_sha256"], set()).add(case.part)
    for why, parts in ((LEAK, patients), (TWICE, images)):
        if any(len(of_one) > 1 for of_one in parts.values()):
            return why
    return None


def _carved(prepared: Prepared, train: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Train without a fixed fifth of its patients or groups, which validates, where the files have no such part."""
    names = set(train)
    indices = [i for i, case in enumerate(prepared.cases) if case.case in names]
    groups = kept_together(prepared)
    whole = Split(GIVEN, "", {"train": tuple(train)}, groups=groups, by_case=True)
    held_out = {prepared.cases[i].case for i in deal_folds(prepared.cases, whole, indices, FOLDS_OF_TRAIN)[0]}
    return {"train": tuple(name for name in train if name not in held_out), "val": tuple(sorted(held_out))}
