"""Leases on cells: one holder, ended by its process or by silence, taken over by one; no lock of a file system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.records import leases
from bench.records.leases import GONE, hold

HOLD = """
import fcntl, sys, time, pathlib
def none(*arguments): raise OSError(37, "No locks available")
fcntl.flock = fcntl.lockf = none
from bench.records.leases import hold
with hold(pathlib.Path(sys.argv[1]), wait=False) as lease:
    print(lease is not None, flush=True)
    sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that wants the lease, on a system whose locks fail as those of NFS may."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_of_two_processes_without_locks_one_holds_it_until_its_end(tmp_path: Path) -> None:
    path = tmp_path / ".lease"
    with holder(path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "True\n"
        with holder(path) as second:
            assert second.communicate("\n")[0] == "False\n"
        with hold(path, wait=False) as lease:
            assert lease is None
        first.kill()
        first.wait()
        with hold(path, wait=False) as lease:
            assert lease is not None, "a kill ends it at once on the same machine"
            assert lease.holds()
    assert os.listdir(tmp_path) == []


def abandoned(path: Path, age: float, **holder: object) -> None:
    """A lease of another machine, last renewed so many seconds ago."""
    path.write_text(json.dumps({"token": "theirs", "place": "elsewhere", "pid": 1, "started": 0.0, **holder}))
    os.utime(path, (time.time() - age, time.time() - age))


@pytest.mark.parametrize(("age", "taken"), [(GONE - 20, False), (GONE + 20, True)])
def test_another_machines_lease_ends_by_silence_alone(age: float, taken: bool, tmp_path: Path) -> None:
    abandoned(tmp_path / "l", age)
    with hold(tmp_path / "l", wait=False) as lease:
        assert (lease is not None) == taken


def test_an_unreadable_lease_is_judged_by_its_age(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.write_bytes(b"\xff{")
    with hold(path, wait=False) as lease:
        assert lease is None
    os.utime(path, (1.0, 1.0))
    with hold(path, wait=False) as lease:
        assert lease is not None


def test_of_many_who_find_an_ended_lease_one_takes_it(tmp_path: Path) -> None:
    path, won, ready = tmp_path / "l", [], threading.Barrier(16)  # type: ignore[var-annotated]
    abandoned(path, GONE + 1)
    end = threading.Event()

    def want() -> None:
        ready.wait()
        with hold(path, wait=False) as lease:
            if lease is not None:
                won.append(lease)
                end.wait(5)

    threads = [threading.Thread(target=want) for _ in range(16)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not end.is_set():
        if sum(thread.is_alive() for thread in threads) <= 1:
            end.set()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert os.listdir(tmp_path) == []


def test_who_had_the_right_to_take_over_may_be_gone_too(tmp_path: Path) -> None:
    path = tmp_path / "l"
    abandoned(path, GONE + 1)
    abandoned(tmp_path / "l.over-theirs", GONE + 1)
    with hold(path, wait=True) as lease:
        assert lease is not None


def test_a_holder_renews_its_lease_and_learns_that_it_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.02)
    path = tmp_path / "l"
    with hold(path, wait=False) as lease:
        assert lease is not None
        os.utime(path, (1.0, 1.0))
        while path.stat().st_mtime == 1.0:
            time.sleep(0.01)
        abandoned(path, 0)
        assert not lease.holds()
    assert json.loads(path.read_text())["token"] == "theirs", "another's lease is not given back"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with hold(tmp_path / "l", wait=False) as first, hold(tmp_path / "l", wait=False) as second:
        assert first is not None
        assert second is None
    assert os.listdir(tmp_path) == []


KILLED = """
import os, pathlib, signal, sys
from bench.records import leases
def die(*arguments): os.kill(os.getpid(), signal.SIGKILL)
replace = pathlib.Path.replace
def replaced(self, target):
    if sys.argv[2] == "before":
        die()
    replace(self, target)
    die()
pathlib.Path.replace = replaced
with leases.hold(pathlib.Path(sys.argv[1]), wait=False):
    pass
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_left_by_a_kill_while_a_lease_is_taken_over_hinders_nobody_and_is_swept(
    moment: str, tmp_path: Path
) -> None:
    path = tmp_path / "l"
    abandoned(path, GONE + 1)
    for _ in range(3):  # the second finds what the first left, and leaves its own
        subprocess.run([sys.executable, "-c", KILLED, str(path), moment], check=False)
    assert len(os.listdir(tmp_path)) > 2
    with hold(path, wait=False) as lease:
        assert lease is not None, "its holders run no more on this machine, so that it is free at once"
    assert os.listdir(tmp_path) == []


def test_what_others_are_about_to_take_a_lease_with_is_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with hold(path, wait=False):
        abandoned(tmp_path / "l.tmp-theirs", 0)
        abandoned(tmp_path / "l.tmp-ended", GONE + 5)
    assert os.listdir(tmp_path) == ["l.tmp-theirs"]
