"""Small trained networks of both tasks, made once in a process for all the files that need them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import bench
from bench.records import store

SHORT = ("steps=2", "evaluations=1", "image_size=32", "batch_size=4")
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
NETS = {"acdc": ["chance", SMALL], "large-covid-ct": ["mobilenetv3_small"]}


def run(results: Path, root: Path, **request: Any) -> list[Path]:
    """The folders of the records that a request leaves, on phantoms under `root`, after two steps."""
    asked = {"preset": "smoke", "data": "phantom", "settings": SHORT, "threads": 1, "seeds": [0], **request}
    bench.run(results=results, data_root=root, **asked)
    return [folder for folder, _ in store.read_records(results).records]


@cache
def results_of(user_data: Path) -> Path:
    """A results folder with the runs of `NETS`, not to be changed; phantoms lie under `user_data / "medbench"`."""
    results = user_data.with_name(f"{user_data.name}-trained")
    for dataset, models in NETS.items():
        run(results, user_data / "medbench", dataset=dataset, models=models)
    return results


def folders_of(user_data: Path) -> dict[str, Path]:
    """Dataset -> the folder of its network's record, chance aside."""
    found = store.read_records(results_of(user_data)).records
    return {r["cell"]["dataset"]: folder for folder, r in found if r["model"]["name"] != "chance"}
