"""The tables of leaks: what the audits found, and what a leaking split adds to a model's accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.report.audits import leaks_table
from bench.store import load_cases, load_cells

if TYPE_CHECKING:
    import pandas as pd

AUDITS = "audits"


def leaks_text(results: Path) -> str:
    """Both tables as Markdown, from `<results>/audits/*.json` and the cells of data sets with several splits.

    Raises:
        UserError: no audits there, or a damaged one.
    """
    paths = sorted((results / AUDITS).glob("*.json"))
    if not paths:
        raise UserError(f"No audits in {results / AUDITS}: copy audit.json of `medbench data audit NAME --output DIR`.")
    try:
        found = leaks_table([json.loads(path.read_text(encoding="utf-8")) for path in paths])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"An audit in {results / AUDITS} cannot be read: {type(error).__name__}: {error}.") from error
    return f"{found}\n{worth_table(load_cells(results), load_cases(results))}"


def worth_table(cells: pd.DataFrame, cases: pd.DataFrame) -> str:
    """Markdown: the accuracy of models that were trained on a flagged split and on others of the same data set.

    A row is one comparison key and one version of a model. Accuracy is that of the protocol's weights on the test
    images, the mean over seeds; the parts differ between the splits, so that the differences are of two samples, not
    paired.
    """
    done = cells[(cells["status"] == "complete") & (cells["task"] == "classification") & (cells["source"] == "real")]
    test = cases[(cases["part"] == "test") & (cases["reference"] == 1)]
    test = test.merge(done[["key", "selection"]], on="key")
    accuracy = test[test["weights"] == test["selection"]].groupby("key")["predicted"].mean()
    done = done.assign(accuracy=done["key"].map(accuracy))
    lines = [
        "| data set | model | split | trained on | tested on | accuracy % | sd seeds | seeds |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    done = done[done["train_patients"].isna()]
    for (dataset, preset), of_dataset in done.groupby(["dataset", "preset"]):
        flagged = of_dataset[of_dataset["split_flag"].notna()]
        for _, of_model in of_dataset[of_dataset["model"].isin(set(flagged["model"]))].groupby(["model", "version"]):
            means = of_model.groupby("comparison")["accuracy"].mean().sort_values()
            for i, comparison in enumerate(means.index):
                rows = of_model[of_model["comparison"] == comparison]
                split = rows["split"].iloc[0]
                counts, flag = rows["counts"].iloc[0], rows["split_flag"].notna().any()
                cells_of_row = (
                    f"{dataset}, {preset}" if i == 0 else "",
                    f"{rows['title'].iloc[0] if i == 0 else ''}",
                    f"{split}{' (flagged)' if flag else ''}",
                    f"{counts['train']['cases']:,}",
                    f"{counts['test']['cases']:,}",
                    f"{100 * means[comparison]:.1f}",
                    f"{100 * rows['accuracy'].std():.1f}",
                    f"{len(rows)}",
                )
                lines.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join(lines) + "\n"
