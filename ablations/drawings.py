"""Ablations as figures, PNG and PDF: effects with intervals, interactions, the front of a search, importances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablations.effects import (
    Effect,
    Stored,
    arm_effects,
    factorial_arms,
    factorial_effects,
    factors_of,
    run_figures,
    values_of,
)
from ablations.plans import name_of_change
from bench.analysis.short_budget import short_words
from bench.records.filenames import file_name
from bench.report.figures import BLUE, GREY, ORANGE, forest, new_figure, save

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

MOST_FACTORS = 4  # whose pairs stand beside each other in a figure
GREEN = "#009E73"  # of the same palette as the report's


def draw_ablation(stored: Stored, folder: Path) -> list[Path]:
    """The figures of one comparison: effects of arms, and of the factorial with its interactions."""
    figures = {
        "arms": _forest(stored, [e for e in arm_effects(stored) if e.gaps], "arm less full model"),
        "factorial": _forest(stored, factorial_effects(stored), "main effects and interactions"),
        "interactions": _interactions(stored),
    }
    stem = file_name(stored.slug)
    return [path for name, drawn in figures.items() if drawn for path in save(drawn, folder / f"{stem}-{name}")]


def _title(stored: Stored) -> str:
    first = stored.first
    source = "PHANTOM images" if first["source"] == "phantom" else f"{first['source']} images"
    seeds = ", ".join(map(str, stored.seeds))
    title = f"{stored.model_title}, {first['dataset']}, {source}, {first['preset']}, seeds {seeds}"
    return with_budget(title, int(first["images_seen"]))


def with_budget(title: str, images_seen: int) -> str:
    """A figure's title, which says where networks have not converged."""
    short = short_words(images_seen)
    return f"{title}. {short[:1].upper()}{short[1:]}" if short else title


def _forest(stored: Stored, effects: Sequence[Effect], what: str) -> Figure | None:
    measure = stored.measures[0].name
    label = f"{measure}, {what},\n95 % interval; filled: it excludes 0"
    return forest({e.name: e.gaps[measure] for e in effects}, _title(stored), label) if effects else None


def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of factors: the mean over runs and over the other factors, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None or not 2 <= len(factors_of(arms)) <= MOST_FACTORS:
        return None
    runs = {changed: np.array(run_figures(stored, name)) for changed, name in arms.items()}
    pairs = list(itertools.combinations(factors_of(arms), 2))
    figure, first = new_figure(3.2, f"{_title(stored)}; faint: each seed", max(5.0, 3.0 * len(pairs)))
    first.remove()
    axes = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
    values = values_of(stored)
    for axis, (factor, second) in zip(axes, pairs, strict=True):
        for is_changed, word, colour, marker in ((False, "with", BLUE, "o"), (True, "without", ORANGE, "s")):
            alike = {changed: r for changed, r in runs.items() if (second in changed) == is_changed}
            means = [
                np.mean([r for changed, r in alike.items() if (factor in changed) == there], 0)
                for there in (True, False)
            ]
            shown = _setting(word, second, values[second]).removesuffix(f" {second}")
            axis.plot([0, 1], [mean.mean() for mean in means], color=colour, marker=marker, label=shown)
            for x, of_seeds in enumerate(means):
                axis.plot([x] * len(of_seeds), of_seeds, marker, color=colour, alpha=0.35, markersize=4)
        axis.spines[["top", "right"]].set_visible(False)
        names = (_setting(word, factor, values[factor]) for word in ("without", "with"))
        axis.set_xticks([0, 1], [name.replace(" ", "\n", 1) for name in names])
        axis.set_xlim(-0.3, 1.3)
        axis.legend(title=second, frameon=False, fontsize=8, title_fontsize=8)
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0].set_ylabel(stored.measures[0].name)
    return figure


def _setting(word: str, factor: str, value: str) -> str:
    """`with sem`, `without sem`; of a field that is not there or gone `width=16`, `full's width`."""
    name = name_of_change(factor, value)
    if name.startswith("without "):
        return f"{word} {factor}"
    return name if word == "without" else f"full's {factor}"


def draw_front(study: optuna.Study, title: str, folder: Path, name: str) -> list[Path]:
    """Validation score over MACs of all finished trials, and those that no other beats in both."""
    from ablations.search import front

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    figure, axis = new_figure(4.0, title)

    def plot(trials: Sequence[optuna.trial.FrozenTrial], marks: str, **look: Any) -> None:
        if trials:
            axis.plot([t.user_attrs["macs"] / 1e9 for t in trials], [t.values[0] for t in trials], marks, **look)

    plot(done, "o", color=GREY, label="trials")
    plot([t for t in done if t.number == 0], "s", color=GREEN, markersize=9, label="default")
    plot(front(study), "o-", color=ORANGE, label="front", drawstyle="steps-post")
    axis.set_xlabel("GMACs")
    axis.set_ylabel("validation score")
    axis.grid(linewidth=0.4, alpha=0.6)
    axis.legend(frameon=False)
    return save(figure, folder / f"{name}-front")


def draw_importances(shares: Mapping[str, float], title: str, folder: Path, name: str) -> list[Path]:
    """Importances as bars, the largest on top."""
    figure, axis = new_figure(1.2 + 0.24 * len(shares), title)
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axis.barh([key for key, _ in ordered], [value for _, value in ordered], color=BLUE)
    axis.set_xlabel("importance (Optuna, fANOVA)")
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    return save(figure, folder / f"{name}-importances")
