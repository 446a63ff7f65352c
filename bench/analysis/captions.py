"""The words above a results table: data set, images, split and preset, and what counts against its figures.

All take `first`: what the cells of one comparison share, as `bench.analysis.folds.pooled` gives it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pandas as pd

from bench.analysis import classification, segmentation
from bench.analysis.short_budget import budget_mark, is_short_comparison
from bench.analysis.shown import Shown

TASKS: dict[str, ModuleType] = {"segmentation": segmentation, "classification": classification}

SUBSTITUTE = "SUBSTITUTE images: other files in the dataset's layout, no result about it"
PHANTOM = "PHANTOM images: a plumbing check, no result about real patients"


def caption_marks(first: pd.Series[Any]) -> list[str]:
    """What counts against a comparison's figures, to stand before all else."""
    return [mark for mark in (*image_marks(first), budget_mark(first["images_seen"])) if mark]


def image_marks(first: pd.Series[Any]) -> list[str]:
    """What counts against figures on these images, whatever was trained on them."""
    marks = [
        {"phantom": PHANTOM, "substitute": SUBSTITUTE}.get(first["source"], ""),
        TASKS[first["task"]].PARTIAL if first["partial"] else "",
    ]
    return [mark for mark in marks if mark]


def preset_words(preset: str) -> str:
    """The preset as captions name it: a smoke run checks the plumbing."""
    return preset.replace("smoke", "smoke (plumbing check)", 1) if preset.startswith("smoke") else preset


def lead(first: pd.Series[Any]) -> str:
    """What counts against the figures, then data set and images."""
    what = f"{_named(first)}, {first['source']} images"
    return ". ".join([*caption_marks(first), what])


def _named(first: pd.Series[Any]) -> str:
    """A data set's title with its name, where they differ."""
    title, name = first["dataset_title"], first["dataset"]
    return str(title) if title == name else f"{title} ({name})"


def split_words(first: pd.Series[Any]) -> str:
    """The split's name, its folds, and why it is flagged."""
    flag = "" if pd.isna(first.get("split_flag")) else f", flagged: {first['split_flag']}"
    return f"split {first['split']}{first.get('fold_text', '')}{flag}"


def about(first: pd.Series[Any], scored: pd.DataFrame, shown: Shown) -> str:
    """The rest of the caption: the split's parts, what was scored with which weights, and how it was trained."""
    task = TASKS[first["task"]]
    seeds = ", ".join(map(str, sorted(set(scored["seed"])))) or "none"
    sentences = [
        task.parts(first),
        f"{task.scored_on(first)}; seeds {seeds}; weights {shown.weights_label(first['averaged'])}",
        ""
        if pd.isna(first.get("train_patients"))
        else f"trained on {first['train_patients']:.0f} of the training patients or groups, drawn anew by each seed",
        f"{first['threads']} thread{'s' if first['threads'] > 1 else ''}",
        f"{first['left_out']} cases in no part are left out" if first["left_out"] else "",
    ]
    return ". ".join(filter(None, sentences)) + "."


def where(first: pd.Series[Any]) -> str:
    """`ACDC (acdc), preset quick, split ssl4mis`; of other than real images it says so first."""
    kind = {"phantom": "PHANTOM images, ", "substitute": "SUBSTITUTE images, "}.get(first["source"], "")
    name = f"{kind}{_named(first)}"
    against = f"{'' if pd.isna(first.get('split_flag')) else ' (flagged)'}{', partial' if first['partial'] else ''}"
    short = f" (short budget: {first['images_seen']:,} images seen)" if is_short_comparison(first) else ""
    return f"{name}, preset {first['preset']}{changes(first)}{short}, split {first['split']}{against}"


def setting(first: pd.Series[Any]) -> str:
    """What data sets must share to be ranked together; blank where a table may not be ranked with others."""
    usable = first["source"] == "real" and pd.isna(first.get("split_flag"))
    return f"{first['preset']}{changes(first)}" if usable else ""


def changes(first: pd.Series[Any]) -> str:
    """What else than the preset differs from a plain run: fewer training patients, pretrained weights."""
    few = first.get("train_patients")
    trained = "" if few is None or pd.isna(few) else f", {few:.0f} training patients or groups"
    folds = "" if pd.isna(first["fold"]) else f", {str(first['split']).partition('/')[2]} folds"
    return f"{trained}{folds}{'' if pd.isna(first.get('init')) else ', pretrained'}"
