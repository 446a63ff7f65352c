"""Near-duplicate images: a perceptual hash finds candidates, normalised cross-correlation decides, pairs make groups.

The figures were chosen on the 419 images of SARS-COV2-CT-Scan that were at hand (87,571 pairs), by looking at the
pairs in the order of their correlation at 64 x 64 grey levels. The two above 0.99 are the same image twice. Down to
0.917 all 60 that were looked at are neighbouring slices of one patient (numbers at most 4 apart), and 0.90 still gives
pairs at most 5 apart and of one class; the first pair that is further apart than 5 stands at 0.891, the first across
classes at 0.870. The published files make 35 times as many pairs, so that chance reaches higher among them, and each
false pair ties two blocks of a split together: 0.92 keeps a margin to it. All 57 pairs above 0.92 have hashes that
differ in at most 12 of 64 bits, as 38 % of all pairs do: the hash saves time, the correlation decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bench.datasets.splits.pairs import correlating

# Part of a cache's content: whoever changes one raises the preparation version of `manifest.FORMATS`.
HASH_DISTANCE = 12
CORRELATION = 0.92
SIZE = 64
SETTINGS = {"hash_distance": HASH_DISTANCE, "correlation": CORRELATION}


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8, C = 1 or 3 -> (64, 64) uint8 grey levels, averaged over areas, whatever the proportions."""
    from PIL import Image

    grey = Image.fromarray(image[0]) if len(image) == 1 else Image.fromarray(image.transpose(1, 2, 0)).convert("L")
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BOX))


def perceptual_hash(small: np.ndarray) -> np.ndarray:
    """The 64 bits of dHash: whether each of 8 x 8 areas is brighter than its left neighbour; (64, 64) -> (64,) bool."""
    from PIL import Image

    areas = np.asarray(Image.fromarray(small).resize((9, 8), Image.Resampling.BOX))
    return (areas[:, 1:] > areas[:, :-1]).ravel()


def near_duplicates(thumbnails: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Groups of two and more near-duplicates, as ascending positions; a chain of pairs is one group.

    Args:
        thumbnails: N arrays as `thumbnail` gives them.
    """
    if len(thumbnails) < 2:
        return []
    small = np.stack(thumbnails)
    hashes = np.stack([perceptual_hash(image) for image in thumbnails])
    alike = correlating(small, CORRELATION)
    pairs = [(pair.i, pair.j) for pair in alike if (hashes[pair.i] != hashes[pair.j]).sum() <= HASH_DISTANCE]
    return [group for group in join(len(small), pairs) if len(group) > 1]


def join(n: int, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The connected components of n things under these pairs (union-find), each ascending, in order of their first."""
    parent = list(range(n))
    for i, j in pairs:
        join_at(parent, i, j)
    components: dict[int, list[int]] = {}
    for i, root in enumerate(roots(parent)):
        components.setdefault(root, []).append(i)
    return [tuple(members) for members in components.values()]


def join_at(parent: list[int], i: int, j: int) -> None:
    """Makes two things one component; `parent` begins as range(n)."""
    low, high = sorted((_root(parent, i), _root(parent, j)))
    parent[high] = low


def roots(parent: list[int]) -> list[int]:
    """Each thing's component, named by its first member."""
    return [_root(parent, i) for i in range(len(parent))]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = i = parent[parent[i]]
    return i
