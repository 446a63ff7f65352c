"""What a record says of a run that was gone on with elsewhere, and of batches that were smaller than asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.analysis.reproduced import differences
from bench.datasets.loading import count_images
from bench.records import store
from bench.runs import job as cell
from bench.runs import runner
from bench.runs.request import Request

SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
SETTINGS = ("steps=4", "evaluations=2", "batch_size=4", "image_size=32")
H100 = {"device": "NVIDIA H100", "cpu": "AMD EPYC", "torch": "2.0"}
LAPTOP = {"device": "cpu", "cpu": "Apple M4", "torch": "2.1"}


def made(results: Path, **changes: Any) -> cell.Job:
    request = {"dataset": "acdc", "preset": "smoke", "data": "phantom", "settings": SETTINGS, "threads": 1, **changes}
    return runner.make_jobs(Request(models=SMALL, results=results, **request))[0]


def on(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runs.train.trained_on", lambda device: machine)


def stopped_after_three_steps(job: cell.Job) -> None:
    def stop(event: cell.Event) -> None:
        if event.kind == "step" and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell.run_cell(job, report=stop)


def training_of(job: cell.Job) -> dict[str, Any]:
    record = store.read_record(job.folder)
    assert record is not None
    assert record["status"] == "complete"
    return dict(record["training"])


def test_a_cell_that_another_machine_finished_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = made(tmp_path)
    on(H100, monkeypatch)
    stopped_after_three_steps(job)
    on(LAPTOP, monkeypatch)
    cell.run_cell(replace(job, pieces=2))
    training = training_of(job)
    assert training["stretches"] == [
        {"from_step": 0, **H100, "pieces": 1},
        {"from_step": 2, **LAPTOP, "pieces": 2},  # of four steps the second has a validation round
    ]
    assert training["pieces_of_a_batch"] == 2
    record = store.read_record(job.folder)
    assert record is not None
    (said,) = differences(record, {**record, "training": {}})
    assert said == (
        "training: from step 0 on NVIDIA H100 (AMD EPYC), "
        "from step 2 on cpu (Apple M4, batches in 2 parts) -> in one go"
    )
    (row,) = bench.load_cells(tmp_path).to_dict("records")
    assert (row["device"], row["cpu"]) == ("NVIDIA H100, then cpu", "AMD EPYC, then Apple M4")
    assert (row["torch"], row["pieces"]) == ("2.0, then 2.1", 2)


def test_batches_that_passed_in_pieces_before_are_not_forgotten(tmp_path: Path) -> None:
    job = made(tmp_path)
    stopped_after_three_steps(replace(job, pieces=2))
    cell.run_cell(job)
    assert training_of(job)["pieces_of_a_batch"] == 2


def test_a_cell_that_went_on_where_it_was_begun_says_nothing(tmp_path: Path) -> None:
    job = made(tmp_path)
    stopped_after_three_steps(job)
    cell.run_cell(job)
    assert not {"stretches", "pieces_of_a_batch", "images_of_a_step"} & set(training_of(job))
    (row,) = bench.load_cells(tmp_path).to_dict("records")
    assert (row["device"], row["images_seen"]) == ("cpu", 16)


def test_images_seen_are_those_that_there_were(tmp_path: Path) -> None:
    settings = (*SETTINGS[:2], "batch_size=64", SETTINGS[3])
    job = made(tmp_path, settings=settings, train_patients=1)
    cell.run_cell(job)
    slices = training_of(job)["images_of_a_step"]
    data, cases = cell.training_part(job)
    assert slices == count_images(data.cases, cases) < 64
    assert bench.load_cells(tmp_path)["images_seen"].tolist() == [4 * slices]
