"""Data sets in the .zip they were downloaded as: unpacked beside the cache, with every name and size checked first."""

from __future__ import annotations

import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.errors import UserError

# Images and volumes hardly compress; what unpacks to so many times its size, and to more than this, is no data set.
MOST_RATIO, LARGE = 100, 2**30
MOST_FILES = 1_000_000


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
    if not zipfile.is_zipfile(source):
        raise UserError(
            f"Expected a folder or a .zip archive, but {source} is neither; if it is the download, it may be truncated."
        )
    folder = root / f"{source.stem}.zip-{os.getpid()}"
    try:
        _unpack(source, folder)
        yield folder
    except UserError as error:
        raise UserError(str(error).replace(str(folder), str(source))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(source, members, folder)
            for member in members:
                path = folder.joinpath(*PurePosixPath(member.filename).parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
                changed = time.mktime((*member.date_time, 0, 0, -1))
                os.utime(path, (changed, changed))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError) as error:
        raise UserError(f"Archive {source} is damaged, download it anew. ({error})") from error


def _check(source: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """Refuses, before a byte is written, what could write elsewhere or fill the disk."""
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in path.parts[0]:
            raise UserError(f"Archive {source} has the name {member.filename!r}, which leads out of it: not unpacked.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(f"Archive {source} has the link {member.filename!r}: not unpacked.")
        if member.flag_bits & 1:
            raise UserError(f"Archive {source} is encrypted: unpack it and give the folder.")
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
