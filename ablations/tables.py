"""Ablations as tables: arms beside the full model, effects of the factorial, the listing of fillings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ablations.effects import (
    NULL,
    Effect,
    Stored,
    arm_effects,
    cost_per_point,
    factorial_effects,
    importances,
    run_figures,
    values_of,
)
from ablations.outcomes import lost_note
from ablations.plans import label
from bench.analysis.captions import TASKS, caption_marks, preset_words
from bench.analysis.certainty import unit_column, unit_words
from bench.analysis.footnotes import in_a_row, provenance_notes
from bench.analysis.own_settings import own_settings
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import is_short_comparison
from bench.analysis.statistics import Interval

ARM_NOTE = (
    "less full: the arm's figure less the full model's, over the same seeds (but for a null arm's), test cases, data "
    "order and augmentation, with its 95 % interval from the two-way bootstrap, seeds in pairs from three on; bold "
    "where it excludes 0. It is not adjusted for the number of arms. Intervals hold for other seeds and other units of "
    "the test part like these."
)
NULL_NOTE = "null: the full model trained again under other seeds; what it differs by is the noise of training."
POINT_NOTE = (
    "Cost per point: what the removed modules have of parameters and MACs for each point of {measure} that the full "
    "model has over the arm; in brackets where these points cannot be told from none; blank where there are none."
)
MATCHED_NOTE = (
    "matched: {widths} scaled until the arm has the full model's parameters or MACs, so that fewer parameters "
    "are not mistaken for the missing module."
)
FIELD_NOTE = (
    "Main effect: with the full model's value less with the arm's, averaged over the settings of the others. "
    "Interaction: half the difference between what one brings with the other and without it. From the {arms} arms "
    "themselves. Importance: Optuna's, evaluator fANOVA, of which value there is; it has no sign and no interval."
)
EFFECT_NOTE = (
    "Main effect: with the module less without it, averaged over the four settings of the other two. Interaction: "
    "half the difference between what one brings with the other and without it. From the eight arms themselves. "
    "Importance: Optuna's, evaluator fANOVA, of the module's presence; it has no sign and no interval."
)


def ablation_tables(comparisons: Sequence[Stored]) -> list[Sheet]:
    """Two tables for each comparison: arms, and the effects where the factorial is whole."""
    tables = [table for stored in comparisons for table in (_arms(stored), _effects(stored))]
    return [table for table in tables if table is not None]


def _arms(stored: Stored) -> Sheet:
    effects = arm_effects(stored)
    if not effects:
        return _single_runs(stored)
    names = [measure.name for measure in stored.measures]
    rows, bold = [], []
    for effect in effects:
        row, marks = {"Arm": effect.name}, {"Arm": False}
        for name in names:
            row[f"{name} [95 %]"] = _text(effect.values[name])
            row[f"{name}, less full [95 %]"] = _text(effect.gaps[name], signed=True) if effect.gaps else ""
            marks[f"{name}, less full [95 %]"] = bool(effect.gaps) and effect.gaps[name].excludes_zero
        row |= _costs(stored, effect)
        rows.append(row)
        bold.append(marks)
    frame = pd.DataFrame(rows).fillna("")
    frame = frame.loc[:, [bool(frame[column].any()) for column in frame]]
    notes, name = _arm_notes(stored, frame), f"{stored.slug}-arms"
    return Sheet(_caption(stored, "Ablation"), frame, notes, _bold(stored, bold, frame), name)


def _single_runs(stored: Stored) -> Sheet:
    """The runs' own figures, the null arm's too, where there is no interval, and what each arm costs."""
    measure = stored.measures[0].name
    names = [*stored.labels[:1], *([NULL] if stored.null else []), *stored.labels[1:]]
    rows = [
        {"Arm": name, f"{measure} of each run": _runs(stored, name)} | _costs(stored, Effect(name, {}, {}))
        for name in names
    ]
    frame = pd.DataFrame(rows)
    frame = frame.loc[:, [bool(frame[column].any()) for column in frame]]
    why = "No claim is made of one seed, or one patient: figures of single runs."
    notes = (why, *([NULL_NOTE] if stored.null else []), *_missing_notes(stored))
    return Sheet(_caption(stored, "Ablation"), frame, notes, name=f"{stored.slug}-arms")


def _missing_notes(stored: Stored) -> list[str]:
    """What the table does not show: arms without all seeds, and cells that diverged or failed."""
    of = "seeds or folds" if stored.cells["fold"].notna().any() else "seeds"
    left_out = f"Left out for lack of {of}: {in_a_row(stored.incomplete)}." if stored.incomplete else ""
    more = "; ".join(f"{name}, {', '.join(map(str, sorted(seeds)))}" for name, seeds in stored.unshown.items())
    unshown = f"Seeds that other arms lack, and that are not shown: {more}." if more else ""
    return [*filter(None, (left_out, unshown, lost_note(stored.outcomes))), *_differences(stored)]


def _differences(stored: Stored) -> list[str]:
    """What arms differ in beside their modules: rates, batches in parts, machine, versions and commit."""
    arms = dict(zip(stored.cells["model"], stored.cells["label"], strict=True))
    return [*own_settings(stored.cells, arms), *provenance_notes(stored.cells, arms)]


def _costs(stored: Stored, effect: Effect) -> dict[str, str]:
    """Params and MACs beside the full model's, speed where it was measured, and the cost of a point."""
    full = {column: stored.cost("full", column) for column in ("params", "macs", "speed")}
    arm = {column: stored.cost(effect.name, column) for column in full}
    point = cost_per_point(stored, effect)
    size = str(stored.first["input"])
    return {
        "Params (M)": f"{arm['params'] / 1e6:.2f}",
        f"GMACs ({size})": f"{arm['macs'] / 1e9:.3f}",
        "x full, params": f"{arm['params'] / full['params']:.3f}",
        "x full, MACs": f"{arm['macs'] / full['macs']:.3f}",
        "x full, images/s": "" if pd.isna(arm["speed"] / full["speed"]) else f"{arm['speed'] / full['speed']:.2f}",
        "k params per point": _point(stored, effect, point and point[0] / 1e3, 1),
        "MMACs per point": _point(stored, effect, point and point[1] / 1e6, 2),
    }


