"""Which figure of a table is best, where that can be told: marks that a difference's interval stands behind."""

from __future__ import annotations

from collections.abc import Mapping

from bench.analysis.certainty import Certainty, Measure
from bench.analysis.columns import Column
from bench.analysis.comparison import Table
from bench.analysis.statistics import Interval, Scores, difference, figure

BEST, SECOND = "best", "second"


def measure_of(sure: Certainty, column: Column) -> Measure | None:
    """The figure with intervals that a column of means shows; None where it has none."""
    if column.figure != "value" or column.level not in ("", "mean"):
        return None
    found = (m for m in sure.measures.values() if column.metric == m.column or column.header == m.name)
    return next(found, None)


def intervals_of(sure: Certainty, column: Column) -> dict[str, Interval]:
    """Title -> its figure in a column with its interval; of those that have one."""
    measure = measure_of(sure, column)
    return {} if measure is None else {title: measure.figure(g) for title, g in sure.grids[measure.name].items()}


def marks_told_apart(table: Table, column: Column) -> dict[str, str]:
    """Title -> `best` where the difference from every other figure is told from none, and then `second` likewise.

    The others are all ranked rows, of a shorter table those too that it leaves out. Nothing of a short budget is
    marked, nor a column whose figures have no intervals. Intervals are not adjusted for the number of differences.
    """
    measure = measure_of(table.sure, column)
    if measure is None or not table.headline:
        return {}
    grids = table.sure.grids[measure.name]
    order = sorted(grids, key=lambda title: -measure.merit * figure(grids[title]))
    marks = {}
    for place, mark in enumerate((BEST, SECOND)):
        if len(order) < place + 2 or not _leads(grids, order[place], order[place + 1 :], table.sure.paired):
            break
        marks[order[place]] = mark
    return marks


def _leads(grids: Mapping[str, Scores], leader: str, others: list[str], paired: bool) -> bool:
    """Whether a model is told apart from each of the others, the nearest first."""
    return all(difference(grids[leader], grids[other], paired_seeds=paired).excludes_zero for other in others)


def marks_of_habit(table: Table, column: Column, decimals: int) -> dict[str, str]:
    """Title -> `best` or `second` by the figures as shown, whatever their differences; nothing of a short budget.

    By those of all ranked rows, of a shorter table those too that it leaves out.
    """
    own = table.ranked[(table.ranked["metric"] == column.metric) & (table.ranked["class"] == column.level)]
    values = own.set_index("title")[column.figure].astype(float).round(decimals).dropna()
    if not column.merit or len(values) < 2:
        return {}
    rank = values.rank(method="min", ascending=column.merit < 0)
    return {str(t): mark for place, mark in ((1, BEST), (2, SECOND)) for t in rank.index[rank == place]}
