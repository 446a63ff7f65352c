"""Packed rows of cases: the same tables, in less room; what is damaged, foreign or too large is one line."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from stored_records import RECORDS, change, cut, invoke, the_cell

from bench.records import packed, packing
from bench.records.checking import damage_in
from bench.records.keeping import merge_results
from bench.records.store import is_done, load_cases, read_record
from bench.report.archive import write_archive
from bench.runs.job import conclude


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LEAST", 1)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_tables_and_checks_are_the_same_from_packed_rows(results: Path) -> None:
    before, printed = load_cases(results), invoke("report", "--results", str(results)).output
    assert packing.pack(results) == 2
    for dataset in ("acdc", "msld"):
        assert files(the_cell(results, dataset)) == {"cell.json", "record.json", "history.csv", "cases.csv.xz"}
        assert is_done(the_cell(results, dataset))
    pd.testing.assert_frame_equal(load_cases(results), before)
    assert invoke("report", "--results", str(results)).output == printed
    assert damage_in(results) == (2, [])
    assert packing.pack(results) == 0, "a second time there is nothing to do"


def test_packed_bytes_are_those_that_were_packed(results: Path) -> None:
    cell = the_cell(results, "acdc")
    content = (cell / "cases.csv").read_bytes()
    packing.pack(results)
    assert packed.cases_file(cell).read_bytes() != content
    assert (
        packed.unpacked(packed.cases_file(cell).read_bytes())
        == content
        == lzma.decompress((cell / "cases.csv.xz").read_bytes())
    )


def test_rows_that_are_not_the_record_s_are_not_packed(results: Path) -> None:
    cut(the_cell(results, "acdc") / "cases.csv")
    (the_cell(results, "msld") / "cases.csv").unlink()
    assert packing.pack(results) == 0
    assert "cases.csv" in files(the_cell(results, "acdc"))


def test_small_files_stay_as_they_are(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LEAST", 10**9)
    assert packing.pack(results) == 0


def test_of_both_files_the_one_of_the_record_is_read(results: Path) -> None:
    cell = the_cell(results, "acdc")
    content = (cell / "cases.csv").read_bytes()
    (cell / "cases.csv.xz").write_bytes(b"of another run")
    assert damage_in(results) == (2, [])
    (cell / "cases.csv.xz").write_bytes(lzma.compress(content))
    cut(cell / "cases.csv")  # as `xz -dk` leaves it when it is interrupted
    assert damage_in(results) == (2, [])
    (cell / "cases.csv.xz").write_bytes(b"of another run")
    (line,) = damage_in(results)[1]
    assert "cases.csv.xz cannot be unpacked" in line


def test_a_cell_that_ends_leaves_no_packed_rows_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "cases.csv.xz").write_bytes(b"of another run")
    conclude(SimpleNamespace(folder=tmp_path), {"status": "complete"})  # type: ignore[arg-type]
    assert files(tmp_path) == {"record.json"}


def test_packing_again_writes_nothing_anew_and_takes_away_what_is_small_now(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = the_cell(results, "acdc")
    content = (cell / "cases.csv").read_bytes()
    other_level = lzma.compress(content, preset=0)
    (cell / "cases.csv.xz").write_bytes(other_level)
    assert packing.pack(results) == 2
    assert (cell / "cases.csv.xz").read_bytes() == other_level, "git sees no change where nothing changed"
    (cell / "cases.csv").write_bytes(content)
    monkeypatch.setattr(packing, "LEAST", 10**9)
    assert packing.pack(results) == 0
    assert "cases.csv.xz" not in files(cell)


def test_damaged_records_and_folders_that_are_not_there_end_no_packing(results: Path, tmp_path: Path) -> None:
    (the_cell(results, "acdc") / "record.json").write_text("[]")
    (the_cell(results, "msld") / "record.json").write_text("{")
    assert packing.pack(results) == 0
    for arguments, why in (([], "Name a folder of records"), ([str(tmp_path / "none")], "No folder")):
        command = [sys.executable, "-m", "bench.records.packing", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Error: {why}")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "cannot be unpacked: it is cut short. Copy it again"),
        (lambda path: path.write_bytes(b""), "cannot be unpacked: it is cut short"),
        (lambda path: path.write_bytes(b"part,weights\n"), "cannot be unpacked: it is no whole xz file"),
        (
            lambda path: path.write_bytes(lzma.compress(b"part,weights\n")),
            "is not the file that its record was written",
        ),
        (lambda path: path.unlink(), "cases.csv is missing"),
    ],
    ids=["cut", "empty", "plain", "other rows", "gone"],
)
def test_damaged_packed_rows_are_named_and_their_record_is_left_out(results: Path, damage: object, why: str) -> None:
    packing.pack(results)
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


def test_no_more_is_unpacked_than_rows_can_be(results: Path) -> None:
    """A few kilobytes that hold more zeros than rows can be, beside a record that names their hash."""
    packing.pack(results)
    cell = the_cell(results, "acdc")
    bomb = bytes(packed.MOST + 1)
    (cell / "cases.csv.xz").write_bytes(lzma.compress(bomb, preset=0))
    change(cell / "record.json", "cases_sha256", to=hashlib.sha256(bomb).hexdigest())
    result = invoke("report", "--results", str(results))
    assert (result.exit_code, "Traceback" in result.output) == (0, False)
    assert "cannot be unpacked: it holds more than 64 MiB" in " ".join(result.output.split())
    (cell / "cases.csv.xz").unlink()
    (cell / "cases.csv").write_bytes(bomb)
    assert packing.pack(results) == 0, "what could not be read again is not packed"


def test_an_archive_and_a_merge_take_packed_rows_along(results: Path, tmp_path: Path) -> None:
    packing.pack(results)
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
