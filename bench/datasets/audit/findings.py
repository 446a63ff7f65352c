"""The audit of a prepared data set: duplicates, leaks of its splits, and what predicts a label without the picture."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.base import Case
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.duplicates import CORRELATION, join_at, roots, thumbnail
from bench.datasets.splits.pairs import ANGLES, ORIENTATIONS, Pair, Progress, correlating
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared, Row

WORST = 24
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
    """What is counted while the pairs go by; its memory grows with the pictures, not with the pairs."""

    pictures: list[Picture]
    parts: dict[str, list[str | None]]
    photographs: list[str] | None
    parent: list[int]
    counts: Counter[str] = field(default_factory=Counter)
    linked: set[int] = field(default_factory=set)
    seen: dict[str, set[int]] = field(default_factory=dict)
    worst: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        one, two = self.pictures[pair.i], self.pictures[pair.j]
        counts = self.counts
        counts["pairs"] += 1
        counts["of one patient"] += one.patient == two.patient
        counts["across classes"] += one.label != two.label
        join_at(self.parent, pair.i, pair.j)
        if pair.degrees or pair.mirrored:
            counts["turned or mirrored"] += 1
        if self.photographs and self.photographs[pair.i] == self.photographs[pair.j]:
            counts["of one photograph"] += 1
            self.linked |= {pair.i, pair.j}
        across = False
        for split, parts in self.parts.items():
            found = {parts[pair.i], parts[pair.j]}
            if found == {"train", "test"}:
                across = across or split == next(iter(self.parts))
                self.seen[split].add(pair.i if parts[pair.i] == "test" else pair.j)
        rank = (across, one.label != two.label, one.patient != two.patient, pair.correlation, -pair.i, -pair.j)
        heapq.heappush(self.worst, (*rank, pair))
        if len(self.worst) > WORST:
            heapq.heappop(self.worst)


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
    pictures, small = _pictures(prepared)
    cases = prepared.cases
    splits = {name: parts for name in _ordered(prepared) if (parts := _parts(prepared, cases, name))}
    of_photograph = prepared.spec.photograph_of
    tally = _Tally(
        pictures=pictures,
        parts={name: [parts[p.case] for p in pictures] for name, parts in splits.items()},
        photographs=[of_photograph(p.name) for p in pictures] if of_photograph else None,
        parent=list(range(len(pictures))),
        seen={name: set() for name in splits},
    )
    orientations = ANGLES if any_angle else ORIENTATIONS
    for pair in correlating(small, least, orientations, progress, disc=any_angle):
        one, two = pictures[pair.i], pictures[pair.j]
        if prepared.spec.task == "segmentation" and one.patient == two.patient:
            continue  # neighbouring slices of one volume resemble each other by nature
        tally.add(pair)
        if each:
            each(pair, one, two)
    facts = prepared.facts()
    figures = {
        "dataset": prepared.name,
        "fingerprint": prepared.fingerprint,
        "layout": prepared.layout,
        "pictures": len(pictures),
        **_balance(prepared),
        "near": _near(tally, least, any_angle),
        "exact": _exact(prepared),
        "splits": {name: _split_figures(prepared, cases, parts, tally, name) for name, parts in splits.items()},
        "recall": _recall(tally) if tally.photographs else None,
        "predictors": _predictors(cases, [facts[case.case] for case in cases]) if facts else {},
        "metadata": _metadata(prepared),
    }
    worst = [row[-1] for row in sorted(tally.worst, key=lambda row: row[:-1], reverse=True)]
    return Audit(figures, [(pair, pictures[pair.i], pictures[pair.j]) for pair in worst])


def grey_levels(plane: np.ndarray) -> np.ndarray:
    """A slice (H, W) of any intensities as (1, H, W) uint8, from its least to its greatest."""
    low, high = float(plane.min()), float(plane.max())
    return np.round(255 * (plane - low) / max(high - low, 1e-12)).astype(np.uint8)[None]


def _pictures(prepared: Prepared) -> tuple[list[Picture], np.ndarray]:
    pictures: list[Picture] = []
    small: list[np.ndarray] = []
    for i, case in enumerate(prepared.cases):
        array = np.asarray(prepared.image(i))
        if prepared.spec.task == "classification":
            pictures.append(Picture(case.case, i, case.patient, case.label))
            small.append(thumbnail(array))
            continue
        pictures += [Picture(f"{case.case}[{z}]", i, case.patient, None) for z in range(len(array))]
        small += [thumbnail(grey_levels(plane)) for plane in array]
    return pictures, np.stack(small)


# -- splits --------------------------------------------------------------------------------------------------


def _ordered(prepared: Prepared) -> list[str]:
    """The data set's splits, its default first."""
    default = prepared.spec.default_split[prepared.layout]
    return sorted(prepared.spec.splits, key=lambda name: name != default)


