"""Why a stored file cannot be used, in words: cut, changed, foreign, of another version; and what to do about it."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.records.packed import PACKED, cases_files, unpacked

Shape = Mapping[str, tuple[type, ...]]
NUMBER = (int, float)
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}
WORDS |= {list: "a list", type(None): "null"}
CRLF = "other line endings (git's autocrlf or a zip tool changed them)"
LARGEST = 2**63 - 1  # of a whole number, which tables hold in 64 bits
# field -> what it may hold, whole numbers from 0 on; `?` marks one that records from before it lack
RECORD: Shape = {
    **dict.fromkeys(("status", "key", "comparison", "preset"), (str,)),
    **dict.fromkeys(("cell.fingerprint", "cell.split", "cell.source.kind", "cell.dataset", "cell.parts"), (str,)),
    "cell.fold": (int, type(None)),
    "cell.seed": (int,),
    "cell.model.name": (str,),
    "cell.model.config": (dict,),
    "cell.model.version": (int, str),
    "cell.train_patients?": (int, type(None)),
    "cell.tuned?": (dict, type(None)),
    "cell.init?": (dict, type(None)),
    **{f"cell.protocol.{name}": (int,) for name in ("image_size", "steps", "batch_size", "threads")},
    **dict.fromkeys(("model.name", "model.title", "model.family"), (str,)),
    "model.reduced_from": (str, type(None)),
    **dict.fromkeys(("dataset.name", "dataset.title"), (str,)),
    "dataset.task?": (str,),
    "dataset.classes": (list,),
    "dataset.counts": (dict,),
    "dataset.partial": (bool,),
    "dataset.left_out?": (int,),
    **dict.fromkeys(("dataset.present_cases?", "dataset.official_cases?"), (int, type(None))),
    **{f"dataset.split_{name}?": (str, type(None)) for name in ("source", "note", "flag")},
    "dataset.split_leak?": (dict, type(None)),
    "cost.params": (int,),
    "cost.macs": (int,),
    "cost.input": (list,),
    "training": (dict, type(None)),
    "metrics": (dict, type(None)),
    "environment": (dict,),
    **{f"environment.{name}?": (str, type(None)) for name in ("gpu", "device", "cpu", "commit", "versions.torch")},
    "environment.dirty?": (bool, type(None)),
    "environment.versions?": (dict,),
    "cases_sha256": (str, type(None)),
    "error": (str, type(None)),
}
TUNED: Shape = {"lr": NUMBER, "weight_decay": NUMBER, "trials": (int,)}  # of a cell that is no trial
FROM_GRID: Shape = {"lr": NUMBER, "weight_decay": NUMBER, "grid": (list,), "chosen": (bool,)}
COUNTED: Shape = dict.fromkeys(("missed?", "invented?"), (int, type(None)))
FIRST = sorted({field.split(".")[0] for field in RECORD})
TIMED: Shape = dict.fromkeys(("seconds?", "val_score?"), (*NUMBER, type(None))) | {
    "pieces_of_a_batch?": (int,),
    "images_of_a_step?": (int,),
    "stretches?": (list,),
}
STRETCH: Shape = {"from_step": (int,), "pieces": (int,)} | dict.fromkeys(("device", "cpu", "torch"), (str, type(None)))
PARTS = ("train", "val", "test")
STATUSES = ("complete", "diverged", "pruned", "failed")  # a failed cell is tried again, so that it stands for no other
TASKS = {"segmentation": "present_patients", "classification": "classes"}  # what a part's counts hold beside `cases`
PARTS_OF: Mapping[str, Shape] = {
    task: {f"{part}.cases": (int,) for part in PARTS}
    | {f"{part}.{counted}": (int,) if task == "segmentation" else (dict,) for part in PARTS}
    for task, counted in TASKS.items()
}


class Damaged(UserError):
    """A stored file that cannot be used: where it lies, the cause, what to do."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} {cause}")


def read_json(path: Path) -> Any:
    """The JSON of a file, with or without a byte order mark.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        Damaged: it cannot be read, or is no JSON.
    """
    try:
        content = read_whole(path)
        return json.loads(content.decode("utf-8-sig"), parse_constant=_finite, parse_float=_finite)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise Damaged(path, "is a folder, where a file should be: move it away.") from None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise Damaged(path, _no_json(content, error)) from None


