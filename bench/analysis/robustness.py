"""What a trained network is worth elsewhere: on other data sets, and on its own test part as it is corrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.captions import TASKS
from bench.analysis.certainty import Measure, interval_text, scores_of
from bench.analysis.sheet import Sheet
from bench.analysis.statistics import Interval, Scores, bootstrap, can_be_resampled, difference, figure, with_seeds
from bench.analysis.units import units_of
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.records import store
from bench.runs.trained import Trained, load_trained
from bench.runs.transfer import CLEAN, data_elsewhere, has_own_images, own_units, score_corrupted, score_elsewhere
from bench.zoo.registry import listed_names

MEASURES = {
    "segmentation": Measure("Dice %", "dice_strict", 100.0, 1, most=100.0),
    "classification": Measure("Balanced accuracy %", "predicted", 100.0, 1, most=100.0, stratified=True),
}
_UNITS = (
    "Intervals (95 %): bootstrap over {units}{seeds}; they say nothing of another training where a row has one run."
)
_RELATIVE = "Relative % [95 %]"
Count = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Elsewhere:
    """Which runs are scored on what.

    Attributes:
        runs: folders of records; those of one model and data set are its seeds.
        datasets: names by commas, or None. corruptions: the runs' own test parts, corrupted.
        mapping: `THEIRS=OURS` for each class of a data set that the network calls otherwise.
        data: of the data sets, `auto`, `real` or `phantom`. data_root: where they lie.
        weights, device, trust: as `load_trained` takes them.
    """

    runs: Sequence[Path] = ()
    datasets: str | Sequence[str] | None = None
    corruptions: bool = False
    mapping: Sequence[str] = ()
    data: str = "auto"
    data_root: str | Path | None = None
    weights: str | None = None
    device: str = "cpu"
    trust: Path | None = None

    def __post_init__(self) -> None:
        if self.runs and (self.datasets is None) == (not self.corruptions):
            raise UserError("Expected --run with one of --dataset and --corruptions.")
        if not self.runs and (self.datasets is not None or self.corruptions):
            raise UserError("Expected --dataset and --corruptions with --run RUN, the folder of a trained network.")

    @property
    def scored(self) -> dict[str, Any]:
        """Which runs and on what, as plain values."""
        datasets = None if self.datasets is None else list(listed_names(self.datasets))
        return {
            "runs": [str(folder) for folder in self.runs],
            "datasets": datasets,
            "corruptions": self.corruptions,
            "map": list(self.mapping),
            "weights": self.weights,
        }

    @property
    def named(self) -> dict[str, str]:
        """The data set's name of a class -> the network's."""
        pairs = dict(pair.partition("=")[::2] for pair in self.mapping)
        if odd := next((pair for pair in self.mapping if "=" not in pair), None):
            raise UserError(f"Expected --map THEIRS=OURS, but got {odd!r}.")
        return pairs


@dataclass(frozen=True, eq=False)
class Judgement:
    """Rows of all runs, a case and class each, and the tables made of them."""

    rows: pd.DataFrame
    sheets: list[Sheet]


def judge_elsewhere(asked: Elsewhere, report: Count = lambda name, done, total: None) -> Judgement:
    """Scores runs on other data sets, or under corruptions; nothing is trained.

    Raises:
        UserError: runs of two tasks, and as `load_trained`, `data_elsewhere`, `score_elsewhere` and `score_corrupted`;
            no data set but the runs' own.
    """
    members = [load_trained(folder, asked.weights, asked.device, asked.trust) for folder in asked.runs]
    if len({member.task for member in members}) > 1:
        raise UserError("Expected runs of one task, but got segmentation and classification: give two commands.")
    _check_alike(members)
    try:
        if asked.corruptions:
            return _corrupted(members, asked, report)
        return _on_others(members, asked, report)
    except FloatingPointError as error:
        raise UserError(f"A network has no prediction of an image: {error}.") from None


def _check_alike(members: Sequence[Trained]) -> None:
    """Raises UserError for runs that would be averaged as seeds of one network and are not."""
    for title, dataset in dict.fromkeys((one.title, one.dataset) for one in members):
        own = [one for one in members if (one.title, one.dataset) == (title, dataset)]
        runs = f"runs of {title} on {dataset} ({', '.join(one.key for one in own)})"
        if len({one.key for one in own}) < len(own):
            raise UserError(f"Expected distinct {runs}: leave out what is given twice.")
        if len({(one.cell.comparison, repr(one.cell.model)) for one in own}) > 1:
            raise UserError(
                f"Expected {runs} of one config, protocol and split, seeds of one network: give a command for each."
            )


def _labels(trained: Trained) -> dict[str, Any]:
    return {"model": trained.title, "trained_on": trained.dataset, "seed": trained.cell.seed}


# -- on other data sets --------------------------------------------------------------------------------------


def _on_others(members: Sequence[Trained], asked: Elsewhere, report: Count) -> Judgement:
    names, root, given = listed_names(asked.datasets or ()), asked.data_root, asked.named
    found = [(trained, [data_elsewhere(trained, name, asked.data, root) for name in names]) for trained in members]
    own = {(t.folder, data.name) for t, all_data in found for data in all_data if has_own_images(t, data, root)}
    if all((trained.folder, data.name) in own for trained, all_data in found for data in all_data):
        raise UserError(
            f"Nothing to score: {', '.join(names)} is what each run was trained on, or another view of its images: "
            "the run's own figures are in `medbench report`, and this is for --corruptions or another data set."
        )
    parts, lacking = [], dict[str, list[str]]()
    for trained, all_data in found:
        own_part = _in_units(_own_rows(trained), own_units(trained, root), trained.task)
        parts.append(own_part.assign(**_labels(trained), tested_on=trained.dataset))
        for data in all_data:
            if (trained.folder, data.name) in own:
                lacking.setdefault(data.name, []).append(trained.dataset)
                continue
            rows = pd.DataFrame(score_elsewhere(trained, data, given, report))
            rows = _in_units(rows, unit_table(data, data.name), trained.task)
            parts.append(rows.assign(**_labels(trained), tested_on=data.name))
    scored = pd.concat(parts, ignore_index=True)
    views = {name: list(dict.fromkeys(of) - {name: None}.keys()) for name, of in lacking.items()}
    return Judgement(scored, [_transfer_sheet(scored, members[0].task, views)])


def _own_rows(trained: Trained) -> pd.DataFrame:
    """The run's own test part, as its record has it."""
    record = store.read_record(trained.folder)
    rows = None if record is None else store.read_cases(trained.folder, record)
    if rows is None:
        return pd.DataFrame()
    rows = rows[(rows["part"] == "test") & (rows["weights"] == trained.weights)]
    return rows.drop(columns=["part", "weights"])


