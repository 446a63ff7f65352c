"""Faults of a run on one machine: kills at random, rivals, a full disk, damaged files; nothing is lost (slow)."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from faults import DRIVER, PATIENCE, check_equal, check_spread, disturb, elsewhere, finish, finished, new_random, start

from bench.datasets.cache.prepared import open_prepared
from bench.runs.execution import Execution
from bench.runs.job import Job
from bench.zoo.registry import dataset_spec

pytestmark = pytest.mark.slow
HOW = Execution("2", retries=99)
NO_LOCKS = """
import fcntl
def none(*arguments): raise OSError(37, "No locks available")
fcntl.flock = fcntl.lockf = none
"""
SMALL_FILES = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


def cells_of(driver: psutil.Process) -> list[psutil.Process]:
    """The processes of its cells, and not the one that watches over shared memory."""
    found = []
    for process in driver.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_kills_at_random_moments_change_nothing(undisturbed: list[Job], tmp_path: Path) -> None:
    jobs = elsewhere(undisturbed, tmp_path)
    seen, kills = disturb(jobs, HOW, new_random("local"), cells_of)
    code, said = finish(jobs, HOW)
    assert code == 0, said
    assert f"'reused': {len(seen)}" in said
    assert {key: when for key, when in finished(jobs).items() if key in seen} == seen, "a finished cell was run again"
    check_spread(kills)
    check_equal(jobs, undisturbed)


def test_two_rival_runs_share_the_cells(undisturbed: list[Job], tmp_path: Path) -> None:
    jobs = elsewhere(undisturbed, tmp_path)
    said = [driver.communicate(timeout=PATIENCE)[0].decode() for driver in [start(jobs, HOW), start(jobs[::-1], HOW)]]
    counts = [ast.literal_eval(line) for line in said]
    assert sum(count["complete"] for count in counts) == len(jobs), counts
    assert all(count["complete"] + count["reused"] == len(jobs) for count in counts), counts
    check_equal(jobs, undisturbed)


def test_rivals_share_the_cells_where_locks_fail(undisturbed: list[Job], tmp_path: Path) -> None:
    """As of a file system over the network. Cells run in the drivers' own processes, which can lock nothing."""
    jobs = elsewhere(undisturbed[:4], tmp_path)
    drivers = [start(cells, Execution(None), NO_LOCKS + DRIVER) for cells in (jobs, jobs[::-1])]
    said = [driver.communicate(timeout=PATIENCE)[0].decode() for driver in drivers]
    counts = [ast.literal_eval(line) for line in said]
    assert sum(count["complete"] for count in counts) == len(jobs), counts
    check_equal(jobs, undisturbed[:4])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk can be mounted by the superuser alone")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_ends_in_a_line_and_what_is_there_stays_whole(undisturbed: list[Job], small_disk: Path) -> None:
    jobs = elsewhere(undisturbed, small_disk)
    code, said = finish(jobs, HOW)
    assert code == 2
    assert "No space left on device. Finished cells are kept" in said
    done = finished(jobs)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    code, said = finish(jobs, HOW)
    assert code == 0, said
    assert {key: when for key, when in finished(jobs).items() if key in done} == done
    check_equal(jobs, undisturbed)


def test_a_file_that_grows_too_large_ends_in_a_line_where_no_disk_can_be_mounted(
    undisturbed: list[Job], tmp_path: Path
) -> None:
    jobs = elsewhere(undisturbed[:2], tmp_path)
    driver = start(jobs, Execution(None), SMALL_FILES + DRIVER)
    said = driver.communicate(timeout=PATIENCE)[0].decode()
    assert driver.returncode == 2, said
    assert "File too large. Finished cells are kept" in said
    assert not list(tmp_path.rglob("*.tmp-*"))
    code, said = finish(jobs, HOW)
    assert code == 0, said
    check_equal(jobs, undisturbed[:2])


def stopped_in_the_middle(jobs: list[Job]) -> Job:
    """A cell that a driver left at a checkpoint when it was killed."""
    driver = start(jobs, Execution("1"))
    while not (left := [job for job in jobs if (job.folder / "checkpoint.pt").exists()]):
        assert driver.poll() is None
        time.sleep(0.01)
    processes = [*psutil.Process(driver.pid).children(recursive=True), driver]
    for process in processes:
        process.kill()
    driver.communicate()
    time.sleep(0.5)
    return left[0]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"half"])
def test_a_damaged_checkpoint_starts_its_cell_anew(content: bytes, undisturbed: list[Job], tmp_path: Path) -> None:
    jobs = elsewhere(undisturbed[:1], tmp_path)
    path = stopped_in_the_middle(jobs).folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000] if content == b"half" else content)
    code, said = finish(jobs, HOW)
    assert code == 0, said
    check_equal(jobs, undisturbed[:1])


def test_a_damaged_record_is_named_and_left_as_it_is(undisturbed: list[Job], tmp_path: Path) -> None:
    jobs = elsewhere(undisturbed[:2], tmp_path)
    shutil.copytree(undisturbed[0].results, tmp_path, dirs_exist_ok=True)
    path = jobs[0].folder / "record.json"
    half = path.read_bytes()[:500]
    path.write_bytes(half)
    code, said = finish(jobs, HOW)
    assert (code, path.read_bytes()) == (2, half)
    assert "cut short after 500 bytes" in said
    assert "--force, for this model and seed alone" in said


def test_a_cache_that_is_cut_while_cells_run_is_named(undisturbed: list[Job], tmp_path: Path) -> None:
    """The cells before the cut stand, none has wrong figures, and whole data finish the rest."""
    spec = dataset_spec("acdc")
    whole = open_prepared(spec, undisturbed[0].data_root, "phantom").folder
    root = tmp_path / "data"
    shutil.copytree(whole, root / whole.name)
    jobs = [replace(job, data_root=root) for job in elsewhere(undisturbed, tmp_path / "r")]
    driver = start(jobs, replace(HOW, retries=0))
    while not list((tmp_path / "r").rglob("checkpoint.pt")):
        assert driver.poll() is None
        time.sleep(0.01)
    images = root / whole.name / "images.npy"
    os.truncate(images, images.stat().st_size // 3)
    said = driver.communicate(timeout=PATIENCE)[0].decode()
    assert driver.returncode == 2, said
    assert "images.npy" in said
    assert "SIGBUS" not in said
    shutil.copy(whole / "images.npy", images)
    code, said = finish(jobs, HOW)
    assert code == 0, said
    check_equal(jobs, undisturbed)
