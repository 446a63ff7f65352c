"""Cells as tasks of a Ray cluster (`medbench[ray]`): the driver leases cells and writes records, nodes train.

A node gets a cell with paths and hashes and no data: it needs the same medbench and the same prepared data under the
same data root. Where it sees the driver's results folder too, checkpoints lie there and a cell goes on on any node;
else they lie on the node, and what a cell leaves comes back through Ray.

Ray's own retries are off, since those after a memory kill have no end; each cell has a process of its own
(`max_calls=1`), with the protocol's threads: Ray sets `OMP_NUM_THREADS` to a task's CPUs unless it is told otherwise.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import bench
from bench.errors import UserError
from bench.runs.execution import Execution
from bench.runs.job import Event, Job, Left, perform, under_lease
from bench.runs.pools import Lost, Teller, drained

STORE = 2**30  # bytes of Ray's object store, in which what cells leave comes back
MOST = 1024  # cells at a time
OLD = 30 * 86400.0  # seconds: no run takes so long
ASK = 1.0  # seconds between two questions to the cluster
SCRATCH = ("checkpoint.pt", ".lease")  # what is no part of what a cell leaves


@dataclass(frozen=True)
class Order:
    """What a node is told beside the cell.

    Attributes:
        code: hash of the driver's medbench. probe, token: a file in the results folder and what stands in it.
    """

    code: str
    probe: Path
    token: str


class RayPool:
    """The places of a Ray cluster, which may come and go.

    Args:
        work: what a node does with a job, an order and `report`. fresh: each cell in a process of its own.
    """

    def __init__(
        self, how: Execution, jobs: Sequence[Job], work: Callable[..., Left] | None = None, fresh: bool = True
    ) -> None:
        self.how, self.cpus = how, max(job.cell.protocol["threads"] for job in jobs)
        self.gpus = how.gpus_per_cell or (1.0 if jobs[0].device.startswith("cuda") else 0.0)
        self.ray, self.is_ours = _connected(how)
        self.order = _new_order(jobs[0].results.resolve())
        self.mail = self._mailbox()
        self.task = self.ray.remote(max_retries=0, max_calls=int(fresh))(_on_node)
        self.work = work or train_on_node
        self.threads = ThreadPoolExecutor(MOST, thread_name_prefix="ray-cells")
        self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.running: dict[str, tuple[Job, Any]] = {}
        self.why: dict[str, str] = {}
        self.asked, self.places, self.heard, self.closed = 0.0, 1, 0.0, False
        self.lock = threading.Lock()

    def _mailbox(self) -> Any:
        """Where nodes tell of steps: an actor on the driver's own node, without a share of its cores."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=True)
        return self.ray.remote(num_cpus=0)(Mailbox).options(scheduling_strategy=here).remote()

    def slots(self) -> int:
        if self.how.jobs not in (None, "auto"):
            return min(MOST, int(str(self.how.jobs)))
        if time.monotonic() - self.asked > ASK:
            self.asked, has = time.monotonic(), self.ray.cluster_resources()
            most = [has.get("CPU", 0) // self.cpus]
            most += [has.get("GPU", 0) // self.gpus] if self.gpus else []
            most += [has.get("memory", 0) // (self.how.memory_per_cell * 2**30)] if self.how.memory_per_cell else []
            self.places = max(1, min(MOST, int(min(most))))
        return self.places

    def start(self, job: Job, force: bool, wait: bool) -> Future[str]:
        return self.threads.submit(under_lease, job, force, wait, lambda holds: self.trained(job))

    def trained(self, job: Job) -> Left:
        """What a node makes of a cell. Raises Lost where the node, or its process, did not survive it."""
        key, errors = job.cell.key, self.ray.exceptions
        places = {name: getattr(job, name).absolute() for name in ("results", "folder", "data_root")}
        ref = self.task.options(**self._share(job)).remote(self.work, replace(job, **places), self.order, self.mail)
        self.running[key] = job, ref
        try:
            while not self.closed:
                with contextlib.suppress(errors.GetTimeoutError):
                    return self.ray.get(ref, timeout=ASK)
            raise Lost("signal", "the run ended")
        except errors.RayTaskError as error:
            raise _cause(error) from None
        except errors.OutOfMemoryError as error:
            raise Lost("memory", f"Ray ended its process, for memory ran out ({_line(error)})") from None
        except errors.RayError as error:
            if key in self.why:
                raise Lost("timeout", self.why.pop(key)) from None
            raise Lost("node", f"its process or node was lost ({type(error).__name__}: {_line(error)})") from None
        finally:
            del self.running[key]

    def _share(self, job: Job) -> dict[str, Any]:
        """What a task takes of the cluster, and the threads of its process."""
        threads = str(job.cell.protocol["threads"])
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "memory": int(self.how.memory_per_cell * 2**30) or None,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}},
        }

    def stop(self, job: Job, why: str) -> None:
        if found := self.running.get(job.cell.key):
            self.why[job.cell.key] = why
            self.ray.cancel(found[1], force=True)

    def events(self) -> list[Event]:
        if time.monotonic() - self.heard > ASK / 2:
            self.heard = time.monotonic()
            with contextlib.suppress(self.ray.exceptions.RayError):
                for key, event in self.ray.get(self.mail.take.remote(), timeout=ASK):
                    if found := self.running.get(key):
                        self.told.put(replace(event, job=found[0]))
        return drained(self.told)

    def close(self) -> None:
        self.closed = True
        for _, ref in list(self.running.values()):
            with contextlib.suppress(Exception):  # the cluster itself may be gone
                self.ray.cancel(ref, force=True)
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.order.probe.unlink(missing_ok=True)
        if self.is_ours:
            self.ray.shutdown()
        else:
            self.ray.kill(self.mail)


