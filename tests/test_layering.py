"""The plan of the house: rooms on floors, arrows that go down alone, no circle, short files, light doors."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("bench", "ablations", "baselines")
    for path in sorted((ROOT / package).rglob("*.py"))
}
# Highest first; a room imports what lies below it, never its own floor's other rooms. Lazy and type imports count too.
FLOORS = (
    {"cli"},
    {"ablations"},
    {"report"},
    {"analysis", "cost"},
    {"runs"},
    {"models", "baselines"},
    {"zoo", "metrics"},
    {"datasets"},
    {"records"},
    {"errors"},
)
DATASETS = (
    {"loading", "augmentation", "audit", "own"},
    {"cache"},
    {"readers"},
    {"phantoms"},
    {"splits"},
    {"base"},
    {"stored"},
)
# What networks know of the zoo: the registry's decorator, and which fillings are stored.
OF_ZOO = {"bench.zoo.entry", "bench.zoo.catalogue"}


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that a file names in an import, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return frozenset(names)


@cache
def graph() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    return {module: (imported(path) & set(FILES)) - {module} for module, path in FILES.items()}


def room_of(module: str) -> str:
    """`analysis` of `bench.analysis.power`; `bench` of the package itself."""
    first, *rest = module.split(".")
    return rest[0] if first == "bench" and rest else first


def upward(floors: tuple[set[str], ...], place: dict[str, str]) -> list[str]:
    """The imports, among the modules that have a place, that do not go to a lower floor or stay in their room."""
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    assert set(place.values()) <= set(floor), "a room that no floor has"
    return [
        f"{module} -> {other}"
        for module, room in place.items()
        for other in graph()[module]
        if other in place and place[other] != room and floor[place[other]] <= floor[room]
    ]


def test_arrows_go_down() -> None:
    assert upward(FLOORS, {m: room_of(m) for m in FILES if m != "bench"}) == []


def test_arrows_within_the_datasets_go_down() -> None:
    inner = {m: m.split(".")[2] for m in FILES if m.startswith("bench.datasets.")}
    assert upward(DATASETS, inner) == []


def test_no_circle_not_even_for_types() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_networks_know_the_registry_by_its_decorator_alone() -> None:
    for module in FILES:
        if room_of(module) in ("models", "baselines"):
            assert {m for m in graph()[module] if m.startswith("bench.zoo.")} <= OF_ZOO, module


def test_the_doctor_alone_imports_medpy() -> None:
    users = [m for m, path in FILES.items() if any(name.split(".")[0] == "medpy" for name in imported(path))]
    assert users == ["bench.metrics.doctor"]


def test_no_file_is_over_400_lines() -> None:
    assert {m: n for m, path in FILES.items() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400} == {}


def test_two_modules_lie_loose_in_bench() -> None:
    assert {path.name for path in (ROOT / "bench").glob("*.py")} == {"__init__.py", "errors.py"}


# In the order of one process that imports them in turn: what one of them must not import, none before it may.
LIGHT = {
    "bench.cli.main": ("torch", "numpy", "pandas", "rich"),
    "bench": ("torch", "numpy", "pandas", "rich"),
    "bench.cost.speed": ("torch", "pandas"),
    "bench.analysis.comparison": ("torch", "monai"),
    "bench.report.plans": ("torch", "monai"),
    "bench.report.data": ("torch", "monai"),
    "bench.report.speeds": ("torch", "monai"),
    "bench.report.judged": ("torch", "monai"),
}


def test_light_modules_import_nothing_heavy() -> None:
    code = (
        f"import importlib, sys\nfor module, heavy in {LIGHT!r}.items():\n"
        " importlib.import_module(module)\n print(module, *(name for name in heavy if name in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == list(LIGHT)
