"""The figures, columns and words of a segmentation table: Dice and HD95 over classes and cases."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.certainty import Measure, limited
from bench.analysis.columns import Column, cost_columns
from bench.analysis.shown import Shown
from bench.analysis.statistics import mean_and_deviation
from bench.datasets.splits.grouping import UNKNOWN

PARTIAL = "partial: under 80 % of the official test list; not comparable with published figures"
POLICIES = {
    "strict": "a class that neither has is left out, one that only one has is Dice 0 and HD95 = the diagonal",
    "transunet": "an invented class is Dice 1 and HD95 0, a missed or absent one Dice 0 and HD95 0",
}
NOTE = (
    "Mean over classes of the mean over test cases, averaged over seeds. sd seeds: of that mean over seeds; "
    "sd cases: of a case's mean over classes, seeds averaged first. Missed and invented: structures per run."
)


def metrics(shown: Shown) -> tuple[tuple[str, str, float, int], ...]:
    """Dice and HD95: name in cases.csv, unit, factor from there to the unit, +1 where higher is better."""
    hd95 = "hd95max" if shown.definition == "max" else "hd95"
    return (
        (f"dice_{shown.policy}", "%", 100.0, 1),
        (f"{hd95}_vox_{shown.policy}", "vox", 1.0, -1),
        (f"{hd95}_mm_{shown.policy}", "mm", 1.0, -1),
    )


def figures(scores: pd.DataFrame, shown: Shown, models: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Of each model, in long form: its scores, over classes and per class, and structures missed and invented.

    Args:
        scores: the rows of cases.csv that count, with `model` and the cell's seed.
        shown: which of the stored figures.
        models: all of the table, those too that are not scored.
    """
    rows: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    for model, figure in _scores(scores, shown) if len(scores) else ():
        rows[model].append(figure)
    for outcome in ("missed", "invented"):  # of all folds of a seed
        counts = (scores["outcome"] == outcome).groupby([scores["model"], scores["seed"]]).sum()
        means = counts.groupby(level="model").mean().to_dict()
        for model, own in rows.items():
            own.append({"metric": outcome, "unit": "per run", "class": "", "value": means.get(model, math.nan)})
    return rows


def _scores(scores: pd.DataFrame, shown: Shown) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model's Dice and HD95, over classes and per class, with both standard deviations (ddof = 1)."""
    columns = [column for column, *_ in metrics(shown)]
    by_class = scores.set_index(["model", "seed", "case", "class"])[columns].unstack("class")
    classes = scores[["model", "class"]].drop_duplicates().groupby("model")["class"].agg(list).to_dict()
    for column, unit, factor, _ in metrics(shown):
        wide = pd.DataFrame(by_class[column]).astype(float) * factor  # (models x seeds x cases, classes)
        by_seed = wide.groupby(level=["model", "seed"]).mean()
        by_seed = by_seed.assign(mean=by_seed.mean(axis=1))
        by_case = wide.assign(mean=wide.mean(axis=1)).groupby(level=["model", "case"]).mean()
        of_cases = _by_model(by_case)
        for model, seeds in _by_model(by_seed).items():
            if np.isnan(seeds).all():
                continue
            means, deviations = mean_and_deviation(seeds)
            deviations_of_cases = mean_and_deviation(of_cases[model])[1]
            places = {name: k for k, name in enumerate(by_seed.columns)}
            for name in ("mean", *classes[model]):
                k = places[name]
                sd = {"sd_seeds": deviations[k], "sd_cases": deviations_of_cases[k]}
                yield model, {"metric": column, "unit": unit, "class": name, "value": means[k], **sd}


