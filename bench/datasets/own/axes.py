"""Which way a user's volumes lie: slices are cut along the third axis of each, which has to be one in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.datasets.own import dicom
from bench.datasets.own.items import Item
from bench.datasets.readers.nifti import header_affine, is_nifti
from bench.errors import UserError

TILT = 30.0  # degrees; axes that lie farther from the body's, as those of a heart's short axis, have no order
_NAMES = {"L": "x", "R": "x", "A": "y", "P": "y", "I": "z", "S": "z"}


def check_axes(items: Sequence[Item]) -> list[str]:
    """What is to be said of the volumes' directions, by their headers alone; oblique volumes are passed over.

    Raises:
        UserError: volumes whose axes stand in another order than those of others.
    """
    first: dict[str, Path] = {}
    orders: Counter[str] = Counter()
    directions: Counter[str] = Counter()
    for path in (item.image for item in items if not item.row):
        codes = _codes(path)
        if codes:
            order = "".join(_NAMES[code] for code in codes)
            first.setdefault(order, path)
            orders[order] += 1
            directions[codes] += is_nifti(path)  # a series of DICOM is sorted when it is read
    if len(orders) > 1:
        (common, count), (other, fewer) = orders.most_common(2)
        raise UserError(
            f"Expected the axes of all volumes in one order, since slices are cut along the third, but {count} have "
            f"{common}, such as {first[common]}, and {fewer} {other}, such as {first[other]} (x from left to right, y "
            "from back to front, z from foot to head): reorient images and label maps alike, as "
            "nibabel.as_closest_canonical does."
        )
    seen = [f"{codes} in {count}" for codes, count in directions.most_common() if count]
    if len(seen) < 2:
        return []
    return [f"axes point to {', '.join(seen)} volumes: they are read as they are, some mirrored against others"]


def _codes(path: Path) -> str:
    """Where the axes of a volume point, as `RAS`; empty for a picture, or where nothing tells."""
    from nibabel.affines import obliquity
    from nibabel.orientations import aff2axcodes

    if is_nifti(path):
        affine = header_affine(path)
    elif path.is_dir():
        affine = dicom.slice_affine(path)
    else:
        return ""
    if affine is None or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        return ""
    if np.degrees(obliquity(affine)).max() > TILT:
        return ""
    return "".join(map(str, aff2axcodes(affine)))
