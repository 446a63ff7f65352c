"""Results on disk: a cell's record is written once and last; all results are a view of those files.

    <results>/units/<dataset>-<fingerprint>.json   which cases count as one in an interval
    <results>/runs/<dataset>/<model>/<seed>-<key>/
        cell.json            first: what the cell is
        sources/             of a third party's model: its own code, from which it can be built again
        history.csv          one row per validation round
        checkpoint.pt        while the cell is unfinished
        cases.csv            one row per part, weights, case and class, with the task's columns
        weights.safetensors  the weights that the protocol's selection rule chose
        record.json          last, renamed into place: the cell is finished

Phantom cells live under `<results>/runs/phantom/`. A folder of records without weights (`results/example/records`)
has the same layout.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.filenames import file_name
from bench.plan import Cell

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
TUNING = "tuning"
LARGEST_SOURCES = 2**21  # bytes of a model's own code that are copied beside a record
RECORD_FIELDS = {
    *("schema", "status", "key", "comparison", "preset", "cell", "model", "dataset", "cost", "training", "metrics"),
    *("environment", "cases_sha256", "error"),
}
_PLACE = ("part", "weights", "case", "patient", "class")
# task -> the columns of cases.csv that hold scores; the others are ids, sizes and outcomes
SCORE_COLUMNS = {
    "segmentation": (
        "dice_strict",
        "dice_transunet",
        "hd95_vox_strict",
        "hd95_vox_transunet",
        "hd95_mm_strict",
        "hd95_mm_transunet",
        *("jaccard_strict", "sensitivity_strict", "precision_strict"),
        *("hd95max_vox_strict", "assd_vox_strict", "nsd_vox_strict"),
        *("hd95max_mm_strict", "assd_mm_strict", "nsd_mm_strict"),
    ),
    "classification": ("reference", "predicted", "probability"),
}
CASE_COLUMNS = {
    "segmentation": (*_PLACE, "outcome", "reference_voxels", "predicted_voxels", *SCORE_COLUMNS["segmentation"]),
    "classification": (*_PLACE, *SCORE_COLUMNS["classification"]),
}


def cell_folder(results: Path, cell: Cell, model_name: str) -> Path:
    """Where a cell's files lie below the results folder."""
    base = results / "runs" if cell.source["kind"] == "real" else results / "runs" / cell.source["kind"]
    return base / file_name(cell.dataset_label) / file_name(model_name) / f"{cell.seed}-{cell.key}"


def check_writable(results: Path) -> None:
    """Raises UserError when the results folder cannot be made or written to."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results) as probe:
            probe.write(b"0" * 4096)
    except OSError as error:
        raise UserError(
            f"Cannot write to the results folder {results}: {error.strerror}. Name another with --results DIR."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes beside and renames into place, so that no reader ever sees half a file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes."""
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Canonical, readable JSON; NaN is an error here, never in a reader."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_sources(folder: Path, sources: Mapping[str, bytes]) -> None:
    """Writes a model's own code below `sources`, if it is not large."""
    if sum(map(len, sources.values())) > LARGEST_SOURCES:
        return
    for name, content in sources.items():
        path = folder / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A CSV with these columns; floats by their shortest exact text, None as a blank."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def units_path(results: str | Path, dataset: str, fingerprint: str) -> Path:
    """Where the table of `bench.datasets.units` lies; `dataset` as results call it."""
    return Path(results) / "units" / f"{file_name(f'{dataset}-{fingerprint}')}.json"


def write_units(results: str | Path, table: dict[str, Any]) -> Path:
    """Writes a table of units, unless it is there."""
    path = units_path(results, table["dataset"], table["fingerprint"])
    if not path.is_file() or path.read_text(encoding="utf-8") != as_json(table):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, table)
    return path


def read_units(results: str | Path, dataset: str, fingerprint: str) -> dict[str, Any] | None:
    """A table of units, or None where none was written. Raises UserError for a damaged one."""
    path = units_path(results, dataset, fingerprint)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {"unit": str(table["unit"]), "cases": dict(table["cases"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}). Delete it; `medbench run` and `medbench data units` "
            "write it."
        ) from None


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a cell's folder, or None when the cell is unfinished.

    Raises:
        UserError: the file is no record of this schema.
    """
    path = folder / "record.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Delete its folder to run the cell again.") from None
    except ValueError:
        raise UserError(f"{path} is no JSON. Delete its folder to run the cell again.") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not set(record) >= RECORD_FIELDS:
        raise UserError(f"{path} is no record of schema {SCHEMA}. Delete its folder to run the cell again.")
    return record


def is_done(folder: Path) -> bool:
    """Whether a cell needs no more work: complete, or diverged, which it would be again."""
    record = read_record(folder)
    if record is None or record["status"] in ("failed", "pruned"):
        return False
    unscored = record["metrics"] is None  # diverged, or a trial
    return unscored or (folder / "cases.csv").exists()


@contextmanager
def lock(folder: Path, wait: bool) -> Iterator[bool]:
    """Holds a cell's lock; yields False when another process has it and `wait` is off. A kill releases it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        for leftover in folder.glob("*.tmp-*"):  # of a killed process
            leftover.unlink()
        yield True


def find_records(results: Path) -> list[Path]:
    """All folders that hold a record, in order: below `runs` of a results folder, or below a folder of records.

    The trials of a search, in a folder `tuning`, are found in that folder alone: they are no results.
    """
    runs = results / "runs"
    base = runs if runs.is_dir() else results
    found = (path.parent for path in base.rglob("record.json"))
    return sorted(folder for folder in found if TUNING not in folder.relative_to(base).parts)


