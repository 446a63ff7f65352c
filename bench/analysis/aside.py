"""What a results table sets aside, and says so: arms of ablations, and seeds that only some rows have."""

from __future__ import annotations

import re
from collections.abc import Collection

import pandas as pd

from bench.analysis.folds import whole_seeds_of_models

ARM_FIELDS = {"laffn", "sem", "sdffn", "widths"}  # what an arm's config differs in: slots, and widths where matched


def set_aside(cells: pd.DataFrame, kept: Collection[str] | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The cells of one comparison that its table shows, and footnotes on the others; versions are named on the way.

    Arms go first, since they are known by the bare names of models; then each of several versions becomes a row of its
    own; then seeds go, which are counted by row. A null arm's seeds would make every other row lack seeds.

    Args:
        kept: models to show whatever they are, by their bare names; None: every model.
    """
    beyond = _beyond_arms(cells)
    cells, notes = without_arms(cells, kept)
    cells, notes_on_seeds = _without_further_seeds(name_versions(cells), beyond)
    return cells, (*notes, *notes_on_seeds)


def without_arms(cells: pd.DataFrame, kept: Collection[str] | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The cells of one comparison but for the arms of ablations, and a footnote on these.

    Arms, the proposed model with other slots beside the model itself, are compared by `medbench ablate show`, with
    the statistics of pairs.

    Args:
        cells: models under their bare names. kept: as in `set_aside`.
    """
    if kept is None:
        return cells, ()
    is_arm = are_arms(cells) & ~cells["model"].isin(list(kept))
    count = cells.loc[is_arm, "model"].nunique()
    note = f"Not shown: {count} arms of ablations (medbench ablate show, medbench report --arms)."
    return cells[~is_arm], (note,) * bool(count)


def are_arms(cells: pd.DataFrame) -> pd.Series[bool]:
    """Which cells are of an arm whose full model is there too."""
    plain = cells["model"].str.split("[").str[0]
    is_arm = (cells["family"] == "proposed") & (plain != cells["model"]) & plain.isin(cells["model"])
    return is_arm & cells["model"].map(lambda name: set(re.findall(r"(\w+)=", name)) <= ARM_FIELDS).astype(bool)


def _beyond_arms(cells: pd.DataFrame) -> pd.Series[bool]:
    """Which cells are of a full model, under a seed that none of its arms has: a null arm's, maybe."""
    is_arm, plain = are_arms(cells), cells["model"].str.split("[").str[0]
    of_arms = {key: set(own["seed"]) for key, own in cells[is_arm].groupby([plain[is_arm], "version"])}
    keys = zip(cells["model"], cells["version"], cells["seed"], strict=True)
    beyond = [(name, version) in of_arms and seed not in of_arms[name, version] for name, version, seed in keys]
    return pd.Series(beyond, cells.index, dtype=bool)


def name_versions(cells: pd.DataFrame) -> pd.DataFrame:
    """Where a comparison holds several versions of a model, each is a row of its own that names its version.

    So do all configs of such a model, `net[width=8]` too.
    """
    plain = cells["model"].str.split("[").str[0]
    several = cells.groupby([cells["comparison"], plain])["version"].transform("nunique") > 1
    suffix = cells["version"].map(" v{}".format).where(several, "")
    return cells.assign(model=cells["model"] + suffix, title=cells["title"] + suffix)


def _without_further_seeds(cells: pd.DataFrame, beyond: pd.Series[bool]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The cells without seeds that a row has beyond those of most rows, and a footnote on these."""
    seeds = common_seeds(cells, beyond)
    further = cells[~cells["seed"].isin(seeds) & cells["model"].isin(models_with(seeds, cells))]
    if further.empty or not seeds:
        return cells, ()
    shown = "; ".join(
        f"{rows['title'].iloc[0]} {', '.join(map(str, sorted(set(rows['seed']))))}"
        for _, rows in further.groupby("model")
    )
    return cells.drop(further.index), (f"Seeds that not all rows have are left out: {shown}.",)


def models_with(seeds: frozenset[int], cells: pd.DataFrame) -> list[str]:
    """The models that have these seeds, of a cross-validation with all their folds."""
    return [model for model, own in whole_seeds_of_models(cells).items() if seeds <= own]


def common_seeds(cells: pd.DataFrame, beyond: pd.Series[bool] | None = None) -> frozenset[int]:
    """The set of seeds that most rows have, chance aside; of sets as common the larger, then the lowest.

    Of a cross-validation a row has a seed where it has all its folds.

    Args:
        beyond: which cells a row may do without (`_beyond_arms`): it counts for its set without these as well, and for
            each set between the two.
    """
    rows = cells[(cells["family"] != "chance") & (cells["status"] == "complete")]
    found = {model: seeds for model, seeds in whole_seeds_of_models(rows).items() if seeds}
    fewer = whole_seeds_of_models(rows if beyond is None else rows[~beyond.loc[rows.index]])
    least = {model: fewer.get(model) or seeds for model, seeds in found.items()}

    def held(seeds: frozenset[int]) -> int:
        return sum(least[model] <= seeds <= own for model, own in found.items())

    sets = {*found.values(), *least.values()}
    return max(sets, key=lambda s: (held(s), len(s), [-seed for seed in sorted(s)]), default=frozenset())
