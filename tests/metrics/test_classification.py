"""Classification metrics against hand-made figures, definitions written out, and what has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from bench.metrics import classification as metrics

# Six images of class 0, two of class 1: (5 of 6, 1 of 2) right.
REFERENCE = np.array([0, 0, 0, 0, 0, 0, 1, 1])
LAST = np.array([0.1, 0.2, 0.3, 0.4, 0.45, 0.8, 0.35, 0.9])
TWO = np.stack([1 - LAST, LAST], axis=1)


def random(seed: int, images: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, images), rng.dirichlet(np.ones(classes), images)


def test_figures_by_hand() -> None:
    found = metrics.score_images(REFERENCE, TWO)
    assert found["accuracy"] == 6 / 8
    assert found["balanced_accuracy"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((10 / 12 + 2 / 4) / 2)
    assert found["auc"] == pytest.approx((6 + 3) / 12)  # pairs: 0.9 beats six, 0.35 beats three
    assert found["mcc"] == pytest.approx((5 * 1 - 1 * 1) / math.sqrt(2 * 6 * 6 * 2))
    assert metrics.sensitivity(REFERENCE, TWO).tolist() == pytest.approx([5 / 6, 1 / 2])


@given(seed=st.integers(0, 10_000))
def test_definitions(seed: int) -> None:
    reference, probabilities = random(seed)
    predicted = probabilities.argmax(1)
    assert metrics.balanced_accuracy(reference, probabilities) == pytest.approx(
        balanced_accuracy_score(reference, predicted)
    )
    assert metrics.auc(reference, probabilities) == pytest.approx(
        roc_auc_score(reference, probabilities, multi_class="ovr", average="macro")
    )
    f1 = []
    for k in range(4):
        hit = np.sum((predicted == k) & (reference == k))
        f1.append(2 * hit / (np.sum(predicted == k) + np.sum(reference == k)))
    assert metrics.macro_f1(reference, probabilities) == pytest.approx(np.mean(f1))


@given(seed=st.integers(0, 10_000))
def test_two_classes_have_one_curve_and_order_of_images_is_nothing(seed: int) -> None:
    reference, probabilities = random(seed, classes=2)
    swapped = metrics.auc(1 - reference, probabilities[:, ::-1])
    assert metrics.auc(reference, probabilities) == pytest.approx(swapped)
    order = np.random.default_rng(seed).permutation(len(reference))
    again = metrics.score_images(reference[order], probabilities[order])
    assert again == pytest.approx(metrics.score_images(reference, probabilities))


def test_a_constant_answer_is_the_floor() -> None:
    prior = np.tile([0.75, 0.25], (8, 1))
    found = metrics.score_images(REFERENCE, prior)
    assert found == {"accuracy": 0.75, "balanced_accuracy": 0.5, "macro_f1": pytest.approx(3 / 7), "auc": 0.5, "mcc": 0}


def test_ties_are_the_first_class() -> None:
    assert metrics.accuracy(np.array([0, 1]), np.full((2, 2), 0.5)) == 0.5
    assert metrics.sensitivity(np.array([0, 1]), np.full((2, 2), 0.5)).tolist() == [1, 0]


def test_a_class_without_images_is_left_out_of_means_and_one_class_has_no_curve() -> None:
    reference = np.array([0, 0, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.1, 0.6], [0.2, 0.1, 0.7]])
    found = metrics.score_images(reference, probabilities)
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["auc"] == pytest.approx(1.0)
    assert math.isnan(metrics.sensitivity(reference, probabilities)[1])
    alone = metrics.score_images(np.array([0, 0]), probabilities[[0, 0]])
    assert (alone["accuracy"], alone["mcc"]) == (1, 0)
    assert math.isnan(alone["auc"])
    assert math.isnan(metrics.auc(np.array([1, 1]), TWO[:2]))


@pytest.mark.parametrize(
    ("reference", "probabilities", "message"),
    [
        (np.array([0, 1]), TWO, r"got shapes \(2,\) and \(8, 2\)"),
        (np.array([], int), TWO[:0], "at least one image"),
        (REFERENCE, LAST, "but got shapes"),
        (REFERENCE + 1, TWO, "class indices below 2, but got int64 from 1 to 2"),
        (REFERENCE.astype(float), TWO, "class indices below 2, but got float64"),
        (REFERENCE, 2 * TWO, "sum to 1"),
        (REFERENCE, TWO * math.nan, "sum to 1"),
        (REFERENCE, np.tile([1.5, -0.5], (8, 1)), "from 0 to 1"),
    ],
)
def test_what_is_no_probability_is_an_error(reference: np.ndarray, probabilities: np.ndarray, message: str) -> None:
    for figure in (*metrics.FIGURES.values(), metrics.sensitivity):
        with pytest.raises(ValueError, match=message):
            figure(reference, probabilities)
