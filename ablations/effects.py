"""What each module, or value of a config, is worth: arms less the full model, main effects, interactions, from records.

Nothing is trained here; all figures come from stored cells of one comparison key. Arms share seeds, and with a seed
the start of shared modules, the order and the augmentation, so that seeds are resampled in pairs, from three on; the
null arm, the full model under other seeds, is not paired. The unit is the one of `bench.analysis.certainty`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablations.labels import Space, labelled
from ablations.outcomes import LOST, without_table
from ablations.plans import REMOVED, fields_of, label, named_fields, slots_in, subsets, width_field
from bench.analysis.captions import TASKS
from bench.analysis.certainty import Measure, scores_of, unit_column
from bench.analysis.folds import pooled, whole_seeds
from bench.analysis.shown import DEFAULT, Shown, shown_cases
from bench.analysis.statistics import PAIRS, Interval, Scores, contrast, difference, figure
from bench.records.filenames import file_name
from bench.zoo.registry import parse_model

if TYPE_CHECKING:
    import optuna

NULL = "full, other seeds (null)"
MOST_FACTORS = 6
DEFAULT_MODEL = "mednext_tiny"


@dataclass(frozen=True, eq=False)
class Stored:
    """The arms of one full model in one comparison.

    Attributes:
        cells: a row per scored cell, with `changes` (field -> value), `matched` and `label`.
        scores: the rows of cases.csv that count, with `label` and `seed`.
        seeds: the seeds that all arms share. null: the other seeds of the full model.
        incomplete: labels of arms that lack some of the seeds; they are left out.
        outcomes: a row per cell of every status, diverged and failed ones too, with `label`.
        fields: of the config, in its order, in which arms may differ. slots: those of them that are slots.
        named: those that the user named as arms: of several factorials theirs counts.
        shown: which of the stored figures.
        unshown: label -> scored seeds of an arm that others lack.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    seeds: tuple[int, ...]
    null: tuple[int, ...]
    incomplete: tuple[str, ...]
    outcomes: pd.DataFrame
    fields: tuple[str, ...]
    slots: tuple[str, ...]
    named: frozenset[str] = frozenset()
    shown: Shown = DEFAULT
    unshown: Mapping[str, frozenset[int]] = field(default_factory=dict)

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
        """The beginning of the names of the comparison's tables and figures; the default's name is left out."""
        name = "" if self.full["model"] == DEFAULT_MODEL else f"-{file_name(self.full['model'])}"
        return f"{self.first['dataset']}-{self.first['comparison'][:6]}{name}"

    @property
    def full(self) -> pd.Series[Any]:
        """A cell of the full model."""
        return self.cells[self.cells["changes"].map(len) == 0].iloc[0]

    @property
    def model_title(self) -> str:
        """The full model's title, with the config by which it differs from its own default."""
        return str(self.full["title"])

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
    cells: pd.DataFrame,
    cases: pd.DataFrame,
    model: str = "mednext_tiny",
    shown: Shown = DEFAULT,
    arms: Sequence[str] = (),
) -> list[Stored]:
    """The ablations of a model that are stored, one per comparison key that holds the full model and an arm.

    Args:
        cells, cases: as `bench.records.store.load_cells` and `load_cases` give them.
        model: the full model; its newest version counts.
        shown: which of the stored figures.
        arms: of a plan, `width=16`: a model with slots has arms that differ in these fields too.
    """
    return arms_and_notes(cells, cases, model, shown, arms)[0]


def arms_and_notes(
    cells: pd.DataFrame,
    cases: pd.DataFrame,
    model: str,
    shown: Shown = DEFAULT,
    arms: Sequence[str] = (),
    widen: str | None = None,
) -> tuple[list[Stored], tuple[str, ...]]:
    """As `stored_arms`; and a line on each comparison of which too many cells diverged or failed to show any.

    Args:
        widen: the field that matched arms were widened by, where that is not the network's own.
    """
    if cells.empty:
        return [], ()
    entry, base = parse_model(model)
    space = Space(entry, base, fields_of(entry, arms), width_field(entry, widen), named_fields(arms))
    named = cells["model"].map(lambda name: name.partition("[")[0] == entry.name)
    cells = cells[named & (cells["version"] == entry.version) & cells["status"].isin(["complete", *LOST])]
    cells = cells.assign(changes=cells["model"].map(space.changes))
    cells = cells[cells["changes"].notna()].sort_values(["dataset", "comparison", "model", "seed"])
    scores, found, notes = shown_cases(cases, shown), list[Stored](), list[str]()
    for _, group in cells.groupby("comparison", sort=False):
        full = group[group["changes"].map(len) == 0]
        if full.empty or len(full) == len(group):
            continue
        of_arms = labelled(group, full.iloc[0], space)
        if stored := _stored(of_arms, scores, shown, space):
            found.append(stored)
        elif note := without_table(of_arms):
            notes.append(note)
    return found, tuple(notes)


