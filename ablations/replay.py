"""What pruning saves, and what it costs: stored learning curves, replayed through a pruner in many orders.

A curve is the validation scores of a cell that ran all its steps. In each ordering the curves arrive one by one, as
trials of a search; the pruner sees each round and may stop the curve there. Counted are the steps that are not run,
and whether the best curve of all was stopped before its end.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ablations.search import make_pruner
from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records import store
from bench.records.damage import Damaged
from bench.report.notes import few, in_a_line

SEED = 20261126
LEAST = 8  # curves, below which a replay says nothing


@dataclass(frozen=True)
class Curve:
    """A stored cell's validation rounds.

    Attributes:
        name: model and seed. steps, scores: of each round.
    """

    name: str
    steps: tuple[int, ...]
    scores: tuple[float, ...]


def stored_curves(results: Path, dataset: str, steps: int | None = None) -> tuple[list[Curve], tuple[str, ...]]:
    """The curves of a dataset's complete cells and trials, of one number of steps; the commonest when none is named.

    Beside them what was left out, in lines.

    Raises:
        UserError: too few of them.
    """
    found: dict[int, list[Curve]] = {}
    cells, notes = _cells(results)
    for folder, record in cells:
        if record["status"] != "complete" or record["dataset"]["name"] != dataset:
            continue
        name = f"{record['model']['name']} {record['cell']['seed']}"
        if record["model"]["family"] == "chance" or not (folder / "history.csv").exists():
            continue
        try:
            curve = _curve(folder / "history.csv", name)
        except Damaged as error:
            notes = (*notes, f"Left out: {error}")
        else:
            found.setdefault(curve.steps[-1] if curve.steps else 0, []).append(curve)
    found = {length: curves for length, of in found.items() if (curves := [c for c in of if len(c.steps) > 1])}
    length = steps or max(found, key=lambda n: len(found[n]), default=0)
    curves = [c for c in found.get(length, []) if len(c.steps) == _commonest(found[length])]
    if len(curves) < LEAST:
        raise UserError(
            f"Expected at least {LEAST} stored learning curves of {dataset} to replay, but {results} has "
            f"{len(curves)}. Run its models first: medbench run.{in_a_line(notes)}"
        )
    return sorted(curves, key=lambda curve: (curve.name, curve.scores)), notes  # not by folder, which has a key in it


def _cells(results: Path) -> store.Found:
    """The cells of a results folder and the trials of its searches, each once."""
    bases = [path for path in (results, results / store.TUNING) if path.is_dir()]
    found = [store.read_records(base) for base in bases]
    cells = {record["key"]: (folder, record) for one in reversed(found) for folder, record in one.records}
    return store.Found(list(cells.values()), tuple(note for one in found for note in one.notes))


def _curve(path: Path, name: str) -> Curve:
    """The curve of a history.csv. Raises Damaged where it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["step"]), float(row["val_score"])) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(path, f"holds no validation rounds ({type(error).__name__}).") from None
    if not all(math.isfinite(score) for _, score in rows):
        raise Damaged(path, "has rounds without a score: the outputs were not finite there.")
    steps, scores = zip(*rows, strict=True) if rows else ((), ())
    return Curve(name, steps, scores)


def _commonest(curves: Sequence[Curve]) -> int:
    lengths = [len(curve.steps) for curve in curves]
    return max(set(lengths), key=lengths.count)


def replay(curves: Sequence[Curve], pruner: str, orderings: int = 20) -> pd.DataFrame:
    """A row for each ordering: `saved`, the share of all steps not run; `pruned`, how many curves; `best_pruned`."""
    rng = np.random.default_rng(SEED)
    best = max(range(len(curves)), key=lambda i: max(curves[i].scores))
    rows = []
    for _ in range(orderings):
        stops = _one(curves, rng.permutation(len(curves)).tolist(), pruner)
        run = sum(curves[i].steps[rounds - 1] for i, rounds in stops.items())
        rows.append(
            {
                "saved": 1 - run / sum(curve.steps[-1] for curve in curves),
                "pruned": sum(rounds < len(curves[i].steps) for i, rounds in stops.items()),
                "best_pruned": stops[best] < len(curves[best].steps),
            }
        )
    return pd.DataFrame(rows)


def _one(curves: Sequence[Curve], order: Sequence[int], pruner: str) -> dict[int, int]:
    """Index of each curve -> number of rounds that it ran."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rounds = max(len(curve.steps) for curve in curves)
    # Hyperband takes a trial's bracket from the study's name and the trial's number: one name, one assignment.
    study = optuna.create_study(study_name="replay", direction="maximize", pruner=make_pruner(pruner, rounds))
    stops: dict[int, int] = {}
    for i in order:
        trial = study.ask()
        for number, score in enumerate(curves[i].scores, 1):
            trial.report(score, number)
            stops[i] = number
            if number < len(curves[i].scores) and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, max(curves[i].scores))
    return stops


def replay_tables(results: Path, datasets: Sequence[str], orderings: int) -> list[Sheet]:
    """A table for each dataset: what each pruner saves, and how often it stopped the best curve."""
    return [_table(results, dataset, orderings) for dataset in datasets]


def _table(results: Path, dataset: str, orderings: int) -> Sheet:
    (curves, notes), rows = stored_curves(results, dataset), []
    for pruner in ("median", "hyperband"):
        found = replay(curves, pruner, orderings)
        rows.append(
            {
                "Pruner": pruner,
                "Steps saved %, median": f"{100 * found['saved'].median():.0f}",
                "lowest": f"{100 * found['saved'].min():.0f}",
                "highest": f"{100 * found['saved'].max():.0f}",
                f"Curves stopped of {len(curves)}, median": f"{found['pruned'].median():.0f}",
                "Best was pruned": f"{found['best_pruned'].sum()} of {orderings}",
            }
        )
    caption = (
        f"Pruning replayed: {len(curves)} stored learning curves of {dataset}, {curves[0].steps[-1]} steps, "
        f"{len(curves[0].steps)} validation rounds, {orderings} orderings."
    )
    return Sheet(caption, pd.DataFrame(rows), tuple(few(notes)), name=f"{dataset}-replay")
