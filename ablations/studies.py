"""An ablation's cells as an Optuna study, written from their records: a trial for each cell that ended.

The cells are run like any others (`bench.runs.runner.run_jobs` locks, resumes and shares them); Optuna chooses nothing
here. A cell that is complete is a COMPLETE trial with its score, one that diverged PRUNED, one that failed FAIL, each
once, however often and by however many processes the study is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.journal import claiming, open_study
from bench.analysis.shown import DEFAULT
from bench.models.slots import SLOTS, filling_names
from bench.records import store
from bench.records.filenames import file_name
from bench.records.keys import digest
from bench.runs.job import Job

if TYPE_CHECKING:
    import optuna


def open_arms(jobs: Sequence[Job], results: Path, study: str | None = None, storage: str | None = None) -> optuna.Study:
    """Opens the study of one dataset's arms, or makes it where there is none.

    Args:
        jobs: of one comparison key and one full model.
        study: its name; by default one made from dataset, comparison, full model and the fillings that there are.

    Raises:
        UserError: a study of that name is of something else, or the storage cannot be opened.
    """
    cell = jobs[0].cell
    about: dict[str, Any] = {
        "dataset": cell.dataset_label,
        "comparison": cell.comparison,
        "model": f"{cell.model['name']} v{cell.model['version']}",
    }
    slots = _slots(cell.model["config"])
    if slots:
        about["fillings"] = {slot: filling_names(slot) for slot in slots}
    name = file_name(study or f"ablate-{cell.dataset_label}-{digest(about)}")
    return open_study(results, name, about, ["maximize"], storage)


def write_trials(study: optuna.Study, jobs: Sequence[Job], results: Path) -> None:
    """Adds the cells that ended and are not in the study yet. A failed one that is run again becomes a second trial."""
    with claiming(results, study.study_name):
        trials = study.get_trials(deepcopy=False)
        told = {(trial.user_attrs.get("key"), trial.state.name) for trial in trials}
        for job in jobs:
            record = store.read_record(job.folder)
            if record is not None and (job.cell.key, _state(record)) not in told:
                study.add_trial(_trial(job, record, _state(record)))


def _trial(job: Job, record: dict[str, Any], state: str) -> optuna.trial.FrozenTrial:
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    config = job.cell.model["config"]
    return create_trial(
        state=TrialState[state],
        value=_value(record) if state == "COMPLETE" else None,
        params={slot: config[slot] for slot in _slots(config)},
        distributions={slot: CategoricalDistribution(filling_names(slot)) for slot in _slots(config)},
        user_attrs={"key": job.cell.key, "model": job.model, "seed": job.cell.seed, "outcome": record["status"]}
        | ({} if _slots(config) else {"config": config}),
    )


def _slots(config: Mapping[str, Any]) -> list[str]:
    """The slots of a config: what has a range that all trials of a study share; other fields are attributes."""
    return [slot for slot in SLOTS if slot in config]


def _state(record: dict[str, Any]) -> str:
    """Optuna's state of a cell: PRUNED where it diverged, FAIL where it failed or has no figure, else COMPLETE."""
    if record["status"] == "complete":
        return "FAIL" if _value(record) is None else "COMPLETE"
    return "PRUNED" if record["status"] == "diverged" else "FAIL"


def _value(record: dict[str, Any]) -> float | None:
    """The figure that orders a table's rows, in [0, 1]: mean foreground Dice of test cases, or accuracy."""
    metrics = record["metrics"] or {}
    figures = metrics.get(DEFAULT.weights_of(metrics))
    if figures is None:
        return None
    name = "accuracy" if record["dataset"]["task"] == "classification" else f"dice_{DEFAULT.policy}"
    return None if figures[name] is None else float(figures[name])
