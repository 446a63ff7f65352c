"""The rows of many cells' cases.csv read together: what costs most with thousands of cells is the start of each file.

Files of one task, one header and the same classes are parsed as one table and checked as one. What is not plain, a file
that no program of ours wrote so or with a score that cannot be, is read by itself, and its fault is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.records.rows import task_of
from bench.records.scores import in_range, is_tested, row_hashes

if TYPE_CHECKING:
    import pandas as pd

Parse = Callable[[bytes, str], "pd.DataFrame"]


class Together(NamedTuple):
    """Many cells' rows, one cell's after another's; `counts` of each; `tested_as` of each; `plain`: nothing is odd."""

    rows: pd.DataFrame
    counts: np.ndarray
    tested_as: np.ndarray
    plain: np.ndarray


def groups_of(records: Sequence[dict[str, Any]], contents: Sequence[bytes]) -> list[list[int]]:
    """Which files may be read together, by number: those of one task, the same classes and one header."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, (record, content) in enumerate(zip(records, contents, strict=True)):
        header = content[: content.find(b"\n") + 1]
        groups.setdefault((task_of(record), tuple(record["dataset"]["classes"]), header), []).append(number)
    return list(groups.values())


def read_together(
    records: Sequence[dict[str, Any]], contents: Sequence[bytes], parse: Parse, scores: Sequence[str]
) -> Together | None:
    """The rows of files that `groups_of` put together; None where they cannot be read as one.

    Args:
        parse: reads one file's content, as of a task. scores: the task's columns of scores.
    """
    header = contents[0][: contents[0].find(b"\n") + 1]
    is_plain = all(b'"' not in content and b"\r" not in content and content[-1:] == b"\n" for content in contents)
    if not header or not is_plain:
        return None
    counts = np.array([content.count(b"\n") - 1 for content in contents])
    try:
        rows = parse(header + b"".join(content[len(header) :] for content in contents), task_of(records[0]))
    except (KeyError, ValueError, TypeError):
        return None
    if len(rows) != counts.sum() or not counts.all():  # blank lines, or a header alone
        return None
    cell = np.repeat(np.arange(len(contents)), counts)
    return Together(rows, counts, _tested(rows, cell), _plain(rows, cell, records, scores))


def _tested(rows: pd.DataFrame, cell: np.ndarray) -> np.ndarray:
    """For each cell a number of what it was tested on, whatever the order of its rows."""
    tested = is_tested(rows)
    numbers = np.zeros(cell[-1] + 1, np.uint64)
    np.add.at(numbers, cell[tested], row_hashes(rows[tested]))
    return numbers


def _plain(
    rows: pd.DataFrame, cell: np.ndarray, records: Sequence[dict[str, Any]], scores: Sequence[str]
) -> np.ndarray:
    """For each cell whether `bench.records.scores.odd_scores` finds nothing in it."""
    import pandas as pd

    names = records[0]["dataset"]["classes"][1 if task_of(records[0]) == "segmentation" else 0 :]
    image, label = cell.astype(np.int64), pd.Index(names).get_indexer(rows["class"])
    for column in ("part", "weights", "case"):
        codes, values = pd.factorize(rows[column])
        image = np.unique(image * len(values) + codes, return_inverse=True)[1]
    images, odd = int(image.max()) + 1, label < 0
    times = np.bincount(image * len(names) + np.maximum(label, 0), minlength=images * len(names))
    odd |= (times.reshape(images, len(names)) != 1).any(axis=1)[image]
    for column in scores:
        if column in rows:
            odd |= ~in_range(rows[column].to_numpy(float), column)
    for column in ("reference", "predicted") if "probability" in rows else ():
        odd |= (np.bincount(image, rows[column].to_numpy(float)) != 1)[image]
    cell_of_image = np.zeros(images, np.int64)
    cell_of_image[image] = cell
    is_test = np.zeros(images, bool)
    is_test[image[is_tested(rows)]] = True
    expected = [record["dataset"]["counts"]["test"]["cases"] for record in records]
    plain = np.bincount(cell_of_image[is_test], minlength=len(records)) == expected
    plain[np.unique(cell[odd])] = False
    return np.asarray(plain)