def load_cells(results: str | Path) -> pd.DataFrame:
    """One row per finished, failed or diverged cell.

    Columns: key, comparison, status, preset, task, dataset, dataset_title, fingerprint, source, split, split_source,
    split_note, split_flag, split_leak, fold, train_patients, tuned, init, seed, model, version, title, family,
    reduced_from, params, macs, input, classes, counts, present_cases, official_cases, partial, left_out, selection,
    policy, image_size, device, cpu, torch, commit, threads, seconds, missed, invented, error.
    """
    import pandas as pd

    return pd.DataFrame([_flat(record) for record in _records(results)])


def load_cases(results: str | Path) -> pd.DataFrame:
    """All cells' cases: the columns of cases.csv and the cell's key; those that a task lacks are nan in its rows."""
    import pandas as pd

    frames = [pd.DataFrame(columns=[*CASE_COLUMNS["segmentation"], "key"])]
    for folder in find_records(Path(results)):
        record = read_record(folder)
        if record is not None and record["status"] == "complete":
            frame = _read_cases(_checked_cases(folder, record), task_of(record))
            frames.append(frame.assign(key=record["key"]))
    return pd.concat(frames[1:], ignore_index=True) if frames[1:] else frames[0]


def task_of(record: dict[str, Any]) -> str:
    """The task of a record; one that does not say is of segmentation."""
    return record["dataset"].get("task", "segmentation")


def _read_cases(content: bytes, task: str) -> pd.DataFrame:
    """The rows of a cases.csv; probabilities by Python's own float, which loses no digit under any pandas."""
    import pandas as pd

    text = dict.fromkeys((*_PLACE, "outcome", "probability"), str)
    blank = {column: [""] for column in CASE_COLUMNS[task] if column not in text}
    frame = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=blank)
    return frame.assign(probability=frame["probability"].map(float)) if task == "classification" else frame


def _checked_cases(folder: Path, record: dict[str, Any]) -> bytes:
    """The bytes of a cell's cases.csv. Raises UserError when they are not those that the record was written with."""
    path = folder / "cases.csv"
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != record["cases_sha256"]:
        raise UserError(f"{path} is not the file that its record was written with. Delete its folder to run it again.")
    return content


def load_results(results: str | Path = "results") -> pd.DataFrame:
    """All results as one long table: a row per cell, part, weights, case, class, metric, with its value.

    Metrics: Dice and HD95 under each policy; in classification `reference`, `predicted` (0 or 1) and `probability`.

    The cell's own columns (`load_cells`) stand beside each row. Failed cells have no rows here; `load_cells` has them.
    """
    import pandas as pd

    cells, cases = load_cells(results), load_cases(results)
    scores = [c for columns in SCORE_COLUMNS.values() for c in columns]
    rest = [c for c in cases.columns if c not in scores]
    parts = []
    for task, columns in SCORE_COLUMNS.items():
        own = cases[cases["key"].isin(cells.loc[cells["task"] == task, "key"])] if len(cells) else cases
        if len(own):
            columns = tuple(c for c in columns if c in own)  # older records lack some
            parts.append(own.melt(id_vars=rest, value_vars=list(columns), var_name="metric", value_name="value"))
    long = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*rest, "metric", "value"])
    return long.merge(cells.drop(columns=["missed", "invented"]), on="key") if len(cells) else long


def _records(results: str | Path) -> list[dict[str, Any]]:
    if not Path(results).is_dir():
        raise UserError(
            f"No results folder {str(results)!r}. Run `medbench run` first, or name one with --results DIR."
        )
    records = (read_record(folder) for folder in find_records(Path(results)))
    return [record for record in records if record is not None]


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    cell, model, dataset = record["cell"], record["model"], record["dataset"]
    protocol, cost, env = cell["protocol"], record["cost"], record["environment"]
    shown = (record["metrics"] or {}).get(protocol["selection"], {})
    return {
        "key": record["key"],
        "comparison": record["comparison"],
        "status": record["status"],
        "preset": record["preset"],
        "task": task_of(record),
        "dataset": dataset["name"],
        "dataset_title": dataset["title"],
        "fingerprint": cell["fingerprint"],
        "source": cell["source"]["kind"],
        "split": cell["split"],
        "split_source": dataset.get("split_source"),
        "split_note": dataset.get("split_note"),
        "split_flag": dataset.get("split_flag"),
        "split_leak": dataset.get("split_leak"),
        "fold": cell["fold"],
        "train_patients": cell.get("train_patients"),
        "tuned": cell.get("tuned"),
        "init": (cell.get("init") or {}).get("weights"),
        "seed": cell["seed"],
        "model": model["name"],
        "version": cell["model"]["version"],
        "title": model["title"],
        "family": model["family"],
        "reduced_from": model["reduced_from"],
        "params": cost["params"],
        "macs": cost["macs"],
        "input": "x".join(map(str, cost["input"])),
        "classes": dataset["classes"],
        "counts": dataset["counts"],
        "present_cases": dataset.get("present_cases"),
        "official_cases": dataset.get("official_cases"),
        "partial": dataset["partial"],
        "selection": protocol["selection"],
        "policy": protocol["policy"],
        "image_size": protocol["image_size"],
        "left_out": dataset.get("left_out", 0),
        "device": env.get("gpu") or env.get("device"),
        "cpu": env.get("cpu"),
        "torch": env.get("versions", {}).get("torch"),
        "commit": env.get("commit"),
        "threads": protocol["threads"],
        "seconds": (record["training"] or {}).get("seconds"),
        "missed": shown.get("missed"),
        "invented": shown.get("invented"),
        "error": record["error"],
    }
