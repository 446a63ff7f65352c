"""What an interrupted preparation leaves, so that the next one goes on: finished cases, and what they were read from.

`progress.jsonl` in a cache's temporary folder: the state of the source first, then a line for each finished case.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bench.datasets.readers.folders import all_files

JOURNAL = "progress.jsonl"
Line = dict[str, Any]


def source_state(source: Path, version: Mapping[str, Any]) -> Line:
    """A hash of the names, sizes and times of all files, and what else decides how they are read."""
    digest = hashlib.sha256(json.dumps(dict(version), sort_keys=True).encode())
    for path in all_files(source):
        facts = path.stat()
        digest.update(os.fsencode(path.relative_to(source).as_posix()))  # whatever bytes a name has
        digest.update(f"\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return {"source": digest.hexdigest()}


def finished_lines(folder: Path, state: Line, arrays: Mapping[str, str], header: int) -> list[Line]:
    """The cases that a preparation of the same source had finished, as far as their bytes are those it hashed.

    Args:
        arrays: file name -> type of its values. header: bytes before them.
    """
    try:
        text = (folder / JOURNAL).read_text(encoding="utf-8")
        first, *lines = [json.loads(line) for line in text[: text.rindex("\n")].split("\n")]
        if first != state:
            return []
        for (name, dtype), key in zip(arrays.items(), ("image_sha256", "label_sha256"), strict=False):
            lines = lines[: _count_sound(folder / name, np.dtype(dtype).itemsize, header, lines, key)]
        return lines
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _count_sound(path: Path, itemsize: int, header: int, lines: list[Line], key: str) -> int:
    """Counts the first cases whose bytes in an array's file still have the hash of their line."""
    with path.open("rb") as file:
        file.seek(header)
        for i, line in enumerate(lines):
            values = file.read(math.prod(line["entry"]["shape"]) * itemsize)
            if hashlib.sha256(values).hexdigest() != line["entry"][key]:
                return i
    return len(lines)


def open_arrays(folder: Path, lines: list[Line], arrays: Mapping[str, str], header: int) -> list[BinaryIO]:
    """Opens the arrays' files for the next case; what was written behind the finished cases is cut off."""
    values = sum(math.prod(line["entry"]["shape"]) for line in lines)
    files: list[BinaryIO] = []
    for name, dtype in arrays.items():
        path = folder / name
        file = path.open("r+b" if lines else "w+b")
        file.truncate(header + values * np.dtype(dtype).itemsize)
        file.seek(0, os.SEEK_END)
        files.append(file)
    return files


def adopt(root: Path, name: str, temporary: Path) -> None:
    """Renames a folder that a killed preparation left to `temporary`; of several one is kept, the others go."""
    for path in sorted(root.glob(f"{name}.tmp-*")):
        pid = path.name.removeprefix(f"{name}.tmp-").removesuffix("-old")
        if pid != str(os.getpid()) and running(pid):
            continue
        if path.name.endswith("-old"):
            restore(path, root / name)
        elif path == temporary:
            continue
        elif (path / JOURNAL).is_file() and not temporary.exists():
            try:
                path.rename(temporary)
            except OSError:  # another process has just taken it
                continue
        shutil.rmtree(path, ignore_errors=True)


def restore(aside: Path, final: Path) -> None:
    """Ends a replacement: the old folder goes back where no new one came, else it is removed."""
    if aside.exists() and not final.exists():
        aside.rename(final)
    shutil.rmtree(aside, ignore_errors=True)


def running(pid: str) -> bool:
    """Whether a process of this id, taken from a folder's name, runs; text that is no id counts as running."""
    import psutil

    try:
        return not pid.isdecimal() or psutil.pid_exists(int(pid))
    except OverflowError:  # a number, but no id of a process
        return True
