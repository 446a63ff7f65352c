"""The cells of an ablation, run one by one through a study: Optuna's journal of which arm was trained and how it did.

The arms are enumerated here, not sampled: Optuna's samplers lose cells after failures and kills. Each cell is a trial
that is enqueued with its key, asked for, run and told; a cell that is stored already is told at once. At the end every
cell has a finished trial, or `incomplete` names those that have none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.journal import Renewal, claiming, lease, open_study, take_back
from bench.analysis.shown import DEFAULT
from bench.models.slots import SLOTS, filling_names
from bench.records import store
from bench.records.filenames import file_name
from bench.records.keys import digest
from bench.runs.job import Event, Job, Report, is_reusable, run_cell, silent
from bench.runs.runner import write_unit_tables

if TYPE_CHECKING:
    import optuna

POLL = 2.0  # seconds between two looks at what another process is running


def run_arms(
    jobs: Sequence[Job], results: Path, study: str | None = None, storage: str | None = None, report: Report = silent
) -> optuna.Study:
    """Runs the cells of one dataset's arms that are not done, journalled in a study; several processes may share it.

    Args:
        jobs: of one comparison key and one full model.
        study: its name; by default one made from dataset, comparison, full model and the fillings that there are.

    Returns:
        The study, all of whose cells are told, but those that `incomplete` names.
    """
    space = {slot: filling_names(slot) for slot in SLOTS}
    cell = jobs[0].cell
    about = {
        "dataset": cell.dataset_label,
        "comparison": cell.comparison,
        "model": f"{cell.model['name']} v{cell.model['version']}",
        "fillings": space,
    }
    name = file_name(study or f"ablate-{cell.dataset_label}-{digest(about)}")
    found = open_study(results, name, about, ["maximize"], storage)
    by_key = {job.cell.key: job for job in jobs}
    write_unit_tables(jobs)
    with claiming(results, name):
        take_back(found)
        _enqueue(found, by_key)
    while True:
        trial = _claim(found, results, name, by_key, space)
        if trial is not None:
            _run(found, trial, by_key[trial.user_attrs["key"]], report)
        elif _keys(found, "RUNNING") & set(by_key):  # another process has them; should it die, they come back
            time.sleep(POLL)
        else:
            break
    return found


def incomplete(study: optuna.Study, jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose cell has no finished trial in the study, or whose record is gone."""
    told = _keys(study, "COMPLETE", "PRUNED")
    return [job for job in jobs if job.cell.key not in told or not is_reusable(job)]


def _keys(study: optuna.Study, *states: str) -> set[str | None]:
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=tuple(TrialState[state] for state in states))
    return {trial.user_attrs.get("key") for trial in found}


def _enqueue(study: optuna.Study, by_key: dict[str, Job]) -> None:
    """Hands over the cells that are not told, or whose records are gone, full model first, in the plan's order."""
    under_way = _keys(study, "RUNNING", "WAITING")
    for job in incomplete(study, list(by_key.values())):
        key = job.cell.key
        if key not in under_way:
            config = job.cell.model["config"]
            attributes = {"key": key, "model": job.model, "seed": job.cell.seed}
            study.enqueue_trial({slot: config[slot] for slot in SLOTS}, user_attrs=attributes)


def _claim(
    study: optuna.Study, results: Path, name: str, by_key: dict[str, Job], space: dict[str, list[str]]
) -> optuna.Trial | None:
    """The next cell's trial, leased to this process; None when none of these cells waits."""
    with claiming(results, name):
        take_back(study)
        while _keys(study, "WAITING") & set(by_key):
            trial = study.ask()
            for slot, names in space.items():
                trial.suggest_categorical(slot, names)
            if trial.user_attrs["key"] in by_key:
                trial.set_user_attr("lease", lease())
                return trial
            # of another plan in the same study: back to the end of the queue
            study.tell(trial, state=_state("FAIL"))
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    return None


def _run(study: optuna.Study, trial: optuna.Trial, job: Job, report: Report) -> None:
    """Runs a claimed cell and tells how it did; an interrupt leaves the trial to be taken back."""
    renew = Renewal(trial)

    def renewing(event: Event) -> None:
        renew()
        report(event)

    run_cell(job, report=renewing)
    record = store.read_record(job.folder)
    value = _value(record) if record else None
    trial.set_user_attr("outcome", record["status"] if record else "lost")
    if value is not None:
        study.tell(trial, value)
    else:  # a cell that diverged is finished without a score; one that failed is tried again by the next command
        study.tell(trial, state=_state("PRUNED" if record and record["status"] == "diverged" else "FAIL"))


def _state(name: str) -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState[name]


def _value(record: dict[str, Any]) -> float | None:
    """The figure that orders a table's rows, in [0, 1]: mean foreground Dice of test cases, or accuracy."""
    figures = (record["metrics"] or {}).get(DEFAULT.weights)
    if figures is None:
        return None
    if record["dataset"]["task"] == "classification":
        return float(figures["accuracy"])
    return float(figures[f"dice_{DEFAULT.policy}"])
