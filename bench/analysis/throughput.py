"""Relative throughput beside scores: profiles joined to the cells of the same model, version, input and threads."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.columns import Column

# What the figures of one column share: ratios to other references, or taken on other machines, are not comparable.
GROUP = [
    *("machine", "device", "torch", "allocator", "processes", "batch"),
    *("reference", "reference_version", "reference_title"),
]
FORMS = {"training": "speed", "fused": "speed_fused"}


def with_throughput(cells: pd.DataFrame, profiles: pd.DataFrame) -> pd.DataFrame:
    """The cells with `speed`, `speed_fused` (images a second, times the reference's) and `speed_of` (the conditions).

    Of the stored profiles those count that timed inference in fp32, uncompiled, on a CPU of the cell's kind with its
    threads. Where several references or machines remain, a comparison shows the one that covers most of its models.

    Args:
        cells: as `bench.records.store.load_cells` gives them.
        profiles: as `bench.records.profiles.load_profiles` gives them; may be empty.
    """
    cells = cells.assign(speed=float("nan"), speed_fused=float("nan"), speed_of=None)
    if profiles.empty:
        return cells
    plain = (profiles["work"] == "inference") & (profiles["precision"] == "fp32") & ~profiles["compiled"].astype(bool)
    groups = profiles[plain & profiles["ratio"].notna()].groupby(GROUP, sort=True)
    known = [(dict(zip(GROUP, names, strict=True)), _ratios(rows)) for names, rows in groups]
    # Of equal cover the newer way of timing comes first.
    known.sort(key=lambda group: int(str(group[0]["processes"])), reverse=True)
    for _, rows in cells.groupby("comparison"):
        addresses = [_address(row) for row in rows.to_dict("records")]
        covered = [len({a for a in addresses if ("training", *a) in ratios}) for _, ratios in known]
        if not any(covered):
            continue
        conditions, ratios = known[covered.index(max(covered))]
        for form, column in FORMS.items():
            cells.loc[rows.index, column] = [ratios.get((form, *address), float("nan")) for address in addresses]
        cells.loc[rows.index, "speed_of"] = pd.Series([conditions] * len(rows), rows.index, dtype=object)
    return cells


def _ratios(rows: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """(form, model, version, task, input without its batch, classes, threads, CPU) -> ratio."""
    return {
        (
            *(row["form"], row["model"], row["version"], row["task"], row["input"].partition("x")[2]),
            *(row["classes"], row["threads"], row["device"]),
        ): row["ratio"]
        for row in rows.to_dict("records")
    }


def _address(cell: dict[Any, Any]) -> tuple[Any, ...]:
    shape = cell["input"] if isinstance(cell["input"], str) else "x".join(map(str, cell["input"] or ()))
    named = (cell["model"], cell["version"], cell["task"], shape.partition("x")[2])
    return (*named, len(cell["classes"]), cell["threads"], cell["cpu"])


def throughput_columns(cells: pd.DataFrame) -> list[Column]:
    """A column per form that has figures; none without profiles."""
    conditions = _conditions(cells)
    if conditions is None:
        return []
    header = f"x {conditions['reference_title']}"
    shown = [Column(header, "", "speed", "", detail=2)]
    if cells["speed_fused"].notna().any():
        shown.append(Column(f"{header}, fused", "", "speed_fused", "", detail=3))
    return shown


def throughput_note(cells: pd.DataFrame) -> str:
    """What the columns are; blank without them."""
    conditions = _conditions(cells)
    if conditions is None:
        return ""
    fused = "; fused: in its inference form" if cells["speed_fused"].notna().any() else ""
    return (
        f"x {conditions['reference_title']}: images a second, times those of {conditions['reference_title']}, timed by "
        f"turns (medbench profile): inference, fp32, batches of {conditions['batch']}, "
        f"{conditions['device']}, torch {conditions['torch']}{fused}."
    )


def _conditions(cells: pd.DataFrame) -> dict[str, Any] | None:
    if "speed_of" not in cells or cells["speed_of"].isna().all():
        return None
    return cells["speed_of"].dropna().iloc[0]
