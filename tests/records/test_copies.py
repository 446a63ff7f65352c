"""Copies of a cell, cells of one name, and the committed example inside a folder of results: each counts once."""

from __future__ import annotations

import shutil
from pathlib import Path

from stored_records import RECORDS, a_record_of, change, change_cell, cut, invoke, the_cell

import bench
from bench.records import store
from bench.report.render import results_tables


def test_copies_of_a_cell_count_once_and_the_complete_one_first(results: Path) -> None:
    folder = the_cell(results, "acdc")
    (folder / "weights.safetensors").write_bytes(b"w")
    failed, bare = results / "runs" / "a" / folder.name, folder.with_name(f"0 {folder.name} copy")
    for copy in (failed, bare):
        shutil.copytree(folder, copy)
    change(failed / "record.json", "status", to="failed")
    (bare / "weights.safetensors").unlink()
    found = {record["key"]: place for place, record in store.read_records(results).records}
    assert len(found) == 2
    assert folder in found.values()
    assert len(bench.load_cells(results)) == 2
    assert not bench.load_results(results).duplicated(["key", "part", "weights", "case", "class", "metric"]).any()


def test_a_damaged_copy_is_named_and_the_whole_one_counts(results: Path) -> None:
    folder = the_cell(results, "acdc")
    copy = folder.with_name("0 copy")
    shutil.copytree(folder, copy)
    cut(copy / "cases.csv")
    found = store.read_records(results)
    assert folder in [place for place, _ in found.records]
    assert str(copy) in found.notes[0]


def test_two_cells_of_one_name_and_seed_are_named_and_the_other_tables_stay(results: Path) -> None:
    folder = the_cell(results, "acdc")
    copy = folder.with_name("0-aaaaaaaaaaaa")
    shutil.copytree(folder, copy)
    key = change_cell(copy / "record.json", "model", "config", to={"stem": 24})
    (table,), (note,) = results_tables(results)
    assert table.name == "msld"
    assert key in note.partition("has several cells (")[2].partition(")")[0].split(", ")


def test_the_results_around_the_example_are_not_the_example(tmp_path: Path) -> None:
    folder = a_record_of("segmentation")
    shutil.copytree(folder, tmp_path / "results" / "example" / "records" / folder.relative_to(RECORDS))
    for place in (tmp_path, tmp_path / "results"):
        assert not store.find_records(place)
        assert bench.load_results(place).empty
        result = invoke("report", "--results", str(place))
        assert result.exit_code == 2
        assert "No records in" in result.output
    for named in ("results/example", "results/example/records", "results/example/records/acdc"):
        assert len(bench.load_cells(tmp_path / named)) == 1
