"""The search: which fillings, kernels, widths, depths and expansions do best on validation data, under a budget.

A trial is a model of the space, trained as a cell of its own whose test part is not read; its score is the best
validation score of its rounds, of the averaged weights where the protocol has some. Configurations over the budget are
rejected before they are trained, by a constraint of Optuna's that the sampler learns from; one that was drawn before
gets the value that it had. Neither counts as a trial, nor among those drawn at random at the start. With one objective
a pruner may stop a trial after a round; with two (`pareto`: score and MACs) Optuna prunes nothing. The user names the
space (`ablations.space`); else it is the proposed model's. Its ranges are our choice; fillings that break the
convolution-only rule are left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.journal import Direction, claiming, has_ended, lease, open_study, renewing, take_back
from ablations.space import FORMS, Dimension, draw_from, read_space, start_in
from bench.errors import UserError, unknown
from bench.models.slots import SLOTS, filling_names, filling_note
from bench.records import store
from bench.records.filenames import TUNING, file_name
from bench.runs.job import Event, Job, Report, run_cell, silent
from bench.runs.tuning import SEED, placed
from bench.zoo.registry import canonical_name, dataset_spec, parse_model

if TYPE_CHECKING:
    import optuna

SAMPLED_BEFORE = 10  # trials drawn at random, and trained, before the sampler learns from them
REJECTIONS = 200  # configurations in a row that are not trained, after which the budget is taken to admit no more
CONSTRAINT = "max_macs"
POLL = 2.0
FAILURES = 10  # trials without a score in a row, after which a search ends: something is wrong with all of them
PRUNERS = ("median", "hyperband", "none")
KERNELS = (3, 5, 7, 9)
# field of the config -> lowest value, highest value and step in each of the four stages
RANGES = {
    "widths": ((16, 40, 8), (32, 80, 8), (80, 192, 16), (128, 320, 32)),
    "depths": ((1, 2, 1), (1, 3, 1), (2, 6, 1), (1, 3, 1)),
    "expansions": ((1, 4, 1),) * 4,
}
FIELDS = (*RANGES, "kernels")


@dataclass(frozen=True)
class Goal:
    """What a search looks for.

    Attributes:
        model: the model whose config is searched, and the first trial.
        trials: so many are trained to the end, or pruned; rejected and repeated ones do not count.
        max_macs: highest MACs of one image, or None.
        pareto: two objectives, score and MACs, by NSGA-II; else the score alone, by TPE.
        pruner: `median`, `hyperband` or `none`; of no effect with `pareto`.
        space: fields of the config with their values, `width=8..64,se=true|false`; none: fillings, kernels, widths,
            depths and expansions of a proposed model.
    """

    model: str = "mednext_tiny"
    trials: int = 40
    max_macs: float | None = None
    pareto: bool = False
    pruner: str = "median"
    space: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.pruner not in PRUNERS:
            raise unknown("pruner", self.pruner, PRUNERS)
        if self.trials < 1:
            raise UserError(f"Expected at least one trial, but got {self.trials}.")
        if self.max_macs is not None and not self.max_macs > 0:
            raise UserError(f"Expected --max-macs to be positive (in GMACs), but got {self.max_macs / 1e9:g}.")
        if self.dimensions:
            return
        entry, config = parse_model(self.model)
        missing = [field for field in (*SLOTS, *FIELDS) if field not in config]
        if missing:
            raise UserError(
                f"Model {entry.name!r} has no {', '.join(missing)} to search over: name fields of its config, "
                f"--space {FORMS}."
            )

    @property
    def dimensions(self) -> list[Dimension]:
        """The space that the user names; empty where it is the proposed model's."""
        return read_space(self.space, self.model)

    def draw(self, trial: optuna.Trial) -> str:
        """A model of the space, by its name."""
        space = self.dimensions
        return draw_from(trial, self.model, space) if space else draw(trial, self.model)

    def start(self) -> dict[str, Any]:
        """The parameters of the first trial: the model itself, or what of the space is nearest."""
        space = self.dimensions
        return dict(start_in(self.model, space)) if space else starting_point(self.model)


