"""Texts that a spreadsheet would run are guarded, and every text is given back."""

from __future__ import annotations

import pytest

from bench.records.spreadsheets import guarded, unguarded

PLAIN = ["a", "", "'", "''a", "'quoted'", "-2.5 [-3, 1]", "+1", "1e-05", "a=b"]
FORMULAS = ['=HYPERLINK("a")', "@SUM(A1)", "-1+1|x", "+cmd", "\t=1", "'=a", "''@b", "--"]


@pytest.mark.parametrize("text", [*PLAIN, *FORMULAS])
def test_every_text_is_given_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert unguarded(guarded(guarded(text))) == guarded(text)


def test_formulas_alone_are_guarded() -> None:
    assert [guarded(text) for text in PLAIN] == PLAIN
    assert [guarded(text) for text in FORMULAS] == [f"'{text}" for text in FORMULAS]
    assert len({guarded(text) for text in PLAIN + FORMULAS}) == len(PLAIN + FORMULAS)
    assert unguarded("=a") == "=a", "as older files have it"
