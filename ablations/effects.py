"""What each module is worth: differences of arms from the full model, main effects and interactions, from records.

Nothing is trained here; all figures come from stored cells of one comparison key. Arms share seeds, and with a seed
the start of shared modules, the order and the augmentation, so that seeds are resampled in pairs, from three on; the
null arm, the full model under other seeds, is not paired. The unit is the one of `bench.analysis.certainty`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ablations.matched import BUDGETS, TOLERANCE
from ablations.plans import label
from bench.analysis.captions import TASKS
from bench.analysis.certainty import Measure, scores_of, unit_column
from bench.analysis.folds import pooled, whole_seeds
from bench.analysis.shown import DEFAULT, Shown, shown_cases
from bench.analysis.statistics import PAIRS, Interval, Scores, contrast, difference, figure
from bench.models.slots import SLOTS
from bench.zoo.registry import parse_model

NEAR = 0.05  # how far from the full model's budget the nearest reachable may be to count as matched
NULL = "full, other seeds (null)"


@dataclass(frozen=True, eq=False)
class Stored:
    """The arms of one full model in one comparison.

    Attributes:
        cells: a row per scored cell, with `changes` (slot -> filling), `matched` and `label`.
        scores: the rows of cases.csv that count, with `label` and `seed`.
        seeds: those that all arms share. null: the full model's others.
        incomplete: labels of arms that lack some of the seeds; they are left out.
        shown: which of the stored figures.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    seeds: tuple[int, ...]
    null: tuple[int, ...]
    incomplete: tuple[str, ...]
    shown: Shown = DEFAULT

    @property
    def first(self) -> pd.Series[Any]:
        """What all cells share."""
        return pooled(self.cells)

    @property
    def measures(self) -> list[Measure]:
        """The figures of the task, the one that orders rows first."""
        return TASKS[self.first["task"]].measures(self.shown, self.scores)

    @property
    def labels(self) -> list[str]:
        """The arms, the full model first, then by number of changes."""
        arms = self.cells.drop_duplicates("label")
        order = sorted(zip(arms["matched"], arms["changes"].map(len), arms["label"], strict=True))
        return [name for _, _, name in order]

    def grid(self, name: str, measure: Measure) -> Scores:
        """An arm's scores; the null arm's under `NULL`."""
        seeds = self.null if name == NULL else self.seeds
        rows = self.scores[self.scores["label"] == ("full" if name == NULL else name)]
        return scores_of(rows[rows["seed"].isin(seeds)], measure)

    def cost(self, name: str, column: str) -> float:
        """Of an arm: `params`, `macs` or `speed`."""
        rows = self.cells[self.cells["label"] == ("full" if name == NULL else name)]
        return float(rows[column].astype(float).mean()) if column in rows else float("nan")


@dataclass(frozen=True)
class Effect:
    """A row of an ablation.

    Attributes:
        name: the arm, or the effect (`sem`, `laffn x sem`).
        values: measure's name -> figure with its interval; none for an effect.
        gaps: measure's name -> the arm less the full model, or the effect; none for the full model.
    """

    name: str
    values: Mapping[str, Interval]
    gaps: Mapping[str, Interval]


def stored_arms(
    cells: pd.DataFrame, cases: pd.DataFrame, model: str = "mednext_tiny", shown: Shown = DEFAULT
) -> list[Stored]:
    """The ablations of a model that are stored, one per comparison key that holds the full model and an arm.

    Args:
        cells, cases: as `bench.records.store.load_cells` and `load_cases` give them.
        model: the full model; its newest version counts.
        shown: which of the stored figures.
    """
    if cells.empty:
        return []
    entry, base = parse_model(model)
    named = cells["model"].map(lambda name: name.partition("[")[0] == entry.name)
    own = cells[named & (cells["version"] == entry.version) & (cells["status"] == "complete")]
    own = own.assign(changes=own["model"].map(lambda name: _changes(name, base)))
    own = own[own["changes"].notna()].sort_values(["dataset", "comparison", "model", "seed"])
    scores = shown_cases(cases, shown)
    found = (_stored(group, scores, shown) for _, group in own.groupby("comparison", sort=False))
    return [arms for arms in found if arms is not None]


def _changes(name: str, base: Mapping[str, Any]) -> dict[str, str] | None:
    """Slot -> filling where a config differs from the full one's; None where more differs than slots and widths."""
    _, config = parse_model(name)
    differing = {key for key in config if config[key] != base[key]}
    slots = {slot: config[slot] for slot in SLOTS if slot in differing}
    if differing - set(SLOTS) - {"widths"} or ("widths" in differing and not slots):
        return None
    return slots


def _stored(cells: pd.DataFrame, scores: pd.DataFrame, shown: Shown) -> Stored | None:
    full = cells[cells["changes"].map(len) == 0]
    if full.empty or len(full) == len(cells):
        return None
    cells = cells.assign(matched=[_matched(row, full.iloc[0]) for row in cells.to_dict("records")])
    cells = cells[cells["matched"] != "none"]
    cells = cells.assign(label=[label(c, m) for c, m in zip(cells["changes"], cells["matched"], strict=True)])
    sets: dict[str, frozenset[int]] = {str(name): whole_seeds(group) for name, group in cells.groupby("label")}
    arms = [seeds for name, seeds in sets.items() if name != "full"]
    if not arms:
        return None
    seeds = max(set(arms), key=lambda s: (arms.count(s), len(s), sorted(s))) & sets["full"]
    lacking = tuple(sorted(name for name, own in sets.items() if not seeds <= own))
    kept = cells[~cells["label"].isin(lacking)]
    if len(seeds) == 0 or kept["label"].nunique() < 2:
        return None
    scores = scores.merge(kept[["key", "label", "seed"]], on="key")
    scores = TASKS[kept["task"].iloc[0]].counted(scores)
    return Stored(kept, scores, tuple(sorted(seeds)), tuple(sorted(sets["full"] - seeds)), lacking, shown)


