"""The figures, columns and words of a segmentation table: Dice and HD95 over classes and cases."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd

from bench.analysis.certainty import Measure, limited
from bench.analysis.columns import Column, cost_columns

PARTIAL = "partial: under 80 % of the official test list; not comparable with published figures"
POLICIES = {
    "strict": "a class that neither has is left out, one that only one has is Dice 0 and HD95 = the diagonal",
    "transunet": "an invented class is Dice 1 and HD95 0, a missed or absent one Dice 0 and HD95 0",
}
NOTE = (
    "Mean over classes of the mean over test cases, averaged over seeds. sd seeds: of that mean over seeds; "
    "sd cases: of a case's mean over classes, seeds averaged first. Missed and invented: structures per run."
)
# name in cases.csv, unit, factor from there to the unit, +1 where higher is better
METRICS = (("dice", "%", 100.0, 1), ("hd95_vox", "vox", 1.0, -1), ("hd95_mm", "mm", 1.0, -1))


def figures(scores: pd.DataFrame, done: pd.DataFrame) -> list[dict[str, Any]]:
    """Of one model, in long form: its scores, over classes and per class, and structures missed and invented.

    Args:
        scores: the rows of cases.csv that count, with the cell's seed.
        done: the model's scored cells.
    """
    rows = [] if done.empty else _scores(scores, done["policy"].iloc[0])
    for metric in ("missed", "invented"):  # of all folds of a seed
        rows.append(
            {
                "metric": metric,
                "unit": "per run",
                "class": "",
                "value": done[metric].astype(float).groupby(done["seed"]).sum(min_count=1).mean(),
            }
        )
    return rows


def _scores(scores: pd.DataFrame, policy: str) -> list[dict[str, Any]]:
    """Dice and HD95 of one model, over classes and per class, with both standard deviations (ddof = 1)."""
    rows = []
    for metric, unit, factor, _ in METRICS:
        column = f"{metric}_{policy}"
        wide = scores.set_index(["seed", "case", "class"])[column].astype(float).unstack("class") * factor
        by_seed = wide.groupby(level="seed").mean()
        for name in ("mean", *scores["class"].unique()) if wide.notna().any(axis=None) else ():
            runs = by_seed.mean(axis=1) if name == "mean" else by_seed[name]
            per_case = (wide.mean(axis=1) if name == "mean" else wide[name]).groupby(level="case").mean()
            sd = {"sd_seeds": runs.std(ddof=1), "sd_cases": per_case.std(ddof=1)}
            rows.append({"metric": column, "unit": unit, "class": name, "value": runs.mean(), **sd})
    return rows


def headline(table: pd.DataFrame) -> dict[Hashable, float]:
    """Model -> the figure that orders the rows."""
    rows = table[table["metric"].str.startswith("dice") & (table["class"] == "mean")]
    return rows.set_index("model")["value"].to_dict()


def columns(table: pd.DataFrame, cells: pd.DataFrame, classes: bool) -> tuple[Column, ...]:
    """The columns that have figures, each with its convention in its header."""
    policy = cells["policy"].iloc[0]
    present = [m for m in METRICS if m[0] == "dice" or f"{m[0]}_{policy}" in set(table["metric"])]
    shown: list[Column] = []
    for metric, unit, _, merit in present:
        name, percent = f"{metric}_{policy}", unit == "%"
        label = "Dice" if percent else f"HD95 {unit}"
        header = f"Dice % ({policy})" if percent else f"HD95 ({unit}, pooled, {policy})"
        short = f"Dice\n%\n{policy}" if percent else f"HD95\n{unit}\npooled\n{policy}"
        shown.append(Column(header, short, name, "mean", merit=merit))
        shown.append(Column(f"{label} sd seeds", "sd\nseeds" if percent else "", name, "mean", "sd_seeds"))
        shown.append(Column(f"{label} sd cases", "sd\ncases" if percent else "", name, "mean", "sd_cases"))
    for name in table.loc[~table["class"].isin(["", "mean"]), "class"].unique() if classes else ():
        header = f"{name} Dice % ({policy})"
        shown.append(Column(header, f"{name}\nDice\n%", f"dice_{policy}", name, merit=1))
    shown.append(Column("Missed per run", "miss\n/run", "missed", "", decimals=1))
    shown.append(Column("Invented per run", "inv.\n/run", "invented", "", decimals=1))
    return (*shown, *cost_columns(cells["input"]))


def parts(first: pd.Series[Any]) -> str:
    """What of the split is present, for the caption."""
    counts = ", ".join(
        f"{part} {n['present_patients']} / {n.get('official_patients') or 'no list'}"
        for part, n in first["counts"].items()
    )
    flag = "" if pd.isna(first.get("split_flag")) else f", flagged: {first['split_flag']}"
    fold = first.get("fold_text", "")
    said = "" if pd.isna(first.get("split_note")) else f" ({first['split_note']})"
    return f"Split {first['split']}{fold}{said}{flag}; patients present / official: {counts}"


UNITS = {True: "patients", False: "patients (a volume each)"}


def counted(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that figures with intervals are made of: all."""
    return scores


def right(scores: pd.DataFrame) -> pd.DataFrame | None:
    """None: a volume is not right or wrong."""
    return None


def measures(policy: str, scores: pd.DataFrame) -> list[Measure]:
    """The figures that have intervals, the one that orders the rows first."""
    return [
        limited(Measure(f"{name} ({policy})", f"{metric}_{policy}", factor, merit, most=most), scores)
        for (metric, unit, factor, merit), name, most in zip(
            METRICS, ("Dice %", "HD95 vox", "HD95 mm"), (100.0, math.inf, math.inf), strict=True
        )
        if scores[f"{metric}_{policy}"].notna().any()
    ]


def scored_on(first: pd.Series[Any]) -> str:
    """How many cases the figures rest on, for the caption."""
    return f"{first['counts']['test']['cases']} test cases"


def note(first: pd.Series[Any], table: pd.DataFrame) -> str:
    """What the figures are: the first footnote."""
    return f"{NOTE} {first['policy']}: {POLICIES.get(first['policy'], first['policy'])}."