def _point(stored: Stored, effect: Effect, value: float | None, decimals: int) -> str:
    """The cost of a point, in brackets where the points themselves cannot be told from none."""
    if value is None:
        return ""
    told = effect.gaps[stored.measures[0].name].excludes_zero
    return f"{value:.{decimals}f}" if told else f"({value:.{decimals}f})"


def _arm_notes(stored: Stored, frame: pd.DataFrame) -> tuple[str, ...]:
    measure = stored.measures[0].name
    runs = "; ".join(f"{name} {_runs(stored, name)}" for name in frame["Arm"])
    speed = "x full, images/s: quotient of the relative throughputs (medbench profile), inference, fp32."
    notes = [
        ARM_NOTE,
        NULL_NOTE if NULL in set(frame["Arm"]) else "",
        POINT_NOTE.format(measure=measure) if "MMACs per point" in frame else "",
        MATCHED_NOTE.format(widths="all four widths" if stored.slots else "widths")
        if any("matched" in name for name in frame["Arm"])
        else "",
        speed if "x full, images/s" in frame else "",
        f"{measure} of each run, by seed: {runs}.",
        *_missing_notes(stored),
    ]
    return tuple(note for note in notes if note)


def _runs(stored: Stored, name: str) -> str:
    return ", ".join(f"{value:.1f}" for value in run_figures(stored, name))


