"""Whether Dice, HD95 and ASSD are medpy's: both compute them on drawn volumes and on hard ones. Needs medpy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np

from bench.errors import UserError
from bench.metrics.segmentation import assd, dice, hd95

TOLERANCE = 1e-9  # a larger difference is another metric
Spacing = tuple[float, ...] | None
Pair = tuple[str, np.ndarray, np.ndarray, Spacing]


@dataclass(frozen=True)
class Compared:
    """One metric beside medpy's.

    Attributes:
        pairs: how many pairs of masks both have a value of. undefined: of how many neither has one.
        difference: the largest absolute one, in the metric's unit; inf where only one of the two has a value.
        worst: the pair that it is of.
        ratio: medpy's CPU seconds over ours on the drawn volumes, the median of rounds by turns.
    """

    metric: str
    pairs: int
    undefined: int
    difference: float
    worst: str
    ratio: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.difference <= TOLERANCE


def compare_with_medpy(rounds: int = 3) -> list[Compared]:
    """Dice, HD95 (pooled) and ASSD beside medpy's, on the same pairs, with and without spacing.

    Two empty masks are no part of it: medpy gives Dice 0, ours none, which the empty policies then decide.

    Raises:
        UserError: medpy is not installed.
    """
    medpy = _medpy()
    drawn, hard = list(_drawn()), list(_hard())
    compared = []
    for name, ours, theirs in (
        ("Dice", lambda p, r, _: dice(p, r), lambda p, r, _: medpy.dc(p, r)),
        ("HD95 (pooled)", hd95, medpy.hd95),
        ("ASSD", assd, medpy.assd),
    ):
        gaps = [(_gap(ours, theirs, pair), pair[0]) for pair in (*drawn, *hard)]
        defined = [(gap, title) for gap, title in gaps if gap is not None]
        difference, worst = max(defined, key=lambda gap_and_title: gap_and_title[0])
        ratio = float(np.median([_seconds(theirs, drawn) / _seconds(ours, drawn) for _ in range(rounds)]))
        compared.append(Compared(name, len(defined), len(gaps) - len(defined), difference, worst, ratio))
    return compared


def _medpy() -> ModuleType:
    try:
        from medpy.metric import binary
    except ImportError:
        raise UserError("medpy is the oracle here, and it is not installed: pip install medbench[check]") from None
    return binary


def _gap(ours: Callable[..., float], theirs: Callable[..., float], pair: Pair) -> float | None:
    """The absolute difference of our figure and medpy's; None where neither has one: nan is ours, an error medpy's."""
    _, *masks_and_spacing = pair
    our_figure = ours(*masks_and_spacing)
    try:
        their_figure = float(theirs(*masks_and_spacing))
    except RuntimeError:  # medpy's word for an empty mask
        return None if np.isnan(our_figure) else float("inf")
    gap = abs(our_figure - their_figure)
    return float("inf") if np.isnan(gap) else gap


def _seconds(figure: Callable[..., float], pairs: list[Pair]) -> float:
    begin = time.process_time()
    for _, prediction, reference, spacing in pairs:
        figure(prediction, reference, spacing)
    return time.process_time() - begin


def _drawn() -> Iterator[Pair]:
    """Each structure of a drawn heart, in two phases, and of a drawn abdomen, beside itself moved and frayed."""
    from bench.datasets.phantoms import abdomen, cardiac
    from bench.datasets.readers.nifti import read_nifti

    with tempfile.TemporaryDirectory() as folder:
        cardiac.draw(Path(folder), 0, {"test": 1})
        maps = [read_nifti(path) for path in sorted(Path(folder).rglob("*_gt.nii.gz"))]
    volumes = [("heart", drawn.array, drawn.spacing) for drawn in maps]
    volumes.append(("abdomen", abdomen.new_patient(np.random.default_rng(0))[1], (8.0, 2.5, 2.5)))
    rng = np.random.default_rng(1)
    for title, labels, spacing in volumes:
        frayed = np.where(rng.random(labels.shape) < 0.02, 0, np.roll(labels, (1, 3), axis=(1, 2)))
        for k in range(1, int(labels.max()) + 1):
            for scale in (None, spacing):
                yield f"{title} {k}, {_unit(scale)}", frayed == k, labels == k, scale


def _hard() -> Iterator[Pair]:
    """All pairs of small masks at which a metric goes wrong, two empty ones aside, and random ones."""
    shape, rng = (7, 18, 22), np.random.default_rng(2)
    masks = {name: np.zeros(shape, bool) for name in ("empty", "voxel", "corner", "line", "wall", "box", "island")}
    masks["voxel"][3, 9, 10] = masks["corner"][-1, -1, -1] = True
    masks["line"][3, 9, :] = masks["wall"][:, :, 0] = True
    masks["box"][2:6, 5:14, 6:15] = masks["island"][2:6, 5:14, 6:15] = masks["island"][6, 17, 20:] = True
    masks["full"] = np.ones(shape, bool)
    masks["hollow"] = masks["box"].copy()
    masks["hollow"][3:5, 7:12, 8:13] = False
    masks |= {f"noise {share:g}": rng.random(shape) < share for share in (0.01, 0.3, 0.9)}
    for (first, prediction), (second, reference) in product(masks.items(), repeat=2):
        if first != "empty" or second != "empty":
            for scale in (None, (10.0, 1.5625, 0.75)):
                yield f"{first} and {second}, {_unit(scale)}", prediction, reference, scale


def _unit(spacing: Spacing) -> str:
    return "voxels" if spacing is None else "mm"
