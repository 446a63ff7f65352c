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
from typing import Any

import numpy as np
import pandas as pd

from ablations.search import make_pruner
from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records import store
from bench.records.damage import Damaged
from bench.records.filenames import TUNING
from bench.records.keys import digest
from bench.report.notes import few, in_a_line

SEED = 20261126
# Of a cell: what the scores of two curves have to share to be held against each other.
JUDGED_ON = ("fingerprint", "source", "split", "parts", "fold", "train_patients", "protocol")
LEAST = 8  # curves, below which a replay says nothing


@dataclass(frozen=True)
class Curve:
    """A stored cell's validation rounds.

    Attributes:
        name: model and seed. steps, scores: of each round. split: as tables name it.
        judged_on: a digest of the images, how they are divided, and the protocol.
    """

    name: str
    steps: tuple[int, ...]
    scores: tuple[float, ...]
    split: str = ""
    judged_on: str = ""


def stored_curves(results: Path, dataset: str, steps: int | None = None) -> tuple[list[Curve], tuple[str, ...]]:
    """The curves of a dataset's complete cells and trials, and a line for each that was left out.

    Of one division of the same images and one protocol: scores of others cannot be held against each other. Of several
    the one with most curves counts.

    Args:
        steps: the number of steps that all curves have; by default the commonest.

    Raises:
        UserError: too few of them.
    """
    curves: list[Curve] = []
    cells, notes = _cells(results)
    for folder, record in cells:
        path, model = folder / "history.csv", record["model"]
        wanted = (record["status"], record["dataset"]["name"]) == ("complete", dataset)
        if not wanted or model["family"] == "chance" or not path.exists():
            continue
        try:
            curves.append(_curve(path, f"{model['name']} {record['cell']['seed']}", record["cell"]))
        except Damaged as error:
            notes = (*notes, f"Left out: {error}")
    curves = [curve for curve in curves if len(curve.steps) > 1]
    steps = steps or _commonest([curve.steps[-1] for curve in curves])
    curves = [curve for curve in curves if curve.steps[-1] == steps]
    rounds = _commonest([len(curve.steps) for curve in curves])
    curves = [curve for curve in curves if len(curve.steps) == rounds]
    alike = _commonest([curve.judged_on for curve in curves])
    curves = [curve for curve in curves if curve.judged_on == alike]
    if len(curves) < LEAST:
        raise UserError(
            f"Expected at least {LEAST} stored learning curves of {dataset} to replay, but {results} has "
            f"{len(curves)}. Run its models first: medbench run.{in_a_line(notes)}"
        )
    return sorted(curves, key=lambda curve: (curve.name, curve.scores)), notes  # not by folder, which has a key in it


def _cells(results: Path) -> store.Found:
    """The cells of a results folder and the trials of its searches, each once."""
    parts = [store.read_records(path) for path in (results, results / TUNING) if path.is_dir()]
    cells = {record["key"]: (folder, record) for part in reversed(parts) for folder, record in part.records}
    return store.Found(list(cells.values()), tuple(note for part in parts for note in part.notes))


def _curve(path: Path, name: str, cell: dict[str, Any]) -> Curve:
    """The curve of a history.csv, of the averaged weights where it has some. Raises Damaged where it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                (int(row["step"]), float(row.get("average_val_score") or row["val_score"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise Damaged(path, f"holds no validation rounds ({type(error).__name__}).") from None
    if not all(math.isfinite(score) for _, score in rows):
        raise Damaged(path, "has rounds without a score: the outputs were not finite there.")
    steps, scores = zip(*rows, strict=True) if rows else ((), ())
    fold = "" if cell["fold"] is None else f", fold {cell['fold']}"
    judged_on = digest([cell.get(field) for field in JUDGED_ON])
    return Curve(name, steps, scores, f"{cell['split']}{fold}", judged_on)


def _commonest(values: Sequence[Any]) -> Any:
    return max(dict.fromkeys(values), key=values.count, default=0)


def replay(curves: Sequence[Curve], pruner: str, orderings: int = 20) -> pd.DataFrame:
    """A row for each ordering: `saved`, the share of all steps not run; `pruned`, how many curves; `best_pruned`."""
    rng = np.random.default_rng(SEED)
    best = max(range(len(curves)), key=lambda i: max(curves[i].scores))
    rows = []
    for _ in range(orderings):
        stops = _stops(curves, rng.permutation(len(curves)).tolist(), pruner)
        run = sum(curves[i].steps[rounds - 1] for i, rounds in stops.items())
        rows.append(
            {
                "saved": 1 - run / sum(curve.steps[-1] for curve in curves),
                "pruned": sum(rounds < len(curves[i].steps) for i, rounds in stops.items()),
                "best_pruned": stops[best] < len(curves[best].steps),
            }
        )
    return pd.DataFrame(rows)


def _stops(curves: Sequence[Curve], order: Sequence[int], pruner: str) -> dict[int, int]:
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
        runs = replay(curves, pruner, orderings)
        rows.append(
            {
                "Pruner": pruner,
                "Steps saved %, median": f"{100 * runs['saved'].median():.0f}",
                "lowest": f"{100 * runs['saved'].min():.0f}",
                "highest": f"{100 * runs['saved'].max():.0f}",
                f"Curves stopped of {len(curves)}, median": f"{runs['pruned'].median():.0f}",
                "Best was pruned": f"{runs['best_pruned'].sum()} of {orderings}",
            }
        )
    caption = (
        f"Pruning replayed: {len(curves)} stored learning curves of {dataset}, split {curves[0].split}, "
        f"{curves[0].steps[-1]} steps, {len(curves[0].steps)} validation rounds, {orderings} orderings."
    )
    return Sheet(caption, pd.DataFrame(rows), tuple(few(notes)), name=f"{dataset}-replay")
