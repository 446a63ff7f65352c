"""The committed example with few of its records, for what other tests hold as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "results" / "example"


def copy_example(folder: Path, models: Iterable[str]) -> Path:
    """Links all of `results/example` into a new folder, but copies the records of the named models alone."""
    (folder / "records").mkdir(parents=True)
    for path in EXAMPLE.iterdir():
        if path.name != "records":
            (folder / path.name).symlink_to(path)
    for path in EXAMPLE.glob("records/*/*"):
        if path.name in models:
            shutil.copytree(path, folder / "records" / path.parent.name / path.name)
    return folder


def copy_comparison(folder: Path, comparison: str, models: Iterable[str]) -> Path:
    """Copies the records of one comparison and of the named models into a new results folder, its units too."""
    for path in EXAMPLE.glob("records/*/*/*/record.json"):
        if path.parents[1].name in models and json.loads(path.read_text())["comparison"] == comparison:
            shutil.copytree(path.parent, folder / "runs" / path.parent.relative_to(EXAMPLE / "records"))
    shutil.copytree(EXAMPLE / "units", folder / "units")
    return folder


def copy_preset(folder: Path, dataset: str, preset: str, models: Iterable[str]) -> None:
    """Copies the records of a preset and of the named models into a new results folder."""
    for path in EXAMPLE.glob(f"records/{dataset}/*/*/record.json"):
        if path.parents[1].name in models and json.loads(path.read_text())["preset"] == preset:
            shutil.copytree(path.parent, folder / "runs" / path.parent.relative_to(EXAMPLE / "records"))