def _in_units(rows: pd.DataFrame, table: Mapping[str, Any] | None, task: str) -> pd.DataFrame:
    """The rows with `unit`, whose they are, and `units`, what one is in words."""
    if rows.empty:
        return rows
    if table is not None:
        return rows.assign(unit=units_of(rows, table), units=table["unit"])
    known = bool((rows["patient"] != rows["case"]).any())
    return rows.assign(unit=rows["patient"], units=TASKS[task].UNITS[known])


def _drawn(rows: pd.DataFrame) -> str:
    """How many units of what are drawn: `37 blocks of images (patients unknown)`."""
    return f"{rows['unit'].nunique()} {' and '.join(rows['units'].unique())}"


def _transfer_sheet(rows: pd.DataFrame, task: str, views: Mapping[str, Sequence[str]]) -> Sheet:
    """A row for each model and data set that it was trained on, a column for each that it was tested on.

    Args:
        views: data set -> those of which it is another view, whose runs were not scored on it.
    """
    measure = MEASURES[task]
    if task == "classification":
        rows = rows[rows["reference"].astype(float) == 1]
    tested = list(dict.fromkeys([*rows["tested_on"], *(name for name, of in views.items() if of)]))
    lines = []
    for (model, trained_on), of_model in rows.groupby(["model", "trained_on"], sort=False):
        line = {"Model": model, "Trained on": trained_on, "Runs": str(of_model["seed"].nunique())}
        for name in tested:
            of_test = of_model[of_model["tested_on"] == name]
            text = _with_interval(scores_of(of_test, measure), measure) if len(of_test) else ""
            line[f"on {name}"] = f"{text} (its own)" if text and name == trained_on else text
        lines.append(line)
    runs = rows.groupby(["model", "trained_on"])["seed"].nunique()
    notes = (
        *(
            f"{name}: {of['case'].nunique()} test cases, {_drawn(of)}; {', '.join(of['class'].unique())}."
            for name, of in rows.groupby("tested_on", sort=False)
        ),
        *(
            f"{name} is not scored of a run on {' or '.join(of)}: it is another view of the same images, of which "
            "training may have held some."
            for name, of in views.items()
            if of
        ),
        "Nothing was trained or chosen on the other data set; its images go through the preprocessing of the run.",
        "Its own: the test part of the run's own split, from its record.",
        _UNITS.format(units="these", seeds=" and seeds" if runs.max() > 1 else ""),
    )
    return Sheet(
        f"Trained on x tested on: {measure.name}, mean over the classes in common.",
        pd.DataFrame(lines),
        notes,
        left=("Trained on",),
        name="transfer",
    )


