"""Processes of this machine: a lost one takes its cell and no other; a hanging one is stopped; steps are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cell_work import by_seed
from fake_jobs import job

from bench.errors import UserError
from bench.runs.job import Event
from bench.runs.pools import LocalPool, Lost, Teller


@pytest.fixture(scope="module")
def pool() -> Iterator[LocalPool]:
    opened = LocalPool([{}], by_seed)
    yield opened
    opened.close()


def test_a_lost_process_takes_its_own_cell_alone(pool: LocalPool, tmp_path: Path) -> None:
    first, dying, last = (pool.start(job(seed=seed, folder=tmp_path), False, False) for seed in (0, 1, 0))
    before = first.result(60)
    with pytest.raises(Lost, match=r"its process died by signal 9 \(SIGKILL, as the system does when memory runs out"):
        dying.result(60)
    assert last.result(60).startswith("complete in ")
    assert last.result() != before, "another process took its place"


def test_a_process_that_is_stopped_says_why_and_leaves_what_it_did(pool: LocalPool, tmp_path: Path) -> None:
    hanging = job(seed=2, folder=tmp_path)
    pool.events()
    future = pool.start(hanging, False, False)
    while not any(event.kind == "started" for event in pool.events()):
        time.sleep(0.01)
    pool.stop(hanging, "it took too long")
    with pytest.raises(Lost, match="it took too long") as caught:
        future.result(60)
    assert caught.value.kind == "timeout"
    assert "in by_seed" in (hanging.folder / "error.log").read_text()


def test_what_a_cell_raises_comes_back_and_a_users_mistake_as_its_line(pool: LocalPool, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        pool.start(job(seed=3, folder=tmp_path), False, False).result(60)
    for force, line in ((False, "a user's mistake"), (True, "is odd")):
        with pytest.raises(UserError, match=line):
            pool.start(job(seed=4, folder=tmp_path), force, False).result(60)


def test_steps_are_told_with_their_job_and_the_log_of_a_sound_cell_is_gone(pool: LocalPool, tmp_path: Path) -> None:
    pool.events()
    told = job(seed=5, folder=tmp_path)
    pool.start(told, False, False).result(60)
    events = pool.events()
    assert [(event.kind, event.step) for event in events] == [("started", 0), ("step", 1), ("step", 2), ("step", 3)]
    assert all(event.job == told for event in events)
    assert not (told.folder / "error.log").exists()


def test_a_closed_pool_ends_what_runs(tmp_path: Path) -> None:
    closing = LocalPool([{}], by_seed)
    future = closing.start(job(seed=2, folder=tmp_path), False, False)
    while not closing.events():
        time.sleep(0.01)
    start = time.monotonic()
    closing.close()
    assert isinstance(future.exception(0), Lost)
    assert time.monotonic() - start < 10


def test_notes_of_a_cell_are_told_like_its_steps(tmp_path: Path) -> None:
    heard: list[Event] = []
    teller = Teller(heard.append, tmp_path)
    for event in (Event("step", step=1), Event("note", text="logged no further"), Event("complete")):
        teller(event)
    assert [(event.kind, event.text) for event in heard] == [("step", ""), ("note", "logged no further")]
