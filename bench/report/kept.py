"""What lies in a results folder, as tables and as files that other programs read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.report.escaping import csv_text
from bench.report.json_text import document

if TYPE_CHECKING:
    from pathlib import Path

EXPORTS = ("csv", "json", "parquet")
FACTS = ("key", "status", "dataset", "model", "seed", "fold", "split", "preset", "version")


def kept_sheet(cells: pd.DataFrame, results: Path) -> Sheet:
    """A row for each cell: what it is, its state, how old and how large it is, and whether weights are there."""
    frame = pd.DataFrame(
        {
            **{name: _texts(cells[name]) for name in FACTS},
            "days old": [f"{age:.1f}" for age in cells["age"]],
            "MB": [f"{size / 1e6:.1f}" for size in cells["bytes"]],
            "weights": ["yes" if kept else "" for kept in cells["has_weights"]],
        }
    )
    if not (frame["fold"] != "").any():
        frame = frame.drop(columns="fold")
    total = f"{len(cells)} cells, {cells['bytes'].sum() / 1e6:.1f} MB"
    left = ("dataset", "split", "preset", "model", "version", "status", "weights")
    return Sheet(
        f"{results}: {total}.", frame, left=left, details=("weights", "MB", "days old", "version", "split", "preset")
    )


def _texts(values: pd.Series[Any]) -> list[str]:
    return ["" if pd.isna(value) else f"{value:.0f}" if isinstance(value, float) else str(value) for value in values]


def cell_sheet(cell: Mapping[Any, Any], record: Mapping[str, Any] | None) -> Sheet:
    """All facts of one cell, a row each."""
    facts = {name: _fact(cell[name]) for name in cell if name not in ("over_budgets", "over_patients")}
    for weights, figures in ((record or {}).get("metrics") or {}).items():
        facts |= {f"{weights}: {name}": _fact(v) for name, v in figures.items() if isinstance(v, int | float)}
    rows = [{"Fact": name, "Value": text} for name, text in facts.items() if text]
    return Sheet(f"Cell {cell['key']}.", pd.DataFrame(rows), left=("Value",))


def _fact(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=str)
    return "" if value is None or value is pd.NaT or value != value else str(value)


def exported(table: pd.DataFrame, form: str) -> bytes:
    """A table as a file's content: nested values as JSON, a mixed column as text.

    Raises:
        UserError: Parquet, and no library that writes it.
    """
    flat = table.assign(**{str(name): _flat(table[name]) for name in table if table[name].dtype == object})
    if form == "csv":
        return csv_text(flat).encode()
    if form == "json":
        rows = flat.astype(object).where(flat.notna(), None).to_dict("records")
        head = document("results", [{"name": "results", "about": {}, "rows": [], "notes": []}])
        text = ",\n    ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        return head.replace('"rows": []', f'"rows": [\n    {text}\n   ]', 1).encode()
    buffer = io.BytesIO()
    flat.attrs = {}
    try:
        flat.to_parquet(buffer, index=False)
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'medbench[parquet]', or export to csv or json.") from None
    return buffer.getvalue()


def _flat(values: pd.Series[Any]) -> pd.Series[Any]:
    """The column with one kind of value: texts, and None where there is none."""
    kinds = {type(value) for value in values.dropna()}
    if kinds <= {bool} or kinds <= {int, float}:
        return values
    texts = {id(value): _fact(value) or None for value in {id(value): value for value in values}.values()}
    return values.map(lambda value: value if isinstance(value, str) else texts[id(value)])
