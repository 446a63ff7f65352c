"""The tables of leaks: what the audits found, and what a leaking split adds to a model's accuracy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.aside import set_aside
from bench.errors import UserError
from bench.records.store import load_cases, load_cells
from bench.report.audits import SPLITS, leaks_table, recall_lines, split_rows
from bench.report.sheets import Sheet

AUDITS = "audits"


WORTH = ("data set", "model", "split", "trained on", "tested on", "accuracy %", "sd seeds", "seeds")


def leaks_text(results: Path) -> str:
    """Both tables as Markdown, from `<results>/audits/*.json` and the cells of data sets with several splits.

    Raises:
        UserError: no audits there, or a damaged one.
    """
    return f"{leaks_table(_load_audits(results))}\n{worth_table(load_cells(results), load_cases(results))}"


def leaks_sheets(results: Path) -> list[Sheet]:
    """The same two tables for a terminal. Raises UserError like `leaks_text`."""
    audits = _load_audits(results)
    found = pd.DataFrame(split_rows(audits), columns=list(SPLITS))
    worth = pd.DataFrame(_worth_rows(load_cells(results), load_cases(results)), columns=list(WORTH))
    return [
        Sheet(
            "Leaks: shares of the test part that training has seen, and what tells the label without the picture.",
            found,
            tuple(recall_lines(audits)),
            left=("split", "label without the picture"),
            details=("label without the picture", "same photograph"),
        ),
        Sheet(
            "Accuracy on splits that leak (flagged) beside others.",
            worth,
            left=("model", "split"),
            details=("tested on", "trained on"),
        ),
    ]


def _load_audits(results: Path) -> list[dict[str, Any]]:
    """The audits of a results folder, whose rows can be made."""
    paths = sorted((results / AUDITS).glob("*.json"))
    if not paths:
        raise UserError(f"No audits in {results / AUDITS}: copy audit.json of `medbench data audit NAME --output DIR`.")
    try:
        audits = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        leaks_table(audits)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"An audit in {results / AUDITS} cannot be read: {type(error).__name__}: {error}.") from error
    return audits


def with_leaks(cells: pd.DataFrame, results: str | Path) -> pd.DataFrame:
    """The cells with what audits of the same prepared data found of their splits.

    `audit_near`: the share of the test cases with a near-duplicate in training, turned and mirrored ones counted, which
    the records' own figure leaves out. And `split_leak` with the share of patients, where a record lacks both: older
    ones have them of flagged splits alone.

    Args:
        results: the folder whose `audits` are read; one that cannot be read says nothing here (`leaks_text` does).
    """
    known: dict[tuple[str, str], dict[str, float | None]] = {}
    for path in sorted((Path(results) / AUDITS).glob("*.json")):
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            if not figures["near"]["any angle"]:
                known |= {(figures["fingerprint"], split): shares for split, shares in figures["splits"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    found = [known.get(place, {}) for place in zip(cells["fingerprint"], cells["split"], strict=True)]
    leaks = [
        recorded if isinstance(recorded, dict) else {"patient": shares.get("patient"), "near_duplicate": None}
        for recorded, shares in zip(cells["split_leak"], found, strict=True)
    ]
    near = [shares.get("near_duplicate") for shares in found]
    return cells.assign(
        split_leak=pd.Series(leaks, cells.index, dtype=object), audit_near=pd.Series(near, cells.index, dtype=float)
    )


def worth_table(cells: pd.DataFrame, cases: pd.DataFrame) -> str:
    """Markdown: the accuracy of models that were trained on a flagged split and on others of the same data set."""
    lines = [f"| {' | '.join(WORTH)} |", "|---|---|---|---:|---:|---:|---:|---:|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _worth_rows(cells, cases))]) + "\n"


def _worth_rows(cells: pd.DataFrame, cases: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """The rows of that table, its columns `WORTH`.

    A row is one comparison key and one version of a model. Accuracy is that of the protocol's weights on the test
    images, the mean over seeds; the parts differ between the splits, so that the differences are of two samples, not
    paired.
    """
    done = cells[(cells["status"] == "complete") & (cells["task"] == "classification") & (cells["source"] == "real")]
    done = pd.concat([done.iloc[:0], *(set_aside(group, ())[0] for _, group in done.groupby("comparison"))])
    test = cases[(cases["part"] == "test") & (cases["reference"] == 1)]
    test = test.merge(done[["key", "selection"]], on="key")
    accuracy = test[test["weights"] == test["selection"]].groupby("key")["predicted"].mean()
    done = done.assign(accuracy=done["key"].map(accuracy))
    done = done[done["train_patients"].isna()]
    for (dataset, preset), of_dataset in done.groupby(["dataset", "preset"]):
        flagged = of_dataset[of_dataset["split_flag"].notna()]
        for _, of_model in of_dataset[of_dataset["model"].isin(set(flagged["model"]))].groupby(["model", "version"]):
            means = of_model.groupby("comparison")["accuracy"].mean().sort_values()
            for i, comparison in enumerate(means.index):
                rows = of_model[of_model["comparison"] == comparison]
                split = rows["split"].iloc[0]
                counts, flag = rows["counts"].iloc[0], rows["split_flag"].notna().any()
                yield (
                    f"{dataset}, {preset}" if i == 0 else "",
                    f"{rows['title'].iloc[0] if i == 0 else ''}",
                    f"{split}{' (flagged)' if flag else ''}",
                    f"{counts['train']['cases']:,}",
                    f"{counts['test']['cases']:,}",
                    f"{100 * means[comparison]:.1f}",
                    f"{100 * rows['accuracy'].std():.1f}",
                    f"{len(rows)}",
                )
