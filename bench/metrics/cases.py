"""The scores of one case: two label maps, all classes at once, under both empty policies."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.metrics import segmentation
from bench.metrics.surface import border, distances, label_boxes, voxel_size

TOLERANCE = {"vox": 1.0, "mm": 2.0}  # of NSD; our choice
DISTANCES = ("hd95", "hd95max", "assd", "nsd")
# What a column of cases.csv is, kept in every record.
CONVENTIONS = {
    "border": "voxels of the mask with a face neighbour outside, beyond the array included (connectivity 1)",
    "plane": "an axis of a single voxel is left out, whichever it is: along it all of a mask would be border",
    "hd95": "95th percentile of both directions' distances pooled (medpy.metric.binary.hd95)",
    "hd95max": "larger of the two directed 95th percentiles (MONAI, MetricsReloaded)",
    "assd": "mean of both directions' distances pooled (medpy.metric.binary.assd, 0.5.2)",
    "nsd": f"share of border voxels within {TOLERANCE['vox']:g} voxel or {TOLERANCE['mm']:g} mm of the other border",
    "strict": "absent: none; one mask empty: overlaps and NSD 0, distances the diagonal; sensitivity without a "
    "reference and precision without a prediction: none",
    "transunet": "invented: Dice 1, HD95 0; missed or absent: Dice 0, HD95 0",
}


def score_case(
    prediction: np.ndarray,
    reference: np.ndarray,
    classes: Sequence[str],
    spacing: Sequence[float] | None,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """One dict per foreground class with the columns of `cases.csv` from `class` on, to 9 significant digits.

    Definition: the functions of `bench.metrics.segmentation` on each class's mask against the rest; NSD at `TOLERANCE`.
    Unit: overlaps and NSD in [0, 1]; `*_vox_*` in voxels; `*_mm_*` in mm, None when the spacing is not known.
    Empty policy: two, side by side.
        `strict`: neither has the class -> None, left out of means; one has it -> overlaps and NSD 0, distances
        `diagonal`; sensitivity is None without a reference, precision without a prediction.
        `transunet`, the literature's: prediction only -> Dice 1, HD95 0; missed or neither -> Dice 0, HD95 0.
    Source: `transunet` is `calculate_metric_percase` of TransUNet's `utils.py` (arXiv:2102.04306).

    Args:
        prediction, reference: (D, H, W) uint8, values are indices into `classes`; also (H, W). Axes of a single voxel
            are left out (`kept_axes`).
        classes: class names by label id, the background first.
        spacing: voxel size along the axes in mm, or None.
        threads: over classes; no figure depends on it.

    Raises:
        ValueError: the label maps differ in shape, are no uint8, or hold an id that `classes` does not name.
    """
    _check_labels(prediction, reference, classes)
    axes = kept_axes(prediction.shape)
    sizes = {"vox": voxel_size(None, len(axes))}
    if spacing is not None:
        sizes["mm"] = voxel_size(spacing, prediction.ndim)[list(axes)]
    shape = tuple(prediction.shape[axis] for axis in axes)
    prediction, reference = prediction.reshape(shape), reference.reshape(shape)
    worst = {unit: segmentation.diagonal(shape, tuple(size)) for unit, size in sizes.items()}
    boxes = label_boxes(prediction, reference, len(classes) - 1)

    def score(label: int) -> dict[str, Any]:
        box = boxes[label - 1]
        return {
            "class": classes[label],
            **_score_class(prediction[box] == label, reference[box] == label, sizes, worst),
        }

    labels = range(1, len(classes))
    if threads == 1 or len(labels) == 1:
        return [score(label) for label in labels]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(score, labels))


def kept_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes along which voxels have neighbours; of an array of one voxel the last axis."""
    return tuple(axis for axis, voxels in enumerate(shape) if voxels != 1) or (len(shape) - 1,)


def _score_class(
    prediction: np.ndarray, reference: np.ndarray, sizes: dict[str, np.ndarray], worst: dict[str, float]
) -> dict[str, Any]:
    predicted, present = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    shared = int(np.count_nonzero(prediction & reference)) if predicted and present else 0
    both, any_there = predicted > 0 and present > 0, predicted > 0 or present > 0
    outcome = "both" if both else "missed" if present else "invented" if predicted else "absent"
    overlap = 2.0 * shared / (predicted + present) if any_there else None
    row: dict[str, Any] = {
        "outcome": outcome,
        "reference_voxels": present,
        "predicted_voxels": predicted,
        "dice_strict": overlap,
        "dice_transunet": overlap if both else float(outcome == "invented"),
    }
    borders = (border(prediction), border(reference)) if both else None
    further: dict[str, Any] = {}
    for unit in TOLERANCE:
        figures: dict[str, float | None] = dict.fromkeys(DISTANCES)
        if borders and unit in sizes:
            figures |= _distances(*distances(*borders, sizes[unit]), TOLERANCE[unit])
        elif any_there and unit in sizes:
            figures |= {"hd95": worst[unit], "hd95max": worst[unit], "assd": worst[unit], "nsd": 0.0}
        row[f"hd95_{unit}_strict"] = figures["hd95"]
        row[f"hd95_{unit}_transunet"] = None if unit not in sizes else figures["hd95"] if both else 0.0
        further |= {f"{name}_{unit}_strict": figures[name] for name in DISTANCES[1:]}
    row["jaccard_strict"] = shared / (predicted + present - shared) if any_there else None
    row["sensitivity_strict"] = shared / present if present else None
    row["precision_strict"] = shared / predicted if predicted else None
    return {name: _shortened(value) for name, value in (row | further).items()}


def _shortened(value: Any) -> Any:
    """A score to 9 significant digits (our choice): a voxel changes earlier ones, and the others would fill files."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _distances(there: np.ndarray, back: np.ndarray, tolerance: float) -> dict[str, float]:
    return {
        "hd95": segmentation.hd95_pooled(there, back),
        "hd95max": segmentation.hd95_max(there, back),
        "assd": segmentation.mean_distance(there, back),
        "nsd": segmentation.within(there, back, tolerance),
    }


def _check_labels(prediction: np.ndarray, reference: np.ndarray, classes: Sequence[str]) -> None:
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype != np.uint8:
            raise ValueError(f"Expected {name} to be a uint8 array, but got {labels.dtype}.")
        if labels.size and labels.max() >= len(classes):
            raise ValueError(f"Expected {name} to be below {len(classes)} (classes), but got {labels.max()}.")
    if prediction.shape != reference.shape:
        raise ValueError(f"Expected prediction to be of shape {reference.shape}, but got {prediction.shape}.")
