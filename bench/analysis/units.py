"""The units of intervals, patients or what stands for them (`datasets.splits.unit_table`), joined to stored cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.records.damage import Damaged
from bench.records.store import read_units


def with_units(cells: pd.DataFrame, cases: pd.DataFrame, results: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells with `units`, what one is in words (None: a patient), and the cases with `unit`, whose they are.

    Args:
        cells, cases: as `bench.records.store` loads them.
        results: the folder that they were loaded from; its `units` has the tables.
    """
    units = pd.Series(None, cells.index, dtype=object)
    unit = cases["patient"].copy()
    for (dataset, fingerprint), of_data in cells.groupby(["dataset", "fingerprint"]):
        try:
            table = read_units(results, str(dataset), str(fingerprint))
        except Damaged:  # `load_cells` names it
            continue
        if table is not None:
            units[of_data.index] = table["unit"]
            rows = cases["key"].isin(of_data["key"])
            unit[rows] = units_of(cases[rows], table)
    return cells.assign(units=units), cases.assign(unit=unit)


def units_of(rows: pd.DataFrame, table: Mapping[str, Any]) -> pd.Series[Any]:
    """Whose each case is: the unit that a table gives it, else its patient."""
    return rows["case"].map(table["cases"]).astype(object).fillna(rows["patient"])
