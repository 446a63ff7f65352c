"""Pictures of cases from scenes made by hand: names are text, and outlines are whole; every figure is in the style."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.gallery import Scene, Shot
from bench.report.drawing.style import new_figure
from bench.report.overlays import CLASSES, scene_figure, scene_png
from bench.report.preview import _outline, _show

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


def contoured(drawn: Any) -> list[Any]:
    """The panels of a scene that have outlines: the reference's, the model's, that of its errors."""
    figure = scene_figure(drawn, "caption", {}) if isinstance(drawn, Scene) else drawn
    panels = [axis for axis in figure.axes if axis.collections and axis.images]
    assert len(panels) == 3
    return panels


def test_names_in_pictures_of_cases_are_text() -> None:
    from matplotlib.text import Text

    for odd in (scene(square(), square(), ODD), scene(1, np.array([0.2, 0.8]), ODD)):
        figure = scene_figure(odd, ODD, {(ODD, ODD): np.ones((8, 8))})
        figure.canvas.draw()
        written = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert len(written) > 2
        assert not any(text.get_parse_math() for text in written)
        assert scene_png(odd, ODD).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("rows", "columns", "length"), [(slice(20, 40), slice(20, 40), 4 * 20), (slice(0, 10), slice(50, 64), 2 * 24)]
)
def test_outlines_are_closed_at_the_edge_too(rows: slice, columns: slice, length: int) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[rows, columns] = 1
    for axis in contoured(scene(mask, mask)):
        (contour,) = axis.collections[:1]
        (path,) = contour.get_paths()
        steps = np.abs(np.diff(path.vertices, axis=0))
        assert np.allclose(path.vertices[0], path.vertices[-1])
        assert steps.sum() == pytest.approx(length, abs=4), "corners are cut"
        assert min(axis.get_xlim()) >= -0.5
        assert max(axis.get_xlim()) <= 63.5


def test_a_mask_that_fills_the_slice_is_outlined_and_seen() -> None:
    full = np.ones((64, 64), np.uint8)
    figure = scene_figure(scene(full, full), "caption", {})
    figure.canvas.draw()
    shown = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    for axis in contoured(figure):
        assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 63.5), (63.5, -0.5))
    reference = next(axis for axis in figure.axes if axis.get_title() == "Reference")
    box = reference.get_window_extent()
    edge = shown[int(figure.bbox.height - (box.y0 + box.y1) / 2), int(box.x0) - 1 : int(box.x0) + 2]
    wanted = np.array([int(CLASSES[0][k : k + 2], 16) for k in (1, 3, 5)])
    assert (np.abs(edge.astype(int) - wanted).max(axis=1) < 40).any(), edge


def test_a_preview_outlines_masks_at_the_edge_within_the_image() -> None:
    _, axis = new_figure(2.0, "")
    _show(axis, np.zeros((1, 32, 32)))
    labels = np.ones((32, 32), np.uint8)
    labels[:, 8:] = 2
    _outline(axis, labels, 4)
    assert len(axis.collections) == 2, "class 3 is nowhere"
    for contour in axis.collections:
        (path,) = contour.get_paths()
        assert np.allclose(path.vertices[0], path.vertices[-1])
    assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 31.5), (31.5, -0.5))


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
