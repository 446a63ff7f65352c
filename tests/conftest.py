"""What tests share: where the real images are, one thread, and a guard for the user's own folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LONGEST = (
    *("runs/test_runner.py", "test_docs.py", "ablations/test_command.py", "models/test_fuse.py"),
    *("test_every_model.py", "ablations/test_search.py", "runs/test_classification.py", "cli/test_budget.py"),
    *("models/test_mednext.py", "runs/test_train.py", "test_example.py", "cli/test_reproduce.py"),
)
# Threads that wait for each other on a busy machine make seconds into minutes; children inherit these.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Each test starts with one thread, whatever the one before it left; torch is not imported for that."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, which are no part of the project."""
    folder = Path(os.environ.get("MEDBENCH_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}; set MEDBENCH_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the user's data folder; phantoms in it are drawn once for all tests, of all processes of xdist."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "user-data"


@pytest.fixture(autouse=True)
def _no_user_data(monkeypatch: pytest.MonkeyPatch, user_data: Path) -> None:
    """No test reads or writes the user's own data folder, or costs that were counted before."""
    monkeypatch.delenv("MEDBENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(user_data))
    monkeypatch.setenv("MEDBENCH_CACHE", str(user_data.with_name("user-cache")))


@pytest.fixture(scope="session", autouse=True)
def whole_phantoms() -> Iterator[dict[str, Any]]:
    """Hearts of 6 patients stand for those of 16, 60 chests for 150, one copy of a photograph for four: they take long.

    Yields what is changed for that, as it was, for tests of phantoms themselves (tests/datasets/conftest.py).
    """
    from bench.datasets.phantoms import cardiac, chest, skin

    whole = {
        "bench.datasets.phantoms.cardiac.PATIENTS": cardiac.PATIENTS,
        "bench.datasets.phantoms.chest.draw.__defaults__": chest.draw.__defaults__,  # seed, patients of a class, slices
        "bench.datasets.phantoms.skin.draw.__defaults__": skin.draw.__defaults__,  # seed, subjects of a class, copies
    }
    few = ({"train": 3, "val": 1, "test": 2}, (0, 10, 2), (0, 12, 1))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(whole, few, strict=True):
            patch.setattr(name, value)
        yield whole


@pytest.fixture(autouse=True)
def _no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test's output depends on how wide the terminal is that the tests are started from."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _idle_machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test's output depends on what else the machine does, and none waits to find out."""
    if request.path.name != "test_environment.py":
        monkeypatch.setattr("bench.records.environment.idle_cores", lambda: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that of two processes none waits for the other at the end."""
    items.sort(key=lambda item: next((i for i, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))
