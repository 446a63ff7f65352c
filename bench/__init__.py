"""medbench: benchmark and take apart 2-D medical image models. What is named here is imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "run": "bench.runs.runner",
    "budget": "bench.analysis.curves",
    "develop": "bench.analysis.development",
    "build_model": "bench.zoo.registry",
    "register_model": "bench.zoo.entry",
    "titled": "bench.zoo.third_party",
    "load_results": "bench.records.long_table",
    "load_cells": "bench.records.store",
    "load_tables": "bench.report.selection",
    "load_trained": "bench.runs.trained",
    "profile": "bench.cost.speed",
    "load_profiles": "bench.records.profiles",
    "DatasetSpec": "bench.datasets.base",
    "RawCase": "bench.datasets.base",
    "RawImage": "bench.datasets.base",
}
__all__ = sorted(_HOMES)


_MODULES = ("metrics",)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"bench.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
