"""Which patients train, validate and test: published lists, computed splits, and what of them is present."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.datasets.base import BY_PATIENT, GIVEN, PARTS, Assignment, Counts, DatasetSpec, HasPatient, Prepared, Split
from bench.datasets.splits.by_patient import by_patient, given
from bench.datasets.splits.folds import ANY, INNER, any_split, fold_split, inner_split
from bench.errors import UserError, unknown

# Under this share of the official test patients (or published cases, where no list is official) a row is `partial`.
COMPLETE_SHARE = 0.8
_GENERAL = {BY_PATIENT: by_patient, GIVEN: given}
_LISTS = Path(__file__).parent / "lists"


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
    return Split(name, raw["source"], parts, note=raw.get("note", ""))


def make_split(spec: DatasetSpec, prepared: Prepared, name: str, fold: int | None = None) -> Split:
    """A split of a dataset by name: a shipped list, computed from the prepared cases, a fold of either, or `any`.

    Args:
        name: `blocks`; `blocks/5` with a fold, for one of five folds by group; `blocks/inner5` with a fold, for one of
            five folds of its training part (`inner_split`).

    Raises:
        UserError: the dataset has no such split, or a computed one leaves a part without a class.
    """
    base, _, folds = name.partition("/")
    if base not in (*spec.splits, ANY):
        raise unknown(f"split of {spec.name}", base, (*spec.splits, ANY))
    if base == ANY:
        split = any_split(prepared)
    elif spec.is_divided_here and base in _GENERAL:
        split = _GENERAL[base](prepared)
    elif base not in spec.split_functions:
        split = load_split(spec.name, base)
    else:
        split = spec.split_functions[base](prepared)
        if split.official_cases is None:
            split = replace(split, official_cases=spec.official_cases.get(prepared.layout))
    if fold is not None and folds.startswith(INNER):
        split = inner_split(prepared.cases, split, int(folds.removeprefix(INNER)), fold)
    elif fold is not None:
        split = fold_split(prepared.cases, split, int(folds), fold)
    if spec.task == "classification":
        _reject_missing_classes(prepared, split)
    return split


def _reject_missing_classes(prepared: Prepared, split: Split) -> None:
    classes = prepared.spec.classes
    for part in _used_parts(split):
        members = set(split.parts[part])
        labels = {case.label for case in prepared.cases if split.member(case) in members}
        missing = [name for label, name in enumerate(classes) if label not in labels]
        if missing:
            raise UserError(
                f"Expected split {split.name!r} to have every class in every part, but {part} has no image of "
                f"{' and '.join(missing)} ({len(prepared.cases)} images are present). Add the missing images and "
                "prepare again, or choose another split."
            )


def _used_parts(split: Split) -> tuple[str, ...]:
    """The parts that must have cases: all but the test part of a split that has none."""
    return tuple(part for part in PARTS if not (split.untested and part == "test"))


def assign(cases: Sequence[HasPatient], split: Split) -> Assignment:
    """Gives each present case its part; cases of patients that the split does not list are left out.

    Raises:
        UserError: a part without any case, but for the test part of an untested split.
    """
    indices, counts = _indices(cases, split), count_parts(cases, split)
    _reject_empty(split, counts)
    left_out = len(cases) - len(set().union(*indices.values()))
    return Assignment(indices, counts, left_out, _is_partial(counts, split))


def _is_partial(counts: Counts, split: Split) -> bool:
    if split.unpublished:
        return False
    if split.official_cases is not None:
        return sum(of_part["cases"] or 0 for of_part in counts.values()) < COMPLETE_SHARE * split.official_cases
    present, official = counts["test"]["present_patients"], counts["test"]["official_patients"]
    return (present or 0) < COMPLETE_SHARE * (official or 0)


def count_parts(cases: Sequence[HasPatient], split: Split) -> Counts:
    """Part -> `present_patients`, `official_patients` (None without a list), `cases`; an empty part counts 0."""
    is_listed = split.official_cases is None and not split.unpublished
    return {
        part: {
            "present_patients": len({cases[i].patient for i in present}),
            "official_patients": len(split.parts[part]) if is_listed else None,
            "cases": len(present),
        }
        for part, present in _indices(cases, split).items()
    }


def _indices(cases: Sequence[HasPatient], split: Split) -> dict[str, tuple[int, ...]]:
    """Part -> the positions of its cases."""
    names = {part: frozenset(split.parts[part]) for part in PARTS}
    return {part: tuple(i for i, case in enumerate(cases) if split.member(case) in names[part]) for part in PARTS}


def _reject_empty(split: Split, counts: Counts) -> None:
    empty = [part for part in _used_parts(split) if not counts[part]["cases"]]
    if not empty:
        return
    present = []
    for part, count in counts.items():
        official = "" if count["official_patients"] is None else f" of {count['official_patients']}"
        present.append(f"{part} {count['present_patients']}{official}")
    raise UserError(
        f"Expected split {split.name!r} to have patients in every part, but {' and '.join(empty)} "
        f"{'is' if len(empty) == 1 else 'are'} empty (patients present: {', '.join(present)}). "
        "Add the missing patients' files and prepare again, or choose another split."
    )


def check_validation(prepared: Prepared, cases: Sequence[int]) -> None:
    """Raises UserError for label maps of which none has any structure: no weights could be chosen by them."""
    if prepared.spec.task == "segmentation" and not any(any(prepared.cases[i].voxels[1:]) for i in cases):
        raise UserError(
            f"Expected a structure in the validation part of {prepared.name}, but its {len(cases)} label maps are all "
            "empty: no weights can be chosen by them. Take another split."
        )


def counts_by_class(prepared: Prepared, assignment: Assignment) -> dict[str, dict[str, Any]]:
    """What of each part is present; in classification with its images of each class."""
    if prepared.spec.task == "segmentation":
        return dict(assignment.counts)
    counts: dict[str, dict[str, Any]] = {}
    for part, indices in assignment.indices.items():
        labels = [prepared.cases[i].label for i in indices]
        of_class = {name: labels.count(k) for k, name in enumerate(prepared.spec.classes)}
        counts[part] = {**assignment.counts[part], "classes": of_class}
    return counts
