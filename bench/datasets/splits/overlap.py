"""What of a test part training has seen, or validation: the figures beside a split that is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.datasets.base import Assignment, Case, Prepared


def leak_figures(prepared: Prepared, assignment: Assignment) -> dict[str, float | None]:
    """Shares of the test cases whose patient, or whose near-duplicate, stands in training; in [0, 1].

    Of a split without a test part (`Split.untested`) they are shares of its validation cases. None where no patients
    are known, or (in segmentation) no near-duplicates were sought. `validation`: the share of the test cases whose
    patient, image or near-duplicate is validated on, by which the best weights are chosen; without a test part 0.
    """
    tested = "test" if assignment.indices["test"] else "val"
    train, test = ([prepared.cases[i] for i in assignment.indices[part]] for part in ("train", tested))
    groups: list[list[str]] | None = prepared.manifest.get("groups")
    first_of_group = {name: group[0] for group in groups or [] for name in group}
    alike = trained_share(train, test, lambda case: first_of_group.get(case.case, case.case))
    known = patients_known(prepared.cases)
    return {
        "patient": trained_share(train, test, lambda case: case.patient) if known else None,
        "near_duplicate": None if groups is None else alike,
        "validation": validated_share(prepared, *map(assignment.indices.__getitem__, ("val", "test"))),
    }


def validated_share(prepared: Prepared, validated: Sequence[int], tested: Sequence[int]) -> float:
    """The share of the test cases whose patient, image or near-duplicate stands in validation; 0 without a test part.

    Args:
        validated, tested: positions of the cases of both parts.
    """
    first_of_group = {name: group[0] for group in prepared.manifest.get("groups") or [] for name in group}
    hashes = {entry["case"]: entry["image_sha256"] for entry in prepared.manifest["cases"]}

    def origins(i: int) -> set[Hashable]:
        case = prepared.cases[i]
        return {(0, case.patient), (1, hashes[case.case]), (2, first_of_group.get(case.case, case.case))}

    seen = set().union(*map(origins, validated))
    return sum(not seen.isdisjoint(origins(i)) for i in tested) / max(1, len(tested))


def trained_share(train: Sequence[Case], test: Sequence[Case], origin: Callable[[Case], Hashable]) -> float:
    """The share of test cases of whose origin (a patient, a photograph) a case is trained on."""
    trained = {origin(case) for case in train}
    return sum(origin(case) in trained for case in test) / len(test)


def patients_known(cases: Sequence[Case]) -> bool:
    """Whether the cases' patients are more than the cases' own names."""
    return any(case.patient != case.case for case in cases)