def _with_interval(scores: Scores, measure: Measure) -> str:
    if not can_be_resampled(scores):
        return f"{figure(scores):.2f}"
    return interval_text(measure.figure(with_seeds(scores)))


# -- corrupted -----------------------------------------------------------------------------------------------


def _corrupted(members: Sequence[Trained], asked: Elsewhere, report: Count) -> Judgement:
    parts = []
    for trained in members:
        scored = pd.DataFrame(score_corrupted(trained, asked.data_root, report))
        scored = _in_units(scored, own_units(trained, asked.data_root), trained.task)
        parts.append(scored.assign(**_labels(trained)))
    rows = pd.concat(parts, ignore_index=True)
    groups = rows.groupby(["model", "trained_on"], sort=False)
    task = members[0].task
    return Judgement(rows, [_corruption_sheet(of, str(model), str(data), task) for (model, data), of in groups])


def _corruption_sheet(rows: pd.DataFrame, model: str, dataset: str, task: str) -> Sheet:
    """A row for each corruption, and their mean: the figure at each severity, and what it is to the clean one."""
    segments = task == "segmentation"
    measure = Measure("", "value", 100.0, 1, most=100.0, stratified=not segments)
    clean, changed = rows[rows["corruption"] == CLEAN], rows[rows["corruption"] != CLEAN]
    levels = sorted(changed["severity"].unique())
    named = [(str(name), of) for name, of in changed.groupby("corruption", sort=False)]
    lines = []
    for name, of in (*named, ("mean", changed)):
        at = {f"severity {k}": _error(figure(scores_of(of[of["severity"] == k], measure)), segments) for k in levels}
        lines.append({"Corruption": name} | at | _to_clean(scores_of(clean, measure), scores_of(of, measure), segments))
    base = _error(figure(scores_of(clean, measure)), segments)
    what = "Dice %" if segments else "Balanced error %"
    runs = rows["seed"].nunique()
    notes = (
        "Relative: mean over severities as a share of the clean figure. After MedMNIST-C; seeds fixed.",
        f"{clean['case'].nunique()} test cases. "
        + _UNITS.format(units=_drawn(clean), seeds=" and seeds" if runs > 1 else ""),
    )
    caption = f"{model}, trained on {dataset}, {runs} run{'s' * (runs > 1)}: {what} by severity; clean {base}."
    heads = {f"severity {k}": f"sev. {k}" for k in levels}
    return Sheet(caption, pd.DataFrame(lines), notes, name="corruptions", details=(_RELATIVE,), heads=heads)


def _error(share: float, segments: bool) -> str:
    return f"{share if segments else 100 - share:.1f}"


def _to_clean(clean: Scores, changed: Scores, segments: bool) -> dict[str, str]:
    """The difference from clean in points, and the figure as a share of the clean one, each with its interval."""
    sign = 1.0 if segments else -1.0  # an error rises where an accuracy falls
    gap, share = sign * (figure(changed) - figure(clean)), _share(figure(changed), figure(clean), segments)
    gaps, shares = Interval(gap, np.nan, np.nan), Interval(float(share), np.nan, np.nan)
    if can_be_resampled(clean, changed):
        pair = {"changed": with_seeds(changed), "clean": with_seeds(clean)}
        found = difference(pair["changed"], pair["clean"], paired_seeds=True)
        gaps = Interval(gap, *sorted((sign * found.low, sign * found.high)))
        draws = bootstrap(pair, paired_seeds=True)
        of_draws = _share(draws["changed"], draws["clean"], segments)
        if np.isfinite(of_draws).all():
            shares = Interval(float(share), *np.percentile(of_draws, (2.5, 97.5)).tolist())
    return {"Less clean [95 %]": _text(gaps), _RELATIVE: _text(shares)}


def _share(changed: Any, clean: Any, segments: bool) -> Any:
    """% of the clean Dice, or of the clean error; nan where that is 0."""
    above, below = (changed, clean) if segments else (100 - changed, 100 - clean)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(below) > 0, 100 * np.divide(above, below), np.nan)


def _text(interval: Interval) -> str:
    if np.isnan(interval.value):
        return ""
    value, low, high = (f"{round(x, 1) + 0.0:.1f}" for x in (interval.value, interval.low, interval.high))  # no -0.0
    return value if np.isnan(interval.low) else f"{value} [{low}, {high}]"
