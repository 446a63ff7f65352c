"""Tables of what could be run: a plan's cells with the hours to come, and the registered models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.errors import unknown
from bench.runs.protocol import PRESETS
from bench.zoo.registry import model_entry, model_names

if TYPE_CHECKING:
    from bench.cost.published import Check
    from bench.runs.estimate import PlannedCell


def plan_tables(cells: list[PlannedCell], jobs: int = 1) -> list[Table | Text]:
    """A table for each dataset, and a line with the total where there are several."""
    of_dataset: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        of_dataset.setdefault(cell.job.cell.dataset_label, []).append(cell)
    tables: list[Table | Text] = [_plan_table(own, jobs) for own in of_dataset.values()]
    total = [Text(f"All {len(of_dataset)} datasets: {_progress(cells, jobs)}\n")] if len(of_dataset) > 1 else []
    return [*tables, *total]


def _progress(cells: list[PlannedCell], jobs: int) -> str:
    total, done = sum(cell.seconds for cell in cells), sum(cell.state == "done" for cell in cells)
    return f"{done} of {len(cells)} cells done, about {total / jobs / 3600:.2f} h to come, {jobs} at a time"


def _plan_table(cells: list[PlannedCell], jobs: int) -> Table:
    """One row per model: its cells by state, and the time still to come, with what the estimate rests on."""
    first = cells[0].job.cell
    title = Text(f"{first.dataset_label}, split {first.split}, preset {cells[0].job.preset}")
    states = ["done", "unfinished", "failed", *(["damaged"] if any(c.state == "damaged" for c in cells) else [])]
    table = Table(title=title, caption=Text(_progress(cells, jobs)))
    for header in ("model", "seeds", *states, "minutes to come", "estimated from"):
        table.add_column(header, justify="left" if header in ("model", "estimated from") else "right")
    for model in dict.fromkeys(cell.job.model for cell in cells):
        own = [cell for cell in cells if cell.job.model == model]
        counts = [str(sum(cell.state == state for cell in own)) for state in states]
        basis = ", ".join(sorted({cell.basis for cell in own} - {""}))
        table.add_row(Text(model), _runs(own), *counts, f"{sum(c.seconds for c in own) / 60:.1f}", basis)
    return table


def _runs(cells: list[PlannedCell]) -> str:
    """`3`, or of a cross-validation `3 x 5`: seeds and folds."""
    seeds, folds = ({getattr(cell.job.cell, name) for cell in cells} for name in ("seed", "fold"))
    return f"{len(seeds)} x {len(folds)}" if folds - {None} else str(len(cells))


def models_table(preset: str, task: str | None, family: str | None) -> Table:
    """The registered models, those of the preset's list marked. Raises UserError for an unknown preset."""
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    listed = PRESETS[preset].models
    table = Table(title=f"models (* = `all` under preset {preset})")
    for header in (
        "",
        "name",
        "title",
        "family",
        "tasks",
        "published M params",
        "published GMACs",
        "citation",
    ):
        table.add_column(header, justify="right" if "published" in header else "left")
    for entry in map(model_entry, model_names()):
        if (task and task not in entry.tasks) or (family and family != entry.family):
            continue
        cost = entry.published
        at = f" @ {cost.channels}x{cost.image_size}x{cost.image_size}" if cost else ""
        params = f"{cost.params / 1e6:.2f}" if cost else ""
        macs = f"{cost.macs / 1e9:.2f}{at}" if cost and cost.macs else ""
        mark = "*" if listed in entry.lists else ""
        about = (entry.name, entry.title, entry.family, ", ".join(entry.tasks))
        table.add_row(*map(Text, (mark, *about, params, macs, entry.citation)))
    return table


def checks_table(checks: Iterable[Check]) -> Table:
    """Ours beside the published params and MACs, with what is to be said where they are not compared.

    `spread`: how far fvcore and ptflops are from ours at most, then without what they count beside convolutions and
    products.
    """
    caption = (
        "spread: fvcore and ptflops (aten) beside ours, at most; left: without norms, pooling, resizing and additions "
        "of biases, which ours leaves out. cpu: does not run on the meta device, counted on the CPU."
    )
    table = Table(title="costs: ours beside the published (within 2 % of the params, 5 % of the MACs)", caption=caption)
    words = ("name", "input", "counters", "verdict")
    for header in (*("name", "input", "M params", "published", "GMACs", "published"), "spread", "left", *words[2:]):
        table.add_column(header, justify="left" if header in words else "right")
    for check in checks:
        figures, counters = check.entry.published, check.counters
        of_input = f"{check.channels}x{check.image_size}x{check.image_size}, {check.classes} classes"
        params = f"{figures.params / 1e6:.2f}" if figures else ""
        macs = f"{figures.macs / 1e9:.2f}" if figures and figures.macs else ""
        ours = f"{check.params / 1e6:.2f}", f"{check.macs / 1e9:.2f}"
        apart = f"{100 * counters.spread:.1f} %", f"{100 * counters.unexplained:.1f} %"
        failed = "; ".join(f"{name}: {line}" for name, line in counters.failed.items())
        said = "agree" if counters.agrees else "UNEXPLAINED" if not counters.failed else f"FAILED: {failed}"
        if counters.cost.uncounted and not counters.failed:
            said = f"UNCOUNTED: {', '.join(counters.cost.uncounted)}"
        said += ", cpu" if counters.cost.counted_on == "cpu" else ""
        table.add_row(
            Text(check.entry.name), of_input, ours[0], params, ours[1], macs, *apart, Text(said), check.verdict
        )
    return table


def doctor_line(finding: tuple[str, bool, str]) -> str:
    """One check of a network's health."""
    what, holds, seen = finding
    return f"{'ok    ' if holds else 'FAILED'} {what}: {seen}"
