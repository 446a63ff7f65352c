"""A design search as an Optuna study, written from the records of `medbench develop`: a trial for each candidate.

Optuna chooses nothing here; its journal is the record of what was tried, and its tools read it. Several commands may
write one study. A candidate whose cells are all complete is a COMPLETE trial with its mean validation figure, one of
which a cell diverged PRUNED, one of which a cell failed FAIL; each once. What differs between candidates and has a
fixed range is a parameter: the slots of the proposed model, and the fields of the protocol that vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.journal import claiming, open_study
from bench.analysis.development import MEASURES, Judged, shown_weights
from bench.models.slots import SLOTS, filling_names
from bench.records.filenames import file_name
from bench.records.keys import digest
from bench.runs.development import Candidate
from bench.runs.protocol import CHOICES, RANGES

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def write_designs(
    judged: Sequence[Judged], results: Path, study: str, weights: str | None = None, storage: str | None = None
) -> optuna.Study:
    """Adds the candidates of one dataset that ended to the study of a name, made where there is none.

    Args:
        weights: whose figures are the values, `last` or `average-last`; None: as `shown_weights`.

    Raises:
        UserError: the study is of another dataset, split, measure or number of steps, or cannot be opened.
    """
    shown, measure = shown_weights(judged, weights), MEASURES[judged[0].task][0]
    cell, preset = judged[0].candidate.jobs[0].cell, judged[0].candidate.jobs[0].preset
    about = {
        "dataset": cell.dataset_label,
        "split": cell.split,
        "folds": sorted({job.cell.fold or 0 for job in judged[0].candidate.jobs}),
        "measure": f"{measure.name} of {shown}",
        "preset": preset.partition(" with ")[0],
        "steps": cell.protocol["steps"],
    }
    name = file_name(study)
    found = open_study(results, name, about, ["maximize"], storage)
    with claiming(results, name):
        told = {(t.user_attrs.get("key"), t.state.name) for t in found.get_trials(deepcopy=False)}
        for one in judged:
            state = _state(one, shown, measure.name)
            if state is not None and (_key(one.candidate), state) not in told:
                found.add_trial(_trial(one, state, shown, measure.name))
    return found


def _state(one: Judged, weights: str, measure: str) -> str | None:
    """Of Optuna's; None while a cell has not ended. A candidate without the figure is FAIL."""
    if "not run" in one.statuses:
        return None
    if set(one.statuses) == {"complete"}:
        return "COMPLETE" if measure in one.figures.get(weights, {}) else "FAIL"
    return "FAIL" if "failed" in one.statuses else "PRUNED"


def _key(candidate: Candidate) -> str:
    return digest(sorted(job.cell.key for job in candidate.jobs))


def _trial(one: Judged, state: str, weights: str, measure: str) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState, create_trial

    values = one.figures.get(weights, {}).get(measure, {})
    params = _params(one.candidate)
    return create_trial(
        state=TrialState[state],
        value=one.mean(weights, measure) if state == "COMPLETE" else None,
        params={name: value for name, (value, _) in params.items()},
        distributions={name: distribution for name, (_, distribution) in params.items()},
        user_attrs={
            "key": _key(one.candidate),
            "model": one.candidate.model,
            "version": one.candidate.jobs[0].cell.model["version"],
            "variant": one.candidate.variant,
            "folds": list(values.values()),
            "seconds": round(one.total_seconds, 1),
            "params": one.candidate.jobs[0].cost["params"],
            "macs": one.candidate.jobs[0].cost["macs"],
        },
    )


def _params(candidate: Candidate) -> dict[str, tuple[Any, BaseDistribution]]:
    """Parameter -> its value and range, the same in every trial of a study."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    cell = candidate.jobs[0].cell
    found: dict[str, tuple[Any, BaseDistribution]] = {}
    for slot in (slot for slot in SLOTS if slot in cell.model["config"]):
        found[slot] = (cell.model["config"][slot], CategoricalDistribution(filling_names(slot)))
    for name in candidate.values:
        value = cell.protocol[name]
        if isinstance(value, bool):
            found[name] = (value, CategoricalDistribution([False, True]))
        elif name in CHOICES:
            found[name] = (value, CategoricalDistribution(CHOICES[name]))
        elif isinstance(value, int):
            low, high = map(int, RANGES[name])
            found[name] = (value, IntDistribution(low, high))
        else:
            found[name] = (value, FloatDistribution(*RANGES[name]))
    return found
