"""The files of a cache: flat arrays of values, JSON, and the error for what cannot be used."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError


class Values:
    """The values of all cases in a cache's file, which is opened once and read case by case.

    It is not mapped into memory: where a mapped file is cut by another process, the next look at it is a bus error,
    which ends the process without a word.

    Args:
        start: where the first value lies in the file, in bytes.
    """

    def __init__(self, path: Path, dtype: str, start: int) -> None:
        self.path, self.dtype, self.start = path, np.dtype(dtype), start
        self.file = path.open("rb", buffering=0)
        self.lock = threading.Lock()

    def read(self, case: str, shape: tuple[int, int, int], offset: int, one: int | None = None) -> np.ndarray:
        """A case's values, read-only, in its shape; or `one` of its slices, as a volume of it alone.

        Args:
            case: its name, for the error. offset: of its first value among all.

        Raises:
            UserError: the file ends before, or cannot be read.
        """
        values = np.empty(shape if one is None else (1, *shape[1:]), self.dtype)
        first = offset + (one or 0) * shape[1] * shape[2]
        left = values.view(np.uint8).data.cast("B")  # of colours too, which are three bytes each
        try:
            with self.lock:
                self.file.seek(self.start + first * self.dtype.itemsize)
                while left and (count := self.file.readinto(left)):
                    left = left[count:]
        except OSError as error:
            raise broken(self.path.parent, f"{self.path.name} cannot be read ({error.strerror})") from error
        if left:
            raise broken(self.path.parent, f"{self.path.name} was cut: it ends in the middle of {case}")
        values.flags.writeable = False
        return values

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def read_json(path: Path) -> Any:
    """Parses a JSON file of a cache.

    Raises:
        OSError: the path cannot be read, or is a pipe, which would be waited for. ValueError: the text is no JSON.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def broken(folder: Path, why: str) -> UserError:
    """The error for a cache that cannot be used, with the way out."""
    if folder.name.endswith("-phantom"):
        return UserError(f"The cache {folder} is unusable: {why}. Delete the folder; phantoms are drawn anew.")
    return UserError(
        f"The cache {folder} is unusable: {why}. "
        f"Run `medbench data prepare {folder.name} --from DIR --data-root {folder.parent} --replace`."
    )
