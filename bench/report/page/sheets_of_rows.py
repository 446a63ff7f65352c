"""The tables of a page: leaders with intervals and marks, single cases, classes, counts; and the files of a table."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from bench.analysis.behind import class_points, families
from bench.analysis.comparison import Table
from bench.analysis.conclusions import row_marks, table_marks, units_of
from bench.analysis.sheet import Sheet
from bench.report.escaping import csv_text
from bench.report.sheets import to_latex
from bench.report.table_sheets import class_sheet, marks_note, table_setting, table_sheet, texts

WORST = 30  # cases of the reference that are listed
SCHEMA = 1  # of a table's JSON


def leader_sheet(table: Table) -> Sheet:
    """A row for each model: figures with interval and deviation in one cell, costs, seeds, what counts against it."""
    shared = table_marks(table)
    sure = table.sure.frame.set_index("Model") if len(table.sure.frame) else pd.DataFrame()
    frame = pd.DataFrame({"Model": [str(title) for title in table.frame["Model"]]})
    bold, underlined = (pd.DataFrame(False, frame.index, ["Model"]) for _ in range(2))
    for column in table.columns:
        if column.figure != "value":
            continue
        shown = texts(table.frame[column.header], column.decimals)
        deviations = _deviations(table, column.metric, column.level, column.decimals)
        intervals = sure[name].to_dict() if (name := _interval_name(sure, column.header)) else {}
        pairs = zip(frame["Model"], shown, strict=True)
        frame[column.header] = [
            " ".join(filter(None, (intervals.get(title) or text, deviations.get(title) if text else "")))
            for title, text in pairs
        ]
        bold[column.header], underlined[column.header] = (
            (table.marks[column.header] == mark).to_numpy() for mark in ("best", "second")
        )
    frame["Seeds"] = table.frame["Seeds"].astype(str).to_numpy()
    frame["Marks"] = [", ".join((*shared, *row_marks(table, title))) for title in frame["Model"]]
    bold, underlined = (marks.reindex(columns=frame.columns, fill_value=False) for marks in (bold, underlined))
    notes = (SPREAD.format(units=units_of(table)), *table.footnotes, *marks_note(table))
    notes = (*notes, table.sure.caption, *table.sure.footnotes)
    return Sheet("", frame, notes, bold, underlined=underlined, left=("Marks",))


SPREAD = (
    "In brackets: the 95 % interval, over other seeds and other {units}; \u00b1: the standard deviation over seeds."
)


def _interval_name(sure: pd.DataFrame, header: str) -> str:
    """The column of intervals of a figure; blank where it has none."""
    wanted = header.replace("(vox, pooled, ", "vox (").replace("(mm, pooled, ", "mm (")
    return next((str(name) for name in sure.columns if name in (f"{header} [95 %]", f"{wanted} [95 %]")), "")


def _deviations(table: Table, metric: str, level: str, decimals: int) -> dict[str, str]:
    """Title -> ` \u00b10.42`, the deviation over seeds; none where there is one seed."""
    if "sd_seeds" not in table.figures:
        return {}
    rows = table.figures[(table.figures["metric"] == metric) & (table.figures["class"] == level)]
    pairs = zip(rows["title"], rows["sd_seeds"], strict=True)
    return {str(title): f"\u00b1{sd:.{decimals}f}" for title, sd in pairs if pd.notna(sd)}


def case_sheet(table: Table) -> Sheet | None:
    """The cases that the reference, or the first row, does worst on: its scores by class, the median of the others."""
    found = class_points(table)
    titles = list(dict.fromkeys(found.points["title"]))
    if not titles:
        return None
    shown = table.sure.reference if table.sure.reference in titles else titles[0]
    own = found.points[found.points["title"] == shown].pivot(index="case", columns="class", values="value")
    others = found.points[found.points["title"] != shown].groupby("case")["value"].median()
    worst = own.mean(axis=1).sort_values(kind="stable").index[:WORST]
    frame = pd.DataFrame({"Case": [str(case) for case in worst]})
    for name in own.columns:
        frame[str(name)] = texts(own.loc[worst, name], 1)
    frame["Median of the others"] = texts(others.reindex(worst), 1)
    count = f"the {len(worst)} worst of {len(own)} cases" if len(own) > len(worst) else f"all {len(own)} cases"
    return Sheet(f"{shown}, {count}: {found.what}.", frame)


def class_figures(table: Table) -> Sheet | None:
    """The figures of single classes: of a classification with the confusion matrix; None where there are none."""
    found = class_sheet(table)
    if found is not None:
        return found
    points = class_points(table)
    titles = [title for title in families(table) if any((title, name) in points.means for name in points.classes)]
    frame = pd.DataFrame({"Model": titles})
    for name in points.classes:
        frame[name] = texts(pd.Series([points.means.get((title, name), math.nan) for title in titles]), 2)
    return Sheet(f"By class: {points.measure}.", frame) if titles else None


def counts_sheet(table: Table) -> Sheet:
    """The cases of each part of the split, by class where images have one, and what leaks are recorded."""
    first = table.cells.iloc[0]
    rows = []
    for part in ("train", "val", "test"):
        counts = first["counts"].get(part, {})
        row = {"Part": part, "Cases": f"{counts.get('cases', '')}"}
        patients, official = counts.get("present_patients"), counts.get("official_patients")
        row |= {
            "Patients": "" if patients is None else f"{patients}",
            "Official": "" if official is None else f"{official}",
        }
        row |= {str(name): f"{count}" for name, count in (counts.get("classes") or {}).items()}
        rows.append(row)
    frame = pd.DataFrame(rows).fillna("")
    frame = frame.loc[:, [bool(frame[name].any()) for name in frame]]
    leaks = [line for line in table.checklist if line.startswith(("Leak?", "Real images"))]
    return Sheet(f"{table.lead}, {table.split}.", frame, tuple(leaks))


def downloads(table: Table, sheet: Sheet) -> dict[str, str]:
    """The files of a table: what the page shows as CSV, the table's LaTeX, and all its numbers as JSON."""
    return {
        "csv": csv_text(sheet.frame),
        "tex": to_latex(table_sheet(table), table_setting(table)),
        "json": json.dumps(_numbers(table), ensure_ascii=False, separators=(",", ":")),
    }


def _numbers(table: Table) -> dict[str, Any]:
    """All figures of a table by row, under `metric` or `metric, class`, each with its deviation over seeds."""
    figures = table.figures[table.figures["metric"] != "confusion"]
    return {
        "schema": SCHEMA,
        "comparison": table.key,
        "caption": table.caption,
        "measure": table.sure.measure,
        "reference": table.sure.reference,
        "rows": [_row_numbers(table, title, rows) for title, rows in figures.groupby("title", sort=False)],
        "checklist": list(table.checklist),
    }


def _row_numbers(table: Table, title: Any, rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    own, gap = table.sure.figures.get(title), table.sure.gaps.get(title)
    deviations = rows["sd_seeds"] if "sd_seeds" in rows else [math.nan] * len(rows)
    return {
        **{name: first[name] for name in ("title", "model", "family", "status")},
        "seeds": int(first["seeds"]),
        "interval": own and _plain([own.low, own.high]),
        "difference": gap and _plain([gap.value, gap.low, gap.high]),
        "figures": {
            ", ".join(filter(None, (metric, level))): _plain([value, deviation])
            for metric, level, value, deviation in zip(
                rows["metric"], rows["class"], rows["value"], deviations, strict=True
            )
        },
    }


def _plain(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else float(f"{value:.6g}") for value in values]
