"""Who works on something in a results folder: a lease with a heartbeat, which needs no locks of the file system.

A lease is a file that names its holder. It is made by a hard link, which exactly one of several processes can make, on
NFS too, where locks are missing or lie. Its holder renews its time every few seconds. It ends with its process: seen
from the same machine at once, from another one when it has not been renewed for `GONE` seconds by the file server's own
clock. Who finds an ended lease replaces it; of several who find it, one has the right to, which is a lease of its own.
What a process leaves that is killed while it takes a lease is removed by the next one that gives the lease back.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

import psutil

NAME = ".lease"
BEAT = 5.0  # seconds between two renewals
GONE = 60.0  # seconds without one after which another machine's lease has ended
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
AGAIN = 0.5  # seconds, about and at most, between two looks at a lease that is waited for


@dataclass(frozen=True)
class Lease:
    """A held lease.

    Attributes:
        path: its file. token: what no other lease has.
    """

    path: Path
    token: str

    def holds(self) -> bool:
        """Whether it is still this one: a process that was stopped for long may have been taken for gone."""
        return _read(self.path).get("token") == self.token


@contextmanager
def hold(path: Path, wait: bool) -> Iterator[Lease | None]:
    """Holds the lease of a file name; yields None when another process has it and `wait` is off.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease, pause = _acquire(path), AGAIN / 32
    while lease is None and wait:
        time.sleep(pause * random.uniform(0.5, 1.5))
        lease, pause = _acquire(path), min(2 * pause, AGAIN)
    if lease is None:
        yield None
        return
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease, stop), daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        stop.set()
        beating.join()
        if lease.holds():
            _sweep(path)
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> Lease | None:
    """The lease, where nobody has it or its holder is gone."""
    token = secrets.token_hex(8)
    own = path.with_name(f"{path.name}.tmp-{token}")
    try:
        own.write_text(json.dumps({"token": token, **_holder()}), encoding="utf-8")
        return Lease(path, token) if _linked(own, path) or _taken_over(own, path) else None
    except FileNotFoundError:
        if path.parent.is_dir():  # this process was stopped for long, taken for gone, and swept away
            return None
        raise
    finally:
        own.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what gone processes left beside a lease that this one holds: they were killed while they took it."""
    for left in (*path.parent.glob(f"{escape(path.name)}.tmp-*"), *path.parent.glob(f"{escape(path.name)}.over-*")):
        if _is_gone(left, _read(left), path):
            left.unlink(missing_ok=True)


def _linked(own: Path, path: Path) -> bool:
    """Whether the link could be made; a server's answer that got lost is told by the number of links."""
    try:
        os.link(own, path)
    except FileExistsError:
        return own.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _created(path, own.read_bytes())
    return True


def _created(path: Path, content: bytes) -> bool:
    """Whether a new file could be made, where the file system has no hard links."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _taken_over(own: Path, path: Path) -> bool:
    """Replaces a lease whose holder is gone; of several processes the one that has the right to, by a lease on that.

    The right is named after the lease that is replaced, so that it is worth nothing once another stands there. Who had
    it may be gone too: then it is taken over as the lease itself is. The file that is renamed is a second one: renaming
    one link of a file over another does nothing.
    """
    found = _read(path)
    if not _is_gone(path, found, own):
        return False
    right = path.with_name(f"{path.name}.over-{found.get('token', 'none')}")
    if not (_linked(own, right) or _taken_over(own, right)):
        return False
    again = own.with_name(f"{own.name}-2")
    try:
        if _read(path).get("token") != found.get("token"):
            return False
        again.write_bytes(own.read_bytes())
        again.replace(path)
        return True
    finally:
        again.unlink(missing_ok=True)
        right.unlink(missing_ok=True)


def _is_gone(path: Path, found: dict[str, Any], own: Path) -> bool:
    """Whether the holder that a lease names runs no more; one that cannot be read is judged by its age alone."""
    here = _holder()
    if found.get("place") == here["place"]:
        return not _runs(found.get("pid"), found.get("started"))
    return _age(path, own) > GONE


def _age(path: Path, own: Path) -> float:
    """Seconds since a file was renewed, by the clock of the server that the files lie on; 0 where it is gone."""
    try:
        os.utime(own)
        return own.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _runs(pid: Any, started: Any) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 2
    except (psutil.Error, TypeError, ValueError):
        return False


def _read(path: Path) -> dict[str, Any]:
    """What a lease names; {} where there is none, or one that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _beat(lease: Lease, stop: threading.Event) -> None:
    """Renews a lease until it is given back, or lost."""
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):  # a server that does not answer now may answer the next time
            if not lease.holds():
                return
            os.utime(lease.path)


@cache
def _place() -> str:
    """What tells whether a process id means something here: host, boot and the container's own numbering."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            parts.append(os.readlink(source) if source.endswith("pid") else Path(source).read_text().strip())
    return " ".join(parts)


def _holder() -> dict[str, Any]:
    return {"place": _place(), "pid": os.getpid(), "started": psutil.Process().create_time()}
