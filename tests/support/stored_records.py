"""Committed records in folders of a test's own, and ways to change and damage them there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.runs.cell import Cell

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
RECORDS = EXAMPLE / "records"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def a_record_of(task: str) -> Path:
    """The folder of a committed record of a task: the smallest of a CPU's of its data set that is complete."""
    dataset = {"segmentation": "acdc", "classification": "msld"}[task]
    found = sorted((RECORDS / dataset).glob("mednext_tiny/0-*/record.json"))
    whole = [path.with_name("cases.csv") for path in found if _is_of_a_cpu(json.loads(path.read_text()))]
    return min((path for path in whole if path.exists()), key=lambda path: path.stat().st_size).parent


def _is_of_a_cpu(record: dict[str, Any]) -> bool:
    return record["status"] == "complete" and record["environment"]["device"] == "cpu"


def the_cell(results: Path, dataset: str) -> Path:
    (folder,) = (path.parent for path in (results / "runs" / dataset).rglob("record.json"))
    return folder


def change(path: Path, *place: str, to: object) -> None:
    """Sets a field of a JSON file; `...` takes it away."""
    value = json.loads(path.read_text())
    inner = value
    for name in place[:-1]:
        inner = inner[name]
    if to is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = to
    path.write_text(json.dumps(value))


def change_cell(path: Path, *place: str, to: object) -> str:
    """Sets a field of a record's cell, and the key that the cell then has."""
    change(path, "cell", *place, to=to)
    key = Cell(**json.loads(path.read_text())["cell"]).key
    change(path, "key", to=key)
    return key


def change_cases(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Writes other rows beside a record, and their hash into it."""
    cases = path.with_name("cases.csv")
    rows = edit(pd.read_csv(cases, dtype=str, keep_default_na=False))
    rows.to_csv(cases, index=False, lineterminator="\n")
    change(path, "cases_sha256", to=hashlib.sha256(cases.read_bytes()).hexdigest())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
