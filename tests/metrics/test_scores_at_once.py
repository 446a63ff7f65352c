"""All figures at once are those of each function alone, though the confusion matrix is counted once."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.classification import CLASS_FIGURES, FIGURES, score_classes, score_images


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_at_once_are_those_of_each_alone(classes: int) -> None:
    rng = np.random.default_rng(classes)
    probabilities, reference = rng.dirichlet(np.ones(classes), 60), rng.integers(0, classes, 60)
    for at_once, alone in (
        (score_images(reference, probabilities), FIGURES),
        (score_classes(reference, probabilities), CLASS_FIGURES),
    ):
        assert list(at_once) == list(alone)
        for name, figure in alone.items():
            assert np.array_equal(at_once[name], figure(reference, probabilities), equal_nan=True), name
