"""Pictures of cases from scenes made by hand: names are text, and outlines are whole; every figure is in the style."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from bench.analysis.gallery import Scene, Shot
from bench.report.overlays import scene_figure, scene_png

ROOT = Path(__file__).parents[2]
ODD = r"A $\frac{x}$ costs $5, \alpha_$"
MAKERS = {"new_figure", "new_panels", "Figure"}


def scene(truth: np.ndarray | int, answer: np.ndarray, name: str = "name") -> Scene:
    """A case by one model; every name in it is this one."""
    image = np.random.default_rng(0).normal(0, 1, (64, 64))
    return Scene(name, f"{name}, slice 1 of 2", image, truth, (f"no {name}", name), (Shot(name, name, answer, Path()),))


def square() -> np.ndarray:
    truth = np.zeros((64, 64), np.uint8)
    truth[20:40, 20:40] = 1
    return truth


def test_names_in_pictures_of_cases_are_text() -> None:
    from matplotlib.text import Text

    for odd in (scene(square(), square(), ODD), scene(1, np.array([0.2, 0.8]), ODD)):
        figure = scene_figure(odd, ODD, {(ODD, ODD): np.ones((8, 8))})
        figure.canvas.draw()
        written = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert len(written) > 2
        assert not any(text.get_parse_math() for text in written)
        assert scene_png(odd, ODD).startswith(b"\x89PNG")


def test_whatever_makes_a_figure_is_in_the_style() -> None:
    unstyled = [
        f"{path.relative_to(ROOT)}: {function.name}"
        for package in ("bench", "ablations")
        for path in sorted((ROOT / package).rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef) and path.name != "style.py"
        if any(isinstance(n, ast.Call) and getattr(n.func, "id", "") in MAKERS for n in ast.walk(function))
        if "styled" not in {getattr(decorator, "id", "") for decorator in function.decorator_list}
    ]
    assert unstyled == []
