"""The figures, columns and words of a classification table: accuracy and its kin over test images."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.certainty import Measure
from bench.analysis.columns import Column, cost_columns
from bench.analysis.shown import Shown
from bench.analysis.statistics import mean_and_deviation
from bench.metrics.classification import BINS, score_runs

PARTIAL = "partial: under 80 % of the published images; not comparable with published figures"
NOTE = (
    "Over test images, averaged over seeds; sd seeds: of the figure over seeds. Balanced accuracy: mean of the "
    "classes' sensitivities; macro F1: mean over classes; MCC: Matthews' correlation, -1 to 1; ECE: calibration error "
    f"over {BINS} equal-width bins of the predicted class's probability, low for a constant answer too; Brier: summed "
    "over classes, 0 to 2; AUC: area under the ROC curve, "
)
PARTS = ("train", "val", "test")
CHANCE = "Chance answers with the training part's majority class."
COLUMNS = (
    Column("Accuracy %", "Acc.\n%", "accuracy", "", merit=1),
    Column("Accuracy sd seeds", "sd\nseeds", "accuracy", "", "sd_seeds", detail=1),
    Column("Balanced accuracy %", "Bal.\nacc.\n%", "balanced_accuracy", "", merit=1),
    Column("Balanced accuracy sd seeds", "sd\nseeds", "balanced_accuracy", "", "sd_seeds", detail=2),
    Column("Macro F1 %", "Macro\nF1\n%", "macro_f1", "", merit=1, detail=2),
    Column("AUC %", "AUC\n%", "auc", "", merit=1),
    Column("MCC", "MCC", "mcc", "", decimals=3, merit=1, detail=2),
    Column("ECE %", "ECE\n%", "ece", "", detail=2),  # no best: a constant answer is well calibrated
    Column("Brier", "Brier", "brier", "", decimals=3, merit=-1, detail=2),
)
BARE = ("mcc", "brier")  # no unit; all others in %
CONFUSION = "confusion"  # its class is `true->predicted`


def figures(scores: pd.DataFrame, shown: Shown, models: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Of each model, in long form, over seeds: figures over all, of each class, and the confusion matrix in images.

    Args:
        scores: the rows of cases.csv that count, with `model` and the cell's seed.
        shown: which weights the rows are of; a classification has no other choice.
        models: all of the table; one that is not scored has no figure.
    """
    own = scores[["model", "seed", "case", "class", "reference", "probability"]]
    return {model: list[dict[str, Any]]() for model in models} | {
        str(model): _model_figures(rows) for model, rows in own.groupby("model", sort=False)
    }


def _model_figures(scores: pd.DataFrame) -> list[dict[str, Any]]:
    by_place = _runs(scores)
    rows = []
    for (metric, name), mean, sd in zip(by_place, *mean_and_deviation(np.array([*by_place.values()])), strict=True):
        unit, factor = ("", 1.0) if metric in BARE else ("%", 100.0)
        if metric == CONFUSION:
            unit, factor = "images per run", 1.0
        rows.append({"metric": metric, "unit": unit, "class": name, "value": mean * factor, "sd_seeds": sd * factor})
    return rows


