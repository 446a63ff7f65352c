"""The audit of a prepared data set: duplicates, leaks of its splits, and what predicts a label without the picture."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.base import Case
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.duplicates import CORRELATION, grey_levels, join_several, thumbnail
from bench.datasets.splits.overlap import patients_known, trained_share, validated_share
from bench.datasets.splits.pairs import ANGLES, ORIENTATIONS, Pair, Progress, correlating
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared, Row, Split

WORST = 24
# So many pairs are kept before they are joined to groups: millions of pairs of 20,000 pictures need no more memory.
MOST_PENDING = 2**16
# Facts that say how the data set is filed, not what a file or the metadata tell of a picture.
_FILING = {"row", "kind", "fold1"}


@dataclass(frozen=True)
class Picture:
    """What the audit compares: an image, or one slice of a volume; its name, case, patient and class (or None)."""

    name: str
    case: int
    patient: str
    label: int | None


@dataclass
class Audit:
    """The figures of an audit, ready to be written as JSON, and the worst pairs with their pictures' names.

    Attributes:
        figures: counts, shares (0 to 1) and tables by name; see `audit`.
        worst: pairs with the highest correlation, of different parts or classes first.
    """

    figures: dict[str, Any]
    worst: list[tuple[Pair, Picture, Picture]] = field(default_factory=list)


@dataclass
class _Tally:
    """What is counted while the pairs go by; its memory grows with the pictures, not with the pairs.

    Attributes:
        parts: split -> the part of each picture, None where the split leaves it out; the default split comes first.
        photographs: the photograph of each picture, where names tell augmented copies.
        groups: near-duplicates as far as they are joined, then the pairs that are not yet.
        linked: pictures that were found to resemble another of their photograph.
        leaked: split -> tested pictures of which training has a near-duplicate.
        worst: a heap of (rank, pair), the least first.
    """

    pictures: list[Picture]
    parts: dict[str, list[str | None]]
    photographs: list[str] | None
    counts: Counter[str] = field(default_factory=Counter)
    groups: list[tuple[int, ...]] = field(default_factory=list)
    linked: set[int] = field(default_factory=set)
    leaked: dict[str, set[int]] = field(default_factory=dict)
    worst: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        i, j = pair.i, pair.j
        first, second = self.pictures[i], self.pictures[j]
        one_photograph = self.photographs is not None and self.photographs[i] == self.photographs[j]
        self.counts["pairs"] += 1
        self.counts["of one patient"] += first.patient == second.patient
        self.counts["across classes"] += first.label != second.label
        self.counts["turned or mirrored"] += pair.degrees != 0 or pair.mirrored
        self.counts["of one photograph"] += one_photograph
        if one_photograph:
            self.linked |= {i, j}
        self.groups.append((i, j))
        if len(self.groups) > len(self.pictures) + MOST_PENDING:
            self.groups = self.joined()
        across = [split for split, parts in self.parts.items() if {parts[i], parts[j]} == {"train", "test"}]
        for split in across:
            self.leaked.setdefault(split, set()).add(i if self.parts[split][i] == "test" else j)
        of_default = next(iter(self.parts), None) in across
        rank = (of_default, first.label != second.label, first.patient != second.patient, pair.correlation, -i, -j)
        heapq.heappush(self.worst, (*rank, pair))
        if len(self.worst) > WORST:
            heapq.heappop(self.worst)

    def joined(self) -> list[tuple[int, ...]]:
        """The groups of near-duplicates among all pairs so far."""
        return join_several(len(self.pictures), self.groups)


def audit(
    prepared: Prepared,
    least: float = CORRELATION,
    progress: Progress | None = None,
    any_angle: bool = False,
    each: Callable[[Pair, Picture, Picture], object] | None = None,
) -> Audit:
    """Compares all pictures of a data set in eight orientations or more, and what splits do with those that are alike.

    Figures: `pictures`, `classes`, `patients`, `patients in several classes`, `exact` and `near` (groups and pictures
    in them, `pairs` and of what kind, `sizes` of groups), `splits` (of each: images tested, shares of them whose
    patient, photograph or near-duplicate is trained on), `recall` (where names tell augmented copies), `predictors`
    (balanced accuracy of each fact alone, on other patients) and `metadata` (the same of the published rows).

    Args:
        least: correlation from which two pictures are near-duplicates.
        any_angle: compare their discs, turned by multiples of 12 degrees, in place of the squares by 90.
        each: called with every pair as it is found, and its two pictures; of volumes those of different patients.

    Raises:
        UserError: the cache is broken, or it was prepared before facts were kept.
    """
    pictures, thumbnails = _pictures(prepared)
    cases = prepared.cases
    splits = _divided(prepared, cases)
    of_photograph = prepared.spec.photograph_of
    tally = _Tally(
        pictures,
        parts={split.name: [parts[picture.case] for picture in pictures] for split, parts in splits},
        photographs=[of_photograph(picture.name) for picture in pictures] if of_photograph else None,
    )
    orientations = ANGLES if any_angle else ORIENTATIONS
    for pair in correlating(thumbnails, least, orientations, progress, disc=any_angle):
        first, second = pictures[pair.i], pictures[pair.j]
        if prepared.spec.task == "segmentation" and first.patient == second.patient:
            continue  # neighbouring slices of one volume resemble each other by nature
        tally.add(pair)
        if each:
            each(pair, first, second)
    facts = prepared.facts()
    figures = {
        "dataset": prepared.name,
        "fingerprint": prepared.fingerprint,
        "layout": prepared.layout,
        "pictures": len(pictures),
        **_balance(prepared),
        "near": _near(tally, least, any_angle),
        "exact": _exact(prepared),
        "splits": {split.name: _split_figures(prepared, cases, split, parts, tally) for split, parts in splits},
        "recall": _recall(tally.photographs, tally) if tally.photographs else None,
        "predictors": _predictors(cases, [facts[case.case] for case in cases]) if facts else {},
        "metadata": _metadata(prepared),
    }
    worst = [ranked[-1] for ranked in sorted(tally.worst, key=lambda ranked: ranked[:-1], reverse=True)]
    return Audit(figures, [(pair, pictures[pair.i], pictures[pair.j]) for pair in worst])


def _pictures(prepared: Prepared) -> tuple[list[Picture], np.ndarray]:
    """All pictures and their thumbnails (N, S, S)."""
    pictures: list[Picture] = []
    thumbnails: list[np.ndarray] = []
    for i, case in enumerate(prepared.cases):
        array = np.asarray(prepared.image(i))
        if prepared.spec.task == "classification":
            pictures.append(Picture(case.case, i, case.patient, case.label))
            thumbnails.append(thumbnail(array))
            continue
        pictures += [Picture(f"{case.case}[{z}]", i, case.patient, None) for z in range(len(array))]
        thumbnails += [thumbnail(grey_levels(plane)) for plane in array]
    return pictures, np.stack(thumbnails)


# -- splits --------------------------------------------------------------------------------------------------


def _divided(prepared: Prepared, cases: Sequence[Case]) -> list[tuple[Split, list[str | None]]]:
    """The splits that can be made of these cases, the data set's default first, with the part of each case."""
    default = prepared.spec.default_split[prepared.layout]
    divided: list[tuple[Split, list[str | None]]] = []
    for name in sorted(prepared.spec.splits, key=lambda name: name != default):
        try:
            split = make_split(prepared.spec, replace(prepared, cases=tuple(cases)), name)
            assigned = assign(cases, split)
        except UserError:
            continue
        part_of = {i: part for part, indices in assigned.indices.items() for i in indices}
        divided.append((split, [part_of.get(i) for i in range(len(cases))]))
    return divided


