"""What of a test part was seen in training: the figures that stand beside a split that is not to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.datasets.base import Assignment, Prepared


def leak_figures(prepared: Prepared, assignment: Assignment) -> dict[str, float | None]:
    """Shares of the test cases whose patient, or whose near-duplicate, stands in training; in [0, 1].

    Of a split without a test part (`Split.untested`) they are shares of its validation cases.

    None where no patients are known, or (in segmentation) no near-duplicates were sought.
    """
    cases = prepared.cases
    tested = "test" if assignment.indices["test"] else "val"
    train, test = ([cases[i] for i in assignment.indices[part]] for part in ("train", tested))
    patients = {case.patient for case in train}
    known = any(case.patient != case.case for case in cases)
    groups: list[list[str]] | None = prepared.manifest.get("groups")
    group_of = {name: i for i, group in enumerate(groups or []) for name in group}
    seen = {group_of[case.case] for case in train if case.case in group_of}
    alike = sum(group_of.get(case.case) in seen for case in test) / len(test)
    return {
        "patient": sum(case.patient in patients for case in test) / len(test) if known else None,
        "near_duplicate": None if groups is None else alike,
    }
