"""Figures of class probabilities: of single classes (sensitivity, ...), over all, of calibration (ECE, Brier).

Shapes: N images, K classes. All take reference labels (N,), class indices, and probabilities (N, K), whose rows sum
to 1; the predicted class is the one of the highest probability, the first on ties. All figures are in [0, 1] but MCC,
in [-1, 1], and Brier, in [0, 2]; none has a unit. All raise ValueError for arrays of other shapes, labels outside of
0 .. K - 1, and rows that are no probabilities. By numpy from the confusion matrix; scikit-learn is the tests' oracle.

A class that has no figure (no image is of it, or none predicted as it) is left out of means over classes; what is
defined for no class is nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


def accuracy(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The share of images whose predicted class is the true one."""
    return float(_accuracy(confusion(reference, probabilities)))


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1)))


def sensitivity(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, the share of its images that are predicted as it: (K,) float64, nan for a class without images."""
    return _sensitivity(confusion(reference, probabilities))


def _sensitivity(counts: np.ndarray) -> np.ndarray:
    return _ratio(_right(counts), counts.sum(axis=-1))


def _right(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def specificity(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, the share of other classes' images that are not predicted as it: (K,), nan without such images."""
    return _specificity(confusion(reference, probabilities))


def _specificity(counts: np.ndarray) -> np.ndarray:
    others = counts.sum(axis=(-2, -1))[..., None] - counts.sum(axis=-1)
    return _ratio(others - counts.sum(axis=-2) + _right(counts), others)


def precision(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, the share of images predicted as it that are of it: (K,), nan where none is."""
    return _precision(confusion(reference, probabilities))


def _precision(counts: np.ndarray) -> np.ndarray:
    return _ratio(_right(counts), counts.sum(axis=-2))


def f1(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, 2 TP / (2 TP + FP + FN): (K,), nan for a class neither true nor predicted anywhere."""
    return _f1(confusion(reference, probabilities))


def _f1(counts: np.ndarray) -> np.ndarray:
    return _ratio(2 * _right(counts), counts.sum(axis=-2) + counts.sum(axis=-1))


def class_auc(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of each class, the area under its ROC curve against the rest: (K,), nan for a class that no image has, or all."""
    _check(reference, probabilities)
    return np.array([_area(reference == k, probabilities[:, k]) for k in range(probabilities.shape[1])])


def _area(positive: np.ndarray, scores: np.ndarray) -> float:
    """The area under a ROC curve, by trapezoids between its corners; nan where all images are alike."""
    if positive.all() or not positive.any():
        return math.nan
    x, y = roc(positive, scores)
    return float(np.trapezoid(y, x))


def roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a ROC curve from (0, 0) to (1, 1): one less specificity, and sensitivity.

    Args:
        positive: (N,) boolean, of both kinds. scores: (N,); the higher, the sooner an image is called positive.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]), 1.0))  # the last image of each score
    hits = np.cumsum(positive[order])[ends]
    misses = ends + 1 - hits
    turns = (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0)
    corners = np.concatenate([[True], turns, [True]])[-len(ends) :]
    x, y = (np.append(0, values[corners]) / values[-1] for values in (misses, hits))
    return x, y


def confusion(reference: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How many images of each class (rows) are predicted as each (columns): (K, K) int."""
    true, predicted = _classes(reference, probabilities)
    classes = probabilities.shape[1]
    return np.bincount(true.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the classes' sensitivities."""
    return float(_mean(sensitivity(reference, probabilities)))


def macro_f1(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the classes' F1; without classes neither true nor predicted anywhere."""
    return float(_mean(f1(reference, probabilities)))


def macro_specificity(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the classes' specificities; of two classes it is the balanced accuracy."""
    return float(_mean(specificity(reference, probabilities)))


def macro_precision(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of the classes' precisions; without classes that are never predicted."""
    return float(_mean(precision(reference, probabilities)))


def auc(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The area under the ROC curve: of two classes the last one's, of more the mean of each against the rest.

    A class that no image has, or all, has no curve and is left out.
    """
    return float(_auc(class_auc(reference, probabilities)))


def _auc(areas: np.ndarray) -> np.ndarray:
    return _mean(areas if areas.shape[-1] > 2 else areas[..., -1:])


def mcc(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """Matthews' correlation coefficient of true and predicted classes; 0 where one of the two is constant.

    Source: Gorodkin, Computational Biology and Chemistry 28 (2004) 367, for more than two classes.
    """
    return float(_mcc(confusion(reference, probabilities)))


def _mcc(counts: np.ndarray) -> np.ndarray:
    true, predicted = counts.sum(axis=-1, dtype=float), counts.sum(axis=-2, dtype=float)
    total = true.sum(axis=-1)
    spreads = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    shared = np.trace(counts, axis1=-2, axis2=-1) * total - (true * predicted).sum(axis=-1)
    return np.asarray(np.where(spreads > 0, shared / np.sqrt(np.where(spreads > 0, spreads, 1.0)), 0.0))


def ece(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The expected calibration error: the gap of accuracy and confidence, a mean over bins weighted by their images.

    Confidence is the predicted class's probability, in `BINS` bins of equal width, each with its upper end.
    Source: Guo et al., ICML 2017 (arXiv:1706.04599), whose 15 bins these are.
    """
    _check(reference, probabilities)
    return float(_ece(reference[None], probabilities[None])[0])


def _ece(references: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    confidence, right = probabilities.max(axis=-1), (references == probabilities.argmax(axis=-1)).astype(float)
    place = _bins(confidence, BINS) + BINS * np.arange(len(references))[:, None]
    gaps = np.bincount(place.ravel(), weights=(right - confidence).ravel(), minlength=BINS * len(references))
    return np.asarray(np.abs(gaps.reshape(-1, BINS)).sum(axis=1) / references.shape[1])


def reliability(
    reference: np.ndarray, probabilities: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin of confidence: images, mean confidence, share of them predicted right; (B,), nan without images.

    Args:
        bins: how many of equal width, each with its upper end.
    """
    true, predicted = _classes(reference, probabilities)
    confidence, right = probabilities.max(axis=1), (true == predicted).astype(float)
    place = _bins(confidence, bins)
    images = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=values, minlength=bins) for values in (confidence, right))
    mean_confidence, share_right = (_ratio(of_bins, images) for of_bins in sums)
    return images, mean_confidence, share_right


def _bins(confidence: np.ndarray, count: int) -> np.ndarray:
    """Which of so many bins of equal width, each with its upper end, a confidence is in."""
    return np.digitize(confidence, np.arange(1, count) / count, right=True)


def brier(reference: np.ndarray, probabilities: np.ndarray) -> float:
    """The Brier score, its original form: squared gaps to the one-hot truth, summed over classes, a mean over images.

    In [0, 2]: of two classes it is twice the form of one probability.
    Source: Brier, Monthly Weather Review 78 (1950) 1.
    """
    _check(reference, probabilities)
    return float(_brier(reference, probabilities))


def _brier(references: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    truth = np.eye(probabilities.shape[-1])[references]
    return np.asarray(((probabilities - truth) ** 2).sum(axis=-1).mean(axis=-1))


BINS = 15  # of ECE
FIGURES = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auc": auc,
    "mcc": mcc,
    "ece": ece,
    "brier": brier,
    "macro_specificity": macro_specificity,
    "macro_precision": macro_precision,
}
CLASS_FIGURES = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "f1": f1,
    "auc": class_auc,
}


# Of those above what the confusion matrix tells alone, which is counted once for all of them.
COUNTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": lambda counts: _mean(_sensitivity(counts)),
    "macro_f1": lambda counts: _mean(_f1(counts)),
    "mcc": _mcc,
    "macro_specificity": lambda counts: _mean(_specificity(counts)),
    "macro_precision": lambda counts: _mean(_precision(counts)),
}
CLASS_COUNTED = {"sensitivity": _sensitivity, "specificity": _specificity, "precision": _precision, "f1": _f1}


class RunScores(NamedTuple):
    """Of R runs at once: `FIGURES` (R,) and `CLASS_FIGURES` (R, K) by name, and the confusion matrices (R, K, K)."""

    overall: dict[str, np.ndarray]
    by_class: dict[str, np.ndarray]
    confusion: np.ndarray


def score_runs(references: np.ndarray, probabilities: np.ndarray) -> RunScores:
    """All figures of runs on equally many images each: labels (R, N), probabilities (R, N, K).

    One run at a time, numpy's calls alone would take most of a report's time.
    """
    runs, images, classes = probabilities.shape
    references, probabilities = references.reshape(runs, images), np.ascontiguousarray(probabilities)
    _check(references.ravel(), probabilities.reshape(-1, classes))
    place = (np.arange(runs)[:, None] * classes + references) * classes + probabilities.argmax(axis=-1)
    counts = np.bincount(place.ravel(), minlength=runs * classes**2).reshape(runs, classes, classes)
    pairs = list(zip(references, probabilities, strict=True))
    areas = np.array([[_area(true == k, given[:, k]) for k in range(classes)] for true, given in pairs])
    others = {"auc": _auc(areas), "ece": _ece(references, probabilities), "brier": _brier(references, probabilities)}
    return RunScores(
        {name: COUNTED[name](counts) if name in COUNTED else others[name] for name in FIGURES},
        {name: CLASS_COUNTED[name](counts) if name in CLASS_COUNTED else areas for name in CLASS_FIGURES},
        counts,
    )


def score_images(reference: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All of `FIGURES` by name."""
    _check(reference, probabilities)
    return {name: float(of_run[0]) for name, of_run in score_runs(reference[None], probabilities[None]).overall.items()}


def score_classes(reference: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """All of `CLASS_FIGURES` by name: (K,) each."""
    _check(reference, probabilities)
    return {name: of_run[0] for name, of_run in score_runs(reference[None], probabilities[None]).by_class.items()}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotients of counts, nan where the whole is 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(part / whole)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over those classes, the last axis, that are defined; nan of none."""
    known = ~np.isnan(values)
    return _ratio(np.ascontiguousarray(np.where(known, values, 0.0)).sum(axis=-1), known.sum(axis=-1))


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
