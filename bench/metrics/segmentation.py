"""Dice and HD95 of masks, and the scores of one case under both empty policies.

Shapes: D slices, H rows, W columns; spacing runs along the axes of the array, (z, y, x) for a volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

DEFINITIONS = ("pooled", "max")


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The Dice coefficient 2 |P and R| / (|P| + |R|) of two masks.

    Definition: the overlap of voxel sets, equal to `medpy.metric.binary.dc` wherever one mask is not empty.
    Unit: none, in [0, 1].
    Empty policy: none is applied; one empty mask gives 0 by the formula, two give nan (medpy gives 0).
    Source: Dice, Ecology 26 (1945) 297.

    Args:
        prediction, reference: boolean arrays of one shape.

    Raises:
        ValueError: the arrays are not boolean or differ in shape.
    """
    _check_masks(prediction, reference)
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2.0 * np.count_nonzero(prediction & reference) / total if total else math.nan


def hd95(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float] | None = None,
    definition: str = "pooled",
) -> float:
    """The 95th percentile of the Hausdorff distance between the borders of two masks.

    Definition: a border voxel is one of the mask with a face neighbour outside (so is beyond the array). Each
    has its distance to the other mask's nearest border voxel. `pooled` is the percentile of both directions'
    distances together, equal to `medpy.metric.binary.hd95`; `max` is the larger of the two percentiles. They
    differ widely with one far false island: never compare a figure of one with a figure of the other.
    Percentiles interpolate linearly.
    Unit: that of `spacing` (mm), or voxels without it.
    Empty policy: none is applied; an empty mask gives nan (medpy raises).
    Source: Huttenlocher et al., IEEE TPAMI 15 (1993) 850; definition as in MedPy 0.5.2.

    Note:
        In a (1, H, W) volume every voxel of a mask has a neighbour outside, so all of them are border, as in
        medpy. Give a single slice as (H, W).

    Args:
        prediction, reference: boolean arrays of one shape, any number of axes.
        spacing: the voxel's size along each axis.
        definition: `pooled` or `max`.

    Raises:
        ValueError: the arrays are not boolean or differ in shape, or bad spacing or definition.
    """
    _check_masks(prediction, reference)
    if definition not in DEFINITIONS:
        known = " or ".join(map(repr, DEFINITIONS))
        raise ValueError(f"Expected definition to be {known}, but got {definition!r}.")
    scale = _scale(spacing, prediction.ndim)
    if not (prediction.any() and reference.any()):
        return math.nan
    box = _joint_box(prediction, reference)
    ours, theirs = _border(prediction[box]), _border(reference[box])
    there, back = _distances(ours, theirs, scale), _distances(theirs, ours, scale)
    if definition == "pooled":
        return float(np.percentile(np.concatenate([there, back]), 95))
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def diagonal(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """The distance between the centres of opposite corner voxels of a grid.

    Definition: sqrt(sum(((n - 1) * s) ** 2)), the largest distance that the grid holds.
    Unit: that of `spacing` (mm), or voxels without it.
    Empty policy: this is the HD95 that `strict` gives where one of two masks is empty.
    Source: ours.

    Raises:
        ValueError: the spacing does not fit the shape.
    """
    steps = np.asarray(shape, dtype=float) - 1
    return float(np.linalg.norm(steps * _scale(spacing, len(shape))))


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    classes: Sequence[str],
    spacing: Sequence[float] | None,
) -> list[dict[str, Any]]:
    """One dict per foreground class with the columns of `cases.csv` from `class` on.

    Definition: `dice`, and `hd95` as `pooled`, of each class's mask against the rest.
    Unit: Dice in [0, 1]; `hd95_vox_*` in voxels; `hd95_mm_*` in mm, None when the spacing is not known.
    Empty policy: two, side by side.
        `strict`: neither has the class -> None, left out of means; one has it -> Dice 0, HD95 = `diagonal`.
        `transunet`, the literature's: prediction only -> Dice 1, HD95 0; missed or neither -> Dice 0, HD95 0.
    Source: `transunet` is `calculate_metric_percase` of TransUNet's `utils.py` (arXiv:2102.04306).

    Args:
        prediction, reference: (D, H, W) uint8, values are indices into `classes`; also (H, W).
        classes: class names by label id, the background first.
        spacing: voxel size along the axes in mm, or None.

    Raises:
        ValueError: the label maps differ in shape, are no uint8, or hold an id that `classes` does not name.
    """
    _check_labels(prediction, reference, classes)
    return [
        {"class": name, **_score_class(prediction == label, reference == label, spacing)}
        for label, name in enumerate(classes)
        if label > 0
    ]


