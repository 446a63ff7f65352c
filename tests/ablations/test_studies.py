"""The study of an ablation's arms, written from their records: each cell once, by its state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.command import open_studies
from ablations.studies import open_arms, write_trials
from bench.errors import UserError
from bench.records import store
from bench.runs.job import Job
from bench.runs.request import Request
from bench.runs.runner import make_jobs

MODELS = ["mednext_tiny", "mednext_tiny[sem=none]", "mednext_tiny[laffn=none]", "mednext_tiny[sdffn=none]"]


@pytest.fixture
def jobs(tmp_path: Path, drawn: Path) -> list[Job]:
    """Four arms that nothing has been trained of."""
    request = Request(MODELS, "large-covid-ct", preset="smoke", seeds=1, data="phantom", data_root=drawn)
    return make_jobs(replace(request, results=tmp_path / "results", settings=("image_size=32",)))


def leave_record(job: Job, status: str, accuracy: float | None = 0.5) -> None:
    record: dict[str, Any] = {"status": status, "cell": {"protocol": job.cell.protocol}, "metrics": None}
    if status == "complete":
        record["metrics"] = {"best-val": {"accuracy": accuracy}}
    job.folder.mkdir(parents=True, exist_ok=True)
    store.write_json(job.folder / "record.json", record | {"dataset": {"task": "classification"}})


def read_as_left(folder: Path) -> dict[str, Any] | None:
    """Records here have no more than a study looks at: `read_record` would call them damaged."""
    import json

    path = folder / "record.json"
    return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "read_record", read_as_left)


def told(study: Any) -> list[tuple[str, str, float | None]]:
    return [(trial.user_attrs["model"], trial.state.name, trial.value) for trial in study.get_trials()]


def test_each_cell_that_ended_is_a_trial_once(jobs: list[Job], tmp_path: Path) -> None:
    for job, status in zip(jobs, ("complete", "diverged", "failed"), strict=False):
        leave_record(job, status)
    study = open_arms(jobs, tmp_path)
    write_trials(study, jobs, tmp_path)
    first = [(MODELS[0], "COMPLETE", 0.5), (MODELS[1], "PRUNED", None), (MODELS[2], "FAIL", None)]
    assert told(study) == first
    assert study.best_trial.params["sem"] == jobs[0].cell.model["config"]["sem"]
    leave_record(jobs[2], "complete", 0.75)
    leave_record(jobs[3], "complete", None)
    again = open_arms(jobs, tmp_path)
    for _ in range(2):
        write_trials(again, jobs, tmp_path)
    assert told(again) == [*first, (MODELS[2], "COMPLETE", 0.75), (MODELS[3], "FAIL", None)]
    assert again.best_trial.user_attrs == {
        "key": jobs[2].cell.key,
        "model": MODELS[2],
        "seed": 0,
        "outcome": "complete",
    }


def test_of_several_data_sets_a_named_study_has_the_data_set_behind_its_name(jobs: list[Job], tmp_path: Path) -> None:
    others = [replace(job, cell=replace(job.cell, dataset="msld")) for job in jobs]
    studies = open_studies([jobs, others], tmp_path, "mine")
    assert [study.study_name for study in studies] == ["mine-large-covid-ct-phantom", "mine-msld-phantom"]
    assert [study.study_name for study in open_studies([jobs], tmp_path, "mine")] == ["mine"]
    with pytest.raises(UserError, match="Study 'mine' is of dataset large-covid-ct-phantom, not of msld-phantom"):
        open_studies([others], tmp_path, "mine")


def test_writers_at_the_same_time_add_no_cell_twice(jobs: list[Job], tmp_path: Path) -> None:
    for job in jobs:
        leave_record(job, "complete")
    studies = [open_arms(jobs, tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda study: write_trials(study, jobs, tmp_path), studies))
    assert sorted(model for model, _, _ in told(open_arms(jobs, tmp_path))) == sorted(MODELS)