def draw(trial: optuna.Trial, model: str) -> str:
    """A model of the space, by its canonical name: each slot, and `widths1` to `kernels4` of the four stages."""
    entry, config = parse_model(model)
    chosen: dict[str, Any] = {slot: trial.suggest_categorical(slot, fillings(slot)) for slot in SLOTS}
    for field, ranges in RANGES.items():
        stages = enumerate(ranges, 1)
        chosen[field] = tuple(trial.suggest_int(f"{field}{i}", low, high, step=by) for i, (low, high, by) in stages)
    chosen["kernels"] = tuple(trial.suggest_categorical(f"kernels{i}", KERNELS) for i in range(1, 5))
    return canonical_name(entry, config | chosen)


def fillings(slot: str) -> list[str]:
    """A slot's fillings in the space: those of convolutions and MLPs, `none` included."""
    return [name for name in filling_names(slot) if not filling_note(slot, name)]


def starting_point(model: str) -> dict[str, Any]:
    """The model's own parameters, each moved to the nearest value of the space; fillings outside it are left out."""
    _, config = parse_model(model)
    params: dict[str, Any] = {slot: config[slot] for slot in SLOTS if config[slot] in fillings(slot)}
    for field, ranges in RANGES.items():
        for i, (low, high, step) in enumerate(ranges, 1):
            nearest = low + step * round((config[field][i - 1] - low) / step)
            params[f"{field}{i}"] = max(low, min(high, nearest))
    for i, wanted in enumerate(config["kernels"], 1):
        params[f"kernels{i}"] = min(KERNELS, key=lambda kernel: abs(kernel - wanted))
    return params


def run_search(
    goal: Goal,
    template: Job,
    results: Path,
    study: str | None = None,
    storage: str | None = None,
    report: Report = silent,
) -> optuna.Study:
    """Runs trials until the study has as many as the goal asks for; several processes may share it.

    Killed and started again it goes on: finished trials stay, an unfinished one is enqueued again and resumes.

    Args:
        template: a cell of the goal's model on the dataset: everything but model and seed is taken from it.
        study: its name; by default one made from dataset, model and kind.

    Raises:
        UserError: the study is of something else, no configuration is within the budget, or nothing trains.
    """
    label = template.cell.dataset_label
    model = canonical_name(*parse_model(goal.model))
    name = file_name(study or f"search-{label}-{model}-{'pareto' if goal.pareto else 'score'}")
    directions: list[Direction] = ["maximize", "minimize"] if goal.pareto else ["maximize"]
    opened = open_study(results, name, _about(goal, template), directions, storage)
    with claiming(results, name):
        if not opened.get_trials(deepcopy=False):
            opened.enqueue_trial(goal.start())
    failures = 0
    while True:
        claimed = _claim(opened, results, goal, template)
        if claimed is not None:
            trial, job = claimed
            failures = 0 if _run(opened, trial, job, goal, report) else failures + 1
            if failures == FAILURES:
                raise UserError(
                    f"{FAILURES} trials in a row failed or diverged, the last one in {job.folder}: see its error.log "
                    "or record.json. What is finished is stored; the same command goes on."
                )
        elif _is_running(opened):  # the last ones, in other processes; should one die, its trial comes back
            time.sleep(POLL)
        else:
            return opened


def _about(goal: Goal, template: Job) -> dict[str, Any]:
    entry, config = parse_model(goal.model)
    full = _trial_job(goal.model, template).cell
    named = [str(dimension) for dimension in goal.dimensions]
    space = {"space": named} if named else {"fillings": {slot: fillings(slot) for slot in SLOTS}}
    return {
        "dataset": template.cell.dataset_label,
        "comparison": full.comparison,
        "model": f"{canonical_name(entry, config)} v{entry.version}",
        "preset": template.preset,
        "steps": template.cell.protocol["steps"],
        **({"rate": full.tuned["lr"]} if full.tuned else {}),  # of the grid, which may be chosen anew
        "max_macs": goal.max_macs,
        **space,
    }


