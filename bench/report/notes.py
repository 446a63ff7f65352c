"""What a report leaves out of its tables, below them: a damaged record is named, and takes no other row away."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.escaping import latex_text, markdown_text

MOST = 20  # notes that are shown; the others are counted


def few(notes: Sequence[str]) -> list[str]:
    """Each note once; of very many the first."""
    distinct = list(dict.fromkeys(notes))
    rest = len(distinct) - MOST
    return [*distinct[:MOST], f"And {rest} more of the kind."] if rest > 0 else distinct


def notes_text(notes: Sequence[str], form: str = "markdown") -> str:
    """The notes as `markdown`, `latex` or plain lines, to stand below the tables; blank where there are none."""
    if not notes:
        return ""
    if form == "latex":
        return "\n" + "".join(f"\\par\\noindent {latex_text(note)}\n" for note in few(notes))
    if form == "markdown":
        return "\n" + "".join(f"- {markdown_text(note)}\n" for note in few(notes))
    return "".join(f"{note}\n" for note in few(notes))


def in_a_line(notes: Sequence[str]) -> str:
    """The first note, behind a message that nothing was found; blank where there is none."""
    return f" {notes[0]}" if notes else ""
