"""An unpacked archive that is gone on with: records below `records` and below `runs` are one results folder."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from stored_records import change, invoke, the_cell

import bench
from bench.records import store
from bench.records.histories import find_folders
from bench.records.keeping import kept_cells, merge_results


@pytest.fixture
def both(results: Path) -> Path:
    """A results folder with a segmentation cell below `records` and a classification cell below `runs`."""
    (results / "records").mkdir()
    shutil.move(results / "runs" / "acdc", results / "records" / "acdc")
    return results


def record_of(results: Path, dataset: str) -> tuple[Path, dict[str, Any]]:
    (path,) = results.glob(f"r*/{dataset}/*/*/record.json")
    return path.parent, json.loads(path.read_text())


def place(results: Path, record: dict[str, Any]) -> Path:
    return store.place_of(results, record["cell"], record["model"]["name"])


def test_both_folders_are_read_and_archived(both: Path, tmp_path: Path) -> None:
    assert [folder.relative_to(both).parts[:2] for folder in store.find_records(both)] == [
        ("runs", "msld"),
        ("records", "acdc"),
    ]
    assert set(bench.load_cells(both)["dataset"]) == {"acdc", "msld"}
    done = invoke("results", "archive", str(tmp_path / "a.zip"), "--results", str(both))
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        zipped.extractall(tmp_path / "unpacked")
    assert len(store.read_records(tmp_path / "unpacked").records) == 2


def test_a_cell_that_is_done_below_records_is_run_there_and_others_below_runs(both: Path) -> None:
    folder, record = record_of(both, "acdc")
    below_runs = store.cell_folder(both, record["cell"], record["model"]["name"])
    assert place(both, record) == folder
    assert place(both, record_of(both, "msld")[1]) == the_cell(both, "msld")
    assert place(both, {**record, "cell": {**record["cell"], "seed": 77}}).is_relative_to(both / "runs")
    shutil.copytree(folder, below_runs)
    assert place(both, record) == below_runs
    shutil.rmtree(below_runs)
    change(folder / "record.json", "status", to="failed")
    assert place(both, record) == below_runs, "it is run anew"
    (folder / "checkpoint.pt").write_bytes(b"0")
    assert place(both, record) == folder, "it goes on"


def test_a_cell_that_was_begun_below_runs_too_is_the_finished_one(both: Path) -> None:
    folder, record = record_of(both, "acdc")
    begun = store.cell_folder(both, record["cell"], record["model"]["name"])
    begun.mkdir(parents=True)
    shutil.copy(folder / "cell.json", begun)
    (begun / "checkpoint.pt").write_bytes(b"0")
    assert place(both, record) == folder
    assert sorted(kept_cells(both)["status"]) == ["complete", "complete", "unfinished"]
    assert "complete" in invoke("results", "show", record["key"], "--results", str(both)).output
    shutil.copy(folder / "record.json", begun)
    change(begun / "record.json", "status", to="failed")
    assert find_folders(both, [record["key"]]) == {record["key"]: folder}


def test_a_merge_leaves_what_is_complete_below_records(both: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(both / "records", other / "runs")
    merged = merge_results(both, [other])
    assert (len(merged.copied), len(merged.kept)) == (0, 1)
    assert not (both / "runs" / "acdc").exists()