def _sampler(goal: Goal, trials: Sequence[optuna.trial.FrozenTrial]) -> Any:
    """A sampler whose seed is another one for each trial: after a restart a constant seed would draw the same again.

    Optuna counts every finished trial among those drawn at random at the start. Trials that were not trained are
    therefore added to that number, here and for the pruner.
    """
    from optuna.samplers import NSGAIISampler, TPESampler

    if goal.pareto:
        return NSGAIISampler(seed=SEED + len(trials), population_size=min(20, max(4, goal.trials // 2)))
    untrained = _untrained(trials, "COMPLETE", "PRUNED")
    return TPESampler(seed=SEED + len(trials), n_startup_trials=SAMPLED_BEFORE + untrained, constant_liar=True)


def _untrained(trials: Sequence[optuna.trial.FrozenTrial], *states: str) -> int:
    """How many trials in these states were rejected before training, or repeat another trial."""
    return sum(t.state.name in states and not is_trained(t) for t in trials)


def _pruner(goal: Goal, template: Job, trials: Sequence[optuna.trial.FrozenTrial]) -> Any:
    name = "none" if goal.pareto else goal.pruner
    return make_pruner(name, template.cell.protocol["evaluations"], _untrained(trials, "COMPLETE"))


def make_pruner(name: str, rounds: int, untrained: int = 0) -> Any:
    """A pruner for curves of so many validation rounds; `untrained` finished trials have no curve, and do not count."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if name == "median":
        return MedianPruner(n_startup_trials=5 + untrained, n_warmup_steps=1)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=rounds, reduction_factor=3)
    return NopPruner()


def is_trained(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a finished trial was trained, to the end or until it was pruned."""
    return trial.state.name in ("COMPLETE", "PRUNED") and not {"rejected", "repeated"} & trial.user_attrs.keys()


def _is_running(study: optuna.Study) -> bool:
    running = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    return any(not has_ended(t.user_attrs.get("lease")) for t in running)


def _claim(study: optuna.Study, results: Path, goal: Goal, template: Job) -> tuple[optuna.Trial, Job] | None:
    """The next configuration to train, leased to this process; None when enough are done or under way."""
    with claiming(results, study.study_name):
        take_back(study)
        for _ in range(REJECTIONS):
            trials = study.get_trials(deepcopy=False)
            if sum(is_trained(t) or t.state.name == "RUNNING" for t in trials) >= goal.trials:
                return None
            study.sampler, study.pruner = _sampler(goal, trials), _pruner(goal, template, trials)
            trial = study.ask()
            trial.set_user_attr("lease", lease())
            job = _admitted(study, trial, goal, template)
            if job is not None:
                return trial, job
            why = trial.user_attrs.get("rejected", "drawn before")
    budget = "" if goal.max_macs is None else f"over --max-macs {goal.max_macs / 1e9:g} (GMACs), "
    raise UserError(
        f"{REJECTIONS} configurations in a row were {budget}drawn before or could not be built (the last one: {why}): "
        "raise --max-macs, or ask for fewer --trials."
    )


def _admitted(study: optuna.Study, trial: optuna.Trial, goal: Goal, template: Job) -> Job | None:
    """The job of a drawn configuration, or None where its trial ends at once: it is rejected, or was drawn before."""
    from optuna.trial import TrialState

    try:
        job = _trial_job(goal.draw(trial), template)
    except UserError as error:
        trial.set_user_attr("rejected", f"cannot be built: {error}")
        study.tell(trial, state=TrialState.FAIL)
        return None
    macs = job.cost["macs"]
    facts = {"model": job.model, "macs": macs, "params": job.cost["params"], "key": job.cell.key}
    for name, value in facts.items():
        trial.set_user_attr(name, value)
    if goal.max_macs is not None:
        trial.set_constraint(CONSTRAINT, macs - goal.max_macs)
        if macs > goal.max_macs:
            trial.set_user_attr("rejected", "over --max-macs")
            study.tell(trial, state=TrialState.FAIL if goal.pareto else TrialState.PRUNED)
            return None
    earlier = _earlier(study, trial, job.cell.key)
    if earlier is None:
        return job
    _repeat(study, trial, earlier)
    return None


def _earlier(study: optuna.Study, trial: optuna.Trial, key: str) -> optuna.trial.FrozenTrial | None:
    """The trial that trained a cell, or trains it now; the first of them that is finished."""
    same_cell = [t for t in study.get_trials() if t.number != trial.number and t.user_attrs.get("key") == key]
    trained = [t for t in same_cell if is_trained(t)]
    return next(iter(trained or [t for t in same_cell if t.state.name == "RUNNING"]), None)


def _repeat(study: optuna.Study, trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> None:
    """Ends a trial with the values of an earlier one of its configuration, or as FAIL while that one still runs."""
    from optuna.trial import TrialState

    if not earlier.state.is_finished():
        trial.set_user_attr("rejected", "under way in another trial")
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("repeated", earlier.number)
    if earlier.state == TrialState.COMPLETE:
        study.tell(trial, earlier.values)
        return
    for number, score in sorted(earlier.intermediate_values.items()):
        trial.report(score, number)  # by which the sampler ranks what was pruned
    study.tell(trial, state=earlier.state)


def _trial_job(model: str, template: Job) -> Job:
    """The job of one configuration: the template's with another model and the search's seed; no test part is read."""
    from bench.runs.runner import cost_of

    entry, config = parse_model(model)
    identity = {"name": entry.name, "config": config, "version": entry.version}
    cell = replace(template.cell, model=identity, seed=SEED, unscored=True)
    cost = cost_of(model, dataset_spec(cell.dataset, template.data_root), template.cell.settings())
    job = replace(template, model=canonical_name(entry, config), cost=cost, place=entry.place)
    return placed(job, cell, f"{template.preset}, trial of a search", TUNING)


def _run(study: optuna.Study, trial: optuna.Trial, job: Job, goal: Goal, report: Report) -> bool:
    """Trains a claimed trial and tells its score; false where there is none, since it failed or diverged."""
    from optuna.trial import TrialState

    renew, rounds = renewing(trial), _rounds(job)

    def report_trial(event: Event) -> None:
        renew()
        report(replace(event, trial=trial.number))

    def stop(step: int, score: float) -> bool:
        if goal.pareto:
            return False
        trial.report(score, rounds[step])
        return rounds[step] < len(rounds) and trial.should_prune()

    run_cell(job, report=report_trial, stop=stop)
    record = store.read_record(job.folder) or {"status": "lost"}
    training = record.get("training") or {}
    trial.set_user_attr("outcome", record["status"])
    if "dataset" in record:
        study.set_user_attr("task", record["dataset"]["task"])
    trial.set_user_attr("steps", training.get("steps"))
    score = (training.get("average") or training).get("val_score")  # of the weights that tables show
    if record["status"] == "complete" and score is not None:
        study.tell(trial, [score, job.cost["macs"]] if goal.pareto else score)
        return True
    was_pruned = record["status"] == "pruned"
    study.tell(trial, state=TrialState.PRUNED if was_pruned else TrialState.FAIL)
    return was_pruned


def _rounds(job: Job) -> dict[int, int]:
    """Step of each validation round -> its number from 1."""
    from bench.runs.train import evaluation_steps

    return {step: i for i, step in enumerate(sorted(evaluation_steps(job.cell.settings())), 1)}


def front(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The finished trials that no other beats in both score and MACs, the fewest MACs first."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE" and is_trained(t)]
    done.sort(key=lambda t: (t.user_attrs["macs"], -t.values[0]))
    unbeaten: list[optuna.trial.FrozenTrial] = []
    for trial in done:
        if not unbeaten or trial.values[0] > unbeaten[-1].values[0]:
            unbeaten.append(trial)
    return unbeaten


def best(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """The finished trial of the highest validation score. Raises UserError when none is finished."""
    unbeaten = front(study)
    if not unbeaten:
        raise UserError("No trial of the search is finished: see the error.log files under results/tuning.")
    return unbeaten[-1]
