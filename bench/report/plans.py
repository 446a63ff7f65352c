"""Tables of what could be run: a plan's cells with the hours to come, and the registered models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from bench.errors import unknown
from bench.report.sheets import Sheet
from bench.runs.protocol import PRESETS
from bench.zoo.registry import model_entry, model_names

if TYPE_CHECKING:
    from bench.cost.published import Check
    from bench.runs.estimate import PlannedCell


def plan_sheet(cells: list[PlannedCell], jobs: int = 1) -> Sheet:
    """One row per model: its cells by state, and the time still to come, with what the estimate rests on."""
    first = cells[0].job.cell
    total = sum(cell.seconds for cell in cells)
    done = sum(cell.state == "done" for cell in cells)
    rows = []
    for model in dict.fromkeys(cell.job.model for cell in cells):
        own = [cell for cell in cells if cell.job.model == model]
        states = {state: str(sum(c.state == state for c in own)) for state in ("done", "unfinished", "failed")}
        minutes = f"{sum(cell.seconds for cell in own) / 60:.1f}"
        basis = ", ".join(sorted({cell.basis for cell in own} - {""}))
        row = {"model": model, "seeds": str(len(own)), **states, "minutes to come": minutes, "estimated from": basis}
        rows.append(row)
    return Sheet(
        f"{first.dataset_label}, split {first.split}, preset {cells[0].job.preset}",
        pd.DataFrame(rows),
        (f"{done} of {len(cells)} cells done, about {total / jobs / 3600:.2f} h to come, {jobs} at a time",),
        left=("estimated from",),
    )


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
        said = "agree" if counters.agrees else "UNEXPLAINED" if not counters.failed else f"FAILED: {failed}"
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
                "counters": said + (", cpu" if counters.cost.counted_on == "cpu" else ""),
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
