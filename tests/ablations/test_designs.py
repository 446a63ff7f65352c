"""A design search's study: a trial for each candidate once, shared by commands, with values, seconds and parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stand_ins import leave_record

from ablations.designs import write_designs
from ablations.journal import read_study
from bench.analysis.development import AVERAGE, RAW, judge
from bench.errors import UserError
from bench.records import store
from bench.runs.development import Candidate, Development, candidates
from bench.runs.runner import run_jobs

DESIGNS = "mednext_tiny,mednext_tiny[sem=none],resnet10t"


def found_of(results: Path, root: Path, models: str = DESIGNS, **other: Any) -> list[Candidate]:
    request = {"dataset": "large-covid-ct", "preset": "smoke", "data": "phantom", "data_root": root, "folds": 3}
    settings = ("steps=1", "evaluations=1", "image_size=32")
    return candidates(Development(models=models, results=results, settings=settings, **{**request, **other}))


@pytest.fixture
def like(tmp_path: Path, drawn: Path) -> dict[str, Any]:
    """The record of a cell that was run."""
    (chance,) = found_of(tmp_path / "trained", drawn, "chance", use=1)
    run_jobs(list(chance.jobs))
    record = store.read_record(chance.jobs[0].folder)
    assert record is not None
    return record


def leave(candidate: Candidate, like: dict[str, Any], values: tuple[float, float]) -> None:
    for job, value in zip(candidate.jobs, values, strict=True):
        leave_record(job, like, {RAW: {"accuracy": value}, AVERAGE: {"accuracy": value + 0.1}}, seconds=7.0)


def test_each_candidate_that_ended_is_a_trial_once(tmp_path: Path, drawn: Path, like: dict[str, Any]) -> None:
    found = found_of(tmp_path, drawn, vary=("lr=1e-3,3e-3",))
    leave(found[0], like, (0.5, 0.7))
    leave(found[2], like, (0.6, 0.7))
    leave_record(found[2].jobs[1], like, status="diverged")
    for _ in range(2):
        study = write_designs(judge(found), tmp_path, "designs")
        trials = study.get_trials()
        assert [(t.user_attrs["model"], t.state.name, t.value) for t in trials] == [
            ("mednext_tiny", "COMPLETE", pytest.approx(0.7)),
            ("mednext_tiny[sem=none]", "PRUNED", None),
        ]
    assert trials[0].user_attrs["seconds"] == 14.0
    assert trials[0].user_attrs["folds"] == [pytest.approx(0.6), pytest.approx(0.8)]
    assert trials[0].params["lr"] == 1e-3
    assert trials[1].params["sem"] == "none" != trials[0].params["sem"]
    leave(found[2], like, (0.6, 0.7))
    leave(found[5], like, (0.9, 0.9))
    study = write_designs(judge(found), tmp_path, "designs")
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]
    best = read_study(tmp_path / "studies" / "designs.log").best_trial
    assert (best.user_attrs["model"], best.user_attrs["variant"], best.params) == (
        *("resnet10t", "lr=3e-3"),
        {"lr": 3e-3},
    )


def test_another_command_adds_to_the_study_and_another_split_is_refused(
    tmp_path: Path, drawn: Path, like: dict[str, Any]
) -> None:
    for models in ("mednext_tiny", "mednext_tiny[laffn=none]"):
        (candidate,) = found_of(tmp_path, drawn, models)
        leave(candidate, like, (0.5, 0.5))
        study = write_designs(judge([candidate]), tmp_path, "designs", RAW)
    assert [t.value for t in study.get_trials()] == [0.5, 0.5]
    other = found_of(tmp_path, drawn, "mednext_tiny", folds=4)
    leave(other[0], like, (0.5, 0.5))
    with pytest.raises(UserError, match="Study 'designs' is of split patient/inner3, not of patient/inner4"):
        write_designs(judge(other), tmp_path, "designs", RAW)
    with pytest.raises(UserError, match="Study 'designs' is of measure accuracy of last, not of accuracy of average"):
        write_designs(judge([candidate]), tmp_path, "designs")
