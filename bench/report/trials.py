"""The table of trials: what tuning tried for each model, and what it chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.aside import name_versions
from bench.analysis.comparison import titles_of
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import short_words
from bench.errors import UserError
from bench.records.filenames import TUNING
from bench.records.store import read_records
from bench.report.notes import in_a_line

SCORES = {"segmentation": "mean foreground Dice", "classification": "minus the mean cross-entropy"}


def trial_sheets(results: Path) -> tuple[list[Sheet], tuple[str, ...]]:
    """A row per search and model, the validation score of each trial, the chosen one in bold; and what was left out.

    The score is what selects weights too: mean foreground Dice, or minus the mean cross-entropy; the higher the better.

    Raises:
        UserError: no trials there.
    """
    records, notes = read_records(results / TUNING)
    searches: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _, record in records:
        cell, dataset = record["cell"], record["dataset"]
        if cell.get("unscored"):  # of a search over models (`medbench ablate search`)
            continue
        preset = record["preset"].rpartition(", trial ")[0]
        split = cell["split"] + ("" if cell["fold"] is None else f", fold {cell['fold']}")
        searches.setdefault((f"{dataset['name']}, {split}, {preset}", dataset["task"]), []).append(record)
    if not searches:
        raise UserError(f"No trials in {results / TUNING}: give `medbench run` --tune N first.{in_a_line(notes)}")
    return [_search_sheet(*search, trials) for search, trials in sorted(searches.items())], notes


def _search_sheet(where: str, task: str, trials: list[dict[str, Any]]) -> Sheet:
    """A row per model and version, a column per trial: its validation score, or its status; blank where not tried."""
    rows = pd.DataFrame(
        {
            "model": trial["model"]["name"],
            "version": trial["cell"]["model"]["version"],
            "title": trial["model"]["title"],
            "status": trial["status"],
            "trial": trial["cell"]["tuned"]["trial"],
            "values": f"{trial['cell']['tuned']['lr']:g}, {trial['cell']['tuned']['weight_decay']:g}",
            "score": trial["training"]["val_score"] if trial["status"] == "complete" and trial["training"] else None,
        }
        for trial in trials
    )
    rows = name_versions(rows.assign(comparison=""))
    rows["Model"] = rows["model"].map(titles_of(rows))
    rows = rows.drop_duplicates(["Model", "trial"], keep="last")
    rows["text"] = rows["score"].astype(float).map("{:.3f}".format).where(rows["score"].notna(), rows["status"])
    rows["best"] = rows["score"] == rows.groupby("Model")["score"].transform("max")
    heads = rows.drop_duplicates("trial", keep="last").set_index("trial")["values"].sort_index()
    texts, best = (rows.pivot(index="Model", columns="trial", values=name) for name in ("text", "best"))
    first = best.eq(True) & (best.eq(True).cumsum(axis=1) == 1)
    frame = texts.fillna("").set_axis(heads.tolist(), axis=1).reset_index()
    bold = first.set_axis(heads.tolist(), axis=1).reset_index().assign(Model=False)
    what = f"Validation score ({SCORES[task]}), the chosen trial in bold."
    protocol = trials[0]["cell"]["protocol"]
    short = short_words(protocol["steps"] * protocol["batch_size"])
    return Sheet(
        f"{f'{short}. ' if short else ''}Trials of learning rate and weight decay, {where}. {what}", frame, bold=bold
    )