def _stored(outcomes: pd.DataFrame, scores: pd.DataFrame, shown: Shown, space: Space) -> Stored | None:
    """The arms of one comparison over the seeds that most of them have; None where there is nothing to compare.

    A seed that arms were tried under is none of the null arm's, though their cells of it diverged or failed. Where no
    arm is scored, the full model stands alone.
    """
    cells = outcomes[outcomes["status"] == "complete"]
    tried = {str(name): whole_seeds(group) for name, group in outcomes.groupby("label")}
    scored = {name: whole_seeds(cells[cells["label"] == name]) for name in tried}
    arms = [name for name in tried if name != "full"]
    if not arms:
        return None
    paired = _most_common([tried[name] for name in arms])
    seeds = _most_common([scored[name] for name in arms if scored[name]] or [paired]) & scored["full"]
    if not seeds:
        return None
    lacking = tuple(sorted(name for name in tried if not seeds <= scored[name]))
    unshown = {name: scored[name] - seeds for name in arms if name not in lacking and scored[name] - seeds}
    kept = cells[~cells["label"].isin(lacking)]
    scores = scores.merge(kept[["key", "label", "seed"]], on="key")
    scores = TASKS[kept["task"].iloc[0]].counted(scores)
    null = tuple(sorted(scored["full"] - seeds.union(*(tried[name] for name in arms))))
    slots = tuple(slots_in(space.entry))
    in_order = tuple(sorted(seeds))
    beside = (outcomes, space.fields, slots, space.named, shown, unshown)
    return Stored(kept, scores, in_order, null, lacking, *beside)


def _most_common(sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """The seeds that most arms have; of equally many the larger set."""
    return max(set(sets), key=lambda seeds: (sets.count(seeds), len(seeds), sorted(seeds)))


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
    """Main effects and interactions of the modules, or fields, of which all arms are stored; else an empty list.

    A main effect is the mean of the differences, with the module less without it (the full model's value less the
    arm's); an interaction of two half the difference between what the one brings with the other and without it,
    averaged over the rest; that of three likewise: of k factors each is a contrast with coefficients of +-1/2^(k-1)
    (Montgomery, Design and Analysis of Experiments, 2^k).
    """
    arms = factorial_arms(stored)
    if arms is None or not _is_enough(stored):
        return []
    effects = []
    factors = factors_of(arms)
    for fields in subsets(factors)[1:]:
        share = 2 ** (len(factors) - 1)
        weights = {name: (-1) ** len(changed.intersection(fields)) / share for changed, name in arms.items()}
        gaps = {}
        for measure in stored.measures:
            grids = {name: stored.grid(name, measure) for name in arms.values()}
            gaps[measure.name] = measure.gap(contrast(grids, weights, paired_seeds=_paired(stored)))
        effects.append(Effect(" x ".join(fields), {}, gaps))
    return effects


def without_effects(stored: Stored) -> list[str]:
    """A line where a factorial was asked for and no table of its effects can be made, though its arms are shown."""
    if factorial_arms(stored) is not None:
        return []
    what = f"unmatched arms of 2 to {MOST_FACTORS} fields, each with one value, and all of their combinations"
    return [f"No table of effects for {stored.first['dataset']}: it takes {what}."]


def factorial_arms(stored: Stored) -> dict[frozenset[str], str] | None:
    """Changed fields -> label, of all subsets of the slots, removed, or of other fields; None where one is missing.

    Of other fields that of the named ones counts, else the largest that is stored, of two fields or more, one value
    each.
    """
    singles = [next(iter(changes.items())) for changes in _unmatched(stored) if len(changes) == 1]
    if stored.slots and {field for field, _ in singles} <= set(stored.slots):
        return _whole(stored, [(slot, "none") for slot in stored.slots])
    singles = sorted(set(singles), key=lambda change: (stored.fields.index(change[0]), change[1]))
    sizes = range(min(len(singles), MOST_FACTORS), 1, -1)
    subsets_of_changes = [chosen for size in sizes for chosen in itertools.combinations(singles, size)]
    subsets_of_changes.sort(key=lambda chosen: {field for field, _ in chosen} != stored.named)
    for chosen in subsets_of_changes:
        if len(dict(chosen)) == len(chosen) and (arms := _whole(stored, chosen)) is not None:
            return arms
    return None


def factors_of(arms: Mapping[frozenset[str], str]) -> list[str]:
    """The fields of a factorial, in the order of the config."""
    return [next(iter(changed)) for changed in arms if len(changed) == 1]


def values_of(stored: Stored) -> dict[str, str]:
    """Field -> the value that it has in the changed arms of the stored factorial."""
    names = set((factorial_arms(stored) or {}).values())
    arms = zip(stored.cells["changes"], stored.cells["label"], strict=True)
    return {field: value for changes, name in arms if name in names for field, value in changes.items()}


def _unmatched(stored: Stored) -> list[dict[str, str]]:
    return list(stored.cells.loc[stored.cells["matched"] == "", "changes"])


def _whole(stored: Stored, changes: Sequence[tuple[str, str]]) -> dict[frozenset[str], str] | None:
    """Changed fields -> label of every subset of changes; None where one is not stored."""
    if label(dict(changes)) not in stored.labels:
        return None
    names = {frozenset(dict(subset)): label(dict(subset)) for subset in subsets(changes)}
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
    factors = factors_of(arms)
    present: dict[str, optuna.distributions.BaseDistribution] = dict.fromkeys(factors, is_there)
    for removed, name in arms.items():
        for value in run_figures(stored, name):
            params = {factor: factor not in removed for factor in factors}
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
    is_removal = bool(changes) and set(changes.values()) <= set(REMOVED) and "matched" not in effect.name
    brought = -effect.gaps[stored.measures[0].name].value if effect.gaps else 0.0
    if not is_removal or brought <= 0:
        return None
    saved = {c: stored.cost("full", c) - stored.cost(effect.name, c) for c in ("params", "macs")}
    return saved["params"] / brought, saved["macs"] / brought


def _is_enough(stored: Stored) -> bool:
    return len(stored.seeds) > 1 and stored.scores[unit_column(stored.scores)].nunique() > 1


def _paired(stored: Stored) -> bool:
    return len(stored.seeds) >= PAIRS
