"""All figures at once are those of each function alone, though the confusion matrix is counted once."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.classification import CLASS_FIGURES, FIGURES, confusion, score_classes, score_images, score_runs


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


@pytest.mark.parametrize("classes", [2, 9])
def test_runs_at_once_are_to_the_last_digit_those_of_each_run_alone(classes: int) -> None:
    rng = np.random.default_rng(classes)
    probabilities, references = rng.dirichlet(np.ones(classes), (5, 40)), rng.integers(0, classes - 1, (5, 40))
    probabilities[0] = np.eye(classes)[0]  # a constant answer; and no image is of the last class
    found = score_runs(references, probabilities)
    for k, (reference, given) in enumerate(zip(references, probabilities, strict=True)):
        assert np.array_equal(found.confusion[k], confusion(reference, given))
        for name, figure in FIGURES.items():
            assert np.array_equal(found.overall[name][k], figure(reference, given), equal_nan=True), name
        for name, of_classes in CLASS_FIGURES.items():
            assert np.array_equal(found.by_class[name][k], of_classes(reference, given), equal_nan=True), name
