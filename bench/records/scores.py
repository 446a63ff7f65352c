"""What the rows of a cases.csv must be before a table takes them: each case once, whole, and with scores that exist."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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


def tested_otherwise(cells: Iterable[tuple[dict[str, Any], int]]) -> dict[str, str]:
    """Key -> why a cell cannot be compared: most cells of its comparison and fold were tested on other cases or truths.

    Of two equally frequent sets of cases the first one counts.

    Args:
        cells: record and `tested_as` of each.
    """
    groups: dict[tuple[str, int | None], list[tuple[str, int]]] = {}
    for record, tested in cells:
        groups.setdefault((comparison_of(record), record["cell"]["fold"]), []).append((record["key"], tested))
    reasons = {}
    for (comparison, _), members in groups.items():
        common, count = Counter(tested for _, tested in members).most_common(1)[0]
        why = f"holds other test cases, patients or references than {count} other cells of comparison {comparison}"
        reasons.update({key: why for key, tested in members if tested != common})
    return reasons
