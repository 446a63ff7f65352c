"""Every model of the `cpu` list, on the default number of threads: stopped and resumed to the same bytes (slow)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import cell, runner
from bench.registry import select_models

pytestmark = pytest.mark.slow


def job(results: Path, model: str) -> cell.Job:
    (only,) = runner.make_jobs(
        models=model, dataset="acdc", preset="smoke", data="phantom", settings=("steps=12",), results=results
    )
    return only


@pytest.mark.parametrize("model", select_models("all", "cpu", "segmentation"))
def test_a_stopped_cell_resumes_to_the_same_bytes(model: str, tmp_path: Path) -> None:
    whole, cut = job(tmp_path / "whole", model), job(tmp_path / "cut", model)
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
