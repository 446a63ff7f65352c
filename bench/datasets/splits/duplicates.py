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


def grey_levels(plane: np.ndarray) -> np.ndarray:
    """A slice of any intensities, (H, W) or in colour (3, H, W), as (1, H, W) uint8, from its least to its greatest."""
    grey = plane if plane.ndim == 2 else plane.mean(axis=0)
    low, high = float(grey.min()), float(grey.max())
    return np.round(255 * (grey - low) / max(high - low, 1e-12)).astype(np.uint8)[None]


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
    return join_several(len(small), pairs)


def join(n: int, groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """The connected components of n things, where those of a group belong together.

    Args:
        groups: positions below n, at least one in each; a pair is a group of two.

    Returns:
        All components, also those of a single thing, each ascending, in the order of their first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.array([(group[0], member) for group in groups for member in group[1:]], dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    members: dict[int, list[int]] = {}
    for position, component in enumerate(connected_components(graph, directed=False)[1].tolist()):
        members.setdefault(component, []).append(position)
    return [tuple(positions) for positions in members.values()]


def join_several(n: int, groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """The components of `join` that have two members or more."""
    return [component for component in join(n, groups) if len(component) > 1]
