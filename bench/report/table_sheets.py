"""The sheets of a results table: its figures, the figures of single classes, its intervals, the shares of ranks."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bench.analysis.classification import CONFUSION
from bench.analysis.comparison import Table
from bench.analysis.footnotes import is_of_choice
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import NO_RANKS
from bench.report.sheets import Setting

CLASS_METRICS = {"sensitivity": "Sensitivity %", "specificity": "Specificity %", "precision": "Precision %"}
CLASS_METRICS |= {"f1": "F1 %", "auc": "AUC against the rest %"}
BY_CLASS = (
    "Averaged over seeds; blank: no image is of the class, or none predicted as it. As ...: the confusion matrix, how "
    "many of the class's test images are predicted as each, per run."
)

MARKS = (
    "Bold: a column's best as shown, underlined: its second, whatever the difference; which differences are told from "
    "none, the intervals below say."
)


def table_sheet(table: Table) -> Sheet:
    """The figures with fixed decimals, blank where one is not defined; the best bold, the second underlined."""
    frame = table.frame.assign(
        **{column.header: texts(table.frame[column.header], column.decimals) for column in table.columns}
    )
    details = sorted(enumerate(table.columns), key=lambda pair: (-pair[1].detail, -pair[0]))
    return Sheet(
        table.caption,
        frame.astype(str),
        (*table.footnotes, *marks_note(table)),
        table.marks == "best",
        f"{table.name}-{table.key}",
        details=tuple(column.header for _, column in details if column.detail),
        underlined=table.marks == "second",
        heads={column.header: column.short for column in table.columns},
    )


def screen_sheet(table: Table) -> Sheet:
    """The same for a terminal: what is no heading stands in the notes."""
    seeds_are_words = table.frame["Seeds"].str.len().gt(len("12 of 12")).any()
    notes = (table.about, *table.footnotes, *marks_note(table))
    return replace(table_sheet(table), caption=table.heading, notes=notes, left=("Seeds",) if seeds_are_words else ())


def marks_note(table: Table) -> tuple[str, ...]:
    """What marks mean, where there are any."""
    return (MARKS,) * bool((table.marks != "").any(axis=None))


def table_setting(table: Table) -> Setting:
    """How LaTeX sets a table of figures, so that it is no wider than a page with margins of 2 cm."""
    columns = len(table.frame.columns)
    if columns > 13:
        return Setting("scriptsize", 1.4 if columns == 14 else 1.0, narrow=True)
    return Setting("scriptsize", 2.0) if columns > 10 else Setting("footnotesize", 3.0)


def texts(values: pd.Series[float], decimals: int) -> list[str]:
    """Numbers with fixed decimals, blank where one is not defined."""
    return ["" if pd.isna(value) else f"{value:.{decimals}f}" for value in values]


def class_sheet(table: Table) -> Sheet | None:
    """A row for each model and class, and what its images are taken for; None unless the table shows sensitivities."""
    if not any(column.metric == "sensitivity" for column in table.columns):
        return None
    figures = table.figures[table.figures["class"] != ""]
    known = figures.set_index(["title", "metric", "class"])["value"].to_dict()
    names = list(figures.loc[figures["metric"] == "sensitivity", "class"].unique())
    rows = []
    for title in table.frame["Model"]:
        for name in names if (title, "sensitivity", names[0]) in known else ():
            values = pd.Series({header: known[title, metric, name] for metric, header in CLASS_METRICS.items()})
            confused = pd.Series({f"As {other}": known[title, CONFUSION, f"{name}->{other}"] for other in names})
            row = {"Model": str(title), "Class": name, **dict(zip(values.index, texts(values, 2), strict=True))}
            rows.append(row | dict(zip(confused.index, texts(confused, 1), strict=True)))
    return Sheet(f"By class: {table.where}, comparison {table.key}.", pd.DataFrame(rows), (BY_CLASS,), left=("Class",))


def interval_sheet(table: Table) -> Sheet:
    """Figures with their intervals, and differences from the reference, which matter most where there is no room."""
    sure = table.sure
    further = [name for name in sure.frame.columns[2:] if name.endswith("[95 %]")]
    return Sheet(
        sure.caption,
        sure.frame,
        sure.footnotes,
        sure.marks == "best",
        f"{table.name}-{table.key}-sure",
        details=tuple(name for name in reversed(further) if not name.startswith(sure.reference)),
    )


def rank_sheet(table: Table) -> Sheet:
    """How often each model has each rank among the resamples; the caption alone where nothing is claimed."""
    sure = table.sure
    if sure.ranks.empty:
        alone = "Nothing is ranked: one network alone." if sure.reference else sure.caption
        return Sheet(f"{table.where}. {NO_RANKS if sure.gaps else alone}", sure.ranks)
    caption = f"{table.where}. Share of the resamples in % in which a model has a rank, by {sure.measure}."
    shares = (100 * sure.ranks).map("{:.0f}".format).rename(columns=str)
    told = tuple(note for note in table.footnotes if is_of_choice(note))
    return Sheet(caption, shares.rename_axis("Model").reset_index(), told)


def certainty_rows(table: Table) -> pd.DataFrame:
    """Rows of a CSV: `difference` (the reference less the model, low and high), `rank` (its number in `class`, the
    share of the resamples in %), and last `checklist`, a row per question.

    What holds for the whole comparison is that of the table's own figures; `text` says in words what a row is of.
    """
    shared = table.figures.iloc[0][["comparison", "dataset", "source", "split", "preset", "weights", "partial"]]
    of_title = table.figures.drop_duplicates("title").set_index("title")
    of_title = of_title[["model", "family", "status", "ranked", "seeds", "folds"]]
    rows = []
    for title, gap in table.sure.gaps.items():
        text = f"{table.sure.reference} less it, {table.sure.measure}"
        figure = {"unit": "%", "value": gap.value, "low": gap.low, "high": gap.high, "text": text}
        rows.append({"metric": "difference", "title": title, **of_title.loc[title], **figure})
    for model, shares in table.sure.ranks.iterrows():
        of_model = {"metric": "rank", "title": model, **of_title.loc[str(model)], "unit": "%"}
        rows += [{**of_model, "class": rank, "value": 100 * share} for rank, share in shares.items()]
    for line in table.checklist:
        question, _, answer = line.partition("? ")
        rows.append({"metric": "checklist", "class": f"{question}?", "text": answer})
    return pd.DataFrame([{**shared, **row} for row in rows])
