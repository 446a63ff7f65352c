"""What each row of a table had of its own, below it: tuned values, a rate of the grid, first weights, cut batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def own_settings(cells: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Footnotes on the cells of one comparison, in the order of the titles; without such settings there are none."""
    tuned = cells[cells["tuned"].notna() & (cells["family"] != "chance") & (cells["params"] > 0)]
    gridded = tuned["tuned"].map(lambda own: "grid" in own).astype(bool)
    found = (_trials(tuned[~gridded], titles), *_rates(tuned[gridded], titles), _initial_weights(cells, titles))
    found += (_pieces(cells, titles),)
    return [note for note in found if note]


def _trials(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """What the trials chose for each model, in each fold, where there were any."""
    values = _by_title(rows, titles, lambda own: f"{own['lr']:g}, {own['weight_decay']:g}")
    return f"Learning rate and weight decay, each model's best on validation data: {values}." * bool(values)


def _rates(rows: pd.DataFrame, titles: Mapping[str, str]) -> tuple[str, ...]:
    """Which rate of the grid each model has, and whose was not chosen: it may not be the one that suits it."""
    if rows.empty:
        return ()
    grid = ", ".join(f"{rate:g}" for rate in rows["tuned"].iloc[0]["grid"])
    is_chosen = rows["tuned"].map(lambda own: own["chosen"]).astype(bool)
    chosen, others = (_by_title(rows[kept], titles, _rate) for kept in (is_chosen, ~is_chosen))
    return (
        f"Learning rates of one grid ({grid}), chosen once for the task, on folds of a training part: {chosen}."
        * bool(chosen),
        f"Learning rate not chosen from the grid ({grid}), the protocol's in its place: {others}." * bool(others),
    )


def _rate(own: dict[str, Any]) -> str:
    return f"{own['lr']:g}"


def _by_title(rows: pd.DataFrame, titles: Mapping[str, str], text: Any) -> str:
    """`A 0.001; B 0.002 or 0.003`: each model's values as texts, each once."""
    found = {model: " or ".join(dict.fromkeys(map(text, own["tuned"]))) for model, own in rows.groupby("model")}
    return "; ".join(f"{title} {found[model]}" for model, title in titles.items() if model in found)


def _pieces(cells: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Whose batches did not pass whole, so that what norms over a batch see is another than the protocol's."""
    if "pieces" not in cells or not (cells["pieces"] > 1).any():
        return ""
    own = cells[cells["pieces"] > 1]
    found = [
        f"{title} ({len(of_model)} of {(cells['model'] == model).sum()} runs, "
        f"{' or '.join(f'{n:.0f}' for n in sorted(set(of_model['pieces'])))} parts)"
        for model, title in titles.items()
        if len(of_model := own[own["model"] == model])
    ]
    return f"Batches in parts for lack of memory, of which norms over a batch saw one each: {'; '.join(found)}."


def _initial_weights(cells: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Where each model's pretrained weights are from, where it starts from some."""
    rows = cells[cells["init"].notna()].drop_duplicates("model").set_index("model")["init"]
    values = [f"{titles[model]} {rows[model]}" for model in titles if model in rows.index and rows[model] != "none"]
    return f"Pretrained weights, heads random: {'; '.join(values)}." * bool(values)
