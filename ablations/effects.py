"""What each module is worth: differences of arms from the full model, main effects and interactions, from records.

Nothing is trained here; all figures come from stored cells of one comparison key. Arms share seeds, and with a seed
the start of shared modules, the order and the augmentation, so that seeds are resampled in pairs, from three on; the
null arm, the full model under other seeds, is not paired. The unit is the one of `bench.analysis.certainty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablations.matched import BUDGETS, TOLERANCE
from ablations.plans import label, subsets
from bench.analysis.captions import TASKS
from bench.analysis.certainty import Measure, scores_of, unit_column
from bench.analysis.folds import pooled, whole_seeds
from bench.analysis.shown import DEFAULT, Shown, shown_cases
from bench.analysis.statistics import PAIRS, Interval, Scores, contrast, difference, figure
from bench.models.slots import SLOTS
from bench.zoo.registry import parse_model

if TYPE_CHECKING:
    import optuna

NEAR = 0.05  # how far from the full model's budget the nearest reachable may be to count as matched
NULL = "full, other seeds (null)"


@dataclass(frozen=True, eq=False)
class Stored:
    """The arms of one full model in one comparison.

    Attributes:
        cells: a row per scored cell, with `changes` (slot -> filling), `matched` and `label`.
        scores: the rows of cases.csv that count, with `label` and `seed`.
        seeds: the seeds that all arms share. null: the other seeds of the full model.
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
        """The values that all cells share."""
        return pooled(self.cells)

    @property
    def measures(self) -> list[Measure]:
        """The figures of the task, the one that orders rows first."""
        return TASKS[self.first["task"]].measures(self.shown, self.scores)

    @property
    def slug(self) -> str:
        """The beginning of the names of the comparison's tables and figures."""
        return f"{self.first['dataset']}-{self.first['comparison'][:6]}"

    @property
    def model_title(self) -> str:
        """The full model's title, without a config."""
        return self.first["title"].partition(" [")[0]

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
        """An arm's `params`, `macs` or `speed`; nan where no speed was measured."""
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
    cells = cells[named & (cells["version"] == entry.version) & (cells["status"] == "complete")]
    cells = cells.assign(changes=cells["model"].map(lambda name: _changes(name, base)))
    cells = cells[cells["changes"].notna()].sort_values(["dataset", "comparison", "model", "seed"])
    scores = shown_cases(cases, shown)
    comparisons = (_stored(group, scores, shown) for _, group in cells.groupby("comparison", sort=False))
    return [stored for stored in comparisons if stored is not None]


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
    seeds_of: dict[str, frozenset[int]] = {str(name): whole_seeds(group) for name, group in cells.groupby("label")}
    of_arms = [seeds for name, seeds in seeds_of.items() if name != "full"]
    if not of_arms:
        return None
    seeds = max(set(of_arms), key=lambda s: (of_arms.count(s), len(s), sorted(s))) & seeds_of["full"]
    lacking = tuple(sorted(name for name, its_seeds in seeds_of.items() if not seeds <= its_seeds))
    kept = cells[~cells["label"].isin(lacking)]
    if not seeds or kept["label"].nunique() < 2:
        return None
    scores = scores.merge(kept[["key", "label", "seed"]], on="key")
    scores = TASKS[kept["task"].iloc[0]].counted(scores)
    return Stored(kept, scores, tuple(sorted(seeds)), tuple(sorted(seeds_of["full"] - seeds)), lacking, shown)


def _matched(cell: Mapping[Any, Any], full: pd.Series[Any]) -> str:
    """The budget that an arm's widths were scaled to: `params`, `macs`, or `none` where they match neither.

    An arm that matches both is called after its parameters. Blank for widths as they were.
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
    effects = []
    for name in names[:1] + ([NULL] if len(stored.null) > 1 else []) + names[1:]:
        values, gaps = {}, {}
        for measure in stored.measures:
            arm, full = stored.grid(name, measure), stored.grid("full", measure)
            values[measure.name] = measure.figure(arm)
            if name != "full":
                gaps[measure.name] = measure.gap(difference(arm, full, paired_seeds=_paired(stored) and name != NULL))
        effects.append(Effect(name, values, gaps))
    return effects


def factorial_effects(stored: Stored) -> list[Effect]:
    """Main effects and interactions of the three modules, where all eight arms are stored; else an empty list.

    A main effect is the mean of four differences, with the module less without it; an interaction of two half the
    difference between what the one brings with the other and without it, averaged over the third; that of three
    likewise: each is a contrast with coefficients of +-1/4 (Montgomery, Design and Analysis of Experiments, 2^k).
    """
    arms = factorial_arms(stored)
    if arms is None or not _is_enough(stored):
        return []
    effects = []
    for slots in subsets(SLOTS)[1:]:
        weights = {name: (-1) ** len(removed.intersection(slots)) / 4 for removed, name in arms.items()}
        gaps = {}
        for measure in stored.measures:
            grids = {name: stored.grid(name, measure) for name in arms.values()}
            gaps[measure.name] = measure.gap(contrast(grids, weights, paired_seeds=_paired(stored)))
        effects.append(Effect(" x ".join(slots), {}, gaps))
    return effects


def factorial_arms(stored: Stored) -> dict[frozenset[str], str] | None:
    """Removed slots -> label, of all eight subsets; None where one is missing."""
    names = {frozenset(removed): label(dict.fromkeys(removed, "none")) for removed in subsets(SLOTS)}
    return names if set(names.values()) <= set(stored.labels) else None


def importances(stored: Stored) -> dict[str, float]:
    """Optuna's importances of the modules, from the factorial's cells; they sum to 1, and have no sign.

    Evaluator: fANOVA (Hutter et al., ICML 2014), a random forest of a constant seed over presence of modules.
    """
    import optuna

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
    return fanova(study)


def fanova(study: optuna.Study, target: Callable[[optuna.trial.FrozenTrial], float] | None = None) -> dict[str, float]:
    """Parameter -> importance among a study's finished trials, by fANOVA; `target` where there are two objectives."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), target=target)


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
