"""A cell's row for tests of tables, as `bench.records.store.load_cells` gives it; of the tables' columns alone."""

from __future__ import annotations

from typing import Any

OF_ANY_TASK: dict[str, Any] = {
    "comparison": "c1",
    "status": "complete",
    "preset": "quick",
    "source": "real",
    "fold": None,
    "tuned": None,
    "init": None,
    "version": 1,
    "left_out": 0,
    "device": "cpu",
    "family": "cnn",
    "reduced_from": None,
    "params": 1_500_000,
    "macs": 250_000_000,
    "input": "1x1x64x64",
    "partial": False,
    "image_size": 64,
    "images_seen": 48_000,
    "averaged": False,
    "cpu": "X",
    "torch": "2.15.0",
    "commit": "abc",
    "threads": 2,
    "seconds": 1.0,
}


def table_cell(model: str, seed: int, title: str | None, **fields: Any) -> dict[str, Any]:
    """One complete cell of a small CNN; the fields of its task and dataset come with it, or in place of these."""
    key = f"{model}-{seed}-{fields.get('comparison', 'c1')}"
    return {**OF_ANY_TASK, "key": key, "model": model, "title": title or model.upper(), "seed": seed, **fields}
