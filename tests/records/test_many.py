"""Many cases.csv are parsed at once: the rows are those of each file alone, and an odd file is still named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from few_records import copy_comparison
from stored_records import change_cases

from bench.records import case_rows
from bench.records.store import load_cells_and_cases

MODELS = ("mednext_tiny", "resnet10t", "deit_tiny")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return copy_comparison(tmp_path / "results", "ff006374aa7c", MODELS)


def ordered(cases: pd.DataFrame) -> pd.DataFrame:
    places = ["key", "part", "weights", "case", "class"]
    return cases.sort_values(places, ignore_index=True)


def test_rows_are_those_of_each_file_alone(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: Counter[int] = Counter()
    parse = case_rows.parse_cases
    monkeypatch.setattr(case_rows, "parse_cases", lambda content, task: (parsed.update([1]), parse(content, task))[1])
    together = load_cells_and_cases(results)
    assert parsed[1] == 1, "nine files, one text"
    monkeypatch.setattr(case_rows, "_together", lambda _: None)
    alone = load_cells_and_cases(results)
    assert len(together[1]) > 1000
    pd.testing.assert_frame_equal(ordered(together[1]), ordered(alone[1]))
    pd.testing.assert_frame_equal(together[0], alone[0])


@pytest.mark.parametrize("odd", ["twice", "negative", "class", "quoted", "words"], ids=lambda odd: f"{odd}")
def test_an_odd_file_is_named_and_the_others_stay(results: Path, odd: str) -> None:
    record = sorted(results.rglob("record.json"))[4]

    def spoil(rows: pd.DataFrame) -> pd.DataFrame:
        if odd == "twice":
            return pd.concat([rows, rows.tail(1)])
        column, value = {
            "negative": ("probability", "-0.1"),
            "class": ("class", "Nothing"),
            "quoted": ("case", 'a "b"\nc'),
            "words": ("predicted", "yes"),
        }[odd]
        rows.loc[0, column] = value
        return rows

    change_cases(record, spoil)
    cells, cases = load_cells_and_cases(results)
    assert len(cells) == 8
    assert cases["key"].nunique() == 8
    (note,) = cells.attrs["notes"]
    assert note.startswith("Left out: ")
    assert record.parent.name in note
