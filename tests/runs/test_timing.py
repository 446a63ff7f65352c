"""What a cell will take, from a few of its own steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.runs import timing
from bench.runs.estimate import plan_cells
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.runs.tuning import pending_jobs, trial_jobs


@pytest.fixture
def jobs(tmp_path: Path):
    def make(models: str, dataset: str):
        settings = ("image_size=32", "steps=500", "batch_size=2", "evaluations=10")
        request = Request(models=models, dataset=dataset, preset="standard", seeds=1, data="phantom", threads=1,
                          data_root=tmp_path, results=tmp_path / "results", settings=settings)  # fmt: skip
        return make_jobs(request)

    return make


@pytest.mark.parametrize(
    ("model", "dataset"), [("unext", "acdc"), pytest.param("mobilenetv3_small", "msld", marks=pytest.mark.slow)]
)
def test_steps_and_validation_are_counted(
    jobs, model: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that gives each timed piece one second."""
    [job, chance] = jobs(f"{model},chance", dataset)
    if job.model == "chance":
        job, chance = chance, job
    monkeypatch.setattr(timing, "_seconds", lambda work: (work(), 1.0)[1])
    cells = timing.measured(plan_cells([job, chance], tmp_path / "results"))
    assert job.validated > 0
    assert cells[0].seconds == pytest.approx(500 + 20 * job.validated / timing.PASSES)
    assert cells[1].seconds == 0
    assert "timed here" in cells[0].basis


@pytest.mark.slow
def test_what_is_done_takes_no_time(jobs, tmp_path: Path) -> None:
    [job] = jobs("chance", "acdc")
    [planned] = plan_cells([job], tmp_path / "results")
    done = replace(planned, state="done", seconds=0.0)
    assert timing.measured([done]) == [done]


@pytest.mark.slow
def test_trials_are_timed_with_their_networks_own_steps(jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tuning will choose is not known yet, and takes no time of its own."""
    monkeypatch.setattr(timing, "_seconds", lambda work: (work(), 1.0)[1])
    [job] = jobs("mobilenetv3_small", "msld")
    planned = plan_cells([*trial_jobs([job], 2), *pending_jobs([job], 2)], tmp_path / "results")
    assert len({cell.seconds for cell in timing.measured(planned)}) == 1


@pytest.mark.slow
def test_a_network_that_fails_on_noise_keeps_its_estimate(
    jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = jobs("mobilenetv3_small", "msld")
    [planned] = plan_cells([job], tmp_path / "results")

    def fail(*arguments: object) -> timing.Pace:
        raise ValueError("no such size")

    monkeypatch.setattr(timing, "pace", fail)
    [cell] = timing.measured([planned])
    assert cell.seconds == planned.seconds
    assert cell.basis == f"{planned.basis}; its steps cannot be timed: ValueError: no such size"
