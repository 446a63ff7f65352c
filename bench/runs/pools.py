"""Where cells run beside the driver: processes of this machine that can be lost one by one, behind `Future`s.

`concurrent.futures.ProcessPoolExecutor` ends with its first lost process, and has no way to stop a task. Here each
thread of a `ThreadPoolExecutor` has a process of its own and a pipe to it: no lock is shared, so that a kill in any
moment takes one cell away and nothing else.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from bench.errors import UserError
from bench.runs.job import Event, Job, run_cell

EVERY = 0.5  # seconds between two steps that a process tells of
GRACE = 3.0  # seconds between asking a process to end and killing it
LOG = "error.log"
Work = Callable[..., str]  # takes a job, further arguments and `report`; says what became of it


class Lost(Exception):
    """A process, or a node, that ended in the middle of a cell.

    Attributes:
        kind: `signal`, `timeout`, `memory` or `node`.
    """

    def __init__(self, kind: str, line: str) -> None:
        super().__init__(line)
        self.kind, self.line = kind, line


class Pool(Protocol):
    """What the driver asks of a place where cells run."""

    def slots(self) -> int:
        """How many cells it runs at a time now."""
        ...

    def start(self, job: Job, force: bool, wait: bool) -> Future[str]:
        """Begins a cell, as `run_cell` takes it; the future's error is `Lost` where its process was."""
        ...

    def stop(self, job: Job, why: str) -> None:
        """Ends a cell that takes too long."""
        ...

    def events(self) -> list[Event]:
        """What was told of the cells since the last call."""
        ...

    def close(self) -> None:
        """Ends all that still runs."""
        ...


class LocalPool:
    """Processes of this machine, spawned and not forked: torch's threads do not survive a fork.

    Args:
        environments: what each process has beside the driver's environment, as `CUDA_VISIBLE_DEVICES`.
        work: what a process does with a job.
    """

    def __init__(self, environments: Sequence[Mapping[str, str]], work: Work = run_cell) -> None:
        self.work = work
        self.threads = ThreadPoolExecutor(len(environments), thread_name_prefix="cells")
        self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self.all = [_Process(environment) for environment in environments]
        self.busy: dict[str, _Process] = {}
        for process in self.all:
            self.idle.put(process)

    def slots(self) -> int:
        return len(self.all)

    def start(self, job: Job, force: bool, wait: bool) -> Future[str]:
        return self.threads.submit(self._run, job, (force, wait))

    def _run(self, job: Job, arguments: tuple[bool, bool]) -> str:
        process = self.idle.get()
        self.busy[job.cell.key] = process
        try:
            return process.ask(self.work, job, arguments, self.told.put)
        finally:
            del self.busy[job.cell.key]
            self.idle.put(process)

    def stop(self, job: Job, why: str) -> None:
        if process := self.busy.get(job.cell.key):
            process.stop(why)

    def events(self) -> list[Event]:
        return drained(self.told)

    def close(self) -> None:
        for process in self.all:
            process.kill()
        self.threads.shutdown(wait=True, cancel_futures=True)


def drained(told: queue.SimpleQueue[Event]) -> list[Event]:
    """All that a queue holds now."""
    events = []
    with contextlib.suppress(queue.Empty):
        while True:
            events.append(told.get_nowait())
    return events


