"""A small table of texts with a caption above and notes below, ready for any format."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table. `frame` holds texts; the first column is the rows' names. Without rows there is the caption alone.

    Attributes:
        bold: of the frame's shape, true where a text is bold; None: nowhere.
        name: for LaTeX's label and the CSV's first column; may be blank.
    """

    caption: str
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    bold: pd.DataFrame | None = None
    name: str = ""

    def rows(self) -> list[list[tuple[str, bool]]]:
        """Each row's texts, with whether they are bold; an empty text is not."""
        marks = self.frame != self.frame if self.bold is None else self.bold
        pairs = zip(self.frame.to_numpy().tolist(), marks.to_numpy().tolist(), strict=True)
        return [[(text, mark and bool(text)) for text, mark in zip(*pair, strict=True)] for pair in pairs]
