"""Imports run one way, files stay short, and what must stay light imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [p for package in ("bench", "ablations", "baselines") for p in sorted((ROOT / package).rglob("*.py"))]

# A room -> the rooms of bench it may import. What a command imports lazily counts too.
ROOMS = {
    "cli": {"cli_data", "cost", "doctor", "errors", "store", "runner", "estimate", "report", "terminal", "tuning"}
    | {"cli_ablate", "cli_evaluate"},
    "cli_ablate": {"cost", "errors", "plan", "registry", "report", "runner", "store", "terminal"},
    "doctor": {"errors", "registry"},
    "cli_data": {"errors", "registry", "report", "datasets", "store", "terminal"},
    "cli_evaluate": {"errors", "metrics_doctor", "predictions", "report", "terminal"},
    "metrics_doctor": {"datasets", "errors", "metrics"},
    "predictions": {"datasets", "errors", "filenames", "metrics", "store"},
    "terminal": {"errors"},
    "report": {"cost", "errors", "registry", "plan", "store", "profiles", "estimate", "cell", "datasets", "metrics"}
    | {"damage", "filenames", "metrics_doctor", "predictions"},
    "estimate": {"damage", "store", "cell"},
    "tuning": {"errors", "registry", "store", "cell"},
    "pretrained": {"errors", "registry"},
    "runner": {"pretrained", "request", "tuning", "errors", "registry", "plan", "store", "cell", "executors"}
    | {"cost", "datasets", "environment"},
    "cell": {"pretrained", "errors", "registry", "plan", "store", "train", "evaluate", "environment", "seeding"}
    | {"datasets", "metrics"},
    "executors": set(),
    "train": {"datasets", "plan", "seeding", "store"},
    "evaluate": {"datasets", "metrics", "plan"},
    "cost": {"errors", "registry", "request", "plan", "store", "profiles", "environment", "models", "evaluate"}
    | {"datasets", "record_row"},
    "models": {"errors", "registry"},
    "datasets": {"errors", "registry", "plan"},
    "metrics": set(),
    "profiles": {"damage", "errors", "plan", "store"},
    "store": {"damage", "errors", "filenames", "plan", "record_row"},
    "record_row": {"plan"},
    "damage": {"errors"},
    "environment": set(),
    "seeding": set(),
    "registry": {"errors", "datasets", "third_party"},
    "third_party": {"errors", "registry", "isolated", "sources"},
    "plan": {"errors"},
    "errors": set(),
    "filenames": set(),
    "request": {"errors"},
    "sources": set(),
    "isolated": {"sources"},
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package, room = path.relative_to(ROOT).parts[:2]
    room = room.removesuffix(".py")
    ours = {name for name in imported(path) if name.split(".")[0] in ("bench", "ablations", "baselines")}
    if package == "bench":
        others = {n.split(".")[0] for n in ours} - {"bench"}
        assert others <= ({"ablations"} if room == "cli_ablate" else set()), "one command alone, lazily, reaches out"
        ours = {n for n in ours if n.startswith("bench")}
        rooms = {n.split(".")[1] for n in ours if n.count(".")} - {room}
        assert rooms <= ROOMS.get(room, set()), f"{room} must not import {rooms - ROOMS.get(room, set())}"
    elif package == "baselines":
        assert {n for n in ours if n.startswith("bench.")} <= {
            n for n in ours if n.startswith(("bench.zoo.registry", "bench.errors"))
        }


def test_medpy_is_the_doctor_s_alone() -> None:
    users = [p.name for p in FILES if any(name.split(".")[0] == "medpy" for name in imported(p))]
    assert users == ["metrics_doctor.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("bench.cli.main", ("torch", "numpy", "pandas", "rich")),
        ("bench", ("torch", "numpy")),
        ("bench.analysis.comparison", ("torch", "monai")),
        ("bench.report.plans", ("torch", "monai")),
        ("bench.report.data", ("torch", "monai")),
        ("bench.report.speeds", ("torch", "monai")),
        ("bench.report.judged", ("torch", "monai")),
        ("bench.cost.speed", ("torch", "pandas")),
    ],
)
def test_light_modules_import_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
