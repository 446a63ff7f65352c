"""A folder of images through trained networks: a label map of each, or a row of probabilities; resumable."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.own.dicom import read_series
from bench.datasets.readers.nifti import is_nifti
from bench.errors import UserError
from bench.records.damage import read_json
from bench.records.leases import NAME, hold
from bench.records.spreadsheets import guarded, unguarded
from bench.records.store import write_bytes, write_json, write_rows
from bench.runs.inputs import list_inputs
from bench.runs.trained import Trained, check_alike, predict_together

ABOUT, TABLE = "predictions.json", "predictions.csv"
INPUTS = "predictions.jsonl"  # a line for each prediction: the image's name and the hash of its content
SCHEMA = 1
IMAGES = 64  # of a classification, between two writings of the table
Count = Callable[[str, int, int], object]


def predict_folder(
    members: Sequence[Trained], source: Path, output: Path, report: Count = lambda name, done, total: None
) -> tuple[int, int]:
    """Predicts every image of a folder that is not predicted yet; of several runs by their mean probabilities.

    Segmentation: `<name>.nii.gz` on a volume's own grid with its header, or `<name>.png` of label ids. Classification:
    `predictions.csv`. Beside them `predictions.json` says which runs made them, of which classes, and
    `predictions.jsonl` of which images: what is there already counts for an image of the same content alone.

    Args:
        report: called with a name, the images done and all of them.

    Returns:
        How many were predicted, and how many were there already.

    Raises:
        UserError: no images, a bad one (the others' predictions are kept), runs that differ in kind, or a folder with
            predictions of other runs, or of another image of the same name, or that another process predicts into.
    """
    check_alike(members)
    files = list_inputs(source, members[0].task)
    if output.resolve() == source.resolve():
        raise UserError(f"Expected --output to be another folder than --input, but both are {source}.")
    with _faults_told(source, output, members[0].name), hold(output / NAME, wait=False) as lease:
        if lease is None:
            raise UserError(f"Another process predicts into {output}: wait for it, or name another folder.")
        _begin(members, output, files)
        hashes = _checked_inputs(output, files)
        if members[0].task == "segmentation":
            return _label_maps(members, files, hashes, output, report)
        return _table(members, files, hashes, output, report)


@contextmanager
def _faults_told(source: Path, output: Path, network: str) -> Iterator[None]:
    """Makes a UserError of outputs that overflow, and of what the system refuses to read or to write."""
    try:
        yield
    except FloatingPointError as error:
        raise UserError(f"{network}: {error}. Its predictions up to here are kept.") from None
    except OSError as error:
        place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else output
        if place.is_relative_to(source) and not place.is_relative_to(output):
            raise UserError(f"Cannot read {place}: {error.strerror}. Mend it, or move it away.") from None
        raise UserError(f"Cannot write under {output}: {error.strerror}. Name another folder with --output.") from None


def _begin(members: Sequence[Trained], output: Path, files: Mapping[str, Path]) -> None:
    """Writes what the folder is of, or checks that it is of these runs."""
    about = {
        "schema": SCHEMA,
        "task": members[0].task,
        "classes": list(members[0].classes),
        "runs": [{"model": m.name, "key": m.key, "dataset": m.dataset, "weights": m.weights} for m in members],
    }
    place = output / ABOUT
    if place.is_file():
        if read_json(place) != about:
            raise UserError(f"{output} holds predictions of other runs (see {place}): name another folder.")
        return
    targets = [_target(output, name, path) for name, path in files.items()]
    there = next((path for path in (*targets, output / TABLE) if path.exists()), None)
    if there is not None:
        raise UserError(f"{there} exists, and {ABOUT} does not say that it is of these runs: name another folder.")
    write_json(place, about)


def _checked_inputs(output: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """Name -> hash of each image. Raises UserError where the folder has the prediction of another image of a name."""
    hashes = {name: _content(path) for name, path in files.items()}
    known = _known_inputs(output)
    other = next((name for name, content in hashes.items() if known.get(name, content) != content), None)
    if other is not None:
        raise UserError(
            f"{output} holds the prediction of another image called {other} than {files[other]}: name another folder "
            "with --output."
        )
    return hashes


def _content(path: Path) -> str:
    """The hash of a file, or of the files of a series in order of their names."""
    digest = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else (path,):
        if part.is_file():
            digest.update(part.read_bytes())
    return digest.hexdigest()


def _known_inputs(output: Path) -> dict[str, str]:
    """Name -> hash of the images that were predicted; a line that a kill cut off counts for nothing."""
    known: dict[str, str] = {}
    path = output / INPUTS
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            known[str(entry["name"])] = str(entry["sha256"])
    return known


def _note_inputs(output: Path, names: Sequence[str], hashes: Mapping[str, str]) -> None:
    lines = [json.dumps({"name": name, "sha256": hashes[name]}) for name in names]
    with (output / INPUTS).open("a", encoding="utf-8") as file:
        file.write("".join(f"\n{line}" for line in lines))  # a new line first: the last may have been cut off


def _target(output: Path, name: str, path: Path) -> Path:
    return output / f"{name}{'.nii.gz' if _is_volume(path) else '.png'}"


def _is_volume(path: Path) -> bool:
    return path.is_dir() or is_nifti(path)


def _label_maps(
    members: Sequence[Trained], files: Mapping[str, Path], hashes: Mapping[str, str], output: Path, report: Count
) -> tuple[int, int]:
    made = 0
    for done, (name, path) in enumerate(files.items(), start=1):
        target = _target(output, name, path)
        if not target.exists():
            (labels,) = predict_together(members, [path])
            _note_inputs(output, [name], hashes)
            write_bytes(target, _as_nifti(labels, path) if _is_volume(path) else _as_png(labels))
            made += 1
        report(name, done, len(files))
    return made, len(files) - made


def _as_nifti(labels: np.ndarray, like: Path) -> bytes:
    """A label map (D, H, W) with the header of the image that it is of, or on the grid of its series."""
    import nibabel

    if like.is_dir():
        file = nibabel.Nifti1Image(np.ascontiguousarray(labels.transpose(2, 1, 0)), read_series(like)[2][0])
        file.header.set_xyzt_units("mm", "sec")
        return gzip.compress(file.to_bytes(), mtime=0)
    image: Any = nibabel.load(like)
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    array = np.ascontiguousarray(labels.transpose(2, 1, 0)).reshape(image.shape)
    return gzip.compress(type(image)(array, None, header).to_bytes(), mtime=0)


def _as_png(labels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def _table(
    members: Sequence[Trained], files: Mapping[str, Path], hashes: Mapping[str, str], output: Path, report: Count
) -> tuple[int, int]:
    classes = members[0].classes
    heads = [f"p({name})" if name in ("case", "predicted") else name for name in classes]
    columns = ("case", "predicted", *heads)
    rows = {row["case"]: row for row in _read_table(output / TABLE, columns)}
    waiting = [name for name in files if name not in rows]
    for start in range(0, len(waiting), IMAGES):
        names = waiting[start : start + IMAGES]
        for name, found in zip(names, predict_together(members, [files[name] for name in names]), strict=True):
            shares = dict(zip(heads, found.tolist(), strict=True))
            rows[name] = {"case": name, "predicted": classes[int(found.argmax())], **shares}
        _note_inputs(output, names, hashes)
        _write_table(output / TABLE, columns, [rows[name] for name in sorted(rows)])
        report(names[-1], len(files) - len(waiting) + start + len(names), len(files))
    return len(waiting), len(files) - len(waiting)


def _write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV in which no name of an image or a class is a spreadsheet's formula."""
    safe = [{guarded(k): guarded(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    write_rows(path, tuple(map(guarded, columns)), safe)


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows that `_write_table` was given, figures as text."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"Expected {path} to be a table of predictions ({error}): move it away.") from None
    if tuple(map(unguarded, header)) != columns:
        raise UserError(f"Expected {path} to have the columns {', '.join(columns)}: move it away.")
    return [dict(zip(columns, map(unguarded, row), strict=False)) for row in rows if row]
