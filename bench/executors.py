"""Where cells run: this process, or a pool of processes; both are a `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from bench.errors import UserError


class InlineExecutor(Executor):
    """Runs each call at once, in this process; an exception stays in its future, but an interrupt ends the run."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def make_executor(jobs: int) -> Executor:
    """One job: this process. More: a pool of fresh processes, each with the protocol's own number of threads.

    Raises:
        UserError: fewer than one job.
    """
    if jobs < 1:
        raise UserError(f"Expected --jobs to be at least 1, but got {jobs}.")
    if jobs == 1:
        return InlineExecutor()
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