def _new_order(results: Path) -> Order:
    """What nodes are told, with a new probe in the results folder; those that killed drivers left are removed."""
    results.mkdir(parents=True, exist_ok=True)
    for left in results.glob(".ray-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > OLD:
                left.unlink()
    token = secrets.token_hex(8)
    probe = results / f".ray-{token}"
    probe.write_text(token, encoding="utf-8")
    return Order(code_hash(), probe, token)


class Mailbox:
    """Events of all nodes, until the driver takes them."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Event]] = []

    def put(self, key: str, event: Event) -> None:
        """Keeps an event of a cell."""
        self.letters.append((key, event))

    def take(self) -> list[tuple[str, Event]]:
        """All since the last time."""
        letters, self.letters = self.letters, []
        return letters


def _connected(how: Execution) -> tuple[Any, bool]:
    """Ray, connected, and whether this command did that."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'medbench[ray]'.") from None
    if ray.is_initialized():
        return ray, False
    before = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if how.address is not None:
            ray.init(address=how.address, **quiet)
        else:
            os.environ.setdefault("RAY_task_oom_retries", "0")
            ray.init(
                address="local", object_store_memory=STORE, include_dashboard=False, **quiet
            )  # never one found here
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"No Ray cluster at {how.address or 'this machine'}: {_line(error)}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # a queue's SIGTERM ends a run as Ctrl-C does
    return ray, True


def _cause(error: Any) -> BaseException:
    """What a task raised itself."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return UserError(str(cause))
    return cause if isinstance(cause, BaseException) else RuntimeError(str(error))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


# -- on a node -----------------------------------------------------------------------------------------------


def _on_node(work: Callable[..., Left], job: Job, order: Order, mail: Any) -> Left:
    key = job.cell.key
    return work(job, order, lambda event: mail.put.remote(key, event))


def train_on_node(job: Job, order: Order, tell: Callable[[Event], None]) -> Left:
    """Trains a cell on the node that this is; its record, and the files that do not lie in their place.

    Raises:
        UserError: what the node lacks, in a line.
    """
    if code_hash() != order.code:
        raise UserError(f"Node {_name()} has another medbench than the driver: install the same one on all nodes.")
    shared = _reads(order.probe, order.token)
    here = replace(job, folder=job.folder if shared else _scratch(job.cell.key))
    teller = Teller(tell, here.folder)
    try:
        here.folder.mkdir(parents=True, exist_ok=True)
        teller(Event("started", job))
        record = perform(here, teller)
    except UserError as error:
        raise UserError(f"Node {_name()}: {error}") from None
    finally:
        teller.close()
    if shared:
        return record, {}
    files = {str(p.relative_to(here.folder)): p.read_bytes() for p in here.folder.rglob("*") if p.is_file()}
    if record["status"] != "failed":
        shutil.rmtree(here.folder, ignore_errors=True)
    return record, {name: content for name, content in files.items() if name not in SCRATCH}


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False


def _scratch(key: str) -> Path:
    """Where a cell's checkpoint lies on a node that does not see the results folder; nobody else's."""
    top = Path(tempfile.gettempdir()) / f"medbench-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    top.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and top.stat().st_uid != os.getuid():
        raise UserError(f"Node {_name()}: {top} is somebody else's.")
    return top / key


def _name() -> str:
    import socket

    return socket.gethostname()


@cache
def code_hash() -> str:
    """12 hex digits of medbench's own code, as it lies on this machine."""
    top = Path(bench.__file__).parents[1]
    found = hashlib.sha256()
    for package in ("bench", "baselines", "ablations"):
        for path in sorted((top / package).rglob("*.py")):
            found.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]