def read_whole(path: Path) -> bytes:
    """The content of a file that may be somebody else's.

    Raises:
        Damaged: it is a pipe or a device, or a link to one, whose end would never be read.
        OSError: it cannot be read.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Damaged(path, "is no plain file, but a pipe or a device: move it away.")
    return path.read_bytes()


def _finite(text: str) -> float:
    """The number of a text, which JSON and tables can hold; no writer of ours leaves another."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"it holds {text[:20]}, no finite number")
    return number


def _no_json(content: bytes, error: Exception) -> str:
    """Says what a file is that cannot be read as JSON, and what to do about it."""
    text = content.strip()
    if not text.strip(b"\0"):
        return f"is empty ({len(content)} bytes{' of zeros' if text else ''}): copy it again from where it was written."
    if text.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file: give `git lfs pull`."
    if b"\n<<<<<<< " in b"\n" + text:
        return "holds a merge conflict of git: check out one of its two sides."
    if isinstance(error, UnicodeDecodeError):
        return "is no text in UTF-8: copy it again from where it was written."
    at_the_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(error.doc.rstrip())
    if text[:1] in b"{[" and (at_the_end or text[-1:] not in b"}]"):
        return f"is cut short after {len(content)} bytes: copy it again from where it was written."
    where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)[:80]
    return f"is no JSON ({where}): copy it again from where it was written."


def fault(value: Any, shape: Shape) -> str | None:
    """Says in words which field is the first that is not as the shape has it; None where all fields are."""
    if _fits(value, tuple(shape.items())):
        return None
    for field, types in shape.items():
        inner, (name, parts) = value, _path(field)
        for part in parts:
            if not isinstance(inner, dict):
                return f"holds no object around {name}"
            if part not in inner:
                if field.endswith("?"):
                    break
                return f"lacks the field {name}"
            inner = inner[part]
        else:
            if not isinstance(inner, types) or (isinstance(inner, bool) and bool not in types):
                allowed = " or ".join(WORDS[kind] for kind in types if not {int, float} <= {*types} or kind is not int)
                return f"holds {str(inner)[:40]!r} as {name}, where {allowed} should be"
            if isinstance(inner, int) and not (-LARGEST if float in types else 0) <= inner <= LARGEST:
                return f"holds {_digits(inner)} as {name}, which is out of range"
    return None


def _fits(value: Any, shape: tuple[tuple[str, tuple[type, ...]], ...]) -> bool:
    """Whether all fields are certainly as the shape has them, told fast: what a file of ours holds, mostly is."""
    for parents, leaves in _by_parent(shape):
        inner = value
        for part in parents:
            inner = inner.get(part) if type(inner) is dict else None
        if type(inner) is not dict:
            return False
        for name, types, least, may_lack in leaves:
            if name in inner:
                leaf = inner[name]
                kind = type(leaf)
                if kind not in types or (kind is int and not least <= leaf <= LARGEST):
                    return False
            elif not may_lack:
                return False
    return True


