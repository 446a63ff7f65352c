"""Phantoms of chests, which the first test of a session that asks for them draws."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def drawn(user_data: Path) -> Path:
    """A data folder with the phantoms of one classification data set."""
    from bench.datasets.cache.prepared import locate
    from bench.zoo.registry import dataset_spec

    folder = user_data / "medbench"
    locate(dataset_spec("large-covid-ct"), "phantom", folder)
    return folder
