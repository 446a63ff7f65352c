"""Borders of masks and the distances between them, which HD95, ASSD and NSD are read from.

A border voxel is one of the mask with a face neighbour outside of it; what is beyond the array is outside (medpy's
definition with connectivity 1). Distances are exact: a k-d tree over the other border's voxels, and 0, unasked, for
the voxels that both borders share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Box = tuple[slice, ...]


def border(mask: np.ndarray) -> np.ndarray:
    """The border voxels of a boolean mask, as a mask; any number of axes."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        inside, before = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        inside[1:] &= before[:-1]
        inside[:-1] &= before[1:]
        inside[0] = inside[-1] = False
    return mask & ~inner


def distances(prediction: np.ndarray, reference: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From each voxel of one border to the nearest of the other, both ways; float64, in the unit of `scale`.

    Args:
        prediction, reference: borders, boolean arrays of one shape, neither empty.
        scale: the voxel's size along each axis.
    """
    ours, theirs = np.argwhere(prediction) * scale, np.argwhere(reference) * scale
    shared = prediction & reference
    return _nearest(ours, theirs, shared[prediction]), _nearest(theirs, ours, shared[reference])


def _nearest(points: np.ndarray, others: np.ndarray, shared: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    result = np.zeros(len(points))
    apart = ~shared
    if apart.any():
        tree = cKDTree(others, balanced_tree=False, compact_nodes=False)
        result[apart] = tree.query(points[apart])[0]
    return result


def label_boxes(prediction: np.ndarray, reference: np.ndarray, labels: int) -> list[Box]:
    """For labels 1 to `labels` of two uint8 label maps: the smallest box with all voxels of both; empty for none."""
    from scipy.ndimage import find_objects

    boxes = zip(find_objects(prediction, labels), find_objects(reference, labels), strict=True)
    nothing = tuple(slice(0, 0) for _ in prediction.shape)
    return [_around(predicted or present or nothing, present or predicted or nothing) for predicted, present in boxes]


def _around(first: Box, second: Box) -> Box:
    """The smallest box that holds two."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def voxel_size(spacing: Sequence[float] | None, axes: int) -> np.ndarray:
    """The size along each axis, ones without a spacing.

    Raises:
        ValueError: no such number of positive figures.
    """
    if spacing is None:
        return np.ones(axes)
    scale = np.asarray(spacing, dtype=float)
    if scale.shape != (axes,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(f"Expected spacing to be {axes} positive numbers, but got {spacing}.")
    return scale
