"""What a column of a results table is, and the columns that the tables of both tasks have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column of figures: where its numbers come from and how they are shown.

    Attributes:
        header, short: the name with the metric's convention, and the terminal's, a line each (blank: the same).
        metric, level, figure: address in `Table.figures`; `level` is a class's name, `mean`, or blank.
        merit: +1 where the highest is best, -1 where the lowest is, 0 where none is.
        detail: a narrow terminal leaves out the highest first, of equals the last.
    """

    header: str
    short: str
    metric: str
    level: str
    figure: str = "value"
    decimals: int = 2
    merit: int = 0
    detail: int = 0


def cost_columns(inputs: pd.Series[Any]) -> list[Column]:
    """Parameters and MACs, with the input that these hold for.

    Args:
        inputs: the cells' inputs, `1x1x128x128` or as numbers.
    """
    sizes = [i if isinstance(i, str) else "x".join(map(str, i)) for i in inputs.dropna().tolist()]
    size = ", ".join(dict.fromkeys(sizes))
    narrow = f"GMACs\n{'x'.join(size.split('x')[-2:])}"
    return [
        Column("Params (M)", "Par.\nM", "params", "", detail=1),
        Column(f"GMACs ({size})", narrow, "macs", "", decimals=3, detail=1),
    ]
