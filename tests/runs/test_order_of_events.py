"""The one order of events of a cell, with a training that trains nothing."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_jobs import job
from stored_records import a_record_of

from bench.errors import UserError
from bench.records.leases import NAME
from bench.runs import ray_pool
from bench.runs.execution import Execution
from bench.runs.job import Event, Holds, Job, LeaseLost, Left, clear, under_lease
from bench.runs.ray_pool import RayPool

RECORD: dict[str, Any] = json.loads((a_record_of("segmentation") / "record.json").read_text())


def trained(files: dict[str, bytes], cell: Job, told: list[str], takes_over: bool = False) -> Left:
    """What a training gives that finds the lease held, and nothing of an earlier run; another may take the lease."""
    names = {path.name for path in cell.folder.iterdir()}
    assert NAME in names
    assert "left.csv" not in names
    told.append("trained")
    if takes_over:
        (cell.folder / NAME).write_text('{"token": "theirs"}')
    return RECORD, files


def run(cell: Job, force: bool = False, files: dict[str, bytes] | None = None, **more: Any) -> tuple[str, list[str]]:
    told: list[str] = []

    def report(event: Event) -> None:
        told.append(event.kind)

    return under_lease(cell, force, False, lambda holds: trained(files or {}, cell, told, **more), report), told


@pytest.fixture
def cell(tmp_path: Path) -> Job:
    return replace(job(folder=tmp_path), cost=RECORD["cost"])


def test_a_cell_is_trained_once_and_again_only_by_force(cell: Job) -> None:
    assert run(cell, files={"cases.csv": b"1"}) == ("complete", ["started", "trained", "complete"])
    assert (cell.folder / "cases.csv").read_bytes() == b"1"
    assert run(cell) == ("reused", [])
    (cell.folder / "left.csv").write_text("of an earlier run")
    assert run(cell, force=True)[0] == "complete"
    assert {path.name for path in cell.folder.iterdir()} == {"record.json"}, "the lease is given back"


def test_who_lost_its_lease_writes_nothing(cell: Job) -> None:
    assert run(cell, files={"scores.csv": b"1"}, takes_over=True) == ("busy", ["started", "trained"])
    assert {path.name for path in cell.folder.iterdir()} == {NAME}, "the other's lease stays"


@pytest.mark.parametrize("name", ["../record.json", "/tmp/record.json", "a/../../b"])
def test_no_file_that_comes_back_leads_out_of_the_folder(name: str, cell: Job) -> None:
    with pytest.raises(UserError, match="leads out of the cell's folder"):
        run(cell, files={name: b"1"})
    assert not (cell.folder / "record.json").exists()


def test_a_cell_of_a_cluster_keeps_that_order(cell: Job) -> None:
    """Of the pool's own code only what stands around a node's work: no cluster is started."""
    pool = RayPool.__new__(RayPool)
    told: list[str] = []
    pool.threads = ThreadPoolExecutor(1)
    pool.trained = lambda job: trained({"cases.csv": b"1"}, job, told)  # type: ignore[method-assign]
    assert pool.start(cell, False, False).result() == "complete"
    assert pool.start(cell, False, False).result() == "reused"
    (cell.folder / "left.csv").write_text("of an earlier run")
    assert pool.start(cell, True, False).result() == "complete"
    assert told == ["trained", "trained"]
    pool.threads.shutdown()


@pytest.mark.parametrize(("address", "given"), [(None, "local"), ("auto", "auto"), ("10.0.0.1:6379", "10.0.0.1:6379")])
def test_without_an_address_ray_starts_a_cluster_whatever_else_runs_here(
    address: str | None, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}
    stand_in = SimpleNamespace(is_initialized=lambda: False, init=lambda **options: started.update(options))
    monkeypatch.setenv("RAY_task_oom_retries", "0")
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    assert ray_pool._connected(Execution(executor="ray", address=address)) == (stand_in, True)
    assert started["address"] == given, "ray.init alone would take a cluster that it finds, and refuse our bounds"
    assert ("object_store_memory" in started) == (address is None)


def test_who_lost_its_lease_stops_before_it_writes(cell: Job) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)

    def train(holds: Holds) -> Left:
        assert holds()
        (cell.folder / NAME).write_text('{"token": "theirs"}')
        assert not holds()
        raise LeaseLost

    assert under_lease(cell, False, False, train) == "busy"
    assert [path.name for path in cell.folder.iterdir()] == [NAME]


def test_a_cell_that_is_trained_by_force_is_not_done_from_the_first_file_that_goes(
    cell: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(cell)[0] == "complete"
    for name in ("cases.csv", "weights.safetensors", "a.csv"):
        (cell.folder / name).write_text("1")
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        clear(cell.folder)
    assert not (cell.folder / "record.json").exists()
