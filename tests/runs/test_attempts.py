"""The driver on a pool of a few lines: longest first, tried again, halved, timed out, recorded; and how it is asked."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from fake_jobs import job

from bench.errors import UserError
from bench.runs import attempts, execution
from bench.runs.attempts import Driver, next_attempt
from bench.runs.estimate import PlannedCell
from bench.runs.execution import Execution, at_once, limit_of, seconds_of
from bench.runs.job import Event, Job
from bench.runs.pools import Lost


class Scripted:
    """A pool whose cells end at once as a script says, a word or an error for each attempt."""

    def __init__(self, script: dict[int, list[Any]]) -> None:
        self.script, self.begun, self.stopped, self.told = script, [], [], []  # type: ignore[var-annotated]
        self.hanging: dict[str, Future[str]] = {}

    def slots(self) -> int:
        return 2

    def start(self, job: Job, force: bool, wait: bool) -> Future[str]:
        self.begun.append((job.cell.seed, job.attempt, job.pieces, force))
        self.told.append(Event("started", job))
        future: Future[str] = Future()
        what = self.script[job.cell.seed].pop(0)
        if what == "hangs":
            self.hanging[job.cell.key] = future
        elif isinstance(what, Exception):
            future.set_exception(what)
        else:
            future.set_result(what)
        return future

    def stop(self, job: Job, why: str) -> None:
        self.hanging.pop(job.cell.key).set_exception(Lost("timeout", why))

    def events(self) -> list[Event]:
        told, self.told = self.told, []
        return told

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "record_death", lambda job, lost: f"failed by {lost.kind}")
    monkeypatch.setattr(attempts, "failure_of", lambda job: "memory" if job.cell.seed == 4 else "raised")
    monkeypatch.setattr(attempts, "_error_of", lambda job: "ValueError: broken")


def driven(script: dict[int, list[Any]], how: Execution, tmp_path: Path, **options: Any) -> tuple[Any, Any, Any]:
    """What became of each seed, what was begun, and the events of the driver's own."""
    pool, events = Scripted(script), []  # type: ignore[var-annotated]
    jobs = [job(seed=seed, steps=100 + seed, folder=tmp_path, batch_size=8) for seed in script]
    ends = list(Driver(pool, how, events.append).drive(jobs, options.get("force", False), False))
    return {one.cell.seed: end for one, end in ends}, pool.begun, events


def test_the_longest_cell_is_begun_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {0: 5.0, 1: 50.0, 2: 1.0}

    def planned(jobs: list[Job], *rest: Any) -> list[PlannedCell]:
        return [PlannedCell(one, "new", costs[one.cell.seed], "") for one in jobs]

    monkeypatch.setattr(attempts, "plan_cells", planned)
    ends, begun, _ = driven({0: ["complete"], 1: ["complete"], 2: ["complete"]}, Execution("2"), tmp_path)
    assert [seed for seed, *_ in begun] == [1, 0, 2]
    assert ends == dict.fromkeys(range(3), "complete")


def test_a_lost_cell_is_begun_again_and_then_recorded_while_others_go_on(tmp_path: Path) -> None:
    lost = Lost("signal", "its process died by signal 9 (SIGKILL)")
    script = {0: [lost, "complete"], 1: [lost, lost, lost], 2: ["failed", "complete"], 3: ["busy"]}
    ends, begun, events = driven(script, Execution("2", retries=2), tmp_path, force=True)
    assert ends == {0: "complete", 1: "failed by signal", 2: "complete", 3: "busy"}
    assert [entry for entry in begun if entry[0] == 1] == [(1, 1, 1, True), (1, 2, 1, False), (1, 3, 1, False)]
    said = [event.text for event in events if event.kind == "retried" and event.job.cell.seed == 0]
    assert said == ["its process died by signal 9 (SIGKILL); begun again (attempt 2)"]


def test_without_retries_a_cell_has_one_attempt(tmp_path: Path) -> None:
    ends, begun, _ = driven({0: ["failed"], 1: [Lost("node", "gone")]}, Execution("2", retries=0), tmp_path)
    assert ends == {0: "failed", 1: "failed by node"}
    assert len(begun) == 2


def test_memory_is_met_by_halves_until_a_part_has_two_images(tmp_path: Path) -> None:
    how = Execution("2", retries=1, on_oom="halve")
    ends, begun, events = driven({4: ["failed"] * 4}, how, tmp_path)
    assert ends == {4: "failed"}
    assert [(attempt, pieces) for _, attempt, pieces, _ in begun] == [(1, 1), (1, 2), (1, 4), (2, 4)]
    assert "pass in 2 parts, gradients summed (equal in expectation" in events[1].text
    assert next_attempt(job(), "memory", Execution("2", retries=0)) is None, "unless it is asked for"


def test_a_cell_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    how = Execution("2", retries=0, cell_timeout="0.05s")
    ends, _, _ = driven({0: ["hangs"], 1: ["complete"]}, how, tmp_path)
    assert ends == {0: "failed by timeout", 1: "complete"}


def test_the_limit_of_a_cell_is_ten_times_its_estimate_and_more_where_that_is_a_guess() -> None:
    assert limit_of(Execution(), PlannedCell(job(), "new", 3600.0, "this model's records")) == 36_000
    assert limit_of(Execution(), PlannedCell(job(), "new", 3600.0, "MACs alone, rough")) == 144_000
    assert limit_of(Execution(), PlannedCell(job(), "new", 1.0, "this model's records")) == 1800
    assert limit_of(Execution(cell_timeout="none"), PlannedCell(job(), "new", 1.0, "")) is None
    assert [seconds_of(text) for text in ("90s", "1.5m", "2h", "1d", "7")] == [90, 90, 7200, 86_400, 7]


def test_cells_at_a_time_by_cores_or_by_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "usable_cores", lambda: 16)
    assert [at_once("auto", threads, 0, 100) for threads in (1, 2, 3, 32)] == [16, 8, 5, 1]
    assert at_once("auto", 2, 0, 3) == 3
    assert at_once("auto", 2, 4, 100) == 4
    assert (at_once("6", 2, 0, 100), at_once(None, 2, 0, 100)) == (6, 1)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"jobs": "0"}, "Expected --jobs to be a number from 1 on, or auto, but got '0'"),
        ({"jobs": "many"}, "Expected --jobs to be a number from 1 on, or auto, but got 'many'"),
        ({"cell_timeout": "soon"}, "Expected --cell-timeout to be a time"),
        ({"cell_timeout": "0h"}, "Expected --cell-timeout to be a time"),
        ({"executor": "dask"}, "Expected executor to be local or ray, but got 'dask'"),
        ({"on_oom": "pray"}, "Expected on-oom to be fail or halve, but got 'pray'"),
        ({"address": "auto"}, "with --executor ray alone"),
    ],
)
def test_what_cannot_be_meant_is_one_line(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        Execution(**fields)
