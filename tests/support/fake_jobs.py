"""Jobs of cells that are never run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.runs.cell import Cell
from bench.runs.job import Job
from bench.runs.protocol import Protocol


def job(
    model: str = "unet_s", steps: int = 100, seed: int = 0, folder: Path = Path("r"), batch_size: int = 8, **fields: Any
) -> Job:
    """A job of a cell whose data and results do not exist."""
    protocol = asdict(Protocol(steps=steps, batch_size=batch_size))
    named = {"name": model, "config": {}, "version": 1}
    cell = Cell("acdc", "f", {"kind": "phantom"}, "s", "p", None, named, protocol, seed, **fields)
    return Job(cell, model, "quick", folder, folder / f"{seed}-{cell.key}", Path("d"), "cpu", {"macs": 0})
