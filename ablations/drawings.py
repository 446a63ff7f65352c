"""Ablations as figures, PNG and PDF: effects with intervals, interactions, the front of a search, importances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablations.effects import Effect, Stored, arm_effects, factorial_arms, factorial_effects, run_figures
from bench.models.slots import SLOTS
from bench.records.filenames import file_name
from bench.report.figures import BLUE, GREY, ORANGE, forest, new_figure, save

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

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
    return f"{stored.model_title}, {first['dataset']}, {source}, {first['preset']}, seeds {seeds}"


def _forest(stored: Stored, effects: Sequence[Effect], what: str) -> Figure | None:
    measure = stored.measures[0].name
    label = f"{measure}, {what},\n95 % interval; filled: it excludes 0"
    return forest({e.name: e.gaps[measure] for e in effects}, _title(stored), label) if effects else None


def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of modules: the mean over runs and over the third module, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None:
        return None
    runs = {removed: np.array(run_figures(stored, name)) for removed, name in arms.items()}
    figure, first = new_figure(3.2, f"{_title(stored)}; faint: each seed", 9.0)
    first.remove()
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (slot, second) in zip(axes, itertools.combinations(SLOTS, 2), strict=True):
        for word, colour, marker in (("with", BLUE, "o"), ("without", ORANGE, "s")):
            alike = {removed: r for removed, r in runs.items() if (second in removed) == (word == "without")}
            means = [
                np.mean([r for removed, r in alike.items() if (slot in removed) == is_removed], 0)
                for is_removed in (True, False)
            ]
            axis.plot([0, 1], [mean.mean() for mean in means], color=colour, marker=marker, label=word)
            for x, of_seeds in enumerate(means):
                axis.plot([x] * len(of_seeds), of_seeds, marker, color=colour, alpha=0.35, markersize=4)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xticks([0, 1], [f"without\n{slot}", f"with\n{slot}"])
        axis.set_xlim(-0.3, 1.3)
        axis.legend(title=second, frameon=False, fontsize=8, title_fontsize=8)
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0].set_ylabel(stored.measures[0].name)
    return figure


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
