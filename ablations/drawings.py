"""Ablations as figures: effects with intervals, interactions; the front of a search, its history, importances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablations.effects import Effect, Stored, arm_effects, factorial_arms, factorial_effects, run_figures
from bench.models.slots import SLOTS
from bench.records.filenames import file_name
from bench.report.drawing.forest import forest
from bench.report.drawing.style import BLUE, GREEN, GREY, ORANGE, new_figure, new_panels, save, styled
from bench.report.figures import Drawing

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_ablation(stored: Stored, folder: Path) -> list[Path]:
    """Writes the figures of one comparison."""
    return [path for drawing in ablation_drawings(stored) for path in save(drawing.figure, folder / drawing.name)]


def ablation_drawings(stored: Stored) -> list[Drawing]:
    """The figures of one comparison: effects of arms, and of the factorial with its interactions."""
    figures = {
        "arms": _forest(stored, [e for e in arm_effects(stored) if e.gaps], "arm less full model"),
        "factorial": _forest(stored, factorial_effects(stored), "main effects and interactions"),
        "interactions": _interactions(stored),
    }
    stem = file_name(stored.slug)
    return [Drawing(f"{stem}-{kind}", kind, figure) for kind, figure in figures.items() if figure]


def _title(stored: Stored) -> str:
    first = stored.first
    source = "PHANTOM images" if first["source"] == "phantom" else f"{first['source']} images"
    seeds = ", ".join(map(str, stored.seeds))
    return f"{stored.model_title}, {first['dataset']}, {source}, {first['preset']}, seeds {seeds}"


def _forest(stored: Stored, effects: Sequence[Effect], what: str) -> Figure | None:
    measure = stored.measures[0].name
    label = f"{measure}, {what}, 95 % interval"
    return forest({e.name: e.gaps[measure] for e in effects}, _title(stored), label) if effects else None


@styled
def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of modules: the mean over runs and over the third module, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None:
        return None
    runs = {removed: np.array(run_figures(stored, name)) for removed, name in arms.items()}
    title = f"{_title(stored)}. Pairs of modules, mean over the third; faint: each seed"
    figure, axes = new_panels(2.1, title, 1, 3, sharey=True)
    for axis, (slot, second) in zip(axes, itertools.combinations(SLOTS, 2), strict=True):
        _pair(axis, runs, slot, second)
    axes[0].set_ylabel(stored.measures[0].name)
    return figure


def _pair(axis: Axes, runs: Mapping[frozenset[str], np.ndarray], slot: str, second: str) -> None:
    """What one module brings, with the second and without it; (S,) figures of each set of removed modules."""
    for word, colour, marker, dash in (("with", BLUE, "o", "-"), ("without", ORANGE, "s", (0, (4, 2)))):
        alike = {removed: r for removed, r in runs.items() if (second in removed) == (word == "without")}
        means = [
            np.mean([r for removed, r in alike.items() if (slot in removed) == is_removed], 0)
            for is_removed in (True, False)
        ]
        centres = [mean.mean() for mean in means]
        axis.plot([0, 1], centres, color=colour, marker=marker, linestyle=dash, label=f"{word} {second}")
        for x, of_seeds in enumerate(means):
            axis.plot([x] * len(of_seeds), of_seeds, marker, color=colour, alpha=0.35, markersize=3)
    axis.set_xticks([0, 1], [f"without\n{slot}", f"with\n{slot}"])
    axis.set_xlim(-0.3, 1.3)
    axis.grid(axis="y")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))


def draw_search(study: optuna.Study, title: str, shares: Mapping[str, float], folder: Path) -> list[Path]:
    """Writes the figures of a search."""
    drawings = search_drawings(study, title, shares)
    return [path for drawing in drawings for path in save(drawing.figure, folder / drawing.name)]


def search_drawings(study: optuna.Study, title: str, shares: Mapping[str, float]) -> list[Drawing]:
    """The front, the history and the importances of a search; what has no finished trial has no figure.

    Args:
        shares: parameter -> importance; may be empty.
    """
    if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        return []
    figures = {"front": _front(study, title), "history": _history(study, title)}
    if shares:
        figures["importances"] = _importances(shares, title)
    return [Drawing(f"{study.study_name}-{kind}", kind, figure) for kind, figure in figures.items()]


@styled
def _front(study: optuna.Study, title: str) -> Figure:
    """Validation score over MACs of all finished trials, and those that no other beats in both."""
    from ablations.search import front

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    figure, axis = new_figure(2.6, f"{title}. Score against cost; line: what no other trial beats in both")

    def plot(trials: Sequence[optuna.trial.FrozenTrial], marks: str, **look: Any) -> None:
        if trials:
            axis.plot([t.user_attrs["macs"] / 1e9 for t in trials], [t.values[0] for t in trials], marks, **look)

    plot(done, "o", color=GREY, label="trials")
    plot([t for t in done if t.number == 0], "s", color=GREEN, markersize=7, label="default")
    plot(front(study), "D-", color=ORANGE, label="front", drawstyle="steps-post")
    axis.set_xlabel("GMACs")
    axis.set_ylabel("validation score")
    axis.grid()
    axis.legend()
    return figure


@styled
def _history(study: optuna.Study, title: str) -> Figure:
    """The validation score of each trained trial in turn, and the best so far."""
    from ablations.search import is_trained

    trials = [t for t in study.get_trials(deepcopy=False) if is_trained(t) and t.state.name == "COMPLETE"]
    pruned = [t for t in study.get_trials(deepcopy=False) if t.state.name == "PRUNED" and t.intermediate_values]
    figure, axis = new_figure(2.3, f"{title}. Trials in turn, and the best so far")
    numbers, scores = [t.number for t in trials], [t.values[0] for t in trials]
    axis.plot(numbers, scores, "o", color=GREY, label="trials")
    if pruned:
        last = [list(t.intermediate_values.values())[-1] for t in pruned]
        axis.plot([t.number for t in pruned], last, "x", color=ORANGE, label="pruned, at their last round")
    axis.plot(numbers, np.maximum.accumulate(scores), "-", color=BLUE, label="best so far", drawstyle="steps-post")
    axis.set_xlabel("trial")
    axis.set_ylabel("validation score")
    axis.grid()
    axis.legend()
    return figure


@styled
def _importances(shares: Mapping[str, float], title: str) -> Figure:
    """Importances as bars, the largest on top."""
    figure, axis = new_figure(0.6 + 0.17 * len(shares), f"{title}. Importances, which have no sign")
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axis.barh([key for key, _ in ordered], [value for _, value in ordered], color=BLUE)
    axis.set_xlabel("importance (Optuna, fANOVA)")
    axis.grid(axis="x")
    return figure
