"""What ablations and searches give to the page of a report, which lies below this room and cannot ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ablations.command import ablations_beside, search_importances, search_tables, search_title, searches_beside
from ablations.drawings import ablation_drawings, search_drawings
from ablations.tables import ablation_tables
from bench.analysis.comparison import Table
from bench.report.page.inline_svg import inline
from bench.report.page.parts import Part, page_table


def page_parts(results: Path, tables: Sequence[Table]) -> dict[str, list[Part]]:
    """The parts of the sections `ablation` and `search`: those of these tables' comparisons and data sets."""
    return {
        "ablation": [
            Part(
                next(table.where for table in tables if table.key == stored.first["comparison"]),
                figures=tuple(inline(drawing) for drawing in ablation_drawings(stored)),
                tables=tuple(page_table(sheet) for sheet in ablation_tables([stored])),
            )
            for stored in ablations_beside(results, tables)
        ],
        "search": [
            Part(
                search_title(study),
                figures=tuple(
                    inline(drawing)
                    for drawing in search_drawings(study, search_title(study), search_importances(study))
                ),
                tables=tuple(page_table(sheet) for sheet in search_tables(study)),
            )
            for study in searches_beside(results, tables)
        ],
    }
