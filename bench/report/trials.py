"""The table of trials: what tuning tried for each model, and what it chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.records.store import TUNING, read_records
from bench.report.escaping import markdown_text
from bench.report.notes import in_a_line, notes_text


def trials_text(results: Path) -> str:
    """Markdown: a row per search and model, the validation score of each trial, the chosen one in bold.

    The score is what selects weights too: mean foreground Dice, or minus the mean cross-entropy; the higher the better.

    Raises:
        UserError: no trials there.
    """
    records, notes = read_records(results / TUNING)
    searches: dict[tuple[str, str], dict[str, dict[int, dict[str, Any]]]] = {}
    for _, record in records:
        if record["cell"].get("unscored"):  # of a search over models (`medbench ablate search`)
            continue
        tuned, label = record["cell"]["tuned"], record["preset"].rpartition(", trial ")[0]
        fold = record["cell"]["fold"]
        split = record["cell"]["split"] + ("" if fold is None else f", fold {fold}")
        place = (f"{record['dataset']['name']}, {split}, {label}", record["dataset"]["task"])
        searches.setdefault(place, {}).setdefault(record["model"]["title"], {})[tuned["trial"]] = record
    if not searches:
        raise UserError(f"No trials in {results / TUNING}: give `medbench run` --tune N first.{in_a_line(notes)}")
    return "\n".join(_search(*place, models) for place, models in sorted(searches.items())) + notes_text(notes)


def _search(where: str, task: str, models: dict[str, dict[int, dict[str, Any]]]) -> str:
    numbers = sorted({number for trials in models.values() for number in trials})
    values = {number: trials[number]["cell"]["tuned"] for trials in models.values() for number in trials}
    heads = [f"{values[n]['lr']:g}, {values[n]['weight_decay']:g}" for n in numbers]
    what = "mean foreground Dice" if task == "segmentation" else "minus the mean cross-entropy"
    lines = [
        f"Trials of learning rate and weight decay, {where}. Validation score ({what}), the chosen trial in bold.",
        "",
        f"| Model | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(heads)}",
    ]
    for title, trials in sorted(models.items()):
        scores = {n: _score(trials[n]) for n in numbers if n in trials}
        known = {n: score for n, score in scores.items() if score is not None}
        best = max(known, key=lambda n: (known[n], -n), default=None)
        texts = ["" if n not in scores else f"{known[n]:.3f}" if n in known else "diverged" for n in numbers]
        marked = [f"**{text}**" if n == best else text for n, text in zip(numbers, texts, strict=True)]
        lines.append(f"| {markdown_text(title)} | {' | '.join(marked)} |")
    return "\n".join(lines) + "\n"


def _score(record: dict[str, Any]) -> float | None:
    training = record["training"] if record["status"] == "complete" else None
    return training["val_score"] if training else None
