"""Figures of two masks: overlap (Dice, Jaccard, sensitivity, precision) and distance of borders (HD95, ASSD, NSD).

All take boolean arrays of one shape with any number of axes, and raise ValueError for others; `spacing` runs along the
axes of the array, (z, y, x) for a volume. None applies an empty policy: what is not defined is nan. Label maps of whole
cases, all classes at once, are scored by `bench.metrics.cases`.

Borders are those of `bench.metrics.surface`, connectivity 1.

Note:
    In a (1, H, W) volume every voxel of a mask has a neighbour outside, so all of them are border, as in medpy. Give a
    single slice as (H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.metrics.surface import border, distances, label_boxes, voxel_size

DEFINITIONS = ("pooled", "max")
ROUNDING = 1e-9  # relative: 2 mm may be 2.0000000000000004 mm elsewhere in the volume


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The Dice coefficient 2 |P and R| / (|P| + |R|) in [0, 1]; one empty mask gives 0, two give nan (medpy: 0).

    Equal to `medpy.metric.binary.dc` elsewhere. Source: Dice, Ecology 26 (1945) 297.
    """
    predicted, present, both = _counts(prediction, reference)
    return 2.0 * both / (predicted + present) if predicted + present else math.nan


def jaccard(prediction: np.ndarray, reference: np.ndarray) -> float:
    """The Jaccard index |P and R| / |P or R| in [0, 1] (IoU); one empty mask gives 0, two give nan."""
    predicted, present, both = _counts(prediction, reference)
    return both / (predicted + present - both) if predicted + present else math.nan


def sensitivity(prediction: np.ndarray, reference: np.ndarray) -> float:
    """|P and R| / |R| in [0, 1] (recall): the share of the reference that is found; nan without a reference."""
    _, present, both = _counts(prediction, reference)
    return both / present if present else math.nan


def precision(prediction: np.ndarray, reference: np.ndarray) -> float:
    """|P and R| / |P| in [0, 1]: the share of the prediction that is right; nan without a prediction."""
    predicted, _, both = _counts(prediction, reference)
    return both / predicted if predicted else math.nan


def hd95(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float] | None = None,
    definition: str = "pooled",
) -> float:
    """The 95th percentile of the Hausdorff distance between the borders of two masks.

    `pooled` is the percentile of both directions' distances together, equal to `medpy.metric.binary.hd95`; `max` is the
    larger of the two directed percentiles, as MONAI and MetricsReloaded define it. They differ widely with one far
    false island: never compare a figure of one with a figure of the other. Percentiles interpolate linearly.

    Unit: that of `spacing` (mm), or voxels without it. An empty mask gives nan (medpy raises).
    Source: Huttenlocher et al., IEEE TPAMI 15 (1993) 850; definition as in MedPy 0.5.2.

    Raises:
        ValueError: the arrays are not boolean or differ in shape, or bad spacing or definition.
    """
    if definition not in DEFINITIONS:
        known = " or ".join(map(repr, DEFINITIONS))
        raise ValueError(f"Expected definition to be {known}, but got {definition!r}.")
    ways = _surface_distances(prediction, reference, spacing)
    return math.nan if ways is None else (hd95_pooled(*ways) if definition == "pooled" else hd95_max(*ways))


def assd(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> float:
    """The average symmetric surface distance: the mean of both directions' distances together.

    Equal to `medpy.metric.binary.assd` of MedPy 0.5.2 (older ones averaged the two directed means).
    Unit: that of `spacing` (mm), or voxels without it. An empty mask gives nan (medpy raises).
    """
    ways = _surface_distances(prediction, reference, spacing)
    return math.nan if ways is None else mean_distance(*ways)


def nsd(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None, tolerance: float = 1.0
) -> float:
    """The normalised surface distance: the share of both borders' voxels within a tolerance of the other border.

    In [0, 1]; the tolerance is in the unit of `spacing` (mm), or voxels without it. An empty mask gives nan.
    Source: Nikolov et al., JMIR 23 (2021) e26151, whose borders are weighted by area; here each voxel counts once, as
    in MetricsReloaded.

    Raises:
        ValueError: as `hd95`, or a negative tolerance.
    """
    if not tolerance >= 0:
        raise ValueError(f"Expected tolerance to be at least 0, but got {tolerance}.")
    ways = _surface_distances(prediction, reference, spacing)
    return math.nan if ways is None else within(*ways, tolerance)


def hd95_pooled(there: np.ndarray, back: np.ndarray) -> float:
    """HD95 `pooled` of both directions' distances."""
    return float(np.percentile(np.concatenate([there, back]), 95))


def hd95_max(there: np.ndarray, back: np.ndarray) -> float:
    """HD95 `max` of both directions' distances."""
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def mean_distance(there: np.ndarray, back: np.ndarray) -> float:
    """ASSD of both directions' distances."""
    return float(np.concatenate([there, back]).mean())


def within(there: np.ndarray, back: np.ndarray, tolerance: float) -> float:
    """NSD of both directions' distances; one that is the tolerance but for its rounding is within it."""
    most = tolerance * (1 + ROUNDING)
    near = np.count_nonzero(there <= most) + np.count_nonzero(back <= most)
    return near / (len(there) + len(back))


def diagonal(shape: Sequence[int], spacing: Sequence[float] | None = None) -> float:
    """The distance between the centres of opposite corner voxels of a grid, the largest that the grid holds.

    sqrt(sum(((n - 1) * s) ** 2)), in the unit of `spacing` (mm), or voxels without it. It is the HD95 that the policy
    `strict` gives where one of two masks is empty. Source: ours.

    Raises:
        ValueError: the spacing does not fit the shape.
    """
    steps = np.asarray(shape, dtype=float) - 1
    return float(np.linalg.norm(steps * voxel_size(spacing, len(shape))))


def _surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances from each border to the other, both ways; None where a mask is empty."""
    _check_masks(prediction, reference)
    scale = voxel_size(spacing, prediction.ndim)
    if not (prediction.any() and reference.any()):
        return None
    (box,) = label_boxes(prediction.view(np.uint8), reference.view(np.uint8), 1)
    return distances(border(prediction[box]), border(reference[box]), scale)


def _counts(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, int, int]:
    """Voxels of the prediction, of the reference, and of both at once."""
    _check_masks(prediction, reference)
    both = np.count_nonzero(prediction & reference)
    return int(np.count_nonzero(prediction)), int(np.count_nonzero(reference)), int(both)


def _check_masks(prediction: np.ndarray, reference: np.ndarray) -> None:
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(f"Expected {name} to be a boolean array, but got {got}.")
    if prediction.shape != reference.shape:
        raise ValueError(f"Expected prediction to be of shape {reference.shape}, but got {prediction.shape}.")