def _by_model(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Model -> its rows of a frame that is sorted by it, (columns, rows)."""
    models, values = frame.index.get_level_values("model"), frame.to_numpy()
    starts = np.flatnonzero(~models.duplicated())
    return dict(zip(models[starts], np.split(values.T, starts[1:], axis=1), strict=True))


def headline(table: pd.DataFrame) -> dict[Hashable, float]:
    """Model -> the figure that orders the rows."""
    rows = table[table["metric"].str.startswith("dice") & (table["class"] == "mean")]
    return rows.set_index("model")["value"].to_dict()


def columns(table: pd.DataFrame, cells: pd.DataFrame, classes: bool, shown: Shown) -> tuple[Column, ...]:
    """The columns that have figures, each with its convention in its header."""
    policy, definition = shown.policy, shown.definition
    present = [m for m in metrics(shown) if m[1] == "%" or m[0] in set(table["metric"])]
    shown_columns: list[Column] = []
    for name, unit, _, merit in present:
        label, short = f"HD95 {unit}", f"HD95\n{unit}\n{definition}\n{policy}"
        header, seeds, cases = f"HD95 ({unit}, {definition}, {policy})", 3, 3
        if unit == "%":
            label, short = "Dice", f"Dice\n%\n{policy}"
            header, seeds, cases = f"Dice % ({policy})", 1, 2
        shown_columns += [
            Column(header, short, name, "mean", merit=merit),
            Column(f"{label} sd seeds", "sd\nseeds", name, "mean", "sd_seeds", detail=seeds),
            Column(f"{label} sd cases", "sd\ncases", name, "mean", "sd_cases", detail=cases),
        ]
    for name in table.loc[~table["class"].isin(["", "mean"]), "class"].unique() if classes else ():
        header = f"{name} Dice % ({policy})"
        shown_columns.append(Column(header, f"{name}\nDice\n%", f"dice_{policy}", name, merit=1, detail=1))
    missed = Column("Missed per run", "miss\n/run", "missed", "", decimals=1)
    invented = Column("Invented per run", "inv.\n/run", "invented", "", decimals=1)
    return (*shown_columns, missed, invented, *cost_columns(cells["input"]))


def parts(first: pd.Series[Any]) -> str:
    """What of the split is present, for the caption."""
    counts = ", ".join(
        f"{part} {n['present_patients']} / {n.get('official_patients') or 'no list'}"
        for part, n in first["counts"].items()
    )
    flag = "" if pd.isna(first.get("split_flag")) else f", flagged: {first['split_flag']}"
    fold = first.get("fold_text", "")
    note = "" if pd.isna(first.get("split_note")) else f" ({first['split_note']})"
    what = "cases" if UNKNOWN in note else "patients"
    return f"Split {first['split']}{fold}{note}{flag}; {what} present / official: {counts}"


UNITS = {True: "patients", False: "patients (a volume each)"}


def counted(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that figures with intervals are made of: all."""
    return scores


def right(scores: pd.DataFrame) -> pd.DataFrame | None:
    """None: a volume is not right or wrong."""
    return None


def measures(shown: Shown, scores: pd.DataFrame) -> list[Measure]:
    """The figures that have intervals, the one that orders the rows first.

    HD95 by `max` is one only where no record lacks it: older ones do.
    """
    convention = shown.policy if shown.definition == "pooled" else f"{shown.definition}, {shown.policy}"
    intervals = []
    for column, unit, factor, merit in metrics(shown):
        known = scores[column].notna()
        if known.any() and known.sum() == scores[column.replace("hd95max", "hd95")].notna().sum():
            name = f"Dice % ({shown.policy})" if unit == "%" else f"HD95 {unit} ({convention})"
            most = 100.0 if unit == "%" else math.inf
            intervals.append(limited(Measure(name, column, factor, merit, most=most), scores))
    return intervals


def scored_on(first: pd.Series[Any]) -> str:
    """How many cases the figures rest on, for the caption."""
    return f"{first['counts']['test']['cases']} test cases"


def note(first: pd.Series[Any], table: pd.DataFrame, shown: Shown) -> str:
    """What the figures are: the first footnote."""
    larger = " max: HD95 is the larger of both directions' percentiles; blank for rows with records that lack it."
    return f"{NOTE} {shown.policy}: {POLICIES[shown.policy]}.{larger * (shown.definition == 'max')}"
