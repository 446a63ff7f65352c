"""Accuracy, balanced accuracy, macro F1, AUC, MCC and sensitivity of class probabilities, by scikit-learn.

Shapes: N images, K classes. All take reference labels (N,), class indices, and probabilities (N, K), whose rows sum
to 1; the predicted class is the one of the highest probability, the first on ties. All figures are in [0, 1] but MCC,
which is in [-1, 1]; none has a unit. All raise ValueError for arrays of other shapes, labels outside of 0 .. K - 1,
and rows that are no probabilities.

A class that no image has is left out of means over classes; what is defined for no class is nan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def accuracy(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The share of images whose predicted class is the true one."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(*_classes(reference, probabilities)))


def sensitivity(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, the share of its images that are predicted as it: (K,) float64, nan for a class without images."""
    from sklearn.metrics import recall_score

    true, predicted = _classes(reference, probabilities)
    labels = range(probabilities.shape[1])
    return np.asarray(recall_score(true, predicted, labels=labels, average=None, zero_division=math.nan))


def balanced_accuracy(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the classes' sensitivities."""
    return float(np.nanmean(sensitivity(reference, probabilities)))


def macro_f1(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean over classes of F1, 2 TP / (2 TP + FP + FN); without classes neither true nor predicted anywhere."""
    from sklearn.metrics import f1_score

    true, predicted = _classes(reference, probabilities)
    labels = range(probabilities.shape[1])
    return float(f1_score(true, predicted, labels=labels, average="macro", zero_division=math.nan))


def auc(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The area under the ROC curve: of two classes the last one's, of more the mean of each against the rest.

    A class that no image has, or all, has no curve and is left out.
    """
    from sklearn.metrics import roc_auc_score

    _check(reference, probabilities)
    count = probabilities.shape[1]
    scored = range(count) if count > 2 else (count - 1,)
    masks = {k: reference == k for k in scored}
    areas = [roc_auc_score(mask, probabilities[:, k]) for k, mask in masks.items() if mask.any() and not mask.all()]
    return float(np.mean(areas)) if areas else math.nan


def mcc(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Matthews' correlation coefficient of true and predicted classes; 0 where one of the two is constant.

    Source: Gorodkin, Computational Biology and Chemistry 28 (2004) 367, for more than two classes.
    """
    from sklearn.metrics import matthews_corrcoef

    true, predicted = _classes(reference, probabilities)
    return float(matthews_corrcoef(true, predicted)) if len(np.union1d(true, predicted)) > 1 else 0.0


FIGURES = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auc": auc,
    "mcc": mcc,
}


def score_images(reference: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All of `FIGURES` by name."""
    return {name: figure(reference, probabilities) for name, figure in FIGURES.items()}


def _classes(reference: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class indices, (N,) each."""
    _check(reference, probabilities)
    return reference, probabilities.argmax(axis=1)


def _check(reference: Any, probabilities: Any) -> None:
    reference, probabilities = np.asarray(reference), np.asarray(probabilities)
    if probabilities.ndim != 2 or not probabilities.size or reference.shape != probabilities.shape[:1]:
        raise ValueError(
            "Expected labels (N,) and probabilities (N, K) of at least one image, but got shapes "
            f"{reference.shape} and {probabilities.shape}."
        )
    if reference.dtype.kind not in "iu" or reference.min() < 0 or reference.max() >= probabilities.shape[1]:
        raise ValueError(
            f"Expected labels to be class indices below {probabilities.shape[1]}, but got {reference.dtype} from "
            f"{reference.min()} to {reference.max()}."
        )
    # a file's shortest texts and float32 networks sum to 1 within 1e-4; nan does not
    if not (np.abs(probabilities.sum(axis=1) - 1) < 1e-4).all() or probabilities.min() < 0:
        raise ValueError("Expected the rows of probabilities to be from 0 to 1 and to sum to 1.")
