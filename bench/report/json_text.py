"""What a command says as JSON, for scripts: one versioned form, which results/README.md describes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.report.arrange import column_name

if TYPE_CHECKING:
    from bench.analysis.comparison import Table
    from bench.analysis.sheet import Sheet

SCHEMA = 1
KINDS = ("report", "plan", "models", "profile", "evaluate", "results")
BETTER = {1: "higher", -1: "lower", 0: None}
SHARED = ("comparison", "dataset", "source", "split", "preset", "weights", "partial")
OF_MODEL = ("model", "title", "family", "status", "ranked", "seeds", "folds")
OF_FIGURE = ("unit", "value", "sd_seeds", "sd_cases")


def document(kind: str, tables: Iterable[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """The text: `schema`, `kind`, `medbench`, `tables`, `notes`. Numbers in full; what is not defined is null.

    Args:
        kind: one of `KINDS`.
        tables: each with `name`, `about`, `rows` and `notes`.
        notes: what was left out.
    """
    head = {"schema": SCHEMA, "kind": kind, "medbench": version("medbench")}
    whole = {**head, "tables": list(tables), "notes": list(notes)}
    return json.dumps(_plain(whole), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """What JSON can hold: nan and infinities are null, numpy's numbers Python's, a thing of another kind its text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Series):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)


def frame_table(name: str, frame: pd.DataFrame, notes: Sequence[str] = (), **about: Any) -> dict[str, Any]:
    """A table whose rows are a frame's, a value per column."""
    return {"name": name, "about": about, "rows": frame.to_dict("records"), "notes": list(notes)}


def sheet_table(sheet: Sheet) -> dict[str, Any]:
    """A table whose rows are a sheet's texts."""
    return frame_table(sheet.name, sheet.frame, sheet.notes, caption=sheet.caption)


def results_document(tables: Sequence[Table], cases: Sequence[Sheet] = (), notes: Sequence[str] = ()) -> str:
    """The tables of `medbench report`, and below them those of single cases."""
    return document("report", [*map(results_table, tables), *map(sheet_table, cases)], notes)


def results_table(table: Table) -> dict[str, Any]:
    """One comparison: what its rows share in `about`, then a row for each model in the table's order."""
    first = table.figures.iloc[0]
    about = {name: first[name] for name in SHARED} | {
        "task": table.task,
        "caption": table.caption,
        "certainty": table.sure.caption,
        "reference": table.sure.reference or None,
        "measure": table.sure.measure or None,
        "columns": [
            {
                "name": column_name(c),
                "header": c.header,
                "metric": c.metric,
                "class": c.level or "all",
                "figure": c.figure,
                "better": BETTER[c.merit],
            }
            for c in table.columns
        ],
        "checklist": [dict(zip(("question", "answer"), line.split("? ", 1), strict=True)) for line in table.checklist],
    }
    rows = [_row(table, str(title), table.figures[table.figures["title"] == title]) for title in table.frame["Model"]]
    return {"name": f"{table.name}-{table.key}", "about": about, "rows": rows, "notes": list(table.footnotes)}


def _row(table: Table, title: str, figures: pd.DataFrame) -> dict[str, Any]:
    """Facts, every figure under its metric and class (`all`: no single one), intervals, the difference, ranks."""
    sure = table.sure
    by_metric: dict[str, dict[str, dict[str, Any]]] = {}
    for row in figures.to_dict("records"):
        place = by_metric.setdefault(row["metric"], {})
        place[row["class"] or "all"] = {key: row[key] for key in OF_FIGURE}
    gap, own = sure.gaps.get(title), sure.figures.get(title)
    return {
        **{name: figures.iloc[0][name] for name in OF_MODEL},
        "figures": by_metric,
        "interval": None if own is None else vars(own),
        "difference": None if gap is None else {**vars(gap), "told_apart": gap.excludes_zero},
        "rank_shares": list(sure.ranks.loc[title]) if title in sure.ranks.index else None,
    }
