"""The units of intervals joined to stored cases: patients, or what stands for them (`bench.datasets.units`)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.store import read_units


def with_units(cells: pd.DataFrame, cases: pd.DataFrame, results: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells with `units`, what one is in words (None: a patient), and the cases with `unit`, whose they are.

    Args:
        cells, cases: as `bench.store` loads them.
        results: the folder that they were loaded from; its `units` has the tables.

    Raises:
        UserError: a damaged table.
    """
    units = pd.Series(None, cells.index, dtype=object)
    unit = cases["patient"].copy()
    for (dataset, fingerprint), own in cells.groupby(["dataset", "fingerprint"]):
        table = read_units(results, str(dataset), str(fingerprint))
        if table is not None:
            units[own.index] = table["unit"]
            rows = cases["key"].isin(own["key"])
            unit[rows] = cases.loc[rows, "case"].map(table["cases"]).astype(object).fillna(unit[rows])
    return cells.assign(units=units), cases.assign(unit=unit)
