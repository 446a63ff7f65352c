"""Classification metrics against hand-made figures, definitions written out, and what has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)

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
    assert metrics.specificity(REFERENCE, TWO).tolist() == pytest.approx([1 / 2, 5 / 6])
    assert metrics.precision(REFERENCE, TWO).tolist() == pytest.approx([5 / 6, 1 / 2])
    assert metrics.f1(REFERENCE, TWO).tolist() == pytest.approx([10 / 12, 2 / 4])
    assert metrics.class_auc(REFERENCE, TWO).tolist() == pytest.approx([9 / 12, 9 / 12])
    assert metrics.confusion(REFERENCE, TWO).tolist() == [[5, 1], [1, 1]]
    assert found["macro_specificity"] == pytest.approx((1 / 2 + 5 / 6) / 2)
    assert found["macro_precision"] == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_ece_by_hand() -> None:
    """Confidence 0.6 thrice, of which two right, in (8/15, 9/15]; 0.95 once, wrong, in (14/15, 1]."""
    reference = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.95, 0.05]])
    expected = 3 / 4 * abs(2 / 3 - 0.6) + 1 / 4 * abs(0 - 0.95)
    assert metrics.ece(reference, probabilities) == pytest.approx(expected)
    # in one bin gaps of opposite sign cancel, in two they do not: 0.55 and 0.6 share a bin, 0.55 and 0.61 do not
    for high, gap in ((0.6, abs(1 - 0.55 - 0.6) / 2), (0.61, (0.45 + 0.61) / 2)):
        pair = np.array([[0.55, 0.45], [high, 1 - high]])
        assert metrics.ece(np.array([0, 1]), pair) == pytest.approx(gap)
    assert metrics.ece(np.array([0, 1]), np.eye(2)) == 0


def test_the_upper_end_belongs_to_a_bin() -> None:
    """0.4 = 6/15 ends the bin of 0.35; right and wrong cancel there but for the confidences."""
    probabilities = np.array([[0.35, 0.33, 0.32], [0.4, 0.3, 0.3]])
    assert metrics.ece(np.array([0, 1]), probabilities) == pytest.approx(abs(1 - 0.35 - 0.4) / 2)


def test_brier_by_hand() -> None:
    reference, probabilities = np.array([0, 2]), np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    assert metrics.brier(reference, probabilities) == pytest.approx((0.25 + 0.09 + 0.04 + 2) / 2)


@settings(deadline=None)  # the first example imports scikit-learn
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
    for k, (specificity, area) in enumerate(
        zip(metrics.specificity(reference, probabilities), metrics.class_auc(reference, probabilities), strict=True)
    ):
        rest = reference != k
        assert specificity == pytest.approx(np.mean(predicted[rest] != k))
        assert area == pytest.approx(roc_auc_score(~rest, probabilities[:, k]))
    matrix = metrics.confusion(reference, probabilities)
    assert matrix.sum(axis=1).tolist() == np.bincount(reference, minlength=4).tolist()
    assert matrix.sum(axis=0).tolist() == np.bincount(predicted, minlength=4).tolist()
    assert np.trace(matrix) == pytest.approx(40 * metrics.accuracy(reference, probabilities))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 30), classes=st.integers(2, 5), tied=st.booleans())
def test_figures_are_scikit_learn_s_to_the_last_bit(seed: int, images: int, classes: int, tied: bool) -> None:
    """Few images lack classes, and probabilities in tenths have ties; committed tables hold all digits."""
    reference, probabilities = random(seed, images, classes)
    if tied:
        probabilities = np.random.default_rng(seed).multinomial(10, np.full(classes, 1 / classes), images) / 10
    reference = reference.astype(np.uint8)  # as labels are stored: no product of them may overflow
    predicted, labels = probabilities.argmax(1), range(classes)
    found = metrics.score_classes(reference, probabilities)
    expected = precision_recall_fscore_support(reference, predicted, labels=labels, zero_division=math.nan)
    for name, values in zip(("precision", "sensitivity", "f1"), expected, strict=False):
        np.testing.assert_array_equal(found[name], values)
    assert (metrics.confusion(reference, probabilities) == confusion_matrix(reference, predicted, labels=labels)).all()
    assert metrics.accuracy(reference, probabilities) == accuracy_score(reference, predicted)
    alike = len(np.union1d(reference, predicted)) == 1
    assert metrics.mcc(reference, probabilities) == (0 if alike else matthews_corrcoef(reference, predicted))
    for k in labels:
        of_class = reference == k
        if of_class.any() and not of_class.all():
            assert found["auc"][k] == roc_auc_score(of_class, probabilities[:, k])


@settings(deadline=None)  # the first example imports scikit-learn
@given(seed=st.integers(0, 10_000))
def test_brier_of_two_classes_is_twice_the_one_of_one_probability(seed: int) -> None:
    reference, probabilities = random(seed, classes=2)
    half = brier_score_loss(reference, probabilities[:, 1], pos_label=1)
    assert metrics.brier(reference, probabilities) == pytest.approx(2 * half)


@settings(deadline=None)  # the first example imports scikit-learn
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
    assert found == {
        "accuracy": 0.75,
        "balanced_accuracy": 0.5,
        "macro_f1": pytest.approx(3 / 7),
        "auc": 0.5,
        "mcc": 0,
        "ece": 0,
        "brier": pytest.approx(2 * 0.75 * 0.25),
        "macro_specificity": 0.5,
        "macro_precision": 0.75,
    }


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
    found = metrics.score_classes(reference, probabilities)
    undefined = {name for name, values in found.items() if math.isnan(values[1])}
    assert undefined == {"sensitivity", "precision", "f1", "auc"}
    assert metrics.specificity(reference, probabilities).tolist() == [1, 1, 0.5]
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
    for figure in (*metrics.FIGURES.values(), *metrics.CLASS_FIGURES.values(), metrics.confusion):
        with pytest.raises(ValueError, match=message):
            figure(reference, probabilities)
