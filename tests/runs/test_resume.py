"""Every model of the `cpu` list of each task, on two threads: stopped and resumed to the same bytes (slow)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runs import job as cell
from bench.runs import runner
from bench.runs.request import Request
from bench.zoo.registry import select_models

pytestmark = pytest.mark.slow


DATASETS = {"segmentation": "acdc", "classification": "sars-cov2-ct"}


def job(results: Path, dataset: str, model: str) -> cell.Job:
    (only,) = runner.make_jobs(
        Request(models=model, dataset=dataset, preset="smoke", data="phantom", settings=("steps=12",), results=results)
    )
    return only


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
