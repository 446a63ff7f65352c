"""The committed example with the records of few models, for commands whose whole answer other tests hold."""

from __future__ import annotations

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