def _parts(prepared: Prepared, cases: Sequence[Case], name: str) -> list[str | None] | None:
    """The part of each case, or None where the split cannot be made of what is present."""
    try:
        assigned = assign(cases, make_split(prepared.spec, replace(prepared, cases=tuple(cases)), name))
    except UserError:
        return None
    parts: list[str | None] = [None] * len(cases)
    for part, indices in assigned.indices.items():
        for i in indices:
            parts[i] = part
    return parts


def _split_figures(
    prepared: Prepared, cases: Sequence[Case], parts: list[str | None], tally: _Tally | None, name: str
) -> dict[str, Any]:
    """Test cases, and the shares of them (of slices, for near-duplicates) that training has seen something of."""
    train, test = ([i for i, of_case in enumerate(parts) if of_case == part] for part in ("train", "test"))
    known = any(case.patient != case.case for case in cases)
    patients = {cases[i].patient for i in train}
    figures: dict[str, Any] = {
        "flag": make_split(prepared.spec, replace(prepared, cases=tuple(cases)), name).flag,
        "test": len(test),
        "patient": sum(cases[i].patient in patients for i in test) / len(test) if known else None,
    }
    of_photograph = prepared.spec.photograph_of
    if of_photograph:
        photographs = {of_photograph(cases[i].case) for i in train}
        figures["photograph"] = sum(of_photograph(cases[i].case) in photographs for i in test) / len(test)
    if tally:
        tested = sum(part == "test" for part in tally.parts[name])
        figures["near_duplicate"] = len(tally.seen[name]) / tested
    return figures


# -- duplicates ----------------------------------------------------------------------------------------------


def _balance(prepared: Prepared) -> dict[str, Any]:
    """Cases of each class (or cases that show it, and its voxels), patients, and patients of several classes."""
    cases, classes = prepared.cases, prepared.spec.classes
    known = any(case.patient != case.case for case in cases)
    labels: dict[str, set[int | None]] = {}
    for case in cases:
        labels.setdefault(case.patient, set()).add(case.label)
    if prepared.spec.task == "segmentation":
        shown = {name: sum(case.voxels[k] > 0 for case in cases) for k, name in enumerate(classes)}
        voxels = {name: sum(case.voxels[k] for case in cases) for k, name in enumerate(classes)}
        return {"cases": len(cases), "patients": len(labels), "cases with class": shown, "voxels": voxels}
    return {
        "cases": len(cases),
        "classes": {name: sum(case.label == k for case in cases) for k, name in enumerate(classes)},
        "patients": len(labels) if known else None,
        "patients in several classes": sum(len(found) > 1 for found in labels.values()) if known else None,
    }


def _near(tally: _Tally, least: float, any_angle: bool) -> dict[str, Any]:
    sizes = Counter(Counter(roots(tally.parent)).values())
    groups = {size: n for size, n in sorted(sizes.items()) if size > 1}
    kinds = ("pairs", "of one patient", "across classes", "turned or mirrored")
    return {
        "correlation": least,
        "any angle": any_angle,
        **{kind: tally.counts[kind] for kind in kinds},
        "groups": sum(groups.values()),
        "pictures": sum(size * n for size, n in groups.items()),
        "sizes": {str(size): n for size, n in groups.items()},
    }