def _matched(cell: Mapping[Any, Any], full: pd.Series[Any]) -> str:
    """`params` or `macs` for an arm whose widths were scaled to the full model's budget; `none`: to neither.

    One that has both is called after its parameters.
    """
    if "widths=" not in cell["model"] or not cell["changes"]:
        return ""
    gaps = {budget: abs(cell[budget] / full[budget] - 1) for budget in BUDGETS}
    within = [budget for budget in BUDGETS if gaps[budget] <= TOLERANCE]
    nearest = within[0] if within else min(gaps, key=lambda budget: gaps[budget])
    return nearest if gaps[nearest] <= NEAR else "none"


def arm_effects(stored: Stored) -> list[Effect]:
    """The full model, the null arm, then each arm with its difference from the full model.

    With one seed, or one unit, there is no interval: the list is empty.
    """
    if not _is_enough(stored):
        return []
    names = stored.labels
    found = []
    for name in names[:1] + ([NULL] if len(stored.null) > 1 else []) + names[1:]:
        values, gaps = {}, {}
        for measure in stored.measures:
            own, full = stored.grid(name, measure), stored.grid("full", measure)
            values[measure.name] = measure.figure(own)
            if name != "full":
                gaps[measure.name] = measure.gap(difference(own, full, paired_seeds=_paired(stored) and name != NULL))
        found.append(Effect(name, values, gaps))
    return found


def factorial_effects(stored: Stored) -> list[Effect]:
    """Main effects and interactions of the three modules, where all eight arms are stored; else an empty list.

    A main effect is the mean of four differences, with the module less without it; an interaction of two half the
    difference between what the one brings with the other and without it, averaged over the third; that of three
    likewise: each is a contrast with coefficients of +-1/4 (Montgomery, Design and Analysis of Experiments, 2^k).
    """
    arms = factorial_arms(stored)
    if arms is None or not _is_enough(stored):
        return []
    found = []
    for size in range(1, len(SLOTS) + 1):
        for slots in itertools.combinations(SLOTS, size):
            weights = {name: _sign(slots, removed) / 4 for removed, name in arms.items()}
            gaps = {}
            for measure in stored.measures:
                grids = {name: stored.grid(name, measure) for name in arms.values()}
                gaps[measure.name] = measure.gap(contrast(grids, weights, paired_seeds=_paired(stored)))
            found.append(Effect(" x ".join(slots), {}, gaps))
    return found


def factorial_arms(stored: Stored) -> dict[frozenset[str], str] | None:
    """Removed slots -> label, of all eight subsets; None where one is missing."""
    subsets = [frozenset(s) for n in range(len(SLOTS) + 1) for s in itertools.combinations(SLOTS, n)]
    names = {removed: label({slot: "none" for slot in SLOTS if slot in removed}) for removed in subsets}
    return names if set(names.values()) <= set(stored.labels) else None


def importances(stored: Stored) -> dict[str, float]:
    """Optuna's importances of the modules, from the factorial's cells; they sum to 1, and have no sign.

    Evaluator: fANOVA (Hutter et al., ICML 2014), a random forest of a constant seed over presence of modules.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    arms = factorial_arms(stored)
    if arms is None:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    is_there = optuna.distributions.CategoricalDistribution([True, False])
    present: dict[str, optuna.distributions.BaseDistribution] = dict.fromkeys(SLOTS, is_there)
    for removed, name in arms.items():
        for value in run_figures(stored, name):
            params = {slot: slot not in removed for slot in SLOTS}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=present, value=value))
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def run_figures(stored: Stored, name: str) -> list[float]:
    """The main figure of each of an arm's runs, in the order of seeds."""
    grid = stored.grid(name, stored.measures[0])
    return [figure(Scores(grid.sums[i : i + 1], grid.counts[i : i + 1])) for i in range(len(grid.sums))]


def cost_per_point(stored: Stored, effect: Effect) -> tuple[float, float] | None:
    """What the removed modules cost per point of the main figure that they bring: params, MACs of one image.

    None for swaps, matched arms, and where the arm without them is as good or better: they bring nothing.
    """
    changes: dict[str, str] = next(iter(stored.cells.loc[stored.cells["label"] == effect.name, "changes"]), {})
    is_removal = bool(changes) and set(changes.values()) == {"none"} and "matched" not in effect.name
    brought = -effect.gaps[stored.measures[0].name].value if effect.gaps else 0.0
    if not is_removal or brought <= 0:
        return None
    saved = {c: stored.cost("full", c) - stored.cost(effect.name, c) for c in ("params", "macs")}
    return saved["params"] / brought, saved["macs"] / brought


def _is_enough(stored: Stored) -> bool:
    return len(stored.seeds) > 1 and stored.scores[unit_column(stored.scores)].nunique() > 1


def _paired(stored: Stored) -> bool:
    return len(stored.seeds) >= PAIRS


def _sign(slots: Sequence[str], removed: frozenset[str]) -> int:
    """+1 or -1: the product over the effect's slots of +1 where the module is there, -1 where it is removed."""
    sign = 1
    for slot in slots:
        sign *= -1 if slot in removed else 1
    return sign
