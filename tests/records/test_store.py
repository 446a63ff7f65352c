"""Files of results: written whole or not at all, read as one table, damaged ones named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.records import store


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    store.write_text(path, "old")

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        store.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_keep_every_digit_and_none_is_a_blank(tmp_path: Path) -> None:
    store.write_rows(tmp_path / "a.csv", ("x", "y"), [{"x": 0.1 + 0.2, "y": None}])
    assert (tmp_path / "a.csv").read_text() == "x,y\n0.30000000000000004,\n"


def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_only_runs_are_read_of_a_results_folder(tmp_path: Path) -> None:
    others = ("example/records/acdc/unet_s/0-bbbbbbbbbbbb", "example/complete/records/acdc/unet_s/0-cccccccccccc")
    for place in ("runs/acdc/unet_s/0-aaaaaaaaaaaa", *others):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "record.json").write_text("{}")
    assert [p.name for p in store.find_records(tmp_path)] == ["0-aaaaaaaaaaaa"]
    assert [p.name for p in store.find_records(tmp_path / "example" / "records")] == ["0-bbbbbbbbbbbb"]
    shutil.rmtree(tmp_path / "runs")
    assert store.find_records(tmp_path) == [], "an example is none of the results around it"


def test_no_results_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No results folder"):
        store.load_cells(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; /proc stands in below")
def test_a_read_only_results_folder_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Cannot write to the results folder"):
        store.check_writable(tmp_path / "results")


def test_an_impossible_results_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "results", Path("/proc/nowhere")):
        with pytest.raises(UserError, match="Cannot write to the results folder"):
            store.check_writable(place)


def test_a_lock_is_held_against_other_processes_until_theirs_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from bench.records import store
with store.lock(Path({str(tmp_path)!r}), wait=False) as held:
    print(bool(held), flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    with store.lock(tmp_path, wait=False) as held:
        assert not held
    child.kill()
    child.wait()
    child.stdout.close()
    (tmp_path / "record.json.tmp-1").write_text("half")
    with store.lock(tmp_path, wait=True) as held:
        assert held
        assert not list(tmp_path.glob("*.tmp-*")), "what the killed one left half written"
