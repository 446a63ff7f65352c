"""The general splits, of any prepared data set: by patient, and the one that comes with the files themselves.

Where no case tells its patient, near-duplicates are what is kept together, and what counts as one in an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.datasets.base import BY_PATIENT, GIVEN, PARTS, Split
from bench.datasets.splits.dealing import by_part, deal, group_sizes
from bench.datasets.splits.duplicates import join
from bench.datasets.splits.folds import any_split, deal_folds
from bench.datasets.splits.overlap import patients_known
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

UNIT = "groups of near-duplicates (patients unknown)"
UNKNOWN = "patients unknown"
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


def by_patient(prepared: Prepared) -> Split:
    """About 60/15/25 % of each class, by patient where patients are known, else by groups of near-duplicates.

    Of two patients in segmentation one trains and validates, the other tests.

    Raises:
        UserError: fewer than two patients or groups.
    """
    groups, note = kept_together(prepared), "" if patients_known(prepared.cases) or _are_volumes(prepared) else UNKNOWN
    count = len(set(groups.values()))
    fewest = 2 if prepared.spec.task == "segmentation" else FEWEST
    if count < fewest:
        what = "patients" if not note else "groups of images that are no near-duplicates"
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
    kept = "by groups of near-duplicates (patients unknown)" if note else "by patient"
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
    part_of: dict[str, set[str]] = {}
    for case in prepared.cases:
        if case.part:
            part_of.setdefault(case.patient, set()).add(case.part)
    told = f"{CARVED} validates" if is_carved else ""
    leaks = any(len(of_patient) > 1 for of_patient in part_of.values())
    known = patients_known(prepared.cases) or _are_volumes(prepared)
    return Split(
        GIVEN,
        "; ".join(filter(None, (f"theirs: {NOTES[GIVEN]}", told, "" if known else UNKNOWN))),
        parts,
        flag=LEAK if leaks else None,
        groups={} if known else kept_together(prepared),
        by_case=True,
        unpublished=True,
        note="; ".join(filter(None, ("" if known else UNKNOWN, told))),
    )


def _carved(prepared: Prepared, train: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Train without a fixed fifth of its patients or groups, which validates, where the files have no such part."""
    names = set(train)
    indices = [i for i, case in enumerate(prepared.cases) if case.case in names]
    groups = kept_together(prepared)
    whole = Split(GIVEN, "", {"train": tuple(train)}, groups=groups, by_case=True)
    held_out = {prepared.cases[i].case for i in deal_folds(prepared.cases, whole, indices, FOLDS_OF_TRAIN)[0]}
    return {"train": tuple(name for name in train if name not in held_out), "val": tuple(sorted(held_out))}


def kept_together(prepared: Prepared) -> dict[str, str]:
    """Case -> its patient, or the first of those that share an image; without patients the first of near-duplicates.

    One photograph under two patients' names would else train and test.
    """
    together: dict[tuple[str, str], list[int]] = {}
    for i, (case, entry) in enumerate(zip(prepared.cases, prepared.manifest["cases"], strict=True)):
        together.setdefault(("patient", case.patient), []).append(i)
        together.setdefault(("image", entry["image_sha256"]), []).append(i)
    position = {case.case: i for i, case in enumerate(prepared.cases)}
    near = [] if patients_known(prepared.cases) else prepared.manifest.get("groups") or []
    alike = [*together.values(), *([position[name] for name in group] for group in near)]
    cases = prepared.cases
    return {cases[i].case: cases[members[0]].patient for members in join(len(cases), alike) for i in members}


def _are_volumes(prepared: Prepared) -> bool:
    """Whether each case is a volume, which is taken as one patient's, as the literature does."""
    return prepared.spec.task == "segmentation" and any(case.shape[0] > 1 for case in prepared.cases)
