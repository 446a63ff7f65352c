"""A run goes on with an unpacked archive, whose cells lie below `records`."""

from __future__ import annotations

from pathlib import Path

import bench
from bench.runs import runner
from bench.runs.job import Job
from bench.runs.request import Request


def jobs(results: Path, seeds: str) -> list[Job]:
    request = Request(models="chance", dataset="acdc", preset="smoke", data="phantom", results=results, seeds=seeds)
    return runner.make_jobs(request)


def test_a_run_into_an_unpacked_archive_reuses_its_cells_and_hides_none(tmp_path: Path) -> None:
    assert runner.run_jobs(jobs(tmp_path, "1"))["complete"] == 1
    (tmp_path / "runs").rename(tmp_path / "records")
    counts = runner.run_jobs(jobs(tmp_path, "2"))
    assert (counts["reused"], counts["complete"]) == (1, 1)
    assert runner.run_jobs(jobs(tmp_path, "2"))["reused"] == 2
    assert sorted(bench.load_cells(tmp_path)["seed"]) == [0, 1]
    assert len(list(tmp_path.rglob("record.json"))) == 2
