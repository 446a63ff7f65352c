"""Tuning: the same trials for every model, chosen on validation data, resumed, compared within one table."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.errors import UserError
from bench.records import store
from bench.records.keys import cell_key
from bench.runs.job import Event
from bench.runs.request import Request
from bench.runs.runner import make_jobs, run_jobs, tuned
from bench.runs.tuning import SEED, trial_jobs, trial_values, tuned_jobs

SETTINGS = ("steps=2", "evaluations=1", "image_size=32")


@pytest.fixture
def request_of(tmp_path: Path) -> dict[str, object]:
    return {
        "models": "mobilenetv3_small,resnet10t,chance",
        "dataset": "large-covid-ct",
        "preset": "smoke",
        "seeds": "2",
        "data": "phantom",
        "settings": SETTINGS,
        "threads": 1,
        "results": tmp_path / "results",
    }


def test_the_protocol_s_own_values_come_first_and_more_trials_extend_fewer() -> None:
    protocol = {"lr": 2e-3, "weight_decay": 0.01}
    five, three = trial_values(protocol, 5), trial_values(protocol, 3)
    assert five[0] == protocol
    assert five[:3] == three
    assert len({tuple(values.values()) for values in five}) == 5
    for values in five[1:]:
        assert 2e-4 <= values["lr"] <= 6.4e-3
        assert 1e-3 <= values["weight_decay"] <= 0.32


def test_every_model_gets_the_same_trials_once_for_all_seeds(request_of: dict) -> None:
    trials = trial_jobs(make_jobs(Request(**request_of)), 3)
    values = {
        name: [t.cell.tuned for t in trials if t.model == name] for name in ("mobilenetv3_small", "resnet10t", "chance")
    }
    assert values["mobilenetv3_small"] == values["resnet10t"]
    assert [tuned["trial"] for tuned in values["resnet10t"]] == [0, 1, 2]
    assert values["chance"] == []
    assert {t.cell.seed for t in trials} == {SEED}


def test_trials_never_see_the_test_part_and_the_best_validation_score_decides(request_of: dict) -> None:
    jobs = make_jobs(Request(**request_of))
    trials = trial_jobs(jobs, 3)
    run_jobs(trials)
    for trial in trials:
        kept = {"cell.json", "record.json", "history.csv", "cases.csv", ".lock"}
        assert {path.name for path in trial.folder.iterdir()} <= kept
        if (trial.folder / "cases.csv").exists():
            assert set(pd.read_csv(trial.folder / "cases.csv")["part"]) == {"val"}
        assert json.loads((trial.folder / "record.json").read_text())["metrics"] is None
        assert "tuning" in trial.folder.parts
    of_model = [t for t in trials if t.model == "resnet10t"]
    for trial, score in zip(of_model, (-0.9, -0.1, -0.5), strict=True):
        path = trial.folder / "record.json"
        record = json.loads(path.read_text())
        record["training"]["val_score"] = score
        path.write_text(json.dumps(record))
    chosen = {job.model: job.cell for job in tuned_jobs(jobs, 3)}
    best = of_model[1].cell.tuned or {}
    assert chosen["resnet10t"].tuned == {
        "trials": 3,
        "seed": SEED,
        "lr": best["lr"],
        "weight_decay": best["weight_decay"],
    }
    assert chosen["resnet10t"].settings().lr == best["lr"] != chosen["resnet10t"].protocol["lr"]
    assert len({cell.comparison for cell in chosen.values()}) == 1, "one table, whatever values were found"
    assert {cell.comparison for cell in chosen.values()} != {jobs[0].cell.comparison}


def test_a_tuned_cell_is_another_and_an_untuned_one_keeps_its_key(request_of: dict) -> None:
    cell = make_jobs(Request(**request_of))[0].cell
    assert cell.key != replace(cell, tuned={"trials": 3, "seed": SEED, "lr": 2e-3, "weight_decay": 0.01}).key
    assert cell.key == cell_key({name: value for name, value in asdict(cell).items() if name != "tuned"})


@pytest.mark.slow
def test_tuning_is_resumed_and_a_missing_trial_is_one_line(request_of: dict) -> None:
    jobs = make_jobs(Request(**request_of))
    with pytest.raises(UserError, match="is not done: give the same command again"):
        tuned_jobs(jobs, 2)
    tuned(jobs, 2)
    assert not [job for job in trial_jobs(jobs, 2) if not store.is_done(job.folder)]
    assert len([job for job in trial_jobs(jobs, 4) if not store.is_done(job.folder)]) == 4


def test_a_model_without_a_whole_set_of_trials_takes_no_other_away(
    request_of: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(Request(**{**request_of, "seeds": "1"}))
    run_jobs([trial for trial in trial_jobs(jobs, 1) if trial.model == "mobilenetv3_small"])
    monkeypatch.setattr("bench.runs.runner.run_jobs", lambda *_: {})  # as if the other's had failed
    notes: list[Event] = []
    found = tuned(jobs, 1, report=notes.append)
    assert [job.model for job in found] == [job.model for job in jobs if job.model != "resnet10t"]
    (note,) = notes
    assert "resnet10t" in note.text
    assert "is not done" in note.text
    with pytest.raises(UserError, match="is not done"):
        tuned([job for job in jobs if job.model == "resnet10t"], 1)


@pytest.mark.slow
def test_the_command_tunes_plans_and_says_so(request_of: dict) -> None:
    options = ["--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom", "--models", "resnet10t,chance"]
    options += [part for setting in SETTINGS for part in ("--set", setting)]
    options += ["--results", str(request_of["results"]), "--tune", "2", "--threads", "1"]
    untuned = CliRunner().invoke(main, ["run", *(option for option in options if option not in ("--tune", "2"))])
    assert untuned.exit_code == 0, untuned.output
    plan = CliRunner().invoke(main, ["plan", *options])
    assert "0 of 4 cells done" in plan.output, plan.output
    run = CliRunner().invoke(main, ["run", *options])
    assert run.exit_code == 0, run.output
    assert "weight decay tuned in 2 trials on validation data" in " ".join(run.output.split())
    assert "each model's best on validation data: ResNet-10-T 0." in " ".join(run.output.split())
    assert len(store.find_records(Path(str(request_of["results"])))) == 4, "trials are no results"
    report = CliRunner().invoke(
        main, ["report", "--trials", "--format", "markdown", "--results", str(request_of["results"])]
    )
    (row,) = [line for line in report.output.splitlines() if line.startswith("| ResNet-10-T")]
    assert row.count("|") == 4
    assert row.count("**") == 2, "the chosen one in bold"
    assert "4 of 4 cells done" in CliRunner().invoke(main, ["plan", *options]).output
    assert "2 reused, 0 complete" in CliRunner().invoke(main, ["run", *options]).output
