"""What the rows of a cases.csv must be before a table takes them: each case once, whole, and with scores that exist."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bench.records.rows import comparison_of, task_of

if TYPE_CHECKING:
    import pandas as pd

_IMAGE = ["part", "weights", "case"]
_SHARES = ("dice", "jaccard", "sensitivity", "precision", "nsd")  # what starts so is a share; other scores: distances
_TESTED = ("case", "patient", "class", "reference", "reference_voxels")  # what the models of one table must agree in


def odd_scores(rows: pd.DataFrame, record: dict[str, Any], scores: Iterable[str]) -> str | None:
    """What is wrong with the rows of a record's cases.csv, in words; None where they are what it counts.

    Args:
        rows: all parts and weights. scores: the columns of the task's scores, some of which older files lack.
    """
    import pandas as pd

    names = record["dataset"]["classes"][1 if task_of(record) == "segmentation" else 0 :]
    numbers: dict[tuple[str, ...], int] = {}
    images = zip(*(rows[column].tolist() for column in _IMAGE), strict=True)
    image = np.array([numbers.setdefault(place, len(numbers)) for place in images])
    label = pd.Index(names).get_indexer(rows["class"])
    if label.min() < 0 or not (np.bincount(image * len(names) + label) == 1).all() or len(rows) % len(names):
        return _not_each_once(rows, names)
    tested = len(np.unique(image[is_tested(rows)]))
    expected = record["dataset"]["counts"]["test"]["cases"]
    if tested != expected:
        return f"has {tested} test cases, where its record counts {expected}"
    for column in scores:
        possible = in_range(rows[column].to_numpy(float), column) if column in rows else np.ones(len(rows), bool)
        if not possible.all():
            odd = rows.loc[~possible]
            return f"has {odd[column].iloc[0]} as {column} of {_shown(odd)}, which it cannot be"
    if "probability" not in rows:
        return None
    sums = [np.bincount(image, rows[column]) for column in ("reference", "predicted")]
    odd_image = np.any([total != 1 for total in sums], axis=0)[image]
    return f"names not one class, true and predicted, at {_shown(rows[odd_image])}" if odd_image.any() else None


def _not_each_once(rows: pd.DataFrame, names: list[str]) -> str:
    """Names a row that is there twice, or a case that has not one row for each class."""
    twice = rows[rows.duplicated([*_IMAGE, "class"])]
    if len(twice):
        return f"has rows twice, such as {_shown(twice)}"
    is_whole = rows.groupby(_IMAGE)["class"].transform("size") == len(names)
    strange = rows[~(rows["class"].isin(names) & is_whole)]
    return f"has not one row for each of the classes {', '.join(names)[:200]} at {_shown(strange)}"


def is_tested(rows: pd.DataFrame) -> np.ndarray:
    """Whether each row is of the test part, under one of the two sets of weights that every cell is scored with."""
    return np.asarray((rows["part"].to_numpy() == "test") & (rows["weights"].to_numpy() == "best-val"))


def in_range(values: np.ndarray, column: str) -> np.ndarray:
    """Whether each value can be one of its column: a share, a distance, 0 or 1; blanks are left to the empty policy."""
    if column in ("reference", "predicted"):
        return (values == 0) | (values == 1)
    is_share = column == "probability" or column.startswith(_SHARES)
    within = (values >= 0) & (values <= (1 + 1e-6 if is_share else math.nextafter(math.inf, 0)))
    return within if column == "probability" else within | np.isnan(values)


def _shown(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"case {first['case'][:60]!r}, class {first['class'][:60]!r}"


def tested_as(rows: pd.DataFrame) -> int:
    """What a cell was tested on as a number: its cases, whose they are, and what is true of them, in any order."""
    return int(row_hashes(rows[is_tested(rows)]).sum())


def row_hashes(rows: pd.DataFrame) -> np.ndarray:
    """(N,) uint64: of each row what the models of one table must agree in."""
    import pandas as pd

    known = [column for column in _TESTED if column in rows]
    numbers = {column: rows[column].astype(float) for column in known if column.startswith("reference")}
    return np.asarray(pd.util.hash_pandas_object(rows[known].assign(**numbers), index=False), np.uint64)


def tested_otherwise(
    cells: Iterable[tuple[dict[str, Any], int]], cases: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    """Key -> why a cell cannot be compared: most cells of its comparison and fold were tested on other cases or truths.

    Of two equally frequent sets of cases the first one counts. Folds of one comparison have no test case in common:
    where some do, two divisions were run, and the one that more cells are of counts.

    Args:
        cells: record and `tested_as` of each. cases: key -> the test cases of each cell that is a fold (`fold_cases`).
    """
    comparisons: dict[str, list[_Tested]] = {}
    for record, tested in cells:
        of_cell = _Tested(record["key"], record["cell"]["fold"], tested)
        comparisons.setdefault(comparison_of(record), []).append(of_cell)
    reasons = {}
    for comparison, members in comparisons.items():
        counts = Counter((one.fold, one.tested) for one in members)
        own = {(one.fold, one.tested): cases.get(one.key, frozenset()) for one in members}
        taken = max(
            (_division(first, counts, own) for first in counts), key=lambda found: sum(counts[k] for k in found)
        )
        for one in members:
            if (one.fold, one.tested) not in taken:
                count = next((counts[place] for place in taken if place[0] == one.fold), 0) or len(members) - 1
                what = "holds other test cases, patients or references than"
                reasons[one.key] = f"{what} {count} other cells of comparison {comparison}"
    return reasons


class _Tested(NamedTuple):
    key: str
    fold: int | None
    tested: int


def _division(
    first: tuple[int | None, int],
    counts: Counter[tuple[int | None, int]],
    cases: Mapping[tuple[int | None, int], frozenset[str]],
) -> list[tuple[int | None, int]]:
    """A set of test cases for each fold, none of which shares a case with another, the most frequent ones first."""
    taken = [first]
    for place, _ in counts.most_common():
        apart = all(place[0] != other[0] and not cases[place] & cases[other] for other in taken)
        taken += [place] if apart else []
    return taken


def fold_cases(rows: Iterable[pd.DataFrame], folds: Mapping[int, str]) -> dict[str, frozenset[str]]:
    """Key -> the test cases of cells that are folds.

    Args:
        rows: of all cells, with their numbers as `cell`. folds: number -> key of those that are folds.
    """
    found: dict[str, frozenset[str]] = {}
    for part in rows if folds else ():
        own = part[part["cell"].isin(list(folds)) & is_tested(part)]
        for number, of_cell in own.groupby("cell")["case"]:
            found[folds[cast(int, number)]] = frozenset(of_cell)
    return found
