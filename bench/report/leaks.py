"""The tables of leaks: what the audits found, and what a leaking split adds to a model's accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from bench.errors import UserError
from bench.report.aside import set_aside
from bench.report.audits import leaks_table
from bench.report.folds import pooled, same_folds
from bench.store import load_cases, load_cells

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
    """Markdown: the accuracy of models that were trained on a flagged split and on others of the same data set.

    A row is one comparison key and one version of a model. Accuracy is that of the protocol's weights on the test
    images, the mean over seeds; the parts differ between the splits, so that the differences are of two samples, not
    paired.
    """
    done = cells[(cells["status"] == "complete") & (cells["task"] == "classification") & (cells["source"] == "real")]
    kept = [key for _, group in done.groupby("comparison") for key in set_aside(group, ())[0]["key"]]
    done = done[done["key"].isin(kept)]
    test = cases[(cases["part"] == "test") & (cases["reference"] == 1)]
    test = test.merge(done[["key", "selection"]], on="key")
    test = test[test["weights"] == test["selection"]]
    lines = [
        "| data set | model | split | trained on | tested on | accuracy % | sd seeds | seeds |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    done = done[done["train_patients"].isna()]
    for (dataset, preset), of_dataset in done.groupby(["dataset", "preset"]):
        flagged = of_dataset[of_dataset["split_flag"].notna()]
        for _, of_model in of_dataset[of_dataset["model"].isin(set(flagged["model"]))].groupby(["model", "version"]):
            runs = {comparison: _by_seed(rows, test) for comparison, rows in of_model.groupby("comparison")}
            means = pd.Series({comparison: of_seeds.mean() for comparison, of_seeds in runs.items()}).sort_values()
            for i, comparison in enumerate(means.index):
                rows = of_model[of_model["comparison"] == comparison]
                split = rows["split"].iloc[0]
                counts, flag = pooled(rows)["counts"], rows["split_flag"].notna().any()
                cells_of_row = (
                    f"{dataset}, {preset}" if i == 0 else "",
                    f"{rows['title'].iloc[0] if i == 0 else ''}",
                    f"{split}{' (flagged)' if flag else ''}",
                    f"{counts['train']['cases']:,}",
                    f"{counts['test']['cases']:,}",
                    f"{100 * means[comparison]:.1f}",
                    f"{100 * runs[comparison].std():.1f}",
                    f"{len(runs[comparison])}",
                )
                lines.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join(lines) + "\n"


def _by_seed(cells: pd.DataFrame, test: pd.DataFrame) -> pd.Series[float]:
    """The accuracy of each seed of one row, over the images of all folds that its seeds have in common."""
    own = same_folds(cells)[["key", "seed"]].merge(test, on="key")
    return own.groupby("seed")["predicted"].mean()
