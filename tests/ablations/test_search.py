"""The search: its space and budget, what it neither loses nor repeats, two processes on one study, its front."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablations.command import front_models, search_importances, search_tables
from ablations.journal import lease, read_study
from ablations.search import (
    Goal,
    _earlier,
    _repeat,
    _run,
    best,
    draw,
    fillings,
    front,
    is_trained,
    run_search,
    starting_point,
)
from bench.errors import UserError
from bench.models.slots import SLOTS
from bench.records import store
from bench.records.filenames import TUNING
from bench.runs.job import Event
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.zoo.registry import build_model, parse_model

SETTINGS = ("steps=4", "evaluations=2", "image_size=32")


def template_in(folder: Path) -> object:
    return make_jobs(
        Request(
            models="mednext_tiny",
            dataset="large-covid-ct",
            preset="smoke",
            seeds="0,",
            data="phantom",
            settings=SETTINGS,
            threads=1,
            results=folder / "results",
        )
    )[0]


@pytest.fixture
def template(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("MEDBENCH_DATA", str(drawn))
    return template_in(tmp_path)


def test_every_configuration_of_the_space_is_a_model_that_run_takes() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(starting_point("mednext_tiny"))
    names = []
    for _ in range(6):
        trial = study.ask()
        names.append(draw(trial, "mednext_tiny"))
        study.tell(trial, 0.0)
    assert names[0] == "mednext_tiny", "the first trial is the default"
    assert len(set(names)) == 6
    for name in names:
        entry, _ = parse_model(name)
        assert entry.name == "mednext_tiny"
        build_model(name, "segmentation", 1, 4, 64)


def test_what_breaks_the_convolution_only_rule_is_not_in_the_space() -> None:
    assert "mhsa" not in fillings("laffn")
    assert {"none", "convmod"} <= set(fillings("laffn"))
    assert all("none" in fillings(slot) for slot in SLOTS)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"pruner": "medain"}, "Unknown pruner 'medain'. Did you mean: median?"),
        ({"trials": 0}, "Expected at least one trial"),
        ({"max_macs": -1.0}, "Expected --max-macs to be positive"),
        ({"model": "unet_s"}, "Model 'unet_s' has no laffn, sem, sdffn"),
    ],
)
def test_a_wrong_goal_is_one_line(values: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        Goal(**values)
    assert str(error.value).startswith(line)


def test_a_search_keeps_to_its_budget_and_never_reads_the_test_part(template: object, tmp_path: Path) -> None:
    results = tmp_path / "results"
    limit = 6e6
    events: list[Event] = []
    study = run_search(Goal(trials=5, max_macs=limit), template, results, report=events.append)  # type: ignore[arg-type]
    trials = study.get_trials()
    trained = [t for t in trials if is_trained(t)]
    assert len(trained) == 5
    ended = {e.trial: e.score for e in events if e.kind in ("complete", "pruned")}
    assert sorted(ended) == [t.number for t in trained]
    assert all(ended[t.number] == t.values[0] for t in trained if t.state.name == "COMPLETE")
    assert all(t.user_attrs["macs"] <= limit for t in trained)
    rejected = [t for t in trials if t.user_attrs.get("rejected") == "over --max-macs"]
    assert rejected, "or the test says nothing"
    assert all(t.user_attrs["macs"] > limit for t in rejected)
    keys = {t.user_attrs["key"] for t in trained}
    records = {r["key"]: r for r in map(store.read_record, store.find_records(results / "tuning")) if r}
    assert keys == set(records), "a rejected configuration is not trained"
    assert all(r["metrics"] is None and r["cell"]["unscored"] for r in records.values())
    assert not (results / "runs").exists()
    assert all(t.values[0] == records[t.user_attrs["key"]]["training"]["val_score"] for t in front(study))
    again = run_search(Goal(trials=5, max_macs=limit), template, results)  # type: ignore[arg-type]
    assert len(again.get_trials()) == len(trials), "a finished search trains nothing more"
    assert best(again).values[0] == max(t.values[0] for t in trained if t.state.name == "COMPLETE")
    assert front_models(study)[-1] == best(study).user_attrs["model"]
    (tables, *_) = search_tables(study)
    assert "PHANTOM" in tables.caption
    assert list(tables.frame["Model"]) == front_models(study)
    assert sum(search_importances(study).values()) == pytest.approx(1)


def test_a_budget_that_admits_nothing_is_one_line(
    template: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.search.REJECTIONS", 3)
    with pytest.raises(UserError, match="3 configurations in a row were over --max-macs 1e-06"):
        run_search(Goal(max_macs=1e3), template, tmp_path / "results")  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_objectives_give_a_front_that_nothing_beats(template: object, tmp_path: Path) -> None:
    study = run_search(Goal(trials=4, pareto=True), template, tmp_path / "results")  # type: ignore[arg-type]
    done = [t for t in study.get_trials() if t.state.name == "COMPLETE"]
    assert len(done) == 4
    assert all(trial.values[1] == trial.user_attrs["macs"] for trial in done)
    values = {tuple(trial.values) for trial in done}
    unbeaten = {(a, m) for a, m in values if not any(b >= a and n <= m and (b, n) != (a, m) for b, n in values)}
    assert sorted(tuple(t.values) for t in front(study)) == sorted(unbeaten)
    assert {t.number for t in front(study)} <= {t.number for t in study.best_trials}


def cheap_job(model: str, template: object) -> Any:
    """A job of the search that builds nothing: its MACs are the sum of the widths."""
    _, config = parse_model(model)
    cost = {"macs": sum(config["widths"]), "params": 1}
    protocol = {"evaluations": 2, "steps": 4}
    cell = SimpleNamespace(key=model, comparison="c", dataset_label="acdc-phantom", protocol=protocol, tuned=None)
    return SimpleNamespace(model=model, cost=cost, cell=cell, preset="smoke")


class Told:
    """Takes the place of training: notes the models, and tells a score, or that the trial was pruned."""

    def __init__(self, pruned: bool = False) -> None:
        self.models: list[str] = []
        self.pruned = pruned

    def __call__(self, study: Any, trial: Any, job: Any, goal: Goal, report: object) -> bool:
        import optuna

        self.models.append(job.model)
        score = 1 / job.cost["macs"]
        if goal.pareto:
            study.tell(trial, [score, job.cost["macs"]])
        elif self.pruned:
            trial.report(score, 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)
        return True


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    found = Told()
    monkeypatch.setattr("ablations.search._trial_job", cheap_job)
    monkeypatch.setattr("ablations.search._run", lambda *given: found(*given))
    return found


def searched(folder: Path, **goal: Any) -> Any:
    return run_search(Goal(**goal), cheap_job("mednext_tiny", None), folder)


@pytest.mark.slow
def test_rejected_configurations_are_none_of_those_drawn_at_random_at_the_start(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.samplers import TPESampler

    trained_before: list[int] = []
    learned = TPESampler._sample

    def counting(self: Any, study: Any, trial: Any, space: Any) -> Any:
        trained_before.append(sum(is_trained(t) for t in study.get_trials(deepcopy=False)))
        return learned(self, study, trial, space)

    monkeypatch.setattr(TPESampler, "_sample", counting)
    study = searched(tmp_path, trials=13, max_macs=430)
    rejected = [t for t in study.get_trials() if "rejected" in t.user_attrs]
    assert len(rejected) >= 5, "or the test says nothing"
    assert min(trained_before) == 10
    assert all(t.constraints["max_macs"] > 0 for t in rejected)
    assert all(t.constraints["max_macs"] <= 0 for t in study.get_trials() if is_trained(t))
    assert len(told.models) == 13


@pytest.mark.parametrize("pareto", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
def test_a_repeated_configuration_has_its_value_again_without_training(
    pruned: bool, pareto: bool, told: Told, tmp_path: Path
) -> None:
    told.pruned = pruned
    study = searched(tmp_path, trials=1, pareto=pareto)
    for _ in range(2):
        study.enqueue_trial(starting_point("mednext_tiny"))
    study = searched(tmp_path, trials=2, pareto=pareto)
    first, *repeats, last = study.get_trials()
    assert told.models == [first.user_attrs["model"], last.user_attrs["model"]]
    assert [t.user_attrs["repeated"] for t in repeats] == [first.number] * 2
    for trial in repeats:
        assert (trial.state, trial.values) == (first.state, first.values)
        assert trial.intermediate_values == first.intermediate_values
    assert not any(is_trained(t) for t in repeats)
    assert not {t.number for t in repeats} & {t.number for t in front(study)}
    if not pruned:
        assert "2 repeated (drawn before, with the value it had)" in search_tables(study)[0].caption


def test_a_configuration_that_another_process_trains_is_left_to_it(told: Told, tmp_path: Path) -> None:
    study = searched(tmp_path, trials=1)
    study.enqueue_trial(starting_point("mednext_tiny"))
    study._storage.set_trial_user_attr(study.ask()._trial_id, "lease", lease())
    other = [t for t in study.get_trials() if t.state.name == "RUNNING"]
    study._storage.set_trial_user_attr(other[0]._trial_id, "key", "mine")
    trial = study.ask()
    found = _earlier(study, trial, "mine")
    assert found is not None
    assert found.number == other[0].number
    _repeat(study, trial, found)
    assert study.get_trials()[trial.number].state.name == "FAIL"
    assert study.get_trials()[trial.number].user_attrs["rejected"] == "under way in another trial"


def test_a_configuration_that_cannot_be_built_is_rejected_and_the_search_goes_on(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(model: str, template: object) -> Any:
        if model != "mednext_tiny" and "sem=none" not in model and len(told.models) < 2:
            raise UserError("too narrow")
        return cheap_job(model, template)

    monkeypatch.setattr("ablations.search._trial_job", failing)
    study = searched(tmp_path, trials=3)
    rejected = [t for t in study.get_trials() if "rejected" in t.user_attrs]
    assert rejected
    assert {t.user_attrs["rejected"] for t in rejected} == {"cannot be built: too narrow"}
    assert len(told.models) == 3


def test_the_first_trial_is_the_nearest_in_the_space() -> None:
    params = starting_point("mednext_tiny[laffn=mhsa,kernels=11-7-4-1,widths=1000-80-144-256]")
    assert "laffn" not in params
    assert [params[f"kernels{i}"] for i in range(1, 5)] == [9, 7, 3, 3]
    assert params["widths1"] == 40


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_search import template_in
from ablations.search import Goal, run_search
folder = Path(sys.argv[1])
run_search(Goal(trials=int(sys.argv[3]), pruner=sys.argv[4]), template_in(folder), folder / "results")
"""


