"""Studies: Optuna's journal on disk, shared by processes; in a search, with a lease of ours on each running trial.

    results/studies/<name>.log      Optuna's journal (JournalStorage), or any storage URL in its place
    results/studies/<name>.claim    locked while a process writes or claims trials; a kill releases it

JournalStorage has no heartbeat: a killed search leaves its trial RUNNING for ever. So each running trial carries a
lease (host, process, its start, time). A lease ends when its process is gone, or, seen from another host, when it was
not renewed for `LEASE` seconds; the trial is then told FAIL and enqueued again, and the next process goes on from the
cell's checkpoint.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
from filelock import FileLock

from bench.errors import UserError
from bench.records.store import check_writable

if TYPE_CHECKING:
    import optuna

LEASE = 900.0  # seconds without renewal after which a lease from another host has ended
RENEWAL = 60.0  # seconds between two renewals
CLOCK = 2.0  # seconds by which two readings of a start may differ: the clock that it is told by is set now and then
FOLDER = "studies"


def open_study(
    results: Path,
    name: str,
    about: dict[str, Any],
    directions: Sequence[Literal["maximize", "minimize"]],
    storage: str | None = None,
    **tools: Any,
) -> optuna.Study:
    """The study of a name, made where there is none.

    Args:
        about: what the study is of (dataset, comparison, model, ...); kept in it, and compared when it is opened again.
        directions: `maximize` or `minimize`, one for each objective.
        storage: a URL that Optuna takes, or None for a journal under the results folder.
        tools: sampler and pruner.

    Raises:
        UserError: a study of that name is of something else, or the storage cannot be opened.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    check_writable(results)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        found = optuna.create_study(
            storage=_storage(results, name, storage),
            study_name=name,
            directions=directions,
            load_if_exists=True,
            **tools,
        )
    except (OSError, ValueError, KeyError, ImportError, SQLAlchemyError) as error:
        where = storage or results / FOLDER / f"{name}.log"
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Cannot open study {name!r} in {where}: {line}. Name another with --study.") from None
    with claiming(results, name):
        if "about" not in found.user_attrs:
            found.set_user_attr("about", about)
    other = found.user_attrs["about"]
    differing = [key for key in about if other.get(key) != about[key]]
    if differing:
        key = differing[0]
        raise UserError(
            f"Study {name!r} is of {key} {other.get(key)}, not of {about[key]}. Name another with --study, or delete "
            f"{storage or results / FOLDER / f'{name}.log'}."
        )
    if [d.name.lower() for d in found.directions] != list(directions):
        raise UserError(f"Study {name!r} has {len(found.directions)} objectives, not {len(directions)}: use --study.")
    return found


def _storage(results: Path, name: str, url: str | None) -> Any:
    if url is not None:
        return url
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = results / FOLDER / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with claiming(results, name):
        _drop_half_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def read_study(path: Path) -> optuna.Study:
    """The study of a journal file, to look at. Raises UserError for a file that is none."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        found = optuna.load_study(study_name=path.stem, storage=JournalStorage(JournalFileBackend(str(path))))
        found.user_attrs["about"]
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(f"{path} is no journal of a study {path.stem!r}. Move it elsewhere.") from None


def _drop_half_line(path: Path) -> None:
    """Takes away a last line without an end, which a full disk or a kill left: nothing could be read after it."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))


@contextmanager
def claiming(results: Path, name: str) -> Iterator[None]:
    """Holds a study's claim lock: one process at a time adds, enqueues, claims and takes back."""
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.claim"):
        yield


def lease() -> dict[str, Any]:
    """This process's lease, from now."""
    return {"host": _host(), "pid": os.getpid(), "start": _start_of(os.getpid()), "time": time.time()}


def _host() -> str:
    """This host, by a hash of its name: a journal may be published."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def has_ended(found: dict[str, Any] | None) -> bool:
    """Whether a trial with such a lease is nobody's any more; one without is a claim cut short."""
    if not found:
        return True
    if found["host"] != _host():
        return time.time() - found["time"] > LEASE
    start = _start_of(found["pid"])
    known = isinstance(found["start"], float)  # older leases have the kernel's own count
    return start is None or not known or abs(start - found["start"]) > CLOCK


def _start_of(pid: int) -> float | None:
    """When a process of this host was started, in seconds since the epoch; None where there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def take_back(study: optuna.Study) -> int:
    """Tells trials whose lease has ended FAIL and enqueues them again; their number. Hold the claim lock."""
    from optuna.trial import TrialState

    stale = [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if has_ended(_lease_of(t))]
    for trial in stale:
        fixed = {k: v for k, v in trial.user_attrs.items() if k not in ("lease", "rejected", "repeated")}
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        if params:  # a claim cut short before anything was drawn leaves nothing to repeat
            study.enqueue_trial(params, user_attrs={**fixed, "again": trial.number})
    return len(stale)


def _lease_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any] | None:
    return trial.user_attrs.get("lease")


class Renewal:
    """Renews a trial's lease, at most every `RENEWAL` seconds."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.last = trial, time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.last >= RENEWAL:
            self.last = time.monotonic()
            self.trial.set_user_attr("lease", lease())
