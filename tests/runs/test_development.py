"""Development: recipes and designs on folds of training patients, whose own validation and test parts nobody opens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.datasets.base import Prepared
from bench.datasets.splits.assignment import assign, make_split
from bench.errors import UserError
from bench.records import store
from bench.runs.development import Candidate, Development, all_jobs, candidates, variants
from bench.runs.job import Job
from bench.runs.request import Request
from bench.runs.runner import make_jobs, run_jobs

REQUEST: dict[str, Any] = {
    "models": "resnet10t,mobilenetv3_small",
    "dataset": "large-covid-ct",
    "preset": "smoke",
    "data": "phantom",
    "settings": ("steps=2", "evaluations=1", "image_size=32"),
    "threads": 1,
    "folds": 3,
    "vary": ("lr=1e-3,3e-3",),
}


@pytest.fixture
def request_of(tmp_path: Path) -> dict[str, Any]:
    return {**REQUEST, "results": tmp_path / "results"}


def found_of(request: dict[str, Any], **other: Any) -> list[Candidate]:
    return candidates(Development(**{**request, **other}))


def test_one_field_at_a_time_around_the_first_values_or_all_combinations() -> None:
    vary = ("lr=3e-4,1e-3,2e-3", "clip=1,0.5")
    one = variants(vary)
    assert one == [
        {"lr": "3e-4", "clip": "1"},
        {"lr": "1e-3", "clip": "1"},
        {"lr": "2e-3", "clip": "1"},
        {"lr": "3e-4", "clip": "0.5"},
    ]
    product = variants(vary, factorial=True)
    assert len(product) == 6
    assert all(values in product for values in one)
    given = Development(vary={"lr": (3e-4, 1e-3), "clip": "1,0.5"}).vary
    assert given == ("lr=0.0003,0.001", "clip=1,0.5") == Development(vary=given).vary
    assert variants(()) == variants((), factorial=True) == [{}]


def test_epochs_are_of_the_whole_training_part_and_a_share_is_of_them(request_of: dict[str, Any]) -> None:
    wishes = {"models": "mobilenetv3_small", "vary": (), "settings": ("epochs=10", "image_size=32")}
    request = Request(
        **{name: value for name, value in request_of.items() if name not in ("vary", "folds")}
        | {"models": "mobilenetv3_small", "settings": wishes["settings"], "seeds": 1}
    )
    steps = make_jobs(request)[0].cell.protocol["steps"]
    for share, expected in ((None, steps), ("1/5", round(steps / 5))):
        (found,) = found_of(request_of, **wishes, share=share)
        assert {job.cell.protocol["steps"] for job in found.jobs} == {expected}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"vary": ("lr",)}, "Expected --vary FIELD=VALUE,VALUE, but got 'lr'"),
        ({"vary": ("lr=1e-3,",)}, "Expected --vary FIELD=VALUE,VALUE"),
        ({"vary": ("lr=1e-3,1e-3",)}, "Expected each value of lr once in --vary, but got '1e-3,1e-3'"),
        ({"vary": ("lr=1e-3,2e-3",), "settings": ("lr=3e-3",)}, "in --vary or in --set, but got lr in both"),
        ({"vary": ("lr=1e-3", "lr=2e-3")}, "each field once in --vary"),
        ({"vary": ("rl=1e-3,2e-3",)}, "Unknown protocol field 'rl'. Did you mean"),
        (
            {"vary": ("lr=1e-3,3e-3",), "settings": ("steps=2", "rates=grid")},
            "Expected --vary lr=1e-3,3e-3 or rates=grid, but got both",
        ),
        ({"vary": ("lr=1e-3,3e-3", "rates=grid")}, "Expected --vary lr=1e-3,3e-3 or rates=grid, but got both"),
        ({"vary": ("lr=1e-3,0.001",)}, "Expected distinct variants of resnet10t, but lr=1e-3 and lr=0.001 are one"),
        ({"vary": 3}, "Expected vary to be texts"),
        ({"use": 4}, "Expected --use to be at most the 3 folds, but got 4"),
        ({"share": "1/3", "budget": 100}, "Expected --share or --budget, but got both"),
        ({"share": "4/3"}, "Expected share to be a share of the steps above 0 and at most 1"),
        ({"share": "1/0"}, "Expected share to be a share"),
        ({"share": "third"}, "Expected share to be a share"),
        ({"budget": 0}, "Expected budget to be a number of images"),
        ({"folds": 90}, "patients or groups or more in the training part of patient for 90 folds"),
    ],
)
def test_a_mistake_is_one_line(request_of: dict[str, Any], given: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        found_of(request_of, **given)


def test_a_candidate_s_cells_are_trials_on_inner_folds_apart_from_results(request_of: dict[str, Any]) -> None:
    found = found_of(request_of, seeds="2")
    assert [(c.model, c.variant) for c in found] == [
        ("resnet10t", "lr=1e-3"),
        ("resnet10t", "lr=3e-3"),
        ("mobilenetv3_small", "lr=1e-3"),
        ("mobilenetv3_small", "lr=3e-3"),
    ]
    for candidate in found:
        assert [(job.cell.fold, job.cell.seed) for job in candidate.jobs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        for job in candidate.jobs:
            assert job.cell.split == "patient/inner3"
            assert job.cell.is_trial
            assert job.folder.is_relative_to(request_of["results"] / "development")
    jobs = all_jobs(found)
    assert len({job.cell.key for job in jobs}) == len(jobs) == 16
    assert len({job.cell.comparison for job in jobs}) == 2, "one for each recipe, of all models, folds and seeds"
    other = found_of(request_of, folds=4)
    assert not {job.cell.key for job in all_jobs(other)} & {job.cell.key for job in jobs}


def test_a_variant_that_two_commands_share_is_one_cell(request_of: dict[str, Any]) -> None:
    first = {job.cell.key for job in all_jobs(found_of(request_of))}
    wider = {job.cell.key for job in all_jobs(found_of(request_of, vary=("clip=1,0.5", "lr=1e-3,3e-3")))}
    assert first < wider


@pytest.mark.parametrize(
    ("given", "steps"),
    [({}, 60), ({"share": "1/3"}, 20), ({"share": 0.5}, 30), ({"budget": 400}, 50), ({"share": "1/1000"}, 1)],
)
def test_the_steps_are_those_of_a_run_or_a_share_or_a_budget(
    request_of: dict[str, Any], given: dict[str, Any], steps: int
) -> None:
    found = found_of(request_of, settings=("image_size=32",), vary=(), **given)
    assert {job.cell.protocol["steps"] for job in all_jobs(found)} == {steps}


def test_the_split_s_own_validation_and_test_images_are_never_opened(
    request_of: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = all_jobs(found_of(request_of, models="resnet10t", vary=()))
    opened: set[tuple[str, str]] = set()
    plain = Prepared.image

    def noting(data: Prepared, i: int) -> Any:
        opened.add((data.cases[i].case, data.cases[i].patient))
        return plain(data, i)

    monkeypatch.setattr(Prepared, "image", noting)
    assert run_jobs(jobs)["complete"] == 2
    data = _prepared(jobs[0])
    parts = assign(data.cases, make_split(data.spec, data, "patient")).indices
    training = {(data.cases[i].case, data.cases[i].patient) for i in parts["train"]}
    assert opened == training, "each fold trains on what the other holds out"
    assert len(parts["test"]) > 0


def _prepared(job: Job) -> Prepared:
    from bench.datasets.cache.prepared import open_prepared
    from bench.zoo.registry import dataset_spec

    return open_prepared(dataset_spec(job.cell.dataset), job.data_root, "phantom")


def test_what_is_run_is_no_result_resumes_and_runs_once(request_of: dict[str, Any]) -> None:
    jobs = all_jobs(found_of(request_of, models="resnet10t"))
    assert run_jobs(jobs[:1])["complete"] == 1
    counts = run_jobs(jobs)
    assert (counts["reused"], counts["complete"]) == (1, 3)
    assert store.find_records(request_of["results"]) == [], "also where nothing else was run"
    assert len(store.find_records(request_of["results"] / "development")) == 4
    for job in jobs:
        record = store.read_record(job.folder)
        assert record is not None
        assert record["metrics"] is None
        assert record["dataset"]["counts"]["test"]["cases"] == 0
        assert set(pd.read_csv(job.folder / "cases.csv")["part"]) == {"val"}
    assert json.loads((jobs[0].folder / "cell.json").read_text())["unscored"] is True


def test_an_inner_fold_is_asked_for_by_its_command_alone(request_of: dict[str, Any]) -> None:
    plain = Request(**{name: value for name, value in request_of.items() if name not in ("vary", "folds")})
    with pytest.raises(UserError, match="pass --folds 3 to `medbench develop`"):
        make_jobs(replace(plain, split="patient/inner3"))


def test_two_folds_are_enough(request_of: dict[str, Any]) -> None:
    jobs = all_jobs(found_of(request_of, models="resnet10t", folds=2, use=2))
    assert {job.cell.fold for job in jobs} == {0, 1}
