"""A profile's row for tests of tables."""

from __future__ import annotations

from typing import Any


def row(title: str = "MedNeXt-T (reconstr.)", **changes: Any) -> dict[str, Any]:
    """A profile's row, as `bench.records.profiles.profile_row` makes it; of the table's columns alone."""
    return {
        "model": title.lower(),
        "title": title,
        "version": 1,
        "form": "training",
        "compiled": False,
        "reference": "resnet18",
        "reference_title": "ResNet-18",
        "reference_version": 1,
        "task": "classification",
        "work": "inference",
        "step": "bare",
        "reference_step": "bare",
        "input": "8x3x224x224",
        "batch": 8,
        "classes": 2,
        "precision": "fp32",
        "threads": 2,
        "device": "AMD EPYC",
        "cores": 2,
        "machine": "amd-epyc-2-cores",
        "torch": "2.13.0",
        "ratio": 2.3456,
        "low": 2.31,
        "high": 2.38,
        "flagged": False,
        "rounds": 24,
        "processes": 5,
        "allocator": "kept",
        "images_per_second": 123.4,
        "ms_per_batch": 64.83,
        "params": 2_736_834,
        "macs": 353_000_000,
        "peak_bytes": None,
        "difference": None,
        "output_scale": None,
        "load_start": 0.26,
        "load_end": 1.94,
        "metric": None,
        "metric_error": None,
        "metric_sought": True,
        "measured": "2026-11-25T00:00:00+00:00",
        "error": None,
        **changes,
    }
