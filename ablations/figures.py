"""Ablations as figures, PNG and PDF: effects with intervals, interactions, the front of a search, importances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablations.effects import NULL, Stored, arm_effects, factorial_arms, factorial_effects, run_figures
from bench.errors import UserError
from bench.models.slots import SLOTS

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour-blind.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
RASTER = 200  # dots an inch of the PNG


def draw_ablation(stored: Stored, folder: Path) -> list[Path]:
    """The figures of one comparison: effects of arms, and of the factorial with its interactions."""
    name = f"{stored.first['dataset']}-{stored.first['comparison'][:6]}"
    drawn = [(f"{name}-arms", _arms(stored)), (f"{name}-factorial", _factorial(stored))]
    drawn.append((f"{name}-interactions", _interactions(stored)))
    return [path for stem, figure in drawn if figure is not None for path in save(figure, folder / stem)]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG and PDF, without a date in them. Raises UserError where it cannot be written."""
    paths = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], dpi=RASTER, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"CreationDate": None, "Producer": None, "Creator": None})
    except OSError as error:
        raise UserError(f"Cannot write {stem}.png: {error.strerror}. Name another folder with --output.") from None
    return paths


def _new(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _title(stored: Stored) -> str:
    first = stored.first
    source = "PHANTOM images" if first["source"] == "phantom" else f"{first['source']} images"
    title = first["title"].partition(" [")[0]
    return f"{title}, {first['dataset']}, {source}, {first['preset']}, seeds {', '.join(map(str, stored.seeds))}"


def _forest(stored: Stored, rows: Sequence[tuple[str, Any, str]], label: str) -> Figure:
    """Rows (name, interval, colour) as points with bars about a line at 0."""
    figure, (axis,) = _new(7.0, 1.3 + 0.34 * len(rows))
    for place, (_, gap, colour) in enumerate(rows):
        axis.plot([gap.low, gap.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axis.plot([gap.value], [place], "o", color=colour, markersize=6)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    axis.set_xlabel(label)
    figure.suptitle(_title(stored), fontsize=9)
    return figure


def _arms(stored: Stored) -> Figure | None:
    measure = stored.measures[0]
    effects = [effect for effect in arm_effects(stored) if effect.gaps]
    if not effects:
        return None
    rows = [(e.name, e.gaps[measure.name], GREY if e.name == NULL else BLUE) for e in effects]
    return _forest(stored, rows, f"{measure.name}, arm less full model, 95 % interval (two-way bootstrap)")


def _factorial(stored: Stored) -> Figure | None:
    measure = stored.measures[0]
    effects = factorial_effects(stored)
    if not effects:
        return None
    rows = [(e.name, e.gaps[measure.name], ORANGE if " x " in e.name else BLUE) for e in effects]
    return _forest(stored, rows, f"{measure.name}, main effects and interactions, 95 % interval")


def _interactions(stored: Stored) -> Figure | None:
    """A panel for each pair of modules: the mean over runs and over the third module, a point for each seed."""
    arms = factorial_arms(stored)
    if arms is None:
        return None
    runs = {removed: np.array(run_figures(stored, name)) for removed, name in arms.items()}
    figure, axes = _new(9.0, 3.2, 3, sharey=True)
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
        axis.set_xticks([0, 1], [f"without\n{one}", f"with\n{one}"])
        axis.set_xlim(-0.3, 1.3)
        axis.legend(title=other, frameon=False, fontsize=8, title_fontsize=8)
        axis.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes[0].set_ylabel(stored.measures[0].name)
    figure.suptitle(f"{_title(stored)}; faint: each seed", fontsize=9)
    return figure


def draw_front(study: optuna.Study, title: str, folder: Path, name: str) -> list[Path]:
    """Validation score over MACs of all finished trials, and those that no other beats in both."""
    from ablations.search import front

    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    best = front(study)
    figure, (axis,) = _new(6.0, 4.0)
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
    figure.suptitle(title, fontsize=9)
    return save(figure, folder / f"{name}-front")


def draw_importances(shares: Mapping[str, float], title: str, folder: Path, name: str) -> list[Path]:
    """Importances as bars, the largest on top."""
    figure, (axis,) = _new(6.0, 1.2 + 0.24 * len(shares))
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axis.barh([key for key, _ in ordered], [value for _, value in ordered], color=BLUE)
    axis.set_xlabel("importance (Optuna, fANOVA)")
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    figure.suptitle(title, fontsize=9)
    return save(figure, folder / f"{name}-importances")
