"""Ablations as figures: effects with intervals, interactions; the front of a search, its history, importances."""

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
from bench.report.drawing.forest import forest
from bench.report.drawing.style import BLUE, GREEN, GREY, ORANGE, new_figure, new_panels, save, styled
from bench.report.figures import Drawing

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FACTORS = 4  # whose pairs stand beside each other in a figure


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
    title = f"{stored.model_title}, {first['dataset']}, {source}, {first['preset']}, seeds {seeds}"
    return with_budget(title, int(first["images_seen"]))


def with_budget(title: str, images_seen: int) -> str:
    """A figure's title, which says where networks have not converged."""
    short = short_words(images_seen)
    return f"{title}. {short[:1].upper()}{short[1:]}" if short else title


def _forest(stored: Stored, effects: Sequence[Effect], what: str) -> Figure | None:
    measure = stored.measures[0].name
    label = f"{measure}, {what}, 95 % interval"
    return forest({e.name: e.gaps[measure] for e in effects}, _title(stored), label) if effects else None


@styled
def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of factors: the mean over runs and over the other factors, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None or not 2 <= len(factors_of(arms)) <= MOST_FACTORS:
        return None
    runs = {changed: np.array(run_figures(stored, name)) for changed, name in arms.items()}
    pairs, values = list(itertools.combinations(factors_of(arms), 2)), values_of(stored)
    title = f"{_title(stored)}. Pairs of factors, mean over the others; faint: each seed"
    figure, axes = new_panels(2.1, title, 1, len(pairs), sharey=True)
    for axis, pair in zip(axes, pairs, strict=True):
        _pair(axis, runs, pair, values)
    axes[0].set_ylabel(stored.measures[0].name)
    return figure


def _setting(word: str, factor: str, value: str) -> str:
    """`with sem`, `without sem`; of a field that is not there or gone `width=16`, `full's width`."""
    name = name_of_change(factor, value)
    if name.startswith("without "):
        return f"{word} {factor}"
    return name if word == "without" else f"full's {factor}"


def _pair(
    axis: Axes, runs: Mapping[frozenset[str], np.ndarray], pair: tuple[str, str], values: Mapping[str, str]
) -> None:
    """What one factor brings, with the second and without it; (S,) figures of each set of changed factors."""
    factor, second = pair
    for is_changed, word, colour, marker, dash in (
        (False, "with", BLUE, "o", "-"),
        (True, "without", ORANGE, "s", (0, (4, 2))),
    ):
        alike = {changed: r for changed, r in runs.items() if (second in changed) == is_changed}
        means = [
            np.mean([r for changed, r in alike.items() if (factor in changed) == there], 0) for there in (True, False)
        ]
        label = _setting(word, second, values[second])
        axis.plot([0, 1], [mean.mean() for mean in means], color=colour, marker=marker, linestyle=dash, label=label)
        for x, of_seeds in enumerate(means):
            axis.plot([x] * len(of_seeds), of_seeds, marker, color=colour, alpha=0.35, markersize=3)
    names = (_setting(word, factor, values[factor]) for word in ("without", "with"))
    axis.set_xticks([0, 1], [name.replace(" ", "\n", 1) for name in names])
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
    name = study.user_attrs["about"]["model"].rpartition(" v")[0]
    own = [t for t in done if t.user_attrs["model"] == name]
    first = [t for t in done if t.number == 0]
    plot(own[:1] or first, "s", color=GREEN, markersize=7, label="full model" if own else "first trial")
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
