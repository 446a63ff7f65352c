"""Every model of the `cpu` list, stopped and resumed to the same bytes on two threads (slow); other checkpoints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from bench.runs import job as cell
from bench.runs import runner
from bench.runs.request import Request
from bench.runs.train import sealed
from bench.zoo.registry import select_models

DATASETS = {"segmentation": "acdc", "classification": "sars-cov2-ct"}


def job(results: Path, dataset: str, model: str) -> cell.Job:
    (only,) = runner.make_jobs(
        Request(models=model, dataset=dataset, preset="smoke", data="phantom", settings=("steps=12",), results=results)
    )
    return only


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "model"),
    [(dataset, model) for task, dataset in DATASETS.items() for model in select_models("all", "cpu", task)],
)
def test_a_stopped_cell_resumes_to_the_same_bytes(dataset: str, model: str, tmp_path: Path) -> None:
    whole, cut = job(tmp_path / "whole", dataset, model), job(tmp_path / "cut", dataset, model)
    assert whole.cell.protocol["threads"] == 2
    cell.run_cell(whole)

    def stop(event: cell.Event) -> None:
        if event.kind == "step" and event.step == 7:
            raise KeyboardInterrupt

    if model != "chance":
        with pytest.raises(KeyboardInterrupt):
            cell.run_cell(cut, report=stop)
        assert (cut.folder / "checkpoint.pt").exists()
    assert cell.run_cell(cut) == "complete"
    for name in ("cases.csv", "history.csv"):
        assert (cut.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_checkpoint_of_another_version_starts_anew(tmp_path: Path) -> None:
    cut = job(tmp_path, "sars-cov2-ct", "mobilenetv3_small")

    def stop(event: cell.Event) -> None:
        if event.kind == "step" and event.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell.run_cell(cut, report=stop)
    place = cut.folder / "checkpoint.pt"
    content = torch.load(io.BytesIO(place.read_bytes()[:-32]), weights_only=True)
    content["progress"]["of a later version"] = 1
    buffer = io.BytesIO()
    torch.save(content, buffer)
    place.write_bytes(sealed(buffer.getvalue()))
    steps: list[int] = []
    assert cell.run_cell(cut, report=lambda event: steps.append(event.step)) == "complete"
    assert min(step for step in steps if step) == 1
