"""Records held against cells that were trained again: the verdicts, and what of the environment differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.reproduced import DIFFERENT, IDENTICAL, NOT_RUN, WITHIN, differences, reproduced, reproduced_sheet
from bench.records import store
from bench.report.sheets import render_sheets

EXAMPLE = Path(__file__).parents[2] / "results" / "example" / "records"
FOLDERS = {
    "segmentation": next(iter(sorted(EXAMPLE.glob("acdc/unet_s/0-*")))),
    "classification": next(iter(sorted(EXAMPLE.glob("msld/resnet10t/0-*")))),
}


def again(folder: Path, place: Path, change: Any = None, **record: Any) -> Path:
    """A copy of a cell with a changed cases.csv and record."""
    shutil.copytree(folder, place)
    stored = json.loads((place / "record.json").read_text()) | record
    if change is not None:
        text = change((place / "cases.csv").read_text())
        (place / "cases.csv").write_text(text)
        stored["cases_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (place / "record.json").write_text(json.dumps(stored))
    return place


def scaled(column: str, factor: float) -> Any:
    """Scores of every case times a factor."""

    def change(text: str) -> str:
        header, *rows = text.splitlines()
        at = header.split(",").index(column)
        cells = [row.split(",") for row in rows]
        for row in cells:
            row[at] = repr(float(row[at]) * factor) if row[at] else ""
        return "\n".join([header, *map(",".join, cells)]) + "\n"

    return change


def record_of(folder: Path) -> dict[str, Any]:
    record = store.read_record(folder)
    assert record is not None
    return record


@pytest.mark.parametrize("task", FOLDERS)
def test_the_same_bytes_are_identical_and_a_changed_history_is_within(task: str, tmp_path: Path) -> None:
    folder = FOLDERS[task]
    row = reproduced(folder, record_of(folder), again(folder, tmp_path / "a"))
    assert (row.verdict, row.differences, row.holds) == (IDENTICAL, (), True)
    assert row.low < row.recorded < row.high
    other = again(folder, tmp_path / "b")
    (other / "history.csv").write_text((other / "history.csv").read_text().replace("1", "2"))
    assert reproduced(folder, record_of(folder), other).verdict == WITHIN


@pytest.mark.parametrize(("factor", "verdict"), [(0.9999, WITHIN), (0.5, DIFFERENT)])
def test_scores_are_held_against_the_interval(factor: float, verdict: str, tmp_path: Path) -> None:
    folder = FOLDERS["segmentation"]
    place = again(folder, tmp_path / "a", scaled("dice_strict", factor))
    row = reproduced(folder, record_of(folder), place)
    assert row.verdict == verdict
    assert row.again == pytest.approx(factor * row.recorded)


def test_a_cell_that_fails_now_is_not_reproduced_and_says_why(tmp_path: Path) -> None:
    folder = FOLDERS["segmentation"]
    failed = again(folder, tmp_path / "a", status="failed", error="ValueError: no", metrics=None, cases_sha256=None)
    row = reproduced(folder, record_of(folder), failed)
    assert (row.verdict, row.holds, row.differences[0]) == (NOT_RUN, False, "failed: ValueError: no")
    assert reproduced(folder, record_of(folder), tmp_path / "none").differences == ("it was not finished",)


def test_what_of_two_environments_differs_is_named() -> None:
    old = {"environment": {"cpu": "A", "threads": 2, "commit": "a" * 40, "versions": {"torch": "1", "numpy": "2"}}}
    new = {"environment": {"cpu": "B", "threads": 2, "commit": "b" * 40, "versions": {"torch": "3", "numpy": "2"}}}
    expected = ["cpu A -> B", "commit aaaaaaaaaaaa -> bbbbbbbbbbbb", "torch 1 -> 3"]
    assert list(differences(old, new)) == expected
    assert list(differences(old, old)) == []


def test_the_table_says_what_was_compared(tmp_path: Path) -> None:
    folder = FOLDERS["segmentation"]
    record = record_of(folder)
    sheet = reproduced_sheet([reproduced(folder, record, again(folder, tmp_path / "a"))])
    text = render_sheets([sheet], "markdown")
    assert "1 of 1 cells reproduced" in text
    assert "| bit-identical |" in text
    assert "Nothing differs in versions, threads, CPU and commit." in text
