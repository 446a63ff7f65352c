"""Ablations as figures, PNG and PDF: effects with intervals, interactions, the front of a search, importances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ablations.effects import Stored, arm_effects, factorial_arms, factorial_effects, run_figures
from bench.models.slots import SLOTS
from bench.records.filenames import file_name
from bench.report.figures import BLUE, GREY, ORANGE, forest, new_figure, save

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

GREEN = "#009E73"  # of the same palette as the report's


def draw_ablation(stored: Stored, folder: Path) -> list[Path]:
    """The figures of one comparison: effects of arms, and of the factorial with its interactions."""
    name = file_name(f"{stored.first['dataset']}-{stored.first['comparison'][:6]}")
    drawn = [(f"{name}-arms", _arms(stored)), (f"{name}-factorial", _factorial(stored))]
    drawn.append((f"{name}-interactions", _interactions(stored)))
    return [path for stem, figure in drawn if figure is not None for path in save(figure, folder / stem)]


def _title(stored: Stored) -> str:
    first = stored.first
    source = "PHANTOM images" if first["source"] == "phantom" else f"{first['source']} images"
    title = first["title"].partition(" [")[0]
    return f"{title}, {first['dataset']}, {source}, {first['preset']}, seeds {', '.join(map(str, stored.seeds))}"


def _arms(stored: Stored) -> Figure | None:
    measure = stored.measures[0].name
    gaps = {effect.name: effect.gaps[measure] for effect in arm_effects(stored) if effect.gaps}
    label = f"{measure}, arm less full model,\n95 % interval; filled: it excludes 0"
    return forest(gaps, _title(stored), label) if gaps else None


def _factorial(stored: Stored) -> Figure | None:
    measure = stored.measures[0].name
    gaps = {effect.name: effect.gaps[measure] for effect in factorial_effects(stored)}
    label = f"{measure}, main effects and interactions,\n95 % interval; filled: it excludes 0"
    return forest(gaps, _title(stored), label) if gaps else None


def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of modules: the mean over runs and over the third module, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None:
        return None
    runs = {removed: np.array(run_figures(stored, name)) for removed, name in arms.items()}
    figure, first = new_figure(3.2, f"{_title(stored)}; faint: each seed", 9.0)
    first.remove()
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (one, other) in zip(axes, itertools.combinations(SLOTS, 2), strict=True):
        for present, colour, marker in ((True, BLUE, "o"), (False, ORANGE, "s")):
            means = [
                np.mean(
                    [r for gone, r in runs.items() if (one not in gone) == with_one and (other not in gone) == present],
                    0,
                )
                for with_one in (False, True)
            ]
            axis.plot(
                [0, 1], [m.mean() for m in means], color=colour, marker=marker, label="with" if present else "without"
            )
            for x, of_seeds in enumerate(means):
                axis.plot([x] * len(of_seeds), of_seeds, marker, color=colour, alpha=0.35, markersize=4)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xticks([0, 1], [f"without\n{one}", f"with\n{one}"])
        axis.set_xlim(-0.3, 1.3)
        axis.legend(title=other, frameon=False, fontsize=8, title_fontsize=8)
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0].set_ylabel(stored.measures[0].name)
    return figure


def draw_front(study: optuna.Study, title: str, folder: Path, name: str) -> list[Path]:
    """Validation score over MACs of all finished trials, and those that no other beats in both."""
    from ablations.search import front

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    best = front(study)
    figure, axis = new_figure(4.0, title)
    axis.plot([t.user_attrs["macs"] / 1e9 for t in done], [t.values[0] for t in done], "o", color=GREY, label="trials")
    start = next((t for t in done if t.number == 0), None)
    if start is not None:
        axis.plot([start.user_attrs["macs"] / 1e9], [start.values[0]], "s", color=GREEN, markersize=9, label="default")
    places = [t.user_attrs["macs"] / 1e9 for t in best]
    axis.plot(places, [t.values[0] for t in best], "o-", color=ORANGE, label="front", drawstyle="steps-post")
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