def _split_figures(
    prepared: Prepared, cases: Sequence[Case], split: Split, parts: list[str | None], tally: _Tally | None
) -> dict[str, Any]:
    """Test cases, and the shares of them (of slices, for near-duplicates) that training has seen something of."""
    train, test = (
        [case for case, of_case in zip(cases, parts, strict=True) if of_case == part] for part in ("train", "test")
    )
    known = patients_known(cases)
    figures: dict[str, Any] = {
        "flag": split.flag,
        "test": len(test),
        "patient": trained_share(train, test, lambda case: case.patient) if known else None,
    }
    of_photograph = prepared.spec.photograph_of
    if of_photograph:
        figures["photograph"] = trained_share(train, test, lambda case: of_photograph(case.case))
    if tally:
        val, tested = ([i for i, of_case in enumerate(parts) if of_case == part] for part in ("val", "test"))
        figures["validation"] = validated_share(prepared, val, tested)
        figures["near_duplicate"] = len(tally.leaked.get(split.name, ())) / tally.parts[split.name].count("test")
    return figures


# -- duplicates ----------------------------------------------------------------------------------------------


def _balance(prepared: Prepared) -> dict[str, Any]:
    """Cases of each class (or cases that show it, and its voxels), patients, and patients of several classes."""
    cases, classes = prepared.cases, prepared.spec.classes
    labels = _labels_by_patient(cases)
    if prepared.spec.task == "segmentation":
        shown = {name: sum(case.voxels[k] > 0 for case in cases) for k, name in enumerate(classes)}
        voxels = {name: sum(case.voxels[k] for case in cases) for k, name in enumerate(classes)}
        return {"cases": len(cases), "patients": len(labels), "cases with class": shown, "voxels": voxels}
    known = patients_known(cases)
    return {
        "cases": len(cases),
        "classes": {name: sum(case.label == k for case in cases) for k, name in enumerate(classes)},
        "patients": len(labels) if known else None,
        "patients in several classes": _of_several_classes(labels) if known else None,
    }