def _score_class(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None) -> dict[str, Any]:
    predicted, present = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    both = predicted > 0 and present > 0
    outcome = "both" if both else "missed" if present else "invented" if predicted else "absent"
    overlap = dice(prediction, reference) if both else None
    row: dict[str, Any] = {
        "outcome": outcome,
        "reference_voxels": present,
        "predicted_voxels": predicted,
        "dice_strict": overlap if both else None if outcome == "absent" else 0.0,
        "dice_transunet": overlap if both else float(outcome == "invented"),
    }
    for unit, size in (("vox", None), ("mm", spacing)):
        known = unit == "vox" or spacing is not None
        distance = hd95(prediction, reference, size) if both and known else None
        worst = diagonal(prediction.shape, size) if known and outcome != "absent" else None
        row[f"hd95_{unit}_strict"] = distance if both else worst
        row[f"hd95_{unit}_transunet"] = distance if both else 0.0 if known else None
    return row


def _check_masks(prediction: np.ndarray, reference: np.ndarray) -> None:
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(f"Expected {name} to be a boolean array, but got {got}.")
    _check_shapes(prediction, reference)


def _check_labels(prediction: np.ndarray, reference: np.ndarray, classes: Sequence[str]) -> None:
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype != np.uint8:
            raise ValueError(f"Expected {name} to be a uint8 array, but got {labels.dtype}.")
        if labels.size and labels.max() >= len(classes):
            raise ValueError(f"Expected {name} to be below {len(classes)} (classes), but got {labels.max()}.")
    _check_shapes(prediction, reference)


def _check_shapes(prediction: np.ndarray, reference: np.ndarray) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(f"Expected prediction to be of shape {reference.shape}, but got {prediction.shape}.")


def _scale(spacing: Sequence[float] | None, axes: int) -> np.ndarray:
    if spacing is None:
        return np.ones(axes)
    scale = np.asarray(spacing, dtype=float)
    if scale.shape != (axes,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(f"Expected spacing to be {axes} positive numbers, but got {spacing}.")
    return scale


def _joint_box(prediction: np.ndarray, reference: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds both masks: what is outside of it has no part in either border."""
    union = prediction | reference
    box = []
    for axis in range(union.ndim):
        others = tuple(a for a in range(union.ndim) if a != axis)
        filled = np.flatnonzero(union.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _border(mask: np.ndarray) -> np.ndarray:
    """mask XOR its erosion by the face-neighbour cross, with the outside as background."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis, length in enumerate(mask.shape):
        for start in (0, 2):
            window = [slice(1, n + 1) for n in mask.shape]
            window[axis] = slice(start, start + length)
            inner &= padded[tuple(window)]
    return mask & ~inner


def _distances(of: np.ndarray, to: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distance of each voxel of one border to the nearest of the other; shared voxels have 0 unasked."""
    from scipy.spatial import cKDTree

    result = np.zeros(np.count_nonzero(of))
    apart = np.argwhere(of & ~to) * scale
    if len(apart):
        tree = cKDTree(np.argwhere(to) * scale, balanced_tree=False, compact_nodes=False)
        result[: len(apart)] = tree.query(apart)[0]
    return result
