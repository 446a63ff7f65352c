"""The tables of leaks: what the audits found, and what a leaking split adds to a model's accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.aside import set_aside
from bench.analysis.folds import pooled, same_folds
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import is_short
from bench.analysis.shown import DEFAULT, shown_cases
from bench.datasets.splits.duplicates import CORRELATION
from bench.errors import UserError
from bench.records.damage import Damaged, read_json
from bench.records.store import load_cells_and_cases
from bench.report.audits import leaks_sheet
from bench.report.notes import few, in_a_line

AUDITS = "audits"
WORTH = ("data set", "model", "split", "trained on", "tested on", "accuracy %", "sd seeds", "seeds")


def leaks_sheets(results: Path) -> list[Sheet]:
    """What audits found, from `<results>/audits/*.json`, and what the cells of data sets with several splits say of it.

    Raises:
        UserError: no audits there, or none that can be read.
    """
    audits, damaged = _audits(results)
    if not audits:
        raise UserError(
            f"No audit in {results / AUDITS} can be read.{in_a_line(damaged)}"
            if damaged
            else f"No audits in {results / AUDITS}: copy audit.json of `medbench data audit NAME --output DIR`."
        )
    cells, cases = load_cells_and_cases(results)
    return [leaks_sheet(audits), worth_sheet(cells, cases, tuple(few((*damaged, *cells.attrs["notes"]))))]


def audit_notes(results: str | Path) -> list[str]:
    """The audits that cannot be read, in lines."""
    return _audits(Path(results))[1]


def _audits(results: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The audits below a results folder that hold a table's row, and which do not, in lines."""
    audits, damaged = [], []
    for path in sorted((results / AUDITS).glob("*.json")):
        try:
            audit = read_json(path)
            leaks_sheet([audit])
            audits.append(audit)
        except Damaged as error:
            damaged.append(f"Left out: {error}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            damaged.append(f"Left out: {path} is no audit ({line}): copy audit.json of `medbench data audit` anew.")
    return audits, damaged


def with_leaks(cells: pd.DataFrame, results: str | Path) -> pd.DataFrame:
    """The cells with what audits of the same prepared data found of their splits.

    `audit_near`: the share of the test cases with a near-duplicate in training, turned and mirrored ones counted, which
    the records' own figure leaves out. And `split_leak` with the shares of patients and of what validation has seen, as
    far as an audit has them, where a record lacks all: older ones have them of flagged splits alone.

    Args:
        results: the folder whose `audits` are read; one that cannot be read says nothing here (`audit_notes` does), nor
            does one of any angle or of another correlation than the records' own figures are of.
    """
    known: dict[tuple[str, str], dict[str, float | None]] = {}
    for path in sorted((Path(results) / AUDITS).glob("*.json")):
        try:
            figures = read_json(path)
            if not figures["near"]["any angle"] and figures["near"]["correlation"] == CORRELATION:
                known |= {(figures["fingerprint"], split): shares for split, shares in figures["splits"].items()}
        except (Damaged, KeyError, TypeError, AttributeError):
            continue
    audited = [
        known.get(split, {}) for split in zip(cells["fingerprint"].tolist(), cells["split"].tolist(), strict=True)
    ]
    leaks = [
        recorded
        if isinstance(recorded, dict)
        else {kind: shares[kind] for kind in ("patient", "validation") if kind in shares} | {"near_duplicate": None}
        for recorded, shares in zip(cells["split_leak"], audited, strict=True)
    ]
    near = [shares.get("near_duplicate") for shares in audited]
    return cells.assign(
        split_leak=pd.Series(leaks, cells.index, dtype=object), audit_near=pd.Series(near, cells.index, dtype=float)
    )


def worth_sheet(cells: pd.DataFrame, cases: pd.DataFrame, notes: tuple[str, ...] = ()) -> Sheet:
    """The accuracy of models that were trained on a flagged split and on others of the same data set."""
    frame = pd.DataFrame(_worth_rows(cells, cases), columns=list(WORTH))
    return Sheet(
        f"Accuracy on splits that leak (flagged) beside others.{_short(cells, frame['data set'])}",
        frame,
        (*_lost(cells), *notes),
        name="worth",
        left=("model", "split"),
        details=("tested on", "trained on"),
    )


def _short(cells: pd.DataFrame, shown: pd.Series[str]) -> str:
    """Which of the rows' data sets and presets have a short budget."""
    least = cells["images_seen"].groupby(cells["dataset"] + ", " + cells["preset"]).min()
    short = [name for name in dict.fromkeys(shown) if name and is_short(least[name])]
    return f" Short budgets, networks have not converged: {'; '.join(short)}." if short else ""


def _lost(cells: pd.DataFrame) -> list[str]:
    """A line on the runs of the table's models that diverged or failed, which no row counts; none without such."""
    own = cells[(cells["task"] == "classification") & (cells["source"] == "real") & cells["train_patients"].isna()]
    same = ["dataset", "preset", "model"]
    shown = {
        *own.loc[(own["status"] == "complete") & own["split_flag"].notna(), same].itertuples(index=False, name=None)
    }
    lost = own[own["status"].isin(["diverged", "failed"])]
    places = lost[same].itertuples(index=False, name=None)
    lost = lost[pd.Series([place in shown for place in places], lost.index, dtype=bool)]
    texts = [
        f"{title} on {split} of {dataset}, {preset} ({status}, {'seed' if len(rows) == 1 else 'seeds'} "
        f"{', '.join(map(str, sorted(rows['seed'])))})"
        for (dataset, preset, title, split, status), rows in lost.groupby(
            ["dataset", "preset", "title", "split", "status"]
        )
    ]
    return [f"Counted nowhere: {'; '.join(texts)}."] * bool(texts)


def _worth_rows(cells: pd.DataFrame, cases: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Texts of the columns `WORTH`: a row for each comparison key and version of a model.

    Accuracy is that of the best weights on the test images, the mean over seeds; the parts differ between the splits,
    so that the differences are of two samples, not paired.
    """
    done = cells[(cells["status"] == "complete") & (cells["task"] == "classification") & (cells["source"] == "real")]
    kept = [key for _, group in done.groupby("comparison") for key in set_aside(group, ())[0]["key"]]
    done = done[done["key"].isin(kept)]
    test = shown_cases(cases[cases["reference"] == 1], DEFAULT)
    test = test[test["key"].isin(done["key"])]
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
                of_seeds = runs[comparison]
                yield (
                    f"{dataset}, {preset}" if i == 0 else "",
                    f"{rows['title'].iloc[0] if i == 0 else ''}",
                    f"{split}{' (flagged)' if flag else ''}",
                    f"{counts['train']['cases']:,}",
                    f"{counts['test']['cases']:,}",
                    f"{100 * means[comparison]:.1f}",
                    f"{100 * of_seeds.std():.1f}" if len(of_seeds) > 1 else "",
                    f"{len(of_seeds)}",
                )


def _by_seed(cells: pd.DataFrame, test: pd.DataFrame) -> pd.Series[float]:
    """The accuracy of each seed of one row, over the images of all folds that its seeds have in common."""
    rows = same_folds(cells)[["key", "seed"]].merge(test, on="key")
    return rows.groupby("seed")["predicted"].mean()