def _labels_by_patient(cases: Iterable[Case | Row]) -> dict[str, set[int | None]]:
    labels: dict[str, set[int | None]] = {}
    for case in cases:
        labels.setdefault(case.patient, set()).add(case.label)
    return labels


def _of_several_classes(labels: dict[str, set[int | None]]) -> int:
    return sum(len(of_patient) > 1 for of_patient in labels.values())


def _near(tally: _Tally, least: float, any_angle: bool) -> dict[str, Any]:
    sizes = Counter(map(len, tally.joined()))
    kinds = ("pairs", "of one patient", "across classes", "turned or mirrored")
    return {
        "correlation": least,
        "any angle": any_angle,
        **{kind: tally.counts[kind] for kind in kinds},
        "groups": sizes.total(),
        "pictures": sum(size * n for size, n in sizes.items()),
        "sizes": {str(size): n for size, n in sorted(sizes.items())},
    }


def _exact(prepared: Prepared) -> dict[str, int]:
    """Cases whose pixels are the same to the bit."""
    sizes = Counter(entry["image_sha256"] for entry in prepared.manifest["cases"]).values()
    several = [size for size in sizes if size > 1]
    return {"groups": len(several), "cases": sum(several)}


def _recall(photographs: list[str], tally: _Tally) -> dict[str, Any] | None:
    """Of the pairs of one photograph, as the names tell them, how many were found without the names; None: no pairs."""
    sizes = Counter(photographs).values()
    if max(sizes) < 2:
        return None
    found, all_found = tally.counts["of one photograph"], tally.counts["pairs"]
    return {
        "pairs": sum(size * (size - 1) // 2 for size in sizes),
        "found": found,
        "pictures": sum(size for size in sizes if size > 1),
        "linked": len(tally.linked),
        "precision": found / all_found if all_found else None,
    }


# -- predictors ----------------------------------------------------------------------------------------------


def _metadata(prepared: Prepared) -> dict[str, Any] | None:
    """The published rows, whether their files are there or not: patients, predictors, what random splits leak."""
    rows = prepared.rows()
    if not rows:
        return None
    present, named = {case.case for case in prepared.cases}, {row.case for row in rows}
    cases = [Case(row.case, row.patient, (1, 1, 1), None, 0, label=row.label) for row in rows]
    classes, labels = prepared.spec.classes, _labels_by_patient(rows)
    return {
        "rows": len(rows),
        "rows without a file": len(named - present),
        "files without a row": len(present - named),
        "classes": {name: sum(row.label == k for row in rows) for k, name in enumerate(classes)},
        "patients": {name: sum(k in of_patient for of_patient in labels.values()) for k, name in enumerate(classes)},
        "patients in several classes": _of_several_classes(labels),
        "splits": {
            split.name: _split_figures(prepared, cases, split, parts, None)
            for split, parts in _divided(prepared, cases)
        },
        "predictors": _predictors(cases, [row.facts for row in rows]),
    }


def _predictors(cases: Sequence[Case], facts: Sequence[dict[str, str | int]]) -> dict[str, float]:
    """Fact -> balanced accuracy with which it alone tells the class, on patients that it was not learnt from.

    A small tree (16 leaves) in five folds by patient. Facts that are the same for all cases are left out, and those
    that no case of a class has: of which class a table is without a column says nothing of pictures.
    """
    labels = np.array([case.label for case in cases])
    patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
    accuracies = {}
    for name in sorted({key for of_case in facts for key in of_case} - _FILING):
        values = [of_case.get(name, "") for of_case in facts]
        told = {label for label, value in zip(labels, values, strict=True) if value != ""}
        if len(set(values)) > 1 and told == set(labels):
            accuracies[name] = _accuracy(values, labels, patients)
    return {name: accuracy for name, accuracy in accuracies.items() if accuracy is not None}


def _accuracy(values: list[str | int], labels: np.ndarray, patients: np.ndarray) -> float | None:
    """Balanced accuracy of one fact, None where a class has fewer than five patients, or there is one class."""
    import pandas as pd
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.tree import DecisionTreeClassifier

    blank_as_number = np.array([-1 if value == "" else value for value in values], dtype=object)
    table = pd.to_numeric(blank_as_number, errors="coerce").astype(float)[:, None]
    if not np.isfinite(table).all():
        common = [value for value, _ in Counter(values).most_common(64)]
        table = np.array([[value == category for category in common] for value in values], dtype=float)
    if min(len(np.unique(patients[labels == k])) for k in np.unique(labels)) < 5 or len(np.unique(labels)) < 2:
        return None
    predicted = np.zeros_like(labels)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(table, labels, patients):
        tree = DecisionTreeClassifier(max_leaf_nodes=16, class_weight="balanced", random_state=0)
        predicted[test] = tree.fit(table[train], labels[train]).predict(table[test])
    return float(balanced_accuracy_score(labels, predicted))
