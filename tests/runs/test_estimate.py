"""What a plan takes from stored cells: their records alone, each read once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_jobs import job
from stored_records import a_record_of

from bench.records import store
from bench.runs.estimate import plan_cells
from bench.runs.job import Job


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A results folder of one cell, twice, without its scores; and the cell's record."""
    for name in ("0", "1"):
        shutil.copytree(a_record_of("segmentation"), tmp_path / "runs" / name, ignore=lambda *_: {"cases.csv"})
    return tmp_path, json.loads((tmp_path / "runs" / "0" / "record.json").read_text())


def like(record: dict[str, Any], seed: int, model: str, **protocol: Any) -> Job:
    """A job of the record's cost and protocol, but for what is named."""
    made = job(model, seed=seed)
    cell = replace(made.cell, protocol={**record["cell"]["protocol"], **protocol})
    return replace(made, cell=cell, cost=record["cost"])


def test_validation_rounds_beyond_a_presets_make_a_cell_longer(stored: tuple[Path, dict[str, Any]]) -> None:
    results, record = stored
    few, many = (
        replace(like(record, 7, "unet_s", evaluations=rounds, average=0.0), validated=200) for rounds in (1, 600)
    )
    short, long = (cell.seconds for cell in plan_cells([few, many], results))
    passes = 3 * record["cell"]["protocol"]["batch_size"] * record["cell"]["protocol"]["steps"]
    assert long / short == pytest.approx((1 + 600 * 200 / passes) / 1.1)


def test_a_cell_takes_what_its_like_took(stored: tuple[Path, dict[str, Any]]) -> None:
    results, record = stored
    seconds, threads, name = record["training"]["seconds"], record["environment"]["threads"], record["model"]["name"]
    jobs = [
        like(record, 1, name),
        like(record, 2, name, steps=2 * record["cell"]["protocol"]["steps"]),
        like(record, 3, "unet_s"),
        like(record, 4, name, threads=threads + 1),
        replace(like(record, 5, name), device="cuda:1"),  # of which a CPU's cells tell nothing
    ]
    planned = plan_cells(jobs, results)
    assert [cell.seconds for cell in planned[:3]] == pytest.approx([seconds, 2 * seconds, seconds])
    bases = ["this model's records"] * 2 + ["other models' records"] + ["MACs alone, rough"] * 2
    assert [cell.basis for cell in planned] == bases


def test_each_stored_record_is_read_once_however_many_cells_are_planned(
    stored: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, record = stored
    read, whole = list[Path](), store.read_record
    monkeypatch.setattr(store, "read_record", lambda folder: read.append(folder) or whole(folder))
    plan_cells([like(record, seed, "unet_s") for seed in range(50)], results)
    assert sum(folder.is_relative_to(results / "runs") for folder in read) == 2
