"""Where cells run beside this process: an executor in the sense of `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor


def make_executor(workers: int) -> Executor:
    """A pool of fresh processes (spawned, not forked: torch's threads do not survive a fork)."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
