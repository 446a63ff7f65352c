"""The folds of one split as one table: every case is tested once, by the fold that it was dealt to.

A fold is no seed. A seed's figure is over the cases of all its folds together, so that seeds, and rows, are compared on
the same cases; a seed that lacks a fold is not whole, and what is missing is said.
"""

from __future__ import annotations

from typing import Any

import pandas as pd


def fold_count(cells: pd.DataFrame) -> int:
    """How many folds the split of one comparison has; 0 where it is no cross-validation."""
    if "fold" not in cells or cells["fold"].isna().all():
        return 0
    count = str(cells["split"].iloc[0]).partition("/")[2]
    return int(count) if count.isdigit() else int(cells["fold"].max()) + 1


def whole_seeds(cells: pd.DataFrame) -> frozenset[int]:
    """The seeds of one row of which every fold is there."""
    folds = cells.groupby("seed")["fold"].nunique() if fold_count(cells) else None
    return frozenset(cells["seed"] if folds is None else folds.index[folds == fold_count(cells)])


def whole_seeds_of_models(cells: pd.DataFrame) -> dict[str, frozenset[int]]:
    """`whole_seeds` of each model's cells, in order of models."""
    if fold_count(cells):
        return {str(model): whole_seeds(rows) for model, rows in cells.groupby("model")}
    found: dict[str, set[int]] = {}
    for model, seed in zip(cells["model"].tolist(), cells["seed"].tolist(), strict=True):
        found.setdefault(model, set()).add(seed)
    return {model: frozenset(found[model]) for model in sorted(found)}


def same_folds(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with only such seeds of each row as have the same folds, the most that any of its seeds has.

    Seeds that were tested on other cases would mix what cases differ by into what seeds differ by.
    """
    if not fold_count(cells):
        return cells
    kept = []
    for _, of_model in cells.groupby("model"):
        folds_of = of_model.groupby("seed")["fold"].agg(frozenset)
        most = max(folds_of, key=lambda folds: (len(folds), sum(folds <= others for others in folds_of), sorted(folds)))
        seeds = folds_of.index[[most <= folds for folds in folds_of]]
        kept.append(of_model[of_model["seed"].isin(seeds) & of_model["fold"].isin(most)])
    return pd.concat(kept) if kept else cells


def missing_folds(cells: pd.DataFrame, scored: pd.DataFrame) -> str:
    """Which folds of which seeds of one row are not scored: `seed 1: fold 2, 4`; blank where none is missing."""
    all_folds, lacking = set(range(fold_count(cells))), []
    for seed in sorted(set(cells["seed"])) if all_folds else ():
        if missing := sorted(all_folds - set(scored.loc[scored["seed"] == seed, "fold"].astype(int))):
            lacking.append(f"seed {seed}: fold {', '.join(map(str, missing))}")
    return "; ".join(lacking)


def pooled(cells: pd.DataFrame) -> pd.Series[Any]:
    """What the cells of one comparison share, as of the first; of folds cases and leaks of the test parts together.

    A split is flagged where any of its cells says so: older records have fewer flags and shares. `fold_text` says in
    the caption what was pooled; blank without folds.
    """
    first = cells.iloc[0].copy()
    first["fold_text"] = ""
    first["split_flag"] = next((flag for flag in cells.get("split_flag", ()) if pd.notna(flag)), None)
    shares = [leak for leak in cells.get("split_leak", ()) if isinstance(leak, dict)]
    if shares:
        first["split_leak"] = next((leak for leak in shares if "validation" in leak), first["split_leak"])
    if not (count := fold_count(cells)):
        return first
    folds = cells.drop_duplicates("fold")
    first["counts"] = {**first["counts"], "test": _summed([row["test"] for row in folds["counts"]])}
    if "split_leak" in folds:
        sizes = [row["test"]["cases"] for row in folds["counts"]]
        first["split_leak"] = _mean_leak(list(folds["split_leak"]), sizes)
    present = f"{len(folds)} of {count}" if len(folds) < count else str(count)
    first["fold_text"] = f", {present} folds together, each case tested once (train and val: of one fold)"
    return first


def _summed(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Test parts added up: numbers, and numbers by class; None where one is not known."""
    total: dict[str, Any] = {}
    for name, first in parts[0].items():
        values: list[Any] = [part.get(name) for part in parts]
        if isinstance(first, dict):
            total[name] = {key: sum(value[key] for value in values if value) for key in first}
        else:
            total[name] = None if None in values else sum(values)
    return total


def _mean_leak(leaks: list[Any], sizes: list[int]) -> dict[str, float | None] | None:
    """The shares over the test cases of all folds; None where a fold does not say."""
    if not all(isinstance(leak, dict) for leak in leaks):
        return None
    shares = pd.DataFrame(leaks, dtype=float).reindex(columns=list(leaks[0]))
    means = (shares.mul(sizes, axis=0).sum(skipna=False) / sum(sizes)).to_dict()
    return {str(name): None if pd.isna(mean) else mean for name, mean in means.items()}
