"""What the tests of faults share: a matrix of small cells, drivers in processes of their own, kills, and comparison.

`MEDBENCH_FAULT_KILLS`, `MEDBENCH_FAULT_CELLS`, `MEDBENCH_FAULT_WAIT` and `MEDBENCH_FAULT_SEED` set how many kills and
cells, how late kills come and which draws; the seed of each test is printed.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from bench.records import store
from bench.runs.execution import Execution
from bench.runs.job import Job
from bench.runs.request import Request
from bench.runs.runner import make_jobs

KILLS = int(os.environ.get("MEDBENCH_FAULT_KILLS", "6"))
CELLS = int(os.environ.get("MEDBENCH_FAULT_CELLS", "6"))
LONGEST = float(os.environ.get("MEDBENCH_FAULT_WAIT", "4"))  # seconds until a kill, from the first running cell
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
SETTINGS = ("steps=12", "evaluations=4", "image_size=32", "batch_size=2")
TIMED = ("seconds", "scoring_seconds")  # of a record's training: no two runs have the same
DRIVER = """
import pickle, sys
from bench.errors import UserError
from bench.runs.runner import run_jobs
jobs, how = pickle.loads(sys.stdin.buffer.read())
if __name__ == "__main__":
    try:
        print(run_jobs(jobs, how))
    except UserError as error:
        print(error)
        sys.exit(2)
"""


def new_random(what: str) -> random.Random:
    """Draws of a test, by a seed that is printed."""
    seed = int(os.environ.get("MEDBENCH_FAULT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"{what}: MEDBENCH_FAULT_SEED={seed}")
    return random.Random(seed)


def matrix(results: Path) -> list[Job]:
    """Half as many seeds as cells, of a network and of chance."""
    request = Request(
        models=f"{SMALL},chance",
        dataset="acdc",
        preset="smoke",
        seeds=str(max(1, CELLS // 2)),
        data="phantom",
        settings=SETTINGS,
        threads=1,
        results=results,
    )
    return make_jobs(request)


def elsewhere(jobs: list[Job], results: Path) -> list[Job]:
    """The same cells in another results folder."""
    return [
        replace(job, results=results, folder=store.cell_folder(results, asdict(job.cell), job.model)) for job in jobs
    ]


def start(jobs: list[Job], how: Execution) -> subprocess.Popen[bytes]:
    """A driver of its own for these cells."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdin is not None
    driver.stdin.write(pickle.dumps((jobs, how)))
    driver.stdin.close()
    driver.stdin = None
    return driver


def finish(jobs: list[Job], how: Execution) -> tuple[int, str]:
    """Exit code and output of a driver that nobody disturbs."""
    driver = start(jobs, how)
    out, _ = driver.communicate(timeout=600)
    return driver.returncode, out.decode()


def finished(jobs: list[Job]) -> dict[str, int]:
    """When each finished cell's record was written."""
    records = {job.cell.key: job.folder / "record.json" for job in jobs}
    return {key: path.stat().st_mtime_ns for key, path in records.items() if path.exists()}


def running(jobs: list[Job]) -> bool:
    """Whether any cell is in the middle of it."""
    return any((job.folder / ".lease").exists() for job in jobs)


def disturb(
    jobs: list[Job], how: Execution, rng: random.Random, victims: Callable[[psutil.Process], list[psutil.Process]]
) -> dict[str, int]:
    """Kills a driver or one of its processes at random moments while cells run, and starts it again where it ended.

    Returns:
        When each cell's record was first seen to have been written.
    """
    seen: dict[str, int] = {}
    driver = start(jobs, how)
    for _ in range(KILLS):
        while driver.poll() is None and not running(jobs):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, LONGEST))
        seen = finished(jobs) | seen
        if driver.poll() is None:
            process = psutil.Process(driver.pid)
            victim = rng.choice([process, *victims(process)])
            print(f"kill {'the driver' if victim == process else 'a process'} with {len(seen)} cells done")
            victim.kill()
        if driver.poll() is not None or victim.pid == driver.pid:
            driver.wait()
            driver = start(jobs, how)
    driver.communicate(timeout=600)
    return finished(jobs) | seen


def check_equal(jobs: list[Job], undisturbed: list[Job]) -> None:
    """Each cell's files are those of the undisturbed run, byte for byte; of its record all but what is timed."""
    for job, other in zip(jobs, undisturbed, strict=True):
        names = {path.name for path in job.folder.iterdir()}
        assert names == {path.name for path in other.folder.iterdir()}, job.folder
        for name in names - {"record.json"}:
            assert (job.folder / name).read_bytes() == (other.folder / name).read_bytes(), job.folder / name
        assert untimed(job.folder) == untimed(other.folder)


def untimed(folder: Path) -> dict[str, Any]:
    """A record without what no two runs share."""
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "complete", record
    record["training"] = {key: value for key, value in record["training"].items() if key not in TIMED}
    return record
