"""The claims checklist that each table ends with: what a reviewer would ask, answered from the records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.certainty import Certainty
from bench.analysis.convergence import converged_words
from bench.analysis.folds import fold_count, whole_seeds_of_models
from bench.analysis.shown import DEFAULT, Shown
from bench.datasets.splits.grouping import UNKNOWN

PROVENANCE = {"device": "device", "cpu": "CPU", "torch": "torch", "commit": "commit"}
FEW = 3  # seeds, below which a table says that they are few

RECONSTRUCTED = "(reconstr.)"  # in the titles of networks that are


def checklist(
    first: pd.Series[Any],
    cells: pd.DataFrame,
    titles: dict[str, str],
    ranked: pd.Series[Any],
    sure: Certainty,
    shown: Shown = DEFAULT,
) -> tuple[str, ...]:
    """Question and answer, a line each.

    Args:
        first: what all cells share (`bench.analysis.folds.pooled`).
        cells: all of one comparison. titles, ranked: of each model in it. sure: its intervals.
        shown: which of the stored figures.
    """
    return (
        f"Weights selected on validation data? {_selection(shown)}",
        f"Equal tuning? {_tuning(first, cells, titles)}",
        f"Converged? {converged_words(first, cells, titles, shown)}",
        f"Pretraining? {'yes, see the footnote' if pd.notna(first.get('init')) else 'none'}",
        f"Reduced width? {_names(cells, titles, cells['reduced_from'].notna())}",
        f"Reconstructed? {_names(cells, titles, cells['title'].str.contains(RECONSTRUCTED, regex=False))}",
        f"Real images, whole split? {_split(first)}",
        f"Leak? {_leak(first, sure)}",
        f"Seeds? {_seeds(cells, titles, ranked)}",
        f"Same machine and code? {_machine(cells)}",
        *_uncommitted(cells, titles),
        f"Told apart? {_told_apart(sure, cells)}",
    )


def _selection(shown: Shown) -> str:
    return "no: the last step's" if (shown.weights or "").endswith("last") else "yes, the best validation score"


def _tuning(first: pd.Series[Any], cells: pd.DataFrame, titles: dict[str, str]) -> str:
    tuned = first.get("tuned")
    if not isinstance(tuned, dict):
        return "one recipe for all, nothing tuned per model"
    if "grid" not in tuned:
        return f"yes, {tuned['trials']} trials of rate and decay for each, on validation data"
    networks = cells[(cells["family"] != "chance") & (cells["params"] > 0)]
    if networks.empty:
        return "nothing to tune: no network is trained"
    chosen = networks["tuned"].map(lambda own: isinstance(own, dict) and bool(own.get("chosen"))).astype(bool)
    if chosen.all():
        return "yes, a rate from one grid for each, chosen once for the task on folds of a training part"
    if not chosen.any():
        return "one rate for all, none chosen from the grid"
    return f"no: a rate of the grid was not chosen for {_names(networks, titles, ~chosen)}"


def _names(cells: pd.DataFrame, titles: dict[str, str], chosen: pd.Series[Any]) -> str:
    return ", ".join(cells.loc[chosen, "model"].map(titles).unique()) or "none"


def _split(first: pd.Series[Any]) -> str:
    if first["source"] != "real":
        return f"no: {first['source']} images"
    return "no: partial" if first["partial"] else "yes"


def _leak(first: pd.Series[Any], sure: Certainty) -> str:
    """Whether the split is flagged, and what share of the test cases training has seen, as far as it is known."""
    shares = first.get("split_leak")
    words = {"patient": "the same patient or subject", "near_duplicate": "a near-duplicate, or a chain of such,"}
    recorded = shares if isinstance(shares, dict) else {}
    known = {words[kind]: recorded[kind] for kind in words if recorded.get(kind) is not None}
    audited = first.get("audit_near")
    if audited is not None and pd.notna(audited):
        known["a near-duplicate, turned or mirrored ones counted (audit),"] = float(audited)
    text = " and ".join(f"{100 * share:.1f} % have {what}" for what, share in known.items())
    figure = f"of the test cases {text} in training" if text else "share not recorded"
    chosen_on = recorded.get("validation") or 0.0
    if chosen_on:
        figure += f"; {100 * chosen_on:.1f} % have patient, image or its like in validation, which chooses weights"
    if pd.notna(first.get("split_flag")):
        return f"yes: {first['split_flag']}; {figure}"
    unknown = "" if sure.patients_known else f", {UNKNOWN}"
    some = chosen_on > 0 or any(share > 0 for share in known.values())
    return f"{'some' if some else 'none known'}: split {first['split']}{unknown}; {figure}"


def _seeds(cells: pd.DataFrame, titles: dict[str, str], ranked: pd.Series[Any]) -> str:
    complete = trained(cells)[trained(cells)["status"] == "complete"]
    counts = pd.Series({model: len(own) for model, own in whole_seeds_of_models(complete).items()}, dtype=int)
    networks = {*cells.loc[cells["family"] != "chance", "model"].unique()}
    lacking = [titles[model] for model in ranked.index[~ranked] if model in networks]
    folds = f" of {fold_count(cells)} folds each" if fold_count(cells) else ""
    most = f"{counts.max()}{folds}" if len(counts) else "none"
    tells = "only large differences are told apart" if len(counts) and counts.max() > 1 else "nothing is told apart"
    few = f" (fewer than {FEW}: {tells})" if not len(counts) or counts.max() < FEW else ""
    return f"{most}{few}" + (f"; fewer: {', '.join(lacking)}" if lacking else "")


def trained(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells without those of chance, whose answer no machine changes; all of them where there are no others."""
    networks = cells[cells["family"] != "chance"]
    return networks if len(networks) else cells


def _machine(cells: pd.DataFrame) -> str:
    """What of device, CPU, torch and commit differs between runs, its values where they are few; what is unknown."""
    cells = trained(cells)
    differ, lacking = [], [label for name, label in PROVENANCE.items() if cells[name].isna().all()]
    for name, label in PROVENANCE.items():
        cut = 7 if name == "commit" else None
        values = sorted({"unknown" if pd.isna(value) else str(value)[:cut] for value in cells[name].unique()})
        if len(values) > 1:
            shown = ", ".join(values) if len(values) <= 3 else f"{len(values)} of them"
            differ.append(f"{label} ({shown})")
    unknown = f"; not recorded: {', '.join(lacking)}" if lacking else ""
    return f"no: runs differ in {', '.join(differ)}{unknown}" if differ else f"yes{unknown}"


def _uncommitted(cells: pd.DataFrame, titles: dict[str, str]) -> tuple[str, ...]:
    """A line where code ran that differs from the commit recorded; none where all ran as committed."""
    changed = cells.get("dirty", pd.Series(None, cells.index, dtype=object)).eq(True)
    rows = _names(cells, titles, changed)
    return (f"Code as committed? no: uncommitted changes in {rows}",) if changed.any() else ()


def _told_apart(sure: Certainty, cells: pd.DataFrame) -> str:
    """From which models the reference is told apart: those whose difference from it excludes 0."""
    if not sure.reference:
        return sure.caption
    if not sure.gaps:
        folds = " and folds" if fold_count(cells) else ""
        return f"nothing to tell {sure.reference} from: it is the one network with all seeds{folds}"
    apart = [title for title, gap in sure.gaps.items() if gap.excludes_zero]
    rest = [title for title in sure.gaps if title not in apart]
    return f"{sure.reference} from: {', '.join(apart) or 'none'}; not from: {', '.join(rest) or 'none'}"
