"""A small table of texts with a caption above and notes below, ready for any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

BOLD, UNDERLINED, PLAIN = "bold", "underline", ""  # what a text is marked with


@dataclass(frozen=True, eq=False)
class Sheet:
    """One table. `frame` holds texts; the first column is the rows' names. Without rows there is the caption alone.

    Attributes:
        bold, underlined: of the frame's shape, true where a text is so; None: nowhere.
        name: for LaTeX's label and the CSV's first column; may be blank.
        left: columns of words beside the first.
        details: columns that a narrow terminal leaves out before any other, in this order.
        heads: the terminal's shorter headers of some columns.
    """

    caption: str
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    bold: pd.DataFrame | None = None
    name: str = ""
    left: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    underlined: pd.DataFrame | None = None
    heads: Mapping[str, str] = field(default_factory=dict)

    @property
    def marks(self) -> pd.DataFrame:
        """Of the frame's shape: `BOLD`, `UNDERLINED` or `PLAIN`; an empty text is plain."""
        marks = pd.DataFrame(PLAIN, self.frame.index, self.frame.columns)
        for mark, chosen in ((UNDERLINED, self.underlined), (BOLD, self.bold)):
            marks = marks if chosen is None else marks.mask((chosen & (self.frame != "")).to_numpy(bool), mark)
        return marks

    def rows(self) -> list[list[tuple[str, str]]]:
        """Each row's texts with their marks."""
        pairs = zip(self.frame.to_numpy().tolist(), self.marks.to_numpy().tolist(), strict=True)
        return [list(zip(texts, marks, strict=True)) for texts, marks in pairs]
