"""Packed rows of cases: the same tables, in less room; what is damaged, foreign or too large is one line."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import pandas as pd
import pytest
from stored_records import RECORDS, cut, invoke, the_cell

from bench.records import packed
from bench.records.checking import damage_in
from bench.records.keeping import merge_results
from bench.records.store import is_done, load_cases, read_record
from bench.report.archive import write_archive


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 1)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_tables_and_checks_are_the_same_from_packed_rows(results: Path) -> None:
    before, printed = load_cases(results), invoke("report", "--results", str(results)).output
    assert packed.pack(results) == 2
    for dataset in ("acdc", "msld"):
        assert files(the_cell(results, dataset)) == {"cell.json", "record.json", "history.csv", "cases.csv.xz"}
        assert is_done(the_cell(results, dataset))
    pd.testing.assert_frame_equal(load_cases(results), before)
    assert invoke("report", "--results", str(results)).output == printed
    assert damage_in(results) == (2, [])
    assert packed.pack(results) == 0, "a second time there is nothing to do"


def test_packed_bytes_are_those_that_were_packed(results: Path) -> None:
    cell = the_cell(results, "acdc")
    content = (cell / "cases.csv").read_bytes()
    packed.pack(results)
    assert packed.cases_file(cell).read_bytes() != content
    assert (
        packed.unpacked(packed.cases_file(cell).read_bytes())
        == content
        == lzma.decompress((cell / "cases.csv.xz").read_bytes())
    )


def test_rows_that_are_not_the_record_s_are_not_packed(results: Path) -> None:
    cut(the_cell(results, "acdc") / "cases.csv")
    (the_cell(results, "msld") / "cases.csv").unlink()
    assert packed.pack(results) == 0
    assert "cases.csv" in files(the_cell(results, "acdc"))


def test_small_files_stay_as_they_are(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 10**9)
    assert packed.pack(results) == 0


def test_a_plain_file_is_read_before_a_packed_one(results: Path) -> None:
    """A cell that was trained anew in its place writes `cases.csv` beside the packed rows of before."""
    cell = the_cell(results, "acdc")
    (cell / "cases.csv.xz").write_bytes(b"of another run")
    assert packed.cases_file(cell).name == "cases.csv"
    assert damage_in(results) == (2, [])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "cannot be unpacked, it is cut short. Copy it again"),
        (lambda path: path.write_bytes(b""), "cannot be unpacked, it is cut short"),
        (lambda path: path.write_bytes(b"part,weights\n"), "cannot be unpacked, it is no whole xz file"),
        (
            lambda path: path.write_bytes(lzma.compress(b"part,weights\n")),
            "is not the file that its record was written",
        ),
        (lambda path: path.unlink(), "cases.csv is missing"),
    ],
    ids=["cut", "empty", "plain", "other rows", "gone"],
)
def test_damaged_packed_rows_are_named_and_their_record_is_left_out(results: Path, damage: object, why: str) -> None:
    packed.pack(results)
    path = the_cell(results, "acdc") / "cases.csv.xz"
    assert callable(damage)
    damage(path)
    result = invoke("report", "--results", str(results))
    assert result.exit_code == 0
    assert why in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert set(load_cases(results)["key"]) == {
        json.loads((the_cell(results, "msld") / "record.json").read_text())["key"]
    }


def test_no_more_is_unpacked_than_rows_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST", 1000)
    with pytest.raises(ValueError, match="it holds more than a GiB"):
        packed.unpacked(lzma.compress(bytes(100_000)))


def test_an_archive_and_a_merge_take_packed_rows_along(results: Path, tmp_path: Path) -> None:
    packed.pack(results)
    archive = tmp_path / "a.zip"
    write_archive(archive, results)
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    pd.testing.assert_frame_equal(load_cases(tmp_path / "unpacked"), load_cases(results))
    assert len(merge_results(tmp_path / "merged", [results]).copied) == 2
    pd.testing.assert_frame_equal(load_cases(tmp_path / "merged"), load_cases(results))


def test_the_committed_packed_rows_are_read(tmp_path: Path) -> None:
    folder = next(path.parent for path in sorted((RECORDS / "sars-cov2-ct").rglob("cases.csv.xz")))
    shutil.copytree(folder, tmp_path / "runs" / "sars-cov2-ct" / "m" / folder.name)
    record = read_record(folder)
    assert record is not None
    assert set(load_cases(tmp_path)["key"]) == {record["key"]}
