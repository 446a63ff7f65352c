"""Confusion matrices of classes with long names: every label is read, below each matrix that has some."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench.analysis.behind import Runs
from bench.report.drawing.probabilities import confusion_matrices

CLASSES = (
    *("pneumonia", "tuberculosis", "normal chest", "pleural effusion", "a long name of some rare disease"),
    *("consolidation of both lungs", "nodule", "oedema"),
)


def matrices(classes: int, models: int) -> Any:
    rng = np.random.default_rng(0)
    runs = ((rng.integers(0, classes, 80), rng.dirichlet(np.ones(classes), 80)),)
    table = SimpleNamespace(where="Own data, preset standard")
    figure = confusion_matrices(cast(Any, table), [Runs(f"Net {k}", CLASSES[:classes], runs) for k in range(models)])
    assert figure is not None
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize(("classes", "models"), [(2, 3), (4, 3), (4, 4), (8, 2), (8, 5)])
def test_labels_are_slanted_below_each_column_and_none_lies_on_another(classes: int, models: int) -> None:
    figure = matrices(classes, models)
    columns = min(2 if classes > 4 else 3, models)
    axes = [axis for axis in figure.axes if axis.get_visible()]
    labelled = 0
    for axis in axes:
        labels = [label for label in axis.get_xticklabels() if label.get_visible() and label.get_text()]
        labelled += bool(labels)
        assert {label.get_rotation() for label in labels} <= {40.0}
        boxes = [label.get_window_extent() for label in labels]
        lefts = [box.x1 for box in boxes]  # slanted: each ends where the last one's text is a line away
        assert all(b - a > 0.115 * figure.dpi for a, b in itertools.pairwise(lefts))
        for box in boxes:
            assert box.y0 >= -1
            assert box.x0 >= -1
        beside = [label.get_window_extent() for label in axis.get_yticklabels() if label.get_visible()]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(beside, 2))
    assert labelled == columns, "the last matrix of each column"
