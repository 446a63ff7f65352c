"""Thousands of records of drawn figures, in the form that runs leave them: for what must be fast."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from stored_records import a_record_of

from bench.records.keys import cell_key, comparison_key
from bench.records.store import cell_folder

DATASETS = {"acdc": "segmentation", "synapse": "segmentation", "msld": "classification"}
DATASETS |= {"sars-cov2-ct": "classification", "large-covid-ct": "classification"}


def write_records(results: Path, models: int, seeds: int, settings: int, cases: int = 12) -> int:
    """Writes `models` x five data sets x `seeds` x `settings` cells (other steps: another table each); their number.

    Args:
        cases: of the test part of each cell; three classes in segmentation, two in classification.
    """
    rng, count = np.random.default_rng(0), 0
    for dataset, task in DATASETS.items():
        template = json.loads((a_record_of(task) / "record.json").read_text())
        rows = pd.read_csv(a_record_of(task) / "cases.csv", dtype=str, keep_default_na=False)
        kept = rows[rows["part"] == "test"]["case"].unique()[:cases]
        rows = rows[(rows["part"] == "test") & rows["case"].isin(kept)].reset_index(drop=True)
        for model in range(models):
            for setting in range(settings):
                for seed in range(seeds):
                    record = _record(template, dataset, model, setting, seed, cases)
                    _write(results, record, _drawn(rows, task, rng, model))
                    count += 1
    return count


def _record(template: dict[str, Any], dataset: str, model: int, setting: int, seed: int, cases: int) -> dict[str, Any]:
    record = copy.deepcopy(template)
    name = f"net{model:02d}" if model else "mednext_tiny"
    family = ("cnn", "transformer", "hybrid")[model % 3] if model else "proposed"
    record["cell"]["dataset"] = record["dataset"]["name"] = dataset
    record["cell"]["seed"], record["cell"]["model"] = seed, {"name": name, "version": 1, "config": {}}
    record["cell"]["protocol"]["steps"] = 6000 + setting
    record["model"] |= {"name": name, "title": f"Net {model:02d}", "family": family, "reduced_from": None}
    record["preset"] = f"standard with steps={6000 + setting}"
    record["dataset"]["counts"]["test"]["cases"] = cases
    record["key"], record["comparison"] = cell_key(record["cell"]), comparison_key(record["cell"])
    return record


def _drawn(rows: pd.DataFrame, task: str, rng: np.random.Generator, model: int) -> pd.DataFrame:
    if task == "segmentation":
        dice = np.clip(0.9 - 0.01 * model + 0.02 * rng.normal(size=len(rows)), 0, 1)
        return rows.assign(dice_strict=np.round(dice, 6))
    right = rng.random(len(rows) // 2) < 0.9 - 0.01 * model
    reference = rows["reference"].astype(float).astype(int).to_numpy()
    predicted = np.where(np.repeat(right, 2), reference, 1 - reference)
    return rows.assign(predicted=predicted, probability=np.where(predicted == 1, "0.9", "0.1"))


def _write(results: Path, record: dict[str, Any], rows: pd.DataFrame) -> None:
    folder = cell_folder(results, record["cell"], record["model"]["name"])
    folder.mkdir(parents=True)
    buffer = io.StringIO()
    rows.to_csv(buffer, index=False, lineterminator="\n")
    content = buffer.getvalue().encode()
    record["cases_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "cases.csv").write_bytes(content)
    (folder / "record.json").write_text(json.dumps(record))