class _Process:
    """A process that runs a cell at a time, started when it is first asked and again after it was lost."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.process: Any = None
        self.pipe: Connection | None = None
        self.why = ""
        self.closed = False
        self.ending = threading.Lock()  # of two threads that wait for one process the second would never see its end

    def ask(self, work: Work, job: Job, arguments: tuple[bool, bool], tell: Callable[[Event], None]) -> str:
        """Runs a cell there, and tells of it. Raises Lost, or what the work raised."""
        pipe = self._started()
        try:
            pipe.send((work, job, arguments))
            while True:
                kind, value = pipe.recv()
                if kind == "event":
                    tell(replace(value, job=job))
                elif kind == "error":
                    raise value
                else:
                    return str(value)
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            raise self._lost() from None

    def _started(self) -> Connection:
        if self.closed:
            raise Lost("signal", "the run ended")
        if self.process is None or not self.process.is_alive():
            context, self.why = multiprocessing.get_context("spawn"), ""
            self.pipe, far = context.Pipe()
            self.process = context.Process(target=serve, args=(far, self.environment), daemon=True)
            with _deaf():
                self.process.start()
            far.close()
        assert self.pipe is not None
        return self.pipe

    def _lost(self) -> Lost:
        with self.ending:
            self.process.join(GRACE)
        self.kill_now()
        code = self.process.exitcode
        if self.why:
            return Lost("timeout", self.why)
        if code is not None and code < 0:
            return Lost("signal", f"its process died by signal {-code} ({signal_name(-code)})")
        return Lost("signal", f"its process ended with exit code {code}")

    def stop(self, why: str) -> None:
        """Ends the process; what it was doing is written to its cell's log before."""
        self.why, process = why, self.process
        if process is None or process.pid is None or not process.is_alive():
            return
        if hasattr(signal, "SIGUSR1"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGUSR1)
        threading.Thread(target=self._end, args=(process,), daemon=True).start()

    def _end(self, process: Any) -> None:
        time.sleep(GRACE / 3)  # for the log
        process.kill()

    def kill(self) -> None:
        """Ends the process for good."""
        self.closed = True
        self.kill_now()

    def kill_now(self) -> None:
        """Ends the process, if it runs, and waits for it."""
        with self.ending:
            if self.process is not None and self.process.pid is not None:
                self.process.kill()
                self.process.join(GRACE)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes that this thread starts meanwhile do not hear Ctrl-C, from their very start."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def signal_name(number: int) -> str:
    """`SIGKILL, as the system does when memory runs out`, or another signal's plain name."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return "unknown"
    return f"{name}, as the system does when memory runs out" if name == "SIGKILL" else name


def serve(pipe: Connection, environment: Mapping[str, str]) -> None:
    """The life of a process: a cell after another, until the driver closes the pipe or is gone."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears Ctrl-C, and ends its processes
    threading.Thread(target=_end_with_driver, daemon=True).start()
    while True:
        try:
            work, job, arguments = pipe.recv()
        except EOFError:
            return
        teller = Teller(lambda event: pipe.send(("event", event)), job.folder)
        try:
            answer: tuple[str, Any] = "outcome", work(job, *arguments, report=teller)
        except BaseException as error:
            answer = "error", sendable(error)
        finally:
            teller.close()
        pipe.send(answer)


def _end_with_driver() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def sendable(error: BaseException) -> BaseException:
    """The error, or one of its words where it does not survive the way to another process."""
    if isinstance(error, UserError):  # and not its kinds, which take other arguments
        return UserError(str(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class Teller:
    """Passes a cell's starts, notes and steps on, of steps a few in a second; from its start a crash leaves a log.

    Args:
        send: passes an event on, which has no job: the driver knows it.
    """

    def __init__(self, send: Callable[[Event], None], folder: Path) -> None:
        self.send, self.folder = send, folder
        self.last = 0.0
        self.log: Any = None

    def __call__(self, event: Event) -> None:
        if event.kind == "started":
            self._open()
        elif event.kind not in ("step", "note"):  # how it ended is the driver's to tell
            return
        now = time.monotonic()
        if event.kind != "step" or event.score is not None or now - self.last >= EVERY:
            self.last = now
            self.send(replace(event, job=None))

    def _open(self) -> None:
        self.log = (self.folder / LOG).open("w", encoding="utf-8")
        faulthandler.enable(self.log)
        if hasattr(faulthandler, "register"):
            faulthandler.register(signal.SIGUSR1, self.log)

    def close(self) -> None:
        """Ends the log, and removes it where nothing stands in it."""
        if self.log is None:
            return
        faulthandler.disable()
        if hasattr(faulthandler, "unregister"):
            faulthandler.unregister(signal.SIGUSR1)
        self.log.close()
        path = self.folder / LOG
        with contextlib.suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()
