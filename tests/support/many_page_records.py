"""Thousands of synthetic records: committed ones under other names, seeds and budgets, with scores of their own."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from stored_records import RECORDS

from bench.records.case_rows import CASE_COLUMNS
from bench.records.keys import cell_key, comparison_key
from bench.records.store import cell_folder

# Name in results -> the committed data set whose cases and classes it has.
DATASETS = {"acdc": "acdc", "synapse": "acdc", "msld": "msld", "sars-cov2-ct": "msld", "large-covid-ct": "msld"}


def write_records(results: Path, models: int, seeds: int, budgets: int) -> int:
    """Writes a record of each model, data set, seed and budget; returns how many."""
    rng = np.random.default_rng(0)
    count = 0
    for name, of in DATASETS.items():
        template, history, cases = _template(of)
        for model in range(models):
            for seed in range(seeds):
                text = _moved(cases, template["dataset"]["task"], 0.02 * model, rng)
                for budget in range(budgets):
                    record = _record(template, name, model, seed, 3000 * (budget + 1))
                    _write(results, record, text, history)
                    count += 1
    return count


def _template(dataset: str) -> tuple[dict[str, Any], str, pd.DataFrame]:
    comparison = {"acdc": "e6906d77e7ff", "msld": "ff006374aa7c"}[dataset]
    for path in sorted(RECORDS.glob(f"{dataset}/mednext_tiny/0-*/record.json")):
        record = json.loads(path.read_text())
        if record["comparison"] == comparison and "tuned" not in record["cell"]:
            record["dataset"].setdefault("task", "segmentation")
            cases = pd.read_csv(path.with_name("cases.csv"), keep_default_na=False)
            return record, path.with_name("history.csv").read_text(), cases
    raise AssertionError(dataset)


def _moved(cases: pd.DataFrame, task: str, by: float, rng: np.random.Generator) -> str:
    """The cases with scores of another training, as text."""
    cases = cases.copy()
    if task == "segmentation":
        dice = pd.to_numeric(cases["dice_strict"], errors="coerce")
        cases["dice_strict"] = np.clip(dice - by + rng.normal(0, 0.02, len(cases)), 0, 1).round(4).fillna("")
    else:
        first = cases["class"] == cases["class"].iloc[0]
        given = np.clip(cases.loc[first, "probability"].astype(float) + rng.normal(0, 0.1, first.sum()), 0.01, 0.99)
        given = given.round(4).to_numpy()
        cases.loc[first, "probability"], cases.loc[~first, "probability"] = given, (1 - given).round(4)
        cases.loc[first, "predicted"], cases.loc[~first, "predicted"] = (given >= 0.5) * 1, (given < 0.5) * 1
    buffer = io.StringIO()
    cases.to_csv(buffer, index=False, lineterminator="\n", columns=[c for c in CASE_COLUMNS[task] if c in cases])
    return buffer.getvalue()


def _record(template: dict[str, Any], dataset: str, model: int, seed: int, steps: int) -> dict[str, Any]:
    record = copy.deepcopy(template)
    cell, name = record["cell"], "mednext_tiny" if model == 0 else f"net_{model:02d}"
    cell |= {"dataset": dataset, "seed": seed}
    cell["model"] |= {"name": name}
    cell["protocol"] |= {"steps": steps}
    families = ("cnn", "transformer", "hybrid")
    record["model"] |= {"name": name}
    if model:
        record["model"] |= {"title": f"Net {model:02d}", "family": families[model % 3]}
    record["dataset"] |= {"name": dataset, "title": dataset.upper(), "partial": False}
    record |= {"preset": f"quick with steps={steps}", "key": cell_key(cell), "comparison": comparison_key(cell)}
    record["cost"]["params"] = 10**6 * (1 + model)
    return record


def _write(results: Path, record: dict[str, Any], cases: str, history: str) -> None:
    folder = cell_folder(results, record["cell"], record["model"]["name"])
    folder.mkdir(parents=True)
    (folder / "cases.csv").write_text(cases)
    (folder / "history.csv").write_text(history)
    record["cases_sha256"] = hashlib.sha256(cases.encode()).hexdigest()
    (folder / "record.json").write_text(json.dumps(record))
