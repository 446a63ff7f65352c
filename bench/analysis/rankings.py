"""Which data sets rank the same models under the same setting: what a critical-difference figure is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.comparison import VERSION, Table
from bench.zoo.registry import dataset_names, dataset_spec

LEAST = 5  # data sets, from which on models are ranked over them


@dataclass(frozen=True, eq=False)
class Ranking:
    """Figures of the same models on several data sets.

    Attributes:
        setting: preset and whatever else all have in common.
        datasets: their names, in order, with `(partial)` where much of one is not there. models: their titles.
        figures: (N, M), higher is better: accuracy, or Dice, in %.
    """

    setting: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    figures: np.ndarray


def rankings(tables: Sequence[Table]) -> list[Ranking]:
    """For each setting all data sets with the models that all have, and those of each task; two models or more.

    Real images only, cross-validations with others over as many folds alone, no split that is flagged as leaking; of
    several splits of a data set that with the most models. Another view of a data set (two of its classes) is no data
    set of its own.
    """
    found: list[Ranking] = []
    for setting in dict.fromkeys(table.setting for table in tables if table.setting):
        of_setting: dict[str, Table] = {}
        for table in tables:
            if table.setting == setting and not _is_variant(table.name):
                largest = of_setting.setdefault(table.name, table)
                if len(_newest(table)) > len(_newest(largest)):
                    of_setting[table.name] = table
        all_tables = list(of_setting.values())
        tasks = sorted({table.task for table in all_tables})
        by_task = [[table for table in all_tables if table.task == task] for task in tasks]
        groups = [all_tables, *by_task] if len(tasks) > 1 else by_task
        found += [_ranking(setting, group) for group in groups]
    return [ranking for ranking in found if len(ranking.models) > 1]


def _ranking(setting: str, group: Sequence[Table]) -> Ranking:
    figures = [_newest(table) for table in group]
    shared = [model for model in figures[0] if all(model in of_table for of_table in figures)]
    values = np.array([[of_table[model][1] for model in shared] for of_table in figures], float)
    titles = tuple(figures[0][model][0] for model in shared)
    names = tuple(f"{table.name} (partial)" if table.figures["partial"].any() else table.name for table in group)
    return Ranking(setting, names, titles, values)


def _newest(table: Table) -> dict[str, tuple[str, float]]:
    """Model -> its title and figure, those of the newest of several versions."""
    versions: dict[str, int] = {}
    newest: dict[str, tuple[str, float]] = {}
    for model, (title, value) in table.headline.items():
        name, version = VERSION.fullmatch(model).groups()  # type: ignore[union-attr]
        number = int(version.removeprefix(" v")) if version else 0
        if name not in newest or number > versions[name]:
            versions[name], newest[name] = number, (title.removesuffix(version or ""), value)
    return newest


def _is_variant(dataset: str) -> bool:
    return dataset in dataset_names() and dataset_spec(dataset).variant_of is not None
