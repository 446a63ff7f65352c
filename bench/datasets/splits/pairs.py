"""All pairs of images that correlate, of tens of thousands: a perceptual hash bounds the correlation from above.

An image is its 64 x 64 grey levels less their mean, over their norm, so that correlation is a product. Its hash is the
product's part on 16 x 16 areas (256 numbers) and the length of what they leave (1 number); by Cauchy and Schwarz the
product of two hashes is never below the correlation, so that a pair whose hashes stay below the threshold is none, and
no pair is missed. What is left is correlated at 64 x 64, and decided in whole numbers. Memory grows with N, not with N
x N: two blocks of hashes meet at a time. The method is our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

AREAS, BLOCK = 16, 1024
# Error of a correlation in single precision: what comes closer to the threshold is decided in whole numbers.
_MARGIN = 1e-4
# Share of a block's pairs above which one product of matrices is cheaper than gathering them.
_DENSE = 0.005
# Degrees counter-clockwise, after mirroring or not: the eight of a square, and those that discs are compared in.
ORIENTATIONS = tuple((degrees, mirrored) for mirrored in (False, True) for degrees in range(0, 360, 90))
ANGLES = tuple((degrees, mirrored) for mirrored in (False, True) for degrees in range(0, 360, 12))
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pair:
    """Two images, i < j, and how j is turned to look like i: degrees counter-clockwise, after mirroring or not."""

    i: int
    j: int
    correlation: float
    degrees: int = 0
    mirrored: bool = False


def oriented(small: np.ndarray, degrees: int, mirrored: bool) -> np.ndarray:
    """Square images (..., S, S) uint8, mirrored left to right where asked, then turned; corners that come in are 0."""
    from PIL import Image

    small = small[..., ::-1] if mirrored else small
    if degrees % 90 == 0:
        return np.rot90(small, degrees // 90, (-2, -1))
    flat = np.ascontiguousarray(small).reshape(-1, *small.shape[-2:])
    turned = [np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR)) for image in flat]
    return np.stack(turned).reshape(small.shape)


def discs(small: np.ndarray) -> np.ndarray:
    """Square images (N, S, S) uint8 with all beyond the disc that fits in them at the disc's mean."""
    middle = (np.arange(small.shape[-1]) + 0.5) / small.shape[-1] * 2 - 1
    inside = middle[:, None] ** 2 + middle**2 < 0.9
    mean = np.round(small[:, inside].mean(1)).astype(np.uint8)
    return np.where(inside, small, mean[:, None, None])


def correlating(
    small: np.ndarray,
    least: float,
    orientations: Sequence[tuple[int, bool]] = ORIENTATIONS[:1],
    progress: Progress | None = None,
    disc: bool = False,
) -> Iterator[Pair]:
    """Every pair whose grey levels correlate at `least` or more in one of the orientations, each once, at its best.

    Images of one grey level resemble only their equals (correlation 1).

    Args:
        small: (N, S, S) uint8, S a multiple of 16.
        least: above 0.
        progress: called with (pairs of blocks done, of all).
        disc: compare `discs`, which turns by any angle leave whole.
    """
    whole = small
    small = discs(small) if disc and len(small) else small
    blocks = [range(start, min(start + BLOCK, len(small))) for start in range(0, len(small), BLOCK)]
    total = len(blocks) * (len(blocks) + 1) // 2
    hashes = np.concatenate([_hashes(small[b.start : b.stop]) for b in blocks]) if blocks else np.zeros((0, 1))
    done = 0
    for a, first in enumerate(blocks):
        of_first = _normalised(small[first.start : first.stop])
        for second in blocks[a:]:
            best: dict[tuple[int, int], Pair] = {}
            for degrees, mirrored in orientations:
                turned = oriented(whole[second.start : second.stop], degrees, mirrored)
                turned = discs(turned) if disc else turned
                bound = hashes[first.start : first.stop] @ _turned_hashes(hashes, second, turned, degrees, mirrored).T
                rows, columns = _candidates(bound, of_first, turned, least)
                later = rows + first.start < columns + second.start
                for i, j in zip(rows[later].tolist(), columns[later].tolist(), strict=True):
                    correlation = exact_correlation(small[first.start + i], turned[j])
                    pair = Pair(first.start + i, second.start + j, correlation, degrees, mirrored)
                    if correlation >= least and correlation > getattr(best.get((i, j)), "correlation", 0):
                        best[i, j] = pair
            yield from (best[key] for key in sorted(best))
            done += 1
            if progress:
                progress(done, total)


def exact_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two images; the sums are whole numbers below 2**53, so that all machines agree."""
    x, y, n = first.ravel().astype(np.int64), second.ravel().astype(np.int64), first.size
    total_x, total_y = int(x.sum()), int(y.sum())
    spread_x, spread_y = n * int(x @ x) - total_x**2, n * int(y @ y) - total_y**2
    if spread_x == 0 or spread_y == 0:
        return float(spread_x == spread_y and total_x == total_y)
    return float((n * int(x @ y) - total_x * total_y) / np.sqrt(float(spread_x) * float(spread_y)))


def _candidates(
    bound: np.ndarray, first: np.ndarray, second: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a block of pairs that may correlate: by their hashes, then at full size."""
    near = bound >= least - _MARGIN
    count = int(np.count_nonzero(near))
    if count == 0:
        empty = np.zeros(0, dtype=int)
        return empty, empty
    if count > _DENSE * near.size:
        rows, columns = np.nonzero(near & (first @ _normalised(second).T >= least - _MARGIN))
        return rows, columns
    rows, columns = np.nonzero(near)
    kept = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        kept[part] = np.einsum("ij,ij->i", first[rows[part]], _normalised(second[columns[part]])) >= least - _MARGIN
    return rows[kept], columns[kept]


def _normalised(small: np.ndarray) -> np.ndarray:
    """(N, S, S) -> (N, S * S) float32 of mean 0 and norm 1; of one grey level all 1 / S, like its equals."""
    flat = small.reshape(len(small), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm < 1e-3, np.float32(flat.shape[1] ** -0.5), flat / np.maximum(norm, 1e-3))


def _hashes(small: np.ndarray) -> np.ndarray:
    """Hashes (N, 257) float32: the 256 numbers on the areas, and the length of what they leave."""
    n, side = len(small), small.shape[-1]
    each = side // AREAS
    flat = _normalised(small)
    areas = flat.reshape(n, AREAS, each, AREAS, each).sum((2, 4)).reshape(n, -1) / each
    rest = np.sqrt(np.maximum(1 - (areas**2).sum(1, keepdims=True), 0))
    return np.concatenate([areas, rest], 1)


def _turned_hashes(hashes: np.ndarray, block: range, turned: np.ndarray, degrees: int, mirrored: bool) -> np.ndarray:
    """The hashes of a block's images after a turn: the same numbers at other places where whole areas move."""
    if degrees % 90:
        return _hashes(turned)
    part = hashes[block.start : block.stop]
    areas = oriented(part[:, :-1].reshape(-1, AREAS, AREAS), degrees, mirrored).reshape(len(part), -1)
    return np.concatenate([areas, part[:, -1:]], 1)
