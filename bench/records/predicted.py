"""What a cell predicted of its test part, kept beside its record: pictures are drawn from it, no table needs it.

    predictions.npz
        about.npy           JSON: schema, key of the cell, whose weights, the cases in order
        0.npy, 1.npy, ...   segmentation: each case's label map (D, H, W) uint8, on its file's own grid
        probabilities.npy   classification: (cases, classes) float64, those of cases.csv

A plain `.npz` without pickles: `numpy.load` opens it. Older records, and those of `--no-predictions`, have none.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from bench.records.damage import Damaged
from bench.records.store import written

FILE = "predictions.npz"
SCHEMA = 1
LARGEST = 2**31  # bytes of one array: a file of a few kB can ask for any amount
_ABOUT, _PROBABILITIES = "about.npy", "probabilities.npy"
_FORMS = {_ABOUT: ("str", 0), _PROBABILITIES: ("float64", 2)}  # what an array may be; the others are label maps
_LABELS = ("uint8", 3)
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Kept:
    """The predictions of the test part under one set of weights, each packed into a file as it comes.

    The file has no name until it is saved: what a killed process leaves of it is nothing.

    Args:
        folder: of the record, on whose disk it lies.

    Attributes:
        cases: names of the cases, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases: list[str] = []
        self._file: IO[bytes] | None = None
        self._archive: zipfile.ZipFile | None = None
        self._probabilities: list[np.ndarray] = []

    def clear(self) -> None:
        """Forgets everything: another set of weights follows, or none."""
        self.cases, self._probabilities = [], []
        for opened in (self._archive, self._file):
            if opened is not None:
                with suppress(OSError):  # of a full disk, which cannot take the archive's end
                    opened.close()
        self._file = self._archive = None

    def add(self, case: str, prediction: np.ndarray) -> None:
        """Takes a label map (D, H, W) uint8, or the probabilities (K,) of an image."""
        if prediction.ndim == 1:
            self._probabilities.append(prediction)
        else:
            self._write(f"{len(self.cases)}.npy", prediction)
        self.cases.append(case)

    def save(self, key: str, weights: str) -> Path:
        """Writes the file beside a record, whole or not at all, and forgets everything."""
        if self._probabilities:
            self._write(_PROBABILITIES, np.stack(self._probabilities))
        about = {"schema": SCHEMA, "key": key, "weights": weights, "cases": self.cases}
        self._write(_ABOUT, np.array(json.dumps(about, sort_keys=True)))
        assert self._archive is not None
        assert self._file is not None
        self._archive.close()
        self._file.seek(0)
        with written(self.folder / FILE) as file:
            shutil.copyfileobj(self._file, file)
        self.clear()
        return self.folder / FILE

    def _write(self, name: str, array: np.ndarray) -> None:
        if self._archive is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
            self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        with self._archive.open(name, "w") as member:
            np.lib.format.write_array(cast(Any, member), array, allow_pickle=False)


@dataclass(frozen=True)
class Predicted:
    """Kept predictions; label maps are read one by one.

    Attributes:
        weights: whose they are, as cases.csv names them.
        cases: in order.
    """

    path: Path
    weights: str
    cases: tuple[str, ...]

    def of(self, case: str) -> np.ndarray:
        """A case's label map (D, H, W) uint8, or its probabilities (K,). Raises Damaged for a file that is not whole.

        Raises:
            KeyError: no such case.
        """
        if case not in self.cases:
            raise KeyError(case)
        place = self.cases.index(case)
        try:
            with zipfile.ZipFile(self.path) as archive:
                if _PROBABILITIES in archive.namelist():
                    return _read(archive, _PROBABILITIES)[place]
                return _read(archive, f"{place}.npy")
        except _DAMAGE as error:
            raise _damaged(self.path, error) from None

    def check(self) -> None:
        """Reads everything once. Raises Damaged for a file that is not whole."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                if _PROBABILITIES in archive.namelist():
                    rows = len(_read(archive, _PROBABILITIES))
                    if rows != len(self.cases):
                        raise ValueError(f"{rows} rows of {len(self.cases)} cases")
                else:
                    for place in range(len(self.cases)):
                        _read(archive, f"{place}.npy")
        except _DAMAGE as error:
            raise _damaged(self.path, error) from None


def read_predictions(folder: Path, record: dict[str, Any]) -> Predicted | None:
    """What is kept beside a record; None where nothing is. Raises Damaged for another record's, or half a file."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(str(_read(archive, _ABOUT)))
            names = set(archive.namelist())
        predicted = Predicted(path, str(about["weights"]), tuple(map(str, about["cases"])))
        whole = {_PROBABILITIES} <= names or {f"{k}.npy" for k in range(len(predicted.cases))} <= names
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    if about["schema"] != SCHEMA or not whole:
        raise Damaged(path, f"holds no predictions of schema {SCHEMA}: run its cell anew with --force.")
    if about["key"] != record["key"]:
        raise Damaged(path, f"holds predictions of cell {str(about['key'])[:12]!r}, not of its record's: move it away.")
    return predicted


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an archive, after a check that its header promises no more than is there, and nothing but numbers."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(cast(Any, member))
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, _, dtype = read_header(cast(Any, member))
        size = math.prod(shape) * dtype.itemsize
        kind = "str" if dtype.kind == "U" else dtype.name
        if (kind, len(shape)) != _FORMS.get(name, _LABELS):
            raise ValueError(f"{name} is of {dtype.name} {shape}")
        if size > LARGEST or archive.getinfo(name).file_size < size:
            raise ValueError(f"{name} promises {size:,} bytes")
    with archive.open(name) as member:
        return np.lib.format.read_array(cast(Any, member), allow_pickle=False)


def _damaged(path: Path, error: Exception) -> Damaged:
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return Damaged(path, f"cannot be read ({line[:120]}): copy it again, or run its cell anew with --force.")
