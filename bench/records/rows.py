"""A cell's record as one row of a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.records.keys import (
    cell_key,
    comparison_key,
    has_known_fields,
    key_over_budgets,
    key_over_patients,
)

COLUMNS = [
    *("key", "comparison", "over_budgets", "over_patients"),
    *("status", "preset", "task", "dataset", "dataset_title", "fingerprint", "source", "split"),
    *("split_source", "split_note", "split_flag", "split_leak", "fold", "train_patients", "tuned", "init", "seed"),
    *("model", "version", "config", "title", "family", "reduced_from", "params", "macs", "input", "classes", "counts"),
    *("present_cases", "official_cases", "partial", "image_size", "left_out", "device", "cpu"),
    *("versions", "torch", "commit", "dirty", "threads", "batch_size", "images_seen", "averaged", "pieces", "seconds"),
    *("error", "folder"),
]


def task_of(record: dict[str, Any]) -> str:
    """The task of a record; a record from before there were two tasks does not name it, and is of segmentation."""
    return record["dataset"].get("task", "segmentation")


def record_rows(records: Iterable[tuple[Path, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each record as one flat row, with the columns of `COLUMNS`, from the folder that it lies in and itself."""
    curves = dict[str, dict[str, str]]()
    return [record_row(record, curves, folder) for folder, record in records]


def record_row(
    record: dict[str, Any], curves: dict[str, dict[str, str]] | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """A record as one flat row, with the columns of `COLUMNS`; `curves`: what `_compared_in` gave before."""
    cell, model, dataset = record["cell"], record["model"], record["dataset"]
    protocol, cost, env, training = cell["protocol"], record["cost"], record["environment"], record["training"] or {}
    each_step = training.get("images_of_a_step", protocol["batch_size"])
    return {
        "key": record["key"],
        **_compared_in(record, {} if curves is None else curves),
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
        "split_flag": _split_flag(record),
        "split_leak": dataset.get("split_leak"),
        "fold": cell["fold"],
        "train_patients": cell.get("train_patients"),
        "tuned": cell.get("tuned"),
        "init": (cell.get("init") or {}).get("weights"),
        "seed": cell["seed"],
        "model": model["name"],
        "version": cell["model"]["version"],
        "config": cell["model"]["config"],
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
        "image_size": protocol["image_size"],
        "left_out": dataset.get("left_out", 0),
        "device": _throughout(training, "device", env.get("gpu") or env.get("device")),
        "cpu": _throughout(training, "cpu", env.get("cpu")),
        "versions": env.get("versions", {}),
        "torch": _throughout(training, "torch", env.get("versions", {}).get("torch")),
        "commit": env.get("commit"),
        "dirty": env.get("dirty"),
        "threads": protocol["threads"],
        "batch_size": protocol["batch_size"],
        "images_seen": protocol["steps"] * each_step,
        "averaged": bool(protocol.get("average")),
        "pieces": training.get("pieces_of_a_batch", 1),
        "seconds": training.get("seconds"),
        "error": record["error"],
        "folder": None if folder is None else str(folder),
    }


def key_of(record: dict[str, Any]) -> str:
    """The key of a record's cell, computed; the stored one counts only where the cell has another version's form."""
    return cell_key(record["cell"]) if has_known_fields(record["cell"]) else str(record["key"])


def comparison_of(record: dict[str, Any]) -> str:
    """The comparison key of a record's cell, computed; the stored one counts as in `key_of`."""
    return comparison_key(record["cell"]) if has_known_fields(record["cell"]) else str(record["comparison"])


def _compared_in(record: dict[str, Any], curves: dict[str, dict[str, str]]) -> dict[str, str]:
    """The keys of a record's comparison and of the curves that its cell is a point of, which `curves` gives by that.

    Another version's cell is on a curve of its own. One of all patients, whose steps no epochs give, is on the curve
    that its comparison is called by.
    """
    cell, comparison = record["cell"], comparison_of(record)
    if not has_known_fields(cell):
        return {"comparison": comparison, "over_budgets": comparison, "over_patients": comparison}
    if comparison not in curves:
        is_its_own = cell.get("train_patients") is None and not cell["protocol"].get("epochs")
        over_patients = comparison if is_its_own else key_over_patients(cell)
        over_budgets = key_over_budgets(cell)
        curves[comparison] = {
            "comparison": comparison,
            "over_budgets": over_budgets,
            "over_patients": over_patients,
        }
    return curves[comparison]


def _throughout(training: dict[str, Any], what: str, at_the_end: str | None) -> str | None:
    """What a cell was trained by: `NVIDIA H100, then cpu` where it was gone on with elsewhere."""
    found = [str(stretch[what]) for stretch in training.get("stretches", ())]
    return (
        ", then ".join(name for name, before in zip(found, [None, *found], strict=False) if name != before)
        or at_the_end
    )


def _split_flag(record: dict[str, Any]) -> str | None:
    """Why the split is not to be trusted; a fold that was dealt by patient is not what it was made from.

    Older records of folds, which say nothing of validation, have the flag of the random split whose cases they dealt
    anew.
    """
    dataset = record["dataset"]
    shares = dataset.get("split_leak") or {}
    by_patient = record["cell"]["fold"] is not None and "validation" not in shares and shares.get("patient") == 0
    return None if by_patient else dataset.get("split_flag")
