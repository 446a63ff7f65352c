"""The test cases that a table's reference does worst on, and what the other models do there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.analysis.captions import TASKS
from bench.analysis.certainty import reference_model
from bench.analysis.comparison import Table
from bench.analysis.sheet import Sheet
from bench.analysis.shown import Shown

NOTES = {
    "segmentation": "Dice: mean over the case's classes, then over seeds; HD95 likewise, in voxels. Others: the mean "
    "over the table's other models, chance aside. Missed: structures of the reference that the model has not, per run.",
    "classification": "Probability: of the true class, mean over seeds. Right: share of the runs that predict the true "
    "class. Others: the mean over the table's other models, chance aside.",
}


def hard_case_sheets(tables: Sequence[Table], count: int) -> list[Sheet]:
    """For each table the `count` cases with the lowest figure of its reference, the lowest first.

    Of the scores that the table's own figures are made of: its rows, its versions, its seeds.
    """
    return [_sheet(table, count) for table in tables]


def _sheet(table: Table, count: int) -> Sheet:
    family = table.figures.drop_duplicates("title").set_index("title")["family"]
    titles = [title for title in table.frame["Model"] if family[title] != "chance"]
    own_rows = table.scores[table.scores["shown_as"].isin(titles)].assign(model=table.scores["shown_as"])
    rows = TASKS[table.task].counted(own_rows)
    scored = set(rows["model"])
    model = _whose(table, [title for title in titles if title in scored])
    caption = f"{table.where}. Hardest cases of {model}."
    if model not in scored:
        return Sheet(f"{caption} None is scored.", pd.DataFrame(), name=f"{table.name}-{table.key}-cases")
    by_case = _segmented(rows, table.shown) if table.task == "segmentation" else _classified(rows)
    own = pd.DataFrame(by_case.xs(model, level="model"))
    others = by_case.drop(model, level="model").groupby("case").mean()
    worst = own.iloc[own.iloc[:, 0].argsort(kind="stable")].head(count)
    frame = pd.DataFrame({"Case": worst.index, "Patient": worst.index.map(rows.groupby("case")["patient"].first())})
    if table.task == "classification":
        frame["True class"] = worst.index.map(rows.groupby("case")["class"].first())
    for column in worst:
        frame[column] = [f"{value:.1f}" if pd.notna(value) else "" for value in worst[column]]
        if len(others):
            frame[f"Others: {column}"] = [
                f"{v:.1f}" if pd.notna(v) else "" for v in others[column].reindex(worst.index)
            ]
    name = f"{table.name}-{table.key}-cases"
    return Sheet(caption, frame, (NOTES[table.task],), name=name, left=("Patient", "True class"))


def _whose(table: Table, titles: Sequence[str]) -> str:
    """The title of the table's reference; where one seed claims nothing and has none, of whom it would be.

    Args:
        titles: of the rows that are scored, in order.
    """
    if table.sure.reference in titles:
        return table.sure.reference
    title_of = dict(zip(table.cells["model"], table.cells["shown_as"], strict=True))
    order = sorted((m for m, title in title_of.items() if title in titles), key=lambda m: titles.index(title_of[m]))
    return title_of.get(reference_model(table.cells, order, table.shown.reference), "no model")


def _segmented(rows: pd.DataFrame, shown: Shown) -> pd.DataFrame:
    """(model, case) -> mean Dice and HD95 over classes and seeds, and structures missed per run."""
    hd95 = f"{'hd95max' if shown.definition == 'max' else 'hd95'}_vox_{shown.policy}"
    by_seed = rows.assign(missed=rows["outcome"] == "missed").groupby(["model", "case", "seed"])
    figures = pd.DataFrame(
        {
            "Dice %": 100 * by_seed[f"dice_{shown.policy}"].mean(),
            "HD95 vox": by_seed[hd95].mean(),
            "Missed": by_seed["missed"].sum(),
        }
    )
    return figures.astype(float).groupby(["model", "case"]).mean()


def _classified(rows: pd.DataFrame) -> pd.DataFrame:
    """(model, case) -> the true class's probability and the share of runs that have it right, in %."""
    by_case = rows.groupby(["model", "case"])
    return pd.DataFrame(
        {"Probability %": 100 * by_case["probability"].mean(), "Right %": 100 * by_case["predicted"].mean()}
    ).astype(float)
