"""What a process of a pool does in place of training: module-level, for processes find it by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from bench.errors import UserError
from bench.records.damage import Damaged
from bench.runs.job import Event


def nothing(job: Any, force: bool, wait: bool, report: Any) -> str:
    return "complete"


def by_seed(job: Any, force: bool, wait: bool, report: Any) -> str:
    """What the seed says: 0 ends well, 1 dies, 2 hangs, 3 raises, 4 is the user's mistake, 5 tells of steps."""
    job.folder.mkdir(parents=True, exist_ok=True)
    report(Event("started", job))
    if job.cell.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.cell.seed == 2:
        time.sleep(60)
    if job.cell.seed == 3:
        raise ValueError("broken")
    if job.cell.seed == 4:
        raise Damaged(job.folder, "is odd.") if force else UserError("a user's mistake")
    for step in range(1, 4):
        report(Event("step", job, step, loss=0.5, score=0.1 * step))
    return f"complete in {os.getpid()}"


def nothing_on_a_node(job: Any, order: Any, tell: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    return {}, {}
