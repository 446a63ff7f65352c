"""The rows of many cases.csv at once: parsing one file takes longer than reading what is in it.

Files of one task, one header, the same classes and as many test cases are parsed as one text and checked as one frame.
Where that fails, for any reason, each file of the batch is parsed and checked alone, so that the odd one is named.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records.case_columns import CASE_COLUMNS, OLDEST, PLACE, SCORE_COLUMNS
from bench.records.damage import Damaged
from bench.records.rows import task_of
from bench.records.scores import are_plain, tested_as, tested_each

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**23  # bytes that are parsed at once


@dataclass(frozen=True, eq=False)
class Stored:
    """One cell's cases.csv, as it was written. `place` is its cell's, in the order of reading."""

    place: int
    path: Path
    record: dict[str, Any]
    content: bytes

    @property
    def kind(self) -> tuple[Any, ...]:
        """What files of one batch share."""
        header = self.content.partition(b"\n")[0]
        return task_of(self.record), header, tuple(self.record["dataset"]["classes"]), self.counted

    @property
    def counted(self) -> Any:
        """How many test cases the record counts."""
        return self.record["dataset"]["counts"]["test"]["cases"]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of some cells. `places` and `lengths`: whose they are, and how many each has, in order."""

    frame: pd.DataFrame
    places: list[int]
    lengths: list[int]
    tested: list[int]

    def of_keys(self, keys: Sequence[str]) -> pd.DataFrame:
        """The rows with the key of their cell, without those of files whose key is blank."""
        if not all(keys):
            is_kept = np.repeat([bool(key) for key in keys], self.lengths)
            lengths = [length for key, length in zip(keys, self.lengths, strict=True) if key]
            return self.frame[is_kept].assign(key=np.repeat([key for key in keys if key], lengths))
        return self.frame.assign(key=np.repeat(list(keys), self.lengths))


@dataclass(frozen=True, eq=False)
class Unusable:
    """A file that cannot be used: its place, and why."""

    place: int
    why: Damaged


def read_many(files: Sequence[Stored], check: Callable[[Stored], pd.DataFrame]) -> Iterator[Rows | Unusable]:
    """The rows of all files in batches, and the files that cannot be used.

    Args:
        check: the rows of one file; raises Damaged.
    """
    kinds: dict[tuple[Any, ...], list[Stored]] = {}
    for file in files:
        kinds.setdefault(file.kind, []).append(file)
    for of_kind in kinds.values():
        for batch in _batches(of_kind):
            rows = _together(batch) if len(batch) > 1 else None
            if rows is not None:
                yield rows
                continue
            for file in batch:
                try:
                    frame = check(file)
                except Damaged as error:
                    yield Unusable(file.place, error)
                else:
                    yield Rows(frame, [file.place], [len(frame)], [tested_as(frame)])


def _batches(files: Sequence[Stored]) -> Iterator[list[Stored]]:
    batch: list[Stored] = []
    size = 0
    for file in files:
        if batch and size + len(file.content) > LARGEST:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file.content)
    yield batch


def _together(batch: Sequence[Stored]) -> Rows | None:
    """The rows of files of one kind; None where a line is not a row in any of them, or a score cannot be what it is."""
    bodies = [file.content.partition(b"\n")[2] for file in batch]
    if any(b'"' in body or b"\r" in body or not body.endswith(b"\n") for body in bodies):
        return None  # a line may be a part of a row
    lengths = [body.count(b"\n") for body in bodies]
    task, header, names, counted = batch[0].kind
    try:
        frame = parse_cases(b"\n".join([header, b"".join(bodies)]), task)
    except (KeyError, ValueError, TypeError):
        return None
    if len(frame) != sum(lengths) or min(lengths) == 0:
        return None
    file = np.repeat(np.arange(len(batch)), lengths)
    if not are_plain(frame, file, names[1 if task == "segmentation" else 0 :], counted, SCORE_COLUMNS[task]):
        return None
    return Rows(frame, [one.place for one in batch], lengths, tested_each(frame, file))


@lru_cache(maxsize=1024)  # a plan reads its results several times: for estimates, for differences, for notes
def read_parsed(content: bytes, task: str) -> pd.DataFrame:
    """The rows of a cases.csv, not to be changed."""
    return parse_cases(content, task)


def parse_cases(content: bytes, task: str) -> pd.DataFrame:
    """The rows of a cases.csv, or of several below one header; probabilities by Python's own float, to all digits."""
    import pandas as pd

    text = dict.fromkeys((*PLACE, "outcome", "probability"), str)
    blank = {column: [""] for column in CASE_COLUMNS[task] if column not in text}
    frame = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=blank)
    lacking = [column for column in (*PLACE, *SCORE_COLUMNS[task][:OLDEST]) if column not in frame]
    words = [column for column in blank if column in frame and not pd.api.types.is_numeric_dtype(frame[column])]
    if lacking or frame.empty or words:
        first = f"words in the column {words[0]}" if len(frame) else "a header alone"
        raise ValueError(f"no column {lacking[0]}" if lacking else first)
    return frame.assign(probability=frame["probability"].map(float)) if task == "classification" else frame
