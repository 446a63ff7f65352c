"""Tables of what could be run: a plan's cells with the hours to come, and the registered models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.errors import unknown
from bench.runs.protocol import PRESETS
from bench.zoo.registry import model_entry, model_names

if TYPE_CHECKING:
    from bench.cost.published import Check
    from bench.runs.estimate import PlannedCell


def plan_sheets(cells: list[PlannedCell], jobs: int = 1) -> list[Sheet]:
    """A table for each dataset."""
    of_dataset: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        of_dataset.setdefault(cell.job.cell.dataset_label, []).append(cell)
    return [_plan_sheet(planned, jobs) for planned in of_dataset.values()]


def plan_total(cells: list[PlannedCell], jobs: int = 1) -> list[str]:
    """A line with the total where there are several datasets."""
    datasets = {cell.job.cell.dataset_label for cell in cells}
    return [f"All {len(datasets)} datasets: {_progress(cells, jobs)}"] if len(datasets) > 1 else []


def _progress(cells: list[PlannedCell], jobs: int) -> str:
    total, done = sum(cell.seconds for cell in cells), sum(cell.state == "done" for cell in cells)
    return f"{done} of {len(cells)} cells done, about {total / jobs / 3600:.2f} h to come, {jobs} at a time"


def _plan_sheet(cells: list[PlannedCell], jobs: int) -> Sheet:
    """One row per model: its cells by state, and the time still to come, with what the estimate rests on."""
    first = cells[0].job.cell
    states = ["done", "unfinished", "failed", *(["damaged"] if any(c.state == "damaged" for c in cells) else [])]
    rows = []
    for model in dict.fromkeys(cell.job.model for cell in cells):
        of_model = [cell for cell in cells if cell.job.model == model]
        counts = {state: str(sum(cell.state == state for cell in of_model)) for state in states}
        minutes = f"{sum(cell.seconds for cell in of_model) / 60:.1f}"
        basis = ", ".join(sorted({cell.basis for cell in of_model} - {""}))
        rows.append(
            {"model": model, "seeds": _runs(of_model), **counts, "minutes to come": minutes, "estimated from": basis}
        )
    return Sheet(
        f"{first.dataset_label}, split {first.split}, preset {cells[0].job.preset}",
        pd.DataFrame(rows),
        (_progress(cells, jobs),),
        left=("estimated from",),
    )


def _runs(cells: list[PlannedCell]) -> str:
    """`3`, or of a cross-validation `3 x 5`: seeds and folds."""
    seeds, folds = ({getattr(cell.job.cell, name) for cell in cells} for name in ("seed", "fold"))
    return f"{len(seeds)} x {len(folds)}" if folds - {None} else str(len(cells))


def models_sheet(preset: str, task: str | None, family: str | None) -> Sheet:
    """The registered models, those of the preset's list marked. Raises UserError for an unknown preset."""
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    listed = PRESETS[preset].models
    columns = ["name", "all", "title", "family", "tasks", "published M params", "published GMACs", "citation"]
    rows = []
    for entry in map(model_entry, model_names()):
        if (task and task not in entry.tasks) or (family and family != entry.family):
            continue
        cost = entry.published
        at = f" @ {cost.channels}x{cost.image_size}x{cost.image_size}" if cost else ""
        params = f"{cost.params / 1e6:.2f}" if cost else ""
        macs = f"{cost.macs / 1e9:.2f}{at}" if cost and cost.macs else ""
        mark = "*" if listed in entry.lists else ""
        rows.append((entry.name, mark, entry.title, entry.family, ", ".join(entry.tasks), params, macs, entry.citation))
    return Sheet(
        f"models (* = `all` under preset {preset})",
        pd.DataFrame(rows, columns=columns),
        left=("all", "title", "family", "tasks", "citation"),
        details=("citation", "title"),
    )


def checks_sheet(checks: Iterable[Check]) -> Sheet:
    """Ours beside the published params and MACs, with what is to be said where they are not compared.

    `spread`: how far fvcore and ptflops are from ours at most, then without what they count beside convolutions and
    products.
    """
    note = (
        "spread: fvcore and ptflops (aten) beside ours, at most; left: without norms, pooling, resizing and additions "
        "of biases, which ours leaves out. cpu: does not run on the meta device, counted on the CPU."
    )
    rows = []
    for check in checks:
        figures, counters = check.entry.published, check.counters
        failed = "; ".join(f"{name}: {line}" for name, line in counters.failed.items())
        verdict = "agree" if counters.agrees else "UNEXPLAINED" if not counters.failed else f"FAILED: {failed}"
        if counters.cost.uncounted and not counters.failed:
            verdict = f"UNCOUNTED: {', '.join(counters.cost.uncounted)}"
        rows.append(
            {
                "name": check.entry.name,
                "input": f"{check.channels}x{check.image_size}x{check.image_size}, {check.classes} classes",
                "M params": f"{check.params / 1e6:.2f}",
                "published M params": f"{figures.params / 1e6:.2f}" if figures else "",
                "GMACs": f"{check.macs / 1e9:.2f}",
                "published GMACs": f"{figures.macs / 1e9:.2f}" if figures and figures.macs else "",
                "spread": f"{100 * counters.spread:.1f} %",
                "left": f"{100 * counters.unexplained:.1f} %",
                "counters": verdict + (", cpu" if counters.cost.counted_on == "cpu" else ""),
                "verdict": check.verdict,
            }
        )
    return Sheet(
        "costs: ours beside the published (within 2 % of the params, 5 % of the MACs)",
        pd.DataFrame(rows),
        (note,),
        left=("input", "counters", "verdict"),
        details=("left", "spread", "input"),
    )


def doctor_line(finding: tuple[str, bool, str]) -> str:
    """One check of a network's health."""
    what, holds, seen = finding
    return f"{'ok    ' if holds else 'FAILED'} {what}: {seen}"