def _exact(prepared: Prepared) -> dict[str, int]:
    """Cases whose pixels are the same to the bit."""
    sizes = Counter(Counter(entry["image_sha256"] for entry in prepared.manifest["cases"]).values())
    return {
        "groups": sum(n for size, n in sizes.items() if size > 1),
        "cases": sum(size * n for size, n in sizes.items() if size > 1),
    }


def _recall(tally: _Tally) -> dict[str, Any]:
    """Of the pairs of one photograph, as the names tell them, how many were found without the names."""
    assert tally.photographs is not None
    sizes = Counter(tally.photographs).values()
    pairs = sum(size * (size - 1) // 2 for size in sizes)
    several = sum(size for size in sizes if size > 1)
    found, all_found = tally.counts["of one photograph"], tally.counts["pairs"]
    return {
        "pairs": pairs,
        "found": found,
        "pictures": several,
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
    cases = [_case_of(row) for row in rows]
    labels = Counter(row.label for row in rows)
    patients: dict[str, set[int]] = {}
    for row in rows:
        patients.setdefault(row.patient, set()).add(row.label)
    splits = {name: parts for name in _ordered(prepared) if (parts := _parts(prepared, cases, name))}
    return {
        "rows": len(rows),
        "rows without a file": len(named - present),
        "files without a row": len(present - named),
        "classes": {name: labels[k] for k, name in enumerate(prepared.spec.classes)},
        "patients": {
            name: sum(k in found for found in patients.values()) for k, name in enumerate(prepared.spec.classes)
        },
        "patients in several classes": sum(len(found) > 1 for found in patients.values()),
        "splits": {name: _split_figures(prepared, cases, parts, None, name) for name, parts in splits.items()},
        "predictors": _predictors(cases, [row.facts for row in rows]),
    }


def _case_of(row: Row) -> Case:
    return Case(row.case, row.patient, (1, 1, 1), None, 0, label=row.label)


def _predictors(cases: Sequence[Case], facts: Sequence[dict[str, str | int]]) -> dict[str, float]:
    """Fact -> balanced accuracy with which it alone tells the class, on patients that it was not learnt from.

    A small tree (16 leaves) in five folds by patient; facts that are the same for all cases are left out.
    """
    labels = np.array([case.label for case in cases])
    groups = np.unique([case.patient for case in cases], return_inverse=True)[1]
    found = {}
    for name in sorted({key for of_case in facts for key in of_case} - _FILING):
        values = [of_case.get(name, "") for of_case in facts]
        if len(set(values)) > 1:
            found[name] = _accuracy(values, labels, groups)
    return {name: accuracy for name, accuracy in found.items() if accuracy is not None}


def _accuracy(values: list[str | int], labels: np.ndarray, groups: np.ndarray) -> float | None:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.tree import DecisionTreeClassifier

    if all(isinstance(value, int) or _is_number(value) or value == "" for value in values):
        table = np.array([[-1.0 if value == "" else float(value)] for value in values])
    else:
        common = [value for value, _ in Counter(values).most_common(64)]
        table = np.array([[value == other for other in common] for value in values], dtype=float)
    if min(len(set(groups[labels == k].tolist())) for k in np.unique(labels)) < 5 or len(np.unique(labels)) < 2:
        return None
    predicted = np.zeros_like(labels)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(table, labels, groups):
        tree = DecisionTreeClassifier(max_leaf_nodes=16, class_weight="balanced", random_state=0)
        predicted[test] = tree.fit(table[train], labels[train]).predict(table[test])
    return float(balanced_accuracy_score(labels, predicted))


def _is_number(value: str) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except ValueError:
        return False