def images_of(rows: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Of the rows of one cell: names of the classes, the images' true ones (N,), and their probabilities (N, K)."""
    classes = rows["class"].tolist()
    names = list(dict.fromkeys(classes))
    case, label = np.unique(rows["case"].tolist(), return_inverse=True)[1], [names.index(name) for name in classes]
    one_hot, probabilities = np.full((2, case.max() + 1, len(names)), np.nan)
    one_hot[case, label], probabilities[case, label] = rows["reference"], rows["probability"]
    return names, one_hot.argmax(axis=1), probabilities


def _runs(rows: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(metric, class) -> figure of each of one model's seeds, no unit; the class is blank for figures over all."""
    names = list(dict.fromkeys(rows["class"].tolist()))
    run, case = (pd.factorize(rows[column], sort=True)[0] for column in ("seed", "case"))
    label = pd.Index(names).get_indexer(pd.Index(rows["class"]))
    # all seeds are tested on the same images (`bench.analysis.folds.same_folds`)
    one_hot, probabilities = np.full((2, run.max() + 1, case.max() + 1, len(names)), np.nan)
    one_hot[run, case, label], probabilities[run, case, label] = rows["reference"], rows["probability"]
    found = score_runs(one_hot.argmax(axis=2), probabilities)
    overall = {(name, ""): values for name, values in found.overall.items()}
    per_class = {
        (metric, name): values[:, k] for metric, values in found.by_class.items() for k, name in enumerate(names)
    }
    counts = {
        (CONFUSION, f"{true}->{predicted}"): found.confusion[:, i, j].astype(float)
        for i, true in enumerate(names)
        for j, predicted in enumerate(names)
    }
    return overall | per_class | counts


def headline(table: pd.DataFrame) -> dict[Hashable, float]:
    """Model -> the figure that orders the rows."""
    return table[table["metric"] == "accuracy"].set_index("model")["value"].to_dict()


def columns(table: pd.DataFrame, cells: pd.DataFrame, classes: bool, shown: Shown) -> tuple[Column, ...]:
    """The figures over all, of some the deviation over seeds, of each class where asked for, and the costs."""
    of_classes = [
        Column(f"{name} sensitivity %", f"{name}\nsens.\n%", "sensitivity", name, merit=1, detail=1)
        for name in (_classes(table) if classes else ())
    ]
    return (*COLUMNS, *of_classes, *cost_columns(cells["input"]))


def _classes(table: pd.DataFrame) -> list[str]:
    return list(table.loc[table["metric"] == "sensitivity", "class"].unique())


def parts(first: pd.Series[Any]) -> str:
    """Images present and published, the split with its source and flag, and its parts, for the caption."""
    published = "no published number" if pd.isna(first["official_cases"]) else f"{first['official_cases']:.0f}"
    source = "" if pd.isna(first["split_source"]) else f" ({first['split_source']})"
    note = first.get("split_note")
    source += "" if pd.isna(note) or str(note) in source else f" ({note})"
    flag = "" if pd.isna(first["split_flag"]) else f", flagged: {first['split_flag']}{_leak(first.get('split_leak'))}"
    fold = first.get("fold_text", "")
    counts = ", ".join(f"{part} {_count(first['counts'][part], first['classes'])}" for part in PARTS)
    return (
        f"Images present / published: {first['present_cases']:.0f} / {published}. "
        f"Split {first['split']}{source}{fold}{flag}; images: {counts}"
    )


def _leak(shares: dict[str, float | None] | None) -> str:
    """` (of the test images 98.0 % have their patient in training)`, as far as it is known, and what validation has."""
    words = {"patient": "their patient or subject", "near_duplicate": "a near-duplicate, or a chain of such,"}
    found = {kind: share for kind, share in (shares or {}).items() if share is not None}
    known = [f"{100 * found[kind]:.1f} % have {what}" for kind, what in words.items() if kind in found]
    texts = [f"{' and '.join(known)} in training"] if known else []
    if found.get("validation"):
        texts.append(f"{100 * found['validation']:.1f} % have patient, image or its like in validation")
    return f" (of the test images {'; '.join(texts)})" if texts else ""


def _count(part: dict[str, Any], names: Sequence[str]) -> str:
    """`106 (non-COVID 53, COVID 53), patients 12 / 40 official`, the last where there is an official list."""
    classes = ", ".join(f"{name} {part['classes'][name]}" for name in names)
    official = part.get("official_patients")
    listed = f", patients {part['present_patients']} / {official} official" if official else ""
    return f"{part['cases']} ({classes}){listed}"


UNITS = {True: "patients or subjects", False: "images (patients unknown: too narrow where images share one)"}


def counted(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that figures with intervals are made of: each image's true class, and whether it is predicted."""
    return scores[scores["reference"].astype(float) == 1]


def right(scores: pd.DataFrame) -> pd.DataFrame | None:
    """(cases, models): which images each of several networks has right, of rows with one seed of each."""
    return scores.pivot(index="case", columns="model", values="predicted").astype(float) == 1


def measures(shown: Shown, scores: pd.DataFrame) -> list[Measure]:
    """The figures that have intervals, the one that orders the rows first."""
    return [
        Measure("Accuracy %", "predicted", 100.0, 1, by_class=False, most=100.0, stratified=True),
        Measure("Balanced accuracy %", "predicted", 100.0, 1, most=100.0, stratified=True),
    ]


def scored_on(first: pd.Series[Any]) -> str:
    """How many images the figures rest on, for the caption."""
    return f"{first['counts']['test']['cases']} test images"


def note(first: pd.Series[Any], table: pd.DataFrame, shown: Shown) -> str:
    """What the figures are: the first footnote."""
    names = _classes(table)
    curve = f"of {names[-1]}" if len(names) == 2 else "mean of each class against the rest"
    return f"{NOTE}{curve}.{f' {CHANCE}' if 'chance' in set(table['family']) else ''}"
