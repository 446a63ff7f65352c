"""Which patients train, validate and test: the published lists, and what of them is present."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.errors import UserError, unknown

PARTS = ("train", "val", "test")
# Under this share of the official test patients a row is `partial`.
COMPLETE_SHARE = 0.8
_LISTS = Path(__file__).parent / "lists"


class HasPatient(Protocol):
    """Anything that belongs to one patient, such as a prepared case."""

    @property
    def patient(self) -> str: ...


@dataclass(frozen=True)
class Split:
    """A published division of a dataset by patients.

    Attributes:
        source: where the lists were published.
        parts: `train`, `val`, `test` -> patient ids.
    """

    name: str
    source: str
    parts: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Assignment:
    """What of a split is present.

    Attributes:
        indices: part -> positions in the given cases, in their order.
        counts: part -> `present_patients`, `official_patients`, `cases`.
        left_out: names of no part hold for so many cases; they are not used.
        partial: under 80 % of the official test patients are present.
    """

    indices: dict[str, tuple[int, ...]]
    counts: dict[str, dict[str, int]]
    left_out: int
    partial: bool


def split_names(dataset: str) -> list[str]:
    """The names of a dataset's shipped splits."""
    return sorted(path.stem.removeprefix(f"{dataset}_") for path in _LISTS.glob(f"{dataset}_*.json"))


def load_list(dataset: str, name: str) -> dict[str, Any]:
    """A shipped list as it stands: `source`, `parts`, and what else was published with it (`slices`).

    Raises:
        UserError: the dataset has no such split.
    """
    if name not in split_names(dataset):
        raise unknown(f"split of {dataset}", name, split_names(dataset))
    return json.loads((_LISTS / f"{dataset}_{name}.json").read_text(encoding="utf-8"))


def load_split(dataset: str, name: str) -> Split:
    """A shipped split by name; its parts share no patient.

    Raises:
        UserError: the dataset has no such split.
    """
    raw = load_list(dataset, name)
    parts = {part: tuple(raw["parts"][part]) for part in PARTS}
    listed = [patient for part in PARTS for patient in parts[part]]
    assert len(listed) == len(set(listed)), f"split {name} of {dataset} lists a patient twice"
    return Split(name, raw["source"], parts)


def assign(cases: Sequence[HasPatient], split: Split) -> Assignment:
    """Gives each present case its part; cases of patients that the split does not list are left out.

    Raises:
        UserError: a part without any case.
    """
    indices = _indices(cases, split)
    counts = count_parts(cases, split)
    _reject_empty(split.name, counts)
    test = counts["test"]
    return Assignment(
        indices={part: tuple(indices[part]) for part in PARTS},
        counts=counts,
        left_out=len(cases) - sum(map(len, indices.values())),
        partial=test["present_patients"] < COMPLETE_SHARE * test["official_patients"],
    )


def count_parts(cases: Sequence[HasPatient], split: Split) -> dict[str, dict[str, int]]:
    """Part -> `present_patients`, `official_patients`, `cases`; an empty part counts 0."""
    return {
        part: {
            "present_patients": len({cases[i].patient for i in present}),
            "official_patients": len(split.parts[part]),
            "cases": len(present),
        }
        for part, present in _indices(cases, split).items()
    }


def _indices(cases: Sequence[HasPatient], split: Split) -> dict[str, list[int]]:
    part_of = {patient: part for part in PARTS for patient in split.parts[part]}
    indices: dict[str, list[int]] = {part: [] for part in PARTS}
    for i, case in enumerate(cases):
        if case.patient in part_of:
            indices[part_of[case.patient]].append(i)
    return indices


def _reject_empty(name: str, counts: dict[str, dict[str, int]]) -> None:
    empty = [part for part in PARTS if not counts[part]["cases"]]
    if empty:
        present = ", ".join(f"{part} {c['present_patients']} of {c['official_patients']}" for part, c in counts.items())
        raise UserError(
            f"Expected split {name!r} to have patients in every part, but {' and '.join(empty)} "
            f"{'is' if len(empty) == 1 else 'are'} empty (patients present: {present}). "
            "Add the missing patients' files and prepare again, or choose another split."
        )
