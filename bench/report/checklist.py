"""The claims checklist that each table ends with: what a reviewer would ask, answered from the records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.report.certainty import Certainty


def checklist(cells: pd.DataFrame, titles: dict[str, str], ranked: pd.Series[Any], sure: Certainty) -> tuple[str, ...]:
    """Question and answer, a line each.

    Args:
        cells: all of one comparison. titles, ranked: of each model in it. sure: its intervals.
    """
    first = cells.iloc[0]
    return (
        f"Weights selected on validation data? {_selection(first)}",
        f"Equal tuning? {_tuning(first)}",
        f"Pretraining? {'yes, see the footnote' if pd.notna(first.get('init')) else 'none'}",
        f"Reduced width? {_names(cells, titles, cells['reduced_from'].notna())}",
        f"Reconstructed? {_names(cells, titles, cells['title'].str.contains('reconstr'))}",
        f"Real images, whole split? {_split(first)}",
        f"Leak? {_leak(first, sure)}",
        f"Seeds? {_seeds(cells, titles, ranked)}",
        f"Same machine and code? {_machine(cells)}",
        f"Told apart? {_told(sure)}",
    )


def _selection(first: pd.Series[Any]) -> str:
    return "yes, the best validation score" if first["selection"] == "best-val" else "no: the last step's"


def _tuning(first: pd.Series[Any]) -> str:
    tuned = first.get("tuned")
    if not isinstance(tuned, dict):
        return "one recipe for all, nothing tuned per model"
    return f"yes, {tuned['trials']} trials of rate and decay for each, on validation data"


def _names(cells: pd.DataFrame, titles: dict[str, str], chosen: pd.Series[Any]) -> str:
    return ", ".join(cells.loc[chosen, "model"].map(titles).unique()) or "none"


def _split(first: pd.Series[Any]) -> str:
    if first["source"] != "real":
        return f"no: {first['source']} images"
    return "no: partial" if first["partial"] else "yes"


def _leak(first: pd.Series[Any], sure: Certainty) -> str:
    if pd.isna(first.get("split_flag")):
        return f"none known: split {first['split']}{'' if sure.patients_known else ', patients unknown'}"
    shares = [f"{name} {100 * v:.1f} %" for name, v in (first.get("split_leak") or {}).items() if v is not None]
    return f"yes: {first['split_flag']} ({', '.join(shares) or 'share not known'})"


def _seeds(cells: pd.DataFrame, titles: dict[str, str], ranked: pd.Series[Any]) -> str:
    counts = cells[cells["status"] == "complete"].groupby("model")["seed"].nunique()
    trained = set(cells.loc[cells["family"] != "chance", "model"])
    lacking = [titles[model] for model in ranked.index[~ranked] if model in trained]
    most = f"{counts.max()}" if len(counts) else "none"
    return f"{most}, fewer: {', '.join(lacking)}" if lacking else most


def _machine(cells: pd.DataFrame) -> str:
    differ = [name for name in ("device", "cpu", "torch", "commit") if cells[name].nunique(dropna=False) > 1]
    return f"no: rows differ in {', '.join(differ)}" if differ else "yes"


def _told(sure: Certainty) -> str:
    if not sure.reference:
        return sure.caption
    told = [title for title, gap in sure.gaps.items() if gap.excludes_zero]
    rest = [title for title in sure.gaps if title not in told]
    return f"{sure.reference} from: {', '.join(told) or 'none'}; not from: {', '.join(rest) or 'none'}"