def _effects(stored: Stored) -> Sheet | None:
    effects = factorial_effects(stored)
    if not effects:
        return None
    names, shares = [measure.name for measure in stored.measures], importances(stored)
    rows, bold = [], []
    for effect in effects:
        row = {"Effect": effect.name}
        row |= {f"{name} [95 %]": _text(effect.gaps[name], signed=True) for name in names}
        row["Importance (fANOVA)"] = f"{shares[effect.name]:.2f}" if effect.name in shares else ""
        rows.append(row)
        bold.append({f"{name} [95 %]": effect.gaps[name].excludes_zero for name in names})
    frame = pd.DataFrame(rows)
    caption = _caption(stored, "Factorial")
    values = values_of(stored)
    arms = FIELD_NOTE.format(arms=2 ** len(values))
    of_slots = set(values) <= set(stored.slots)
    notes = (EFFECT_NOTE if of_slots else f"{arms} The arms' values: {label(values)}.", verdict(stored, effects))
    return Sheet(caption, frame, notes, _bold(stored, bold, frame), f"{stored.slug}-factorial")


def _bold(stored: Stored, marks: Sequence[dict[str, bool]], frame: pd.DataFrame) -> pd.DataFrame | None:
    """The rows' marks as a frame of booleans that has the shape of the table; None: a short budget marks nothing."""
    if is_short_comparison(stored.first):
        return None
    return pd.DataFrame([[row.get(str(name), False) for name in frame] for row in marks], frame.index, frame.columns)


def verdict(stored: Stored, effects: Sequence[Effect]) -> str:
    """A sentence that says which modules bring something here and which do not."""
    measure = stored.measures[0]
    words = []
    for effect in effects:
        if " x " in effect.name:
            continue
        gap = effect.gaps[measure.name]
        good = gap.low > 0 if measure.merit > 0 else gap.high < 0
        bad = gap.excludes_zero and not good
        word = "brings something" if good else "does harm" if bad else "brings nothing that can be told from noise"
        words.append(f"{effect.name} {word}")
    return f"By {measure.name}, with these seeds and test cases: {'; '.join(words)}."


def _caption(stored: Stored, what: str) -> str:
    first = stored.first
    task = TASKS[first["task"]]
    units = stored.scores[unit_column(stored.scores)].nunique()
    seeds = ", ".join(map(str, stored.seeds))
    if len(stored.null) > 1 or (stored.null and len(stored.seeds) == 1):
        seeds += f", null arm {', '.join(map(str, stored.null))}"
    elif stored.null:
        seeds += f" (of the full model {stored.null[0]} as well: one alone is no null arm)"
    threads = f"{first['threads']} thread{'s' if first['threads'] > 1 else ''}"
    what = f"{what} of {stored.model_title}: {first['dataset_title']} ({first['dataset']}), {first['source']} images"
    parts = [
        *caption_marks(first),
        f"{what}, preset {preset_words(first['preset'])}",
        task.parts(first),
        f"{task.scored_on(first)}, {units} {unit_words(task, stored.cells, stored.scores)}",
        f"Seeds {seeds}; weights {stored.shown.weights_label(first['averaged'])}; {threads}",
    ]
    return ". ".join(parts) + "."


def _text(interval: Interval, signed: bool = False) -> str:
    return f"{interval.value:{'+' if signed else ''}.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def listing_table(model: str, dataset: str, rows: pd.DataFrame, shape: tuple[str, int, int, int]) -> Sheet:
    """Slots and fillings with the cost of the whole model (`ablations.listing.listing`) at a task's input."""
    task, channels, classes, size = shape
    caption = (
        f"Fillings of {model}'s slots, with what the whole model costs: {task} as on {dataset}, "
        f"{classes} classes, input 1x{channels}x{size}x{size}. Nothing is trained."
    )
    decimals = {"params M": "{:.2f}", "GMACs": "{:.3f}", "params %": "{:+.1f}", "MACs %": "{:+.1f}"}
    frame = rows.assign(**{name: rows[name].map(form.format) for name, form in decimals.items()})
    frame["default"] = rows["default"].map({True: "default", False: ""})
    return Sheet(caption, frame, name=f"{model}-fillings-{dataset}", left=("filling", "default", "summary", "note"))
