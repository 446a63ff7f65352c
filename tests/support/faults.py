"""What the tests of faults share: a matrix of small cells, drivers in processes of their own, kills, and comparison.

`MEDBENCH_FAULT_KILLS`, `MEDBENCH_FAULT_CELLS`, `MEDBENCH_FAULT_SEED` and `MEDBENCH_FAULT_PATIENCE` set how many kills
and cells, which draws, and how long a driver may take; the seed of each test is printed.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from bench.records import store
from bench.runs.execution import Execution
from bench.runs.job import Job
from bench.runs.pools import LOG
from bench.runs.request import Request
from bench.runs.runner import make_jobs

KILLS = int(os.environ.get("MEDBENCH_FAULT_KILLS", "6"))
CELLS = int(os.environ.get("MEDBENCH_FAULT_CELLS", "6"))
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
ROUNDS = 12  # of a network, each with a checkpoint
SETTINGS = (f"steps={ROUNDS}", f"evaluations={ROUNDS}", "image_size=32", "batch_size=2")
TIMED = ("seconds", "scoring_seconds")  # of a record's training: no two runs have the same
PATIENCE = float(os.environ.get("MEDBENCH_FAULT_PATIENCE", "600"))  # seconds that a driver may take
LOOK = 0.01  # seconds between two looks at the results folder
LATER = 0.3  # seconds, at most, from the checkpoint that a kill waits for to the kill
DRIVERS = 6  # of so many kills one is of the driver: its start takes as long as several cells
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


def start(jobs: list[Job], how: Execution, program: str = DRIVER) -> subprocess.Popen[bytes]:
    """A driver of its own for these cells."""
    driver = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdin is not None
    driver.stdin.write(pickle.dumps((jobs, how)))
    driver.stdin.close()
    driver.stdin = None
    return driver


def finish(jobs: list[Job], how: Execution) -> tuple[int, str]:
    """Exit code and output of a driver that nobody disturbs."""
    driver = start(jobs, how)
    out, _ = driver.communicate(timeout=PATIENCE)
    return driver.returncode, out.decode()


def finished(jobs: list[Job]) -> dict[str, int]:
    """When each finished cell's record was written."""
    records = {job.cell.key: job.folder / "record.json" for job in jobs}
    return {key: path.stat().st_mtime_ns for key, path in records.items() if path.exists()}


def running(jobs: list[Job]) -> bool:
    """Whether any cell is in the middle of it."""
    return any((job.folder / ".lease").exists() for job in jobs)


@dataclass(frozen=True)
class Kill:
    """What a kill met: how many cells were done, and whether its victim was at one that had a checkpoint."""

    driver: bool
    done: int
    middle: bool


@dataclass
class Seen:
    """What was seen of a run on its disk, from outside.

    Attributes:
        marks: each file that was seen as it was written: a checkpoint or a record, by the time of its writing.
        records: when each cell's record was first seen to have been written.
    """

    jobs: list[Job]
    marks: set[tuple[str, int]] = field(default_factory=set)
    records: dict[str, int] = field(default_factory=dict)

    def look(self) -> int:
        """How many checkpoints and records have been written so far, of those that were seen."""
        for job in self.jobs:
            if job.cell.key in self.records:
                continue
            for name in ("checkpoint.pt", "record.json"):
                try:
                    written = (job.folder / name).stat().st_mtime_ns
                except FileNotFoundError:
                    continue
                self.marks.add((f"{job.cell.key} {name}", written))
                if name == "record.json":
                    self.records[job.cell.key] = written
        return len(self.marks)

    def wait(self, marks: int, driver: subprocess.Popen[bytes]) -> None:
        """Waits until so many have been seen, or the driver has ended."""
        while self.look() < marks and driver.poll() is None:
            time.sleep(LOOK)


def is_in_the_middle(process: psutil.Process) -> bool:
    """Whether a process is at a cell that has a checkpoint: it has the cell's log open."""
    try:
        logs = [Path(file.path) for file in process.open_files() if Path(file.path).name == LOG]
    except psutil.Error:
        return False
    return any(log.with_name("checkpoint.pt").exists() for log in logs)


def disturb(
    jobs: list[Job], how: Execution, rng: random.Random, victims: Callable[[psutil.Process], list[psutil.Process]]
) -> tuple[dict[str, int], list[Kill]]:
    """Kills a driver or one of its processes again and again while cells run, and starts it again where it ended.

    Kills are spread over the whole of the run as its disk shows it: each waits for a random number of checkpoints and
    records, in its own share of all that there will be, and then a little.

    Returns:
        When each cell's record was first seen to have been written, and what the kills met.
    """
    total = sum(ROUNDS * (job.model != "chance") + 1 for job in jobs)
    seen, kills = Seen(jobs), []
    driver = start(jobs, how)
    for i in range(KILLS):
        if len(seen.records) == len(jobs):
            break
        seen.wait(int(0.9 * total * (i + rng.random()) / KILLS), driver)
        time.sleep(rng.uniform(0, LATER))
        if driver.poll() is None:
            kills.append(_kill(driver, victims, seen, rng))
        if driver.poll() is not None or kills[-1].driver:
            driver.wait()
            driver = start(jobs, how)
    seen.wait(total + 1, driver)
    driver.communicate(timeout=PATIENCE)
    seen.look()
    return seen.records, kills


def _kill(
    driver: subprocess.Popen[bytes],
    victims: Callable[[psutil.Process], list[psutil.Process]],
    seen: Seen,
    rng: random.Random,
) -> Kill:
    """Kills the driver, or one of the processes of its cells: one in the middle of a cell, where there is one."""
    main = psutil.Process(driver.pid)
    processes = victims(main)
    busy = [process for process in processes if is_in_the_middle(process)]
    is_driver = rng.randrange(DRIVERS) == 0 or not processes
    victim = main if is_driver else rng.choice(busy or processes)
    seen.look()
    kill = Kill(is_driver, len(seen.records), bool(busy))
    print(f"{'the driver' if is_driver else 'a process'} killed with {kill.done} cells done; in a cell: {kill.middle}")
    try:
        victim.kill()
    except psutil.NoSuchProcess:
        print("  which had ended")
    return kill


def check_spread(kills: list[Kill]) -> None:
    """Raises AssertionError unless kills fell behind finished cells and in the middle of cells."""
    behind, inside = sum(kill.done > 0 for kill in kills), sum(kill.middle for kill in kills)
    drivers = sum(kill.driver for kill in kills)
    print(
        f"{len(kills)} kills: {behind} behind finished cells, {inside} in the middle of cells, {drivers} of the driver"
    )
    assert len(kills) >= 0.9 * KILLS, "the cells were done before the kills were"
    assert behind >= len(kills) / 3, "the kills fell before a cell had finished, and prove nothing"
    assert inside >= len(kills) / 3, "the kills fell between cells, and prove nothing"
    assert 0 < drivers < len(kills) or len(kills) < 2 * DRIVERS


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