@cache
def _by_parent(shape: tuple[tuple[str, tuple[type, ...]], ...]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """The names on the way to an object -> its fields: name, types, the least whole number, whether it may lack it."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for field, types in shape:
        *parents, name = _path(field)[1]
        least = -LARGEST if float in types else 0
        groups.setdefault(tuple(parents), []).append((name, types, least, field.endswith("?")))
    return list(groups.items())


@cache
def _path(field: str) -> tuple[str, tuple[str, ...]]:
    """A shape's field without its mark, and the names on the way to it."""
    name = field.rstrip("?")
    return name, tuple(name.split("."))


def _digits(number: int) -> str:
    """The text of a whole number, which may have more digits than Python prints."""
    return str(number) if abs(number) < 10**20 else "a number of more than 20 digits"


def check_schema(path: Path, value: Any, what: str, known: int, fields: Collection[str] = ()) -> None:
    """Raises Damaged unless a file's JSON is an object of the schema that this version reads, with these fields."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(value, dict):
        raise Damaged(path, f"is no {what}: it holds {type(value).__name__}, not an object.")
    if isinstance(schema, int) and schema > known:
        raise Damaged(path, f"is a {what} of schema {schema}, and this version reads {known}: update medbench.")
    if schema != known:
        raise Damaged(path, f"is no {what} of schema {known}: its schema is {str(schema)[:40]!r}.")
    if missing := sorted({*fields} - {*value}):
        raise Damaged(path, f"is no {what} of schema {known}: it lacks {', '.join(missing)}.")


def check_record(path: Path, record: Any, known: int) -> None:
    """Raises Damaged where a record lacks what a table or a plan takes of it, or holds something else there."""
    check_schema(path, record, "record", known, FIRST)
    cause = fault(record, RECORD) or next(_odd_values(record), None)
    if cause:
        raise Damaged(path, f"{cause}: it was changed by hand, or written by another version.")


def _odd_values(record: dict[str, Any]) -> Iterator[str]:
    """What is wrong with values whose types are right, in words; each rule takes for granted those before it."""
    cell, dataset, tuned = record["cell"], record["dataset"], record["cell"].get("tuned")
    task, names, metrics = dataset.get("task", "segmentation"), dataset["classes"], record["metrics"] or {}
    if record["status"] not in STATUSES:
        yield f"has status {record['status'][:40]!r}, none of {', '.join(STATUSES)}"
    if task not in TASKS:
        yield f"is of task {task[:40]!r}, none of {', '.join(TASKS)}"
    if odd_counts := fault(dataset["counts"], PARTS_OF[task]):
        yield f"{odd_counts} of dataset.counts"
    if not all(isinstance(name, str) for name in names):
        yield "holds classes that are no texts"
    if len(set(names)) < max(len(names), 2):
        yield f"names {len(set(names))} different classes in {len(names)}, where two or more should be, each once"
    if task == "classification" and any(set(names) - set(part["classes"]) for part in dataset["counts"].values()):
        yield "lacks counts of some classes"
    if not all(isinstance(figures, dict) for figures in metrics.values()):
        yield "holds metrics that are no object"
    yield from filter(None, (fault(figures, COUNTED) for figures in metrics.values()))
    yield from filter(None, [fault(record["training"] or {}, TIMED)])
    yield from filter(None, (fault(stretch, STRETCH) for stretch in (record["training"] or {}).get("stretches", ())))
    count = cell["split"].partition("/")[2].removeprefix("inner")
    if cell["fold"] is not None and count.isdecimal() and cell["fold"] >= int(count[:4]):
        yield f"holds fold {cell['fold']} of the split {cell['split'][:40]!r}, whose folds count from 0"
    if tuned is not None and "trial" not in tuned:
        yield from filter(None, [fault(tuned, FROM_GRID if "grid" in tuned else TUNED)])
    yield from filter(None, [fault(cell.get("init") or {}, {"weights?": (str, type(None))})])
    for name, share in (dataset.get("split_leak") or {}).items():
        if share is not None and not (isinstance(share, NUMBER) and type(share) is not bool and 0 <= share <= 1):
            yield f"holds {str(share)[:40]!r} as split_leak.{name}, where a share should be"


def read_cases_of(folder: Path, sha256: str | None) -> tuple[bytes, bool]:
    """As `read_hashed`, of a cell's rows: the packed ones where plain ones beside them are not the record's.

    Raises:
        Damaged: neither are.
    """
    first, *others = cases_files(folder)
    try:
        return read_hashed(first, sha256)
    except Damaged:
        if not others:
            raise
    return read_hashed(others[0], sha256)


def read_hashed(path: Path, sha256: str | None) -> tuple[bytes, bool]:
    """The content of a text file as it was written, and whether other line endings had to be taken back.

    Raises:
        Damaged: it is missing, cannot be read or unpacked, or is not the one of that hash.
    """
    try:
        content = read_whole(path)
        content = unpacked(content) if path.name == PACKED else content
    except ValueError as error:
        raise Damaged(path, f"cannot be unpacked: {error}. Copy it again from where it was packed.") from None
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(path, "is missing, and its record names it: copy it from where the cell was run.") from None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}.") from None
    if hashlib.sha256(content).hexdigest() == sha256:
        return content, False
    taken_back = content.replace(b"\r\n", b"\n")
    if hashlib.sha256(taken_back).hexdigest() == sha256:
        return taken_back, True
    raise Damaged(
        path,
        f"is not the file that its record was written with (it has {len(content)} bytes): its content changed, or it "
        "was cut short. Copy it again from where the cell was run.",
    )
