"""Pictures of the worst, median and best cases of each comparison, for who asks: they show images of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.analysis.behind import families
from bench.analysis.comparison import Table
from bench.analysis.gallery import Gallery, galleries
from bench.errors import UserError
from bench.records.store import read_records
from bench.report.overlays import KEY, scene_png
from bench.report.page.inline_svg import InlineFigure, inline_image
from bench.report.page.parts import Part

MOST_MODELS = 4  # in a picture: the reference, then the first rows
Records = Mapping[str, tuple[Path, dict[str, Any]]]


def picture_parts(tables: Sequence[Table], results: Path, count: int, data_root: str | None = None) -> list[Part]:
    """A part for each table, with so many cases of each kind; what is missing for them is said in a line.

    Args:
        results: the folder that the tables are from; data_root: where the images lie.
    """
    records = {record["key"]: (folder, record) for folder, record in read_records(results).records}
    parts = [_part(table, records, count, data_root) for table in tables]
    return [replace(part, is_open=k == 0) for k, part in enumerate(parts)]


def _part(table: Table, records: Records, count: int, data_root: str | None) -> Part:
    shown = _shown(table)
    cells = table.cells[table.cells["shown_as"].isin(shown) & (table.cells["status"] == "complete")]
    titles = {key: title for key, title in zip(cells["key"], cells["shown_as"], strict=True) if key in records}
    try:
        found = galleries([records[key] for key in titles], titles, count, data_root)
    except UserError as error:
        return Part(table.where, (f"No pictures of cases: {error}",))
    figures = tuple(figure for order, of_order in found.items() for figure in _figures(of_order, order))
    words = [f"Shown: {', '.join(shown)}.", *([KEY] if table.task == "segmentation" else [])]
    notes = tuple(note for of_order in list(found.values())[:1] for note in of_order.notes)
    return Part(table.where, (" ".join(words), *notes), figures=figures)


def _shown(table: Table) -> list[str]:
    """The titles of the reference and of the first rows, in the order of the rows."""
    titles = [title for title, family in families(table).items() if family != "chance"]
    others = [title for title in titles if title != table.sure.reference]
    kept = {table.sure.reference, *others[: MOST_MODELS - (table.sure.reference in titles)]}
    return [title for title in titles if title in kept]


def _figures(found: Gallery, order: str) -> list[InlineFigure]:
    figures = []
    for rank, scene in enumerate(found.scenes, start=1):
        said = "; ".join(f"{shot.title}: {shot.figures}" for shot in scene.shots)
        caption = f"{order.capitalize()} {rank}: {scene.place} (seed {found.seed})."
        figures.append(inline_image(scene_png(scene, found.caption), caption, f"{caption} {said}."))
    return figures
