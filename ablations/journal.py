"""Studies: Optuna's journal on disk, shared by processes; in a search, with a lease of ours on each running trial.

    results/studies/<name>.log      Optuna's journal (JournalStorage), or any storage URL in its place
    results/studies/<name>.claim    the lease of a process that writes or claims trials; a kill ends it

JournalStorage has no heartbeat: a killed search leaves its trial RUNNING for ever. So each running trial carries a
lease (host, process, its start, time). A lease ends when its process is gone, or, seen from another host, when it was
not renewed for `LEASE` seconds; the trial is then told FAIL and enqueued again, and the next process goes on from the
cell's checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from bench.errors import UserError
from bench.records.leases import hold
from bench.records.store import check_writable, write_bytes

if TYPE_CHECKING:
    import optuna

LEASE = 900.0  # seconds without renewal after which a lease from another host has ended
RENEWAL = 60.0  # seconds between two renewals
CLOCK = 2.0  # seconds by which two readings of a start may differ: the clock that it is told by is set now and then
FOLDER = "studies"
# What Optuna raises for a journal that is damaged, or another version's.
ODD = (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError)
Direction = Literal["maximize", "minimize"]


def open_study(
    results: Path,
    name: str,
    about: dict[str, Any],
    directions: Sequence[Direction],
    storage: str | None = None,
) -> optuna.Study:
    """Opens the study of a name, or makes it where there is none.

    Args:
        about: what the study is of (dataset, comparison, model, ...); kept in it, and compared when it is opened again.
        directions: one for each objective.
        storage: a URL that Optuna takes, or None for a journal under the results folder.

    Raises:
        UserError: a study of that name is of something else, or the storage cannot be opened.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    check_writable(results)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = results / FOLDER / f"{name}.log"
    where = storage or path
    try:
        with claiming(results, name):
            _drop_half_lines(path)
        opened = optuna.create_study(
            storage=storage or _journal(path), study_name=name, directions=directions, load_if_exists=True
        )
    except (*ODD, OSError, ImportError, SQLAlchemyError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Cannot open study {name!r} in {where}: {line}. Name another with --study.") from None
    with claiming(results, name):
        if "about" not in opened.user_attrs:
            opened.set_user_attr("about", about)
    stored = opened.user_attrs["about"]
    for key, value in about.items():
        if stored.get(key) != value:
            raise UserError(
                f"Study {name!r} is of {key} {stored.get(key)}, not of {value}. Name another with --study, or delete "
                f"{where}."
            )
    if [d.name.lower() for d in opened.directions] != list(directions):
        raise UserError(f"Study {name!r} has {len(opened.directions)} objectives, not {len(directions)}: use --study.")
    return opened


def _journal(path: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def read_study(path: Path) -> optuna.Study:
    """The study of a journal file, to look at. Raises UserError for a file that is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.load_study(study_name=path.stem, storage=_journal(path))
        study.user_attrs["about"]
        return study
    except (*ODD, OSError):
        raise UserError(f"{path} is no journal of a study {path.stem!r}. Move it elsewhere.") from None


def _drop_half_lines(path: Path) -> None:
    """Takes out what a full disk or a kill left of a line: Optuna could read nothing from there on.

    Another process may have written a whole line behind a half one, which stays. Who still has the file open has read
    nothing from the half line on, so that what it knows of the file holds.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists() or path.read_bytes() == _whole_lines(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        write_bytes(path, _whole_lines(path))
    finally:
        lock.release()


def _whole_lines(path: Path) -> bytes:
    """The lines of a journal that are JSON; of a line that is not, what is JSON at its end."""
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    if lines and lines[0].endswith(b"\n") and not _is_log(lines[0]):  # no journal: it is left as it is
        return content
    return b"".join(line if _is_log(line) else _behind_half(line) for line in lines)


def _behind_half(line: bytes) -> bytes:
    starts = (match.start() for match in re.finditer(rb"\{", line))
    return next((line[start:] for start in starts if _is_log(line[start:])), b"")


def _is_log(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


@contextmanager
def claiming(results: Path, name: str) -> Iterator[None]:
    """Holds a study's claim: one process at a time adds, enqueues, claims and takes back."""
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder / f"{name}.claim", wait=True):
        yield


def lease() -> dict[str, Any]:
    """This process's lease, from now."""
    return {"host": _host(), "pid": os.getpid(), "start": _start_of(os.getpid()), "time": time.time()}


def _host() -> str:
    """A hash of this host's name, which the journal keeps in its place: a journal may be published."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def has_ended(lease: dict[str, Any] | None) -> bool:
    """Whether the process that holds a lease is gone or silent; a trial without one is a claim cut short."""
    if not lease:
        return True
    if lease["host"] != _host():
        return time.time() - lease["time"] > LEASE
    start = _start_of(lease["pid"])
    is_in_seconds = isinstance(lease["start"], float)  # older leases have the kernel's own count
    return start is None or not is_in_seconds or abs(start - lease["start"]) > CLOCK


def _start_of(pid: int) -> float | None:
    """When a process of this host was started, in seconds since the epoch; None where there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def take_back(study: optuna.Study) -> int:
    """Ends as FAIL the trials whose lease has ended, and enqueues them again; returns their number. Claim first.

    They are enqueued first: a kill between the two leaves one that is in the queue already, and not one that is lost.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    stale = [t for t in trials if t.state == TrialState.RUNNING and has_ended(t.user_attrs.get("lease"))]
    enqueued = {trial.user_attrs.get("again") for trial in trials}
    for trial in stale:
        kept = {k: v for k, v in trial.user_attrs.items() if k not in ("lease", "rejected", "repeated")}
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        if params and trial.number not in enqueued:  # nothing to repeat where nothing was drawn before the kill
            study.enqueue_trial(params, user_attrs={**kept, "again": trial.number})
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return len(stale)


def renewing(trial: optuna.Trial) -> Callable[[], None]:
    """A function that renews a trial's lease, at most every `RENEWAL` seconds."""
    last = time.monotonic()

    def renew() -> None:
        nonlocal last
        if time.monotonic() - last >= RENEWAL:
            last = time.monotonic()
            trial.set_user_attr("lease", lease())

    return renew
