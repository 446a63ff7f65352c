"""The figures of single classes, and what their images are taken for: the table below a classification table."""

from __future__ import annotations

import pandas as pd

from bench.analysis.classification import CONFUSION
from bench.analysis.comparison import Table
from bench.analysis.sheet import Sheet

METRICS = {"sensitivity": "Sensitivity %", "specificity": "Specificity %", "precision": "Precision %", "f1": "F1 %"}
_AUC = "AUC against the rest %"
_NOTE = (
    "Averaged over seeds; blank: no image is of the class, or none predicted as it. As ...: the confusion matrix, how "
    "many of the class's test images are predicted as each, per run."
)


def class_sheet(table: Table) -> Sheet | None:
    """A row for each model and class; None unless the table shows classes, of which it has sensitivities."""
    if not any(column.metric == "sensitivity" for column in table.columns):
        return None
    figures = table.figures[table.figures["class"] != ""]
    known = figures.set_index(["title", "metric", "class"])["value"].to_dict()
    names = list(figures.loc[figures["metric"] == "sensitivity", "class"].unique())
    rows = []
    for title in table.frame["Model"]:
        for name in names if (title, "sensitivity", names[0]) in known else ():
            row = {"Model": str(title), "Class": name}
            row |= {header: _percent(known[title, metric, name]) for metric, header in METRICS.items()}
            row[_AUC] = _percent(known[title, "auc", name])
            row |= {f"As {other}": f"{known[title, CONFUSION, f'{name}->{other}']:.1f}" for other in names}
            rows.append(row)
    return Sheet(f"By class: {table.name}, comparison {table.key}.", pd.DataFrame(rows), (_NOTE,))


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"
