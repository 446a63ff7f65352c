"""All figures of a report: which there are, what is left out and why, and their files.

Each is drawn from a table that is made already, or from stored profiles: no figure is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis.aside import without_arms
from bench.analysis.comparison import Table
from bench.analysis.learning import learning_curves
from bench.analysis.rankings import LEAST, Ranking, rankings
from bench.analysis.short_budget import NO_RANKS
from bench.records.filenames import file_name
from bench.records.histories import find_folders
from bench.records.profiles import load_profiles
from bench.records.sweeps import load_sweeps
from bench.report.drawing.batches import SWEPT, latency_by_batch, memory, memory_rows
from bench.report.drawing.forest import differences
from bench.report.drawing.probabilities import confusion_matrices, drawn_models, reliability_diagram, roc_curves
from bench.report.drawing.ranking import critical, rank_map
from bench.report.drawing.strips import class_strips
from bench.report.drawing.style import save, slug
from bench.report.drawing.tradeoff import tradeoff
from bench.report.drawing.training import IMAGES, training_curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and what it is: `kind` is the end of its file's name."""

    name: str
    kind: str
    figure: Figure


def draw_report(
    tables: Sequence[Table], folder: Path, results: Path | None = None, over: str = IMAGES
) -> tuple[list[Path], list[str]]:
    """Writes the figures that these tables allow; returns their paths, and a line for each kind that is left out.

    Args:
        results: the folder that the tables are from, for learning curves, speeds and memory; None: without these.
        over: what the axis of learning curves counts, `steps` or `images`.

    Raises:
        UserError: the folder cannot be written to.
    """
    keys = {key for table in tables for key in table.cells["key"]}
    folders = {} if results is None else find_folders(results, keys)
    written = [
        path
        for drawing in report_drawings(tables, folders, results, over)
        for path in save(drawing.figure, folder / drawing.name)
    ]
    return written, _left_out(tables)


def report_drawings(
    tables: Sequence[Table], folders: Mapping[str, Path], results: Path | None, over: str = IMAGES
) -> Iterator[Drawing]:
    """Every figure of these tables, one at a time: of each table, over data sets, of stored profiles."""
    for table in tables:
        yield from table_drawings(table, folders, over)
    yield from ranking_drawings(tables)
    if results is not None:
        yield from speed_drawings(load_profiles(results), load_sweeps(results))


def table_drawings(table: Table, folders: Mapping[str, Path], over: str = IMAGES) -> Iterator[Drawing]:
    """The figures of one table that its records allow."""
    stem, models = file_name(f"{table.name}-{table.key[:8]}"), drawn_models(table)
    draw = {
        "differences": lambda: differences(table) if table.sure.gaps else None,
        "ranks": lambda: None if table.sure.ranks.empty else rank_map(table),
        "cost": lambda: tradeoff(table),
        "classes": lambda: class_strips(table),
        "training": lambda: training_curves(table, learning_curves(table, folders), over),
        "reliability": lambda: reliability_diagram(table, models),
        "roc": lambda: roc_curves(table, models),
        "confusion": lambda: confusion_matrices(table, models),
    }
    for kind, make in draw.items():
        figure = make()
        if figure is not None:
            yield Drawing(f"{stem}-{kind}", kind, figure)


def ranking_drawings(tables: Sequence[Table]) -> Iterator[Drawing]:
    """A critical-difference diagram for each setting with enough data sets."""
    for ranking in rankings(tables):
        if len(ranking.datasets) >= LEAST:
            yield Drawing(_file_name(ranking), "critical-difference", critical(ranking))


def speed_drawings(profiles: pd.DataFrame, sweeps: pd.DataFrame) -> Iterator[Drawing]:
    """Latency against the batch, and memory, a figure for each machine, input and arithmetic."""
    swept, _ = without_arms(sweeps, ())
    for _, rows in swept.groupby(SWEPT, sort=True):
        if rows["batch"].nunique() > 1 and rows["title"].nunique() > 1:
            yield Drawing(f"latency-{_of_profiles(rows)}", "latency", latency_by_batch(rows))
    measured = memory_rows(profiles)
    for _, rows in measured.groupby([*SWEPT, "batch"], sort=True) if len(measured) else ():
        if len(rows) > 1:
            yield Drawing(f"memory-{_of_profiles(rows)}-{rows['batch'].iloc[0]}", "memory", memory(rows))


def _of_profiles(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    words = [first[name] for name in ("task", "image", "classes", "precision", "threads", "machine")]
    words += ["torch", first["torch"], first["allocator"]]
    return file_name(slug(" ".join(map(str, words))))


def _left_out(tables: Sequence[Table]) -> list[str]:
    """What is not drawn, and why, a line each."""
    notes = [
        f"{table.where}: no figure of differences. {table.sure.caption}"
        if not table.sure.reference
        else f"{table.where}: no figure of differences, one model alone."
        for table in tables
        if not table.sure.gaps
    ]
    notes += [f"{t.where}: no figure of ranks. {NO_RANKS}" for t in tables if t.sure.gaps and t.sure.ranks.empty]
    ranked = rankings(tables)
    most = max((len(ranking.datasets) for ranking in ranked), default=0)
    if most < LEAST:
        notes.append(
            f"No critical-difference figure: it needs {LEAST} data sets of real images with the same ranked "
            f"models; there: {most}."
        )
    return notes


def _file_name(ranking: Ranking) -> str:
    name = slug(f"{ranking.setting} {len(ranking.datasets)}")
    return file_name(f"critical-difference-{name}-{'-'.join(sorted(ranking.datasets))}")
