"""Data sets in the .zip they were downloaded as: unpacked beside the cache, with every name and size checked first."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import socket
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from bench.datasets.cache.resuming import running
from bench.datasets.readers.files import check_kind, check_present
from bench.datasets.readers.kinds import head_of
from bench.errors import UserError, printable

# Images and volumes hardly compress; what unpacks to so many times its size, and to more than this, is no data set.
MOST_RATIO, LARGE = 100, 2**30
MOST_FILES = 1_000_000
_BY_HAND = "unpack it with the program that made it, and give the folder"
_UNPACKED = "unpacked.zip-"  # the process id follows: a folder under the root, for as long as the archive is read
# What zipfile raises for damaged directories and contents.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    IndexError,
)


@contextmanager
def opened(source: Path, root: Path) -> Iterator[Path]:
    """The folder of the original files: `source` itself, or what a .zip holds, unpacked under `root` for so long.

    The error of a file in the archive names the archive in place of that folder.

    Raises:
        UserError: no such folder or archive; an archive that is damaged, encrypted, too large for the disk or for its
            own size, or with a name that leads out of it.
    """
    if source.is_dir():
        yield source
        return
    if not source.exists():
        raise UserError(f"Expected a folder or a .zip archive, but {source} does not exist.")
    check_present(source)
    check_kind(source, head_of(source), ("zip",))
    if not zipfile.is_zipfile(source):
        raise UserError(
            f"Expected a folder or a .zip archive, but {source} is neither; if it is the download, it may be truncated."
        )
    here = f"{_UNPACKED}{_host()}-"
    folder = root / f"{here}{os.getpid()}"
    for leftover in root.glob(f"{here}*"):  # of killed processes of this machine, of this one's number too
        if leftover == folder or not running(leftover.name.removeprefix(here)):
            shutil.rmtree(leftover, ignore_errors=True)
    try:
        _unpack(source, folder)
        yield folder
    except UserError as error:
        raise UserError(str(error).replace(printable(str(folder)), str(source))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    """What numbers of processes mean something within: the machine, and the container's own numbering."""
    numbering = "/proc/self/ns/pid"
    text = f"{socket.gethostname()} {os.readlink(numbering) if os.path.exists(numbering) else ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.filename.endswith(("/", "\\"))]
            paths = _check(source, members, folder)
            for member, name in zip(members, paths, strict=True):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
                changed = time.mktime((*member.date_time, 0, 0, -1))
                os.utime(path, (changed, changed))
    except NotImplementedError as error:  # Deflate64, which Windows takes beyond 2 GB
        raise UserError(f"Archive {source} is packed in a way that is not read here ({error}): {_BY_HAND}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Archive {source} has names that are no UTF-8: unpack it and give the folder.") from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk that is written to failed, not the archive
        if _is_part(source):
            raise UserError(f"Archive {source} is one part of several: {_BY_HAND}.") from error
        reason = str(error) or type(error).__name__
        raise UserError(f"Archive {source} is damaged, download it anew. ({reason})") from error


def _is_part(source: Path) -> bool:
    """Whether an archive's end says that it is the last of several files (`data.z01`, `data.zip`)."""
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - 2**16))
        _, mark, record = file.read().rpartition(b"PK\5\6")
    return bool(mark) and int.from_bytes(record[:2], "little") not in (0, 0xFFFF)


def _check(source: Path, members: list[zipfile.ZipInfo], folder: Path) -> list[Path]:
    """The path of each member. An archive that could write elsewhere or fill the disk is refused before any byte is."""
    paths: dict[Path, None] = {}
    for member in members:
        path = _inner_path(source, member.filename)
        if path in paths:
            raise UserError(f"Archive {source} has {member.filename!r} twice: which one is meant is not to be known.")
        paths[path] = None
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(f"Archive {source} has the link {member.filename!r}: not unpacked.")
        if member.flag_bits & 1:
            raise UserError(f"Archive {source} is encrypted: unpack it and give the folder.")
    inside_file = next((path for path in paths if not paths.keys().isdisjoint(path.parents)), None)
    if inside_file is not None:
        path_text = inside_file.as_posix()
        raise UserError(f"Archive {source} has a file where {path_text!r} needs a folder: download it anew.")
    size, packed = sum(member.file_size for member in members), source.stat().st_size
    if len(members) > MOST_FILES or (size > LARGE and size > MOST_RATIO * packed):
        raise UserError(
            f"Archive {source} ({packed:,} bytes) would unpack to {len(members):,} files of {size:,} bytes: no data "
            "set of images does, so it is not unpacked."
        )
    folder.mkdir(parents=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(
            f"Archive {source} unpacks to {size:,} bytes, but only {free:,} are free under {folder.parent}: "
            "free some, or give another --data-root."
        )
    return list(paths)


def _inner_path(source: Path, name: str) -> Path:
    """A member's path. Windows tools write backslashes between folders, so that they are taken as slashes."""
    path = PureWindowsPath(name)
    if path.drive or path.root or ".." in path.parts:
        raise UserError(f"Archive {source} has the name {name!r}, which leads out of it: not unpacked.")
    if not path.parts or "\0" in name:
        raise UserError(f"Archive {source} has the name {name!r}, which names no file: download it anew.")
    return Path(*path.parts)
