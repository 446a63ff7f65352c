"""What a report makes in place of tables, as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.report.instead import sheets_instead
from bench.report.notes import notes_text
from bench.report.selection import Selection
from bench.report.sheets import render_sheets


def view_text(view: str, results: Path, **wishes: Any) -> str:
    sheets, notes = sheets_instead(view, Selection(results, **wishes))
    return render_sheets(sheets, "markdown") + notes_text(notes)
