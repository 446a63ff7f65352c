"""Texts in a CSV that a spreadsheet would take for formulas: an apostrophe before them, and off again."""

from __future__ import annotations

import re

_FORMULA = tuple("=+-@\t\n")  # what one begins with
_NUMBER = re.compile(r"[-+][\d.,]+(e[-+]?\d+)?( ?%)?( [\[(][-+\d., to]+[\])])?")


def guarded(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would run it; numbers are kept.

    A formula behind apostrophes of its own gets one more, so that `unguarded` gives every text back.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def unguarded(text: str) -> str:
    """What `guarded` was given; a text without its apostrophe, from before there were any, is left as it is."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
