"""A results folder that tests of records may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stored_records import RECORDS, a_record_of


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder of one segmentation and one classification cell."""
    for task in ("segmentation", "classification"):
        folder = a_record_of(task)
        shutil.copytree(folder, tmp_path / "runs" / folder.relative_to(RECORDS))
    return tmp_path
