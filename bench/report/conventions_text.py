"""The page on metric conventions, in Markdown."""

from __future__ import annotations

from pathlib import Path

from bench.analysis.conventions import convention_sheets
from bench.analysis.shown import DEFAULT
from bench.errors import UserError
from bench.report.notes import in_a_line, notes_text
from bench.report.sheets import render_sheets


def conventions_text(results: Path, dataset: str | None = None, weights: str | None = DEFAULT.weights) -> str:
    """Markdown of `bench.analysis.conventions.convention_sheets`, with what of the folder was left out.

    Raises:
        UserError: no records that have all metrics.
    """
    sheets, notes = convention_sheets(results, dataset, weights)
    if not sheets:
        raise UserError(
            f"No segmentation records with all metrics in {str(results)!r}: give `medbench run` first."
            f"{in_a_line(notes)}"
        )
    return render_sheets(sheets, "markdown") + notes_text(notes)
