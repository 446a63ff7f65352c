"""What the conventions of segmentation metrics do to one and the same predictions: means side by side, and ranks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.analysis.aside import common_seeds, set_aside
from bench.analysis.captions import caption_marks, changes
from bench.analysis.certainty import Measure, scores_of
from bench.analysis.comparison import status_of, titles_of
from bench.analysis.folds import fold_count, same_folds, whole_seeds
from bench.analysis.footnotes import chosen_notes, in_a_row, missing_folds_note
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import is_short_comparison
from bench.analysis.shown import DEFAULT, Shown, shown_cases
from bench.analysis.statistics import figure
from bench.errors import UserError
from bench.records.choice import ALL, Choice
from bench.records.store import load_cells_and_cases

# Every figure that cases.csv holds, under the name that says its convention.
MEASURES = (
    Measure("Dice % (strict)", "dice_strict", 100.0, 1, most=100.0),
    Measure("Dice % (transunet)", "dice_transunet", 100.0, 1, most=100.0),
    Measure("Jaccard % (strict)", "jaccard_strict", 100.0, 1, most=100.0),
    Measure("Sensitivity % (strict)", "sensitivity_strict", 100.0, 1, most=100.0),
    Measure("Precision % (strict)", "precision_strict", 100.0, 1, most=100.0),
    *(
        Measure(f"{name} ({convention.format(unit=unit)})", column.format(unit=unit), factor, merit, most=most)
        for unit, reach in (("vox", "1 vox"), ("mm", "2 mm"))
        for name, convention, column, factor, merit, most in (
            ("HD95", "{unit}, pooled, strict", "hd95_{unit}_strict", 1.0, -1, math.inf),
            ("HD95", "{unit}, pooled, transunet", "hd95_{unit}_transunet", 1.0, -1, math.inf),
            ("HD95", "{unit}, max, strict", "hd95max_{unit}_strict", 1.0, -1, math.inf),
            ("ASSD", "{unit}, strict", "assd_{unit}_strict", 1.0, -1, math.inf),
            ("NSD %", f"within {reach}, strict", "nsd_{unit}_strict", 100.0, 1, 100.0),
        )
    ),
)

SHOWN = {
    "HD95 pooled": "hd95_vox_strict",
    "HD95 max": "hd95max_vox_strict",
    "HD95 pooled, transunet": "hd95_vox_transunet",
    "ASSD": "assd_vox_strict",
    "NSD %": "nsd_vox_strict",
    "Dice %": "dice_strict",
    "Dice %, transunet": "dice_transunet",
    "Jaccard %": "jaccard_strict",
    "Sensitivity %": "sensitivity_strict",
    "Precision %": "precision_strict",
}
# What is usually shown, and what one might show in its place.
PAIRS = (
    ("HD95 pooled", "HD95 max"),
    ("HD95 pooled", "HD95 pooled, transunet"),
    ("HD95 pooled", "ASSD"),
    ("Dice %", "Dice %, transunet"),
    ("Dice %", "Jaccard %"),
    ("Dice %", "NSD %"),
)
NOTE = (
    "Distances in voxels, NSD within 1 voxel; strict where nothing is said. Means over classes of the mean over test "
    "cases, averaged over seeds, of the same predictions in every column. Missed and invented: structures per run. "
    "Ranks are of models with the seeds and folds that most have."
)
_CASE = ("part", "weights", "case", "patient", "class", "outcome")


def convention_sheets(
    results: Path, choice: Choice = ALL, weights: str | None = DEFAULT.weights
) -> tuple[list[Sheet], tuple[str, ...]]:
    """Of each segmentation comparison the means under each convention, and whose rank changes with it.

    Beside them, in lines, what of the folder was left out. Chance is left out; records from before their cases.csv had
    all columns are left out and counted.

    Args:
        choice: of which cells.

    Raises:
        UserError: a wish that no record fulfils, or none of these is of a segmentation with all columns.
    """
    cells, cases = load_cells_and_cases(results)
    notes = cells.attrs.get("notes", ())
    meant = choice.of(cells) if len(cells) else cells
    sheets = _sheets(meant, cases, choice.configs, weights, chosen_notes(cells, meant)) if len(cells) else []
    if not sheets:
        whose = f" of {choice.text}" if choice.text else ""
        raise UserError(
            f"No segmentation records{whose} with all metrics in {str(results)!r}: give `medbench run` first."
            f"{''.join(f' {note}' for note in notes[:1])}"
        )
    return sheets, notes


def _sheets(
    cells: pd.DataFrame,
    cases: pd.DataFrame,
    kept: Collection[str],
    weights: str | None,
    fewer: Mapping[str, str],
) -> list[Sheet]:
    cells = cells[(cells["task"] == "segmentation") & (cells["family"] != "chance")].drop_duplicates("key")
    cases = shown_cases(cases.reindex(columns=["key", *_CASE, *SHOWN.values()]), Shown(weights=weights))
    groups = [(set_aside(own, kept), fewer.get(str(key), "")) for key, own in cells.groupby("comparison", sort=True)]
    sheets = (
        _comparison(in_table.sort_values(["model", "seed"]), cases, (*notes, told), weights)
        for (in_table, notes), told in groups
    )
    return [sheet for sheet in sheets if sheet is not None]


def _comparison(cells: pd.DataFrame, cases: pd.DataFrame, aside: tuple[str, ...], weights: str | None) -> Sheet | None:
    first, complete = cells.iloc[0], cells[cells["status"] == "complete"]
    scores = cases.merge(complete[["key", "model", "seed"]], on="key")
    counts = scores.groupby("key")["hd95max_vox_strict"].count()
    scores = scores[scores["key"].isin(counts.index[counts > 0])]
    if scores.empty:
        return None
    lacking = len(complete) - scores["key"].nunique()
    scored = same_folds(complete[complete["key"].isin(scores["key"])])
    scores, titles = scores[scores["key"].isin(scored["key"])], titles_of(cells)
    by_model = {str(model): rows for model, rows in scores.groupby("model")}
    seeds = {model: rows["seed"].nunique() for model, rows in by_model.items()}
    common, whole = common_seeds(scored), {str(model): whole_seeds(rows) for model, rows in scored.groupby("model")}
    became = cells.assign(is_scored=cells["key"].isin(scored["key"]))
    status = {str(model): status_of(own) for model, own in became.groupby("model")}
    values = pd.DataFrame({model: _means(rows) for model, rows in by_model.items()}).T
    folds = {str(model): own["fold"].nunique() for model, own in scored.groupby("model")}
    values = values.assign(others=[folds[model] < max(folds.values()) for model in values.index])  # of other images
    values = values.sort_values(["others", "Dice %"], ascending=[True, False], kind="stable").drop(columns="others")
    rows = []
    for model in values.index:
        texts = {name: f"{values.loc[model, name]:.2f}" for name in SHOWN}
        for outcome in ("missed", "invented"):
            texts[outcome.capitalize()] = f"{(by_model[model]['outcome'] == outcome).sum() / seeds[model]:.1f}"
        counted = [f"{seeds[model]}{_folds_text(folds[model], cells)}", *{status[model]} - {"complete"}]
        rows.append({"Model": titles[model], **texts, "Seeds": "; ".join(counted)})
    ranked = values.loc[[model for model in seeds if common and common <= whole[model]]].rename(index=titles)
    older = f" {lacking} of {len(complete)} records lack these columns and are left out." if lacking else ""
    short, marks = is_short_comparison(first), "".join(f"{mark}. " for mark in caption_marks(first))
    caption = (
        f"{marks}Conventions: {first['dataset']}, {first['source']} images, preset {first['preset']}{changes(first)}, "
        f"split {first['split']}, weights {Shown(weights=weights).weights_label(first['averaged'])}, comparison "
        f"{first['comparison']}.{older}"
    )
    nameless = short or len(common) < 2
    changed = [_change(ranked, *pair, nameless) for pair in PAIRS if len(ranked) > 1]
    missing = missing_folds_note(cells, titles, scored)
    without_rank = [model for model in seeds if titles[model] not in ranked.index]
    others = [
        _named("Not counted among the ranks, for lack of seeds or folds", without_rank, titles),
        _named("Not shown, no cell scored", [model for model in status if model not in seeds], titles),
    ]
    return Sheet(caption, pd.DataFrame(rows), tuple(filter(None, (NOTE, *changed, *others, missing, *aside))))


def _named(what: str, models: Sequence[str], titles: Mapping[str, str]) -> str:
    return f"{what}: {in_a_row(titles[model] for model in models)}." * bool(models)


def _folds_text(has: int, cells: pd.DataFrame) -> str:
    """` x 5` behind the number of seeds, ` x 4 of 5` where folds are missing; blank without folds."""
    folds = fold_count(cells)
    return "" if not folds else f" x {folds}" if has == folds else f" x {has} of {folds}"


def _means(scores: pd.DataFrame) -> dict[str, float]:
    measures = {measure.column: measure for measure in MEASURES}
    return {name: figure(scores_of(scores, measures[column])) for name, column in SHOWN.items()}


def _change(values: pd.DataFrame, usual: str, instead: str, nameless: bool = False) -> str:
    """What showing another figure than the usual one does: by how much it differs, and to the models' order.

    Args:
        nameless: no model is named first: nothing is, of a short budget or of one seed.
    """
    gaps = values[instead] - values[usual]
    merits = {name: next(m.merit for m in MEASURES if m.column == column) for name, column in SHOWN.items()}
    before, after = ((-merits[name] * values[name]).rank(method="min") for name in (usual, instead))
    moved, size = int((before != after).sum()), len(values)
    size_of = f"differs by {gaps.median():+.2f}, the median over models ({gaps.min():+.2f} to {gaps.max():+.2f})"
    if usual.split()[0] != instead.split()[0]:
        size_of = "is another quantity"
    first = [" and ".join(ranks.index[ranks == 1]) for ranks in (before, after)]
    best = f"first stays {first[0]}" if first[0] == first[1] else f"first is {first[1]} in place of {first[0]}"
    most = f", by at most {(before - after).abs().max():.0f}" if moved else ""
    change = f"{instead} for {usual}: {size_of}; {moved} of {size} models change rank{most}"
    return f"{change}." if nameless else f"{change}; {best}."