def searching(folder: Path, trials: int, pruner: str = "none") -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(Path(__file__).parent), str(trials), pruner]
    return subprocess.Popen(command, env=os.environ.copy())


def finished(folder: Path) -> list:
    """The trained trials; none of a journal that another process has just begun, and not said yet what it is of."""
    for journal in (folder / "results" / "studies").glob("*.log"):
        with suppress(UserError):
            return [t for t in read_study(journal).get_trials() if is_trained(t)]
    return []


@pytest.mark.slow
def test_a_killed_search_neither_loses_nor_repeats_a_finished_trial(template: object, tmp_path: Path) -> None:
    process = searching(tmp_path, 6)
    while len(finished(tmp_path)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {t.number: (t.user_attrs["key"], t.values) for t in finished(tmp_path)}
    assert searching(tmp_path, 6).wait() == 0
    after = finished(tmp_path)
    assert len(after) == 6
    assert {t.number: (t.user_attrs["key"], t.values) for t in after if t.number in before} == before
    assert len({t.user_attrs["key"] for t in after}) == 6, "no configuration is trained twice"
    stale = read_study(next((tmp_path / "results" / "studies").glob("*.log"))).get_trials()
    assert not [t for t in stale if t.state.name in ("RUNNING", "WAITING")]
    begun = {t.number for t in stale if t.state.name == "FAIL" and t.params}  # others were never drawn
    taken = {t.user_attrs.get("again") for t in stale} - {None}
    assert begun == taken, "what the kill cut short was run again"


@pytest.mark.slow
def test_two_processes_share_the_work(template: object, tmp_path: Path) -> None:
    processes = [searching(tmp_path, 8) for _ in range(2)]
    assert [p.wait() for p in processes] == [0, 0]
    done = finished(tmp_path)
    assert len(done) == 8
    assert len({t.user_attrs["key"] for t in done}) == 8
    pids = {t.user_attrs["lease"]["pid"] for t in done}
    assert pids == {p.pid for p in processes}, "each of the two ran some"


def test_a_pruned_trial_is_recorded_as_such_and_is_no_result(template: object, tmp_path: Path) -> None:
    from dataclasses import replace

    from bench.runs.job import run_cell
    from bench.runs.tuning import placed

    cell = replace(template.cell, unscored=True)  # type: ignore[attr-defined]
    job = placed(template, cell, "smoke, trial of a search", TUNING)  # type: ignore[arg-type]
    assert run_cell(job, stop=lambda step, score: True) == "pruned"
    record = json.loads((job.folder / "record.json").read_text())
    assert record["training"]["steps"] == 2
    assert record["metrics"] is None
    assert not (job.folder / "checkpoint.pt").exists()
    assert not store.is_done(job.folder), "another search may run it to its end"
    assert run_cell(job) == "complete"


def test_a_trial_is_worth_the_score_of_the_weights_that_tables_show(
    template: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    training = {"steps": 4, "val_score": 0.9, "average": {"best_val_step": 4, "val_score": 0.5}}
    monkeypatch.setattr("ablations.search.run_cell", lambda job, **given: "complete")
    monkeypatch.setattr(store, "read_record", lambda folder: {"status": "complete", "training": training})
    study = optuna.create_study(direction="maximize")
    assert _run(study, study.ask(), template, Goal(), lambda event: None)  # type: ignore[arg-type]
    assert study.trials[0].value == 0.5


def test_a_search_in_which_nothing_trains_ends_with_one_line(
    template: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runs import seeding

    def failing(build: object, seed: int) -> object:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(seeding, "build_seeded", failing)
    monkeypatch.setattr("ablations.search.FAILURES", 2)
    with pytest.raises(UserError, match=r"^2 trials in a row failed or diverged, the last one in .*error.log"):
        run_search(Goal(trials=5, pruner="none"), template, tmp_path / "results")  # type: ignore[arg-type]
