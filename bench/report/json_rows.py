"""The rows of plans, models and checks as JSON has them: a fact a column, numbers in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.errors import unknown
from bench.report.json_text import document
from bench.runs.protocol import PRESETS
from bench.zoo.registry import model_entry, model_names

if TYPE_CHECKING:
    from bench.cost.published import Check
    from bench.runs.estimate import PlannedCell


def plan_document(cells: Sequence[PlannedCell], at_a_time: int, notes: Sequence[str]) -> str:
    """A row for each cell of a plan, with the seconds that it will still take."""
    total = sum(cell.seconds for cell in cells)
    about = {"cells": len(cells), "done": sum(cell.state == "done" for cell in cells), "jobs": at_a_time}
    about["seconds"] = total / at_a_time  # type: ignore[assignment]
    return document("plan", [{"name": "cells", "about": about, "rows": list(map(_planned, cells)), "notes": []}], notes)


def _planned(planned: PlannedCell) -> dict[str, Any]:
    job, cell = planned.job, planned.job.cell
    return {
        "key": cell.key,
        "comparison": cell.comparison,
        "dataset": cell.dataset_label,
        "split": cell.split,
        "fold": cell.fold,
        "preset": job.preset,
        "model": job.model,
        "version": cell.model["version"],
        "seed": cell.seed,
        "trial": cell.is_trial,
        "state": planned.state,
        "seconds": planned.seconds,
        "estimated_from": planned.basis or None,
        "params": job.cost["params"],
        "macs": job.cost["macs"],
        "folder": str(job.folder),
    }


def models_document(preset: str, task: str | None, family: str | None) -> str:
    """A row for each network: what it is, what it is said to cost, whether `all` means it under the preset."""
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    listed = PRESETS[preset].models
    rows = []
    for entry in map(model_entry, model_names()):
        if (task is None or task in entry.tasks) and family in (None, entry.family):
            rows.append(
                {
                    "name": entry.name,
                    "title": entry.title,
                    "family": entry.family,
                    "tasks": list(entry.tasks),
                    "in_all": listed in entry.lists,
                    "version": entry.version,
                    "citation": entry.citation,
                    "config": entry.defaults,
                    "deep_supervision": entry.deep_supervision,
                    "published": None if entry.published is None else asdict(entry.published),
                }
            )
    return document("models", [{"name": "models", "about": {"preset": preset}, "rows": rows, "notes": []}])


def checks_document(checks: Iterable[Check]) -> str:
    """A row for each network: its costs as counted beside the published ones."""
    rows = [
        {
            "name": check.entry.name,
            "channels": check.channels,
            "image_size": check.image_size,
            "classes": check.classes,
            "params": check.params,
            "macs": check.macs,
            "verdict": check.verdict,
            "spread": check.counters.spread,
            "unexplained": check.counters.unexplained,
            "counters_agree": check.counters.agrees,
            "failed": check.counters.failed,
            "published": None if check.entry.published is None else asdict(check.entry.published),
        }
        for check in checks
    ]
    return document("models", [{"name": "checks", "about": {}, "rows": rows, "notes": []}])
