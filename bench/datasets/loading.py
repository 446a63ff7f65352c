"""From a cached volume to the network's input and back, and augmentation of whole batches.

Shapes: D slices of H x W in the file's own grid; S is the protocol's image size; N images in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from bench.datasets.prepared import Prepared
from bench.plan import Protocol


def network_input(image: np.ndarray, protocol: Protocol) -> torch.Tensor:
    """Normalises and resizes a volume's slices: (D, H, W) intensities -> (D, 1, S, S) float32.

    `zscore` is per slice, before resizing; `minmax` is per volume, to [0, 1], as the literature prepares ACDC.
    """
    slices = torch.from_numpy(np.array(image, dtype=np.float32))[:, None]
    if protocol.normalise == "zscore":
        sd, mean = torch.std_mean(slices, dim=(1, 2, 3), keepdim=True, correction=0)
        slices = (slices - mean) / (sd + 1e-6)
    else:
        low, high = slices.min(), slices.max()
        slices = (slices - low) / (high - low).clamp_min(1e-6)
    if protocol.resize == "linear":
        return _linear(slices, (protocol.image_size, protocol.image_size))
    rows, columns = (_cubic_matrix(n, protocol.image_size) for n in slices.shape[-2:])
    return rows @ slices @ columns.T


def network_label(label: np.ndarray, protocol: Protocol) -> torch.Tensor:
    """Resizes label maps by nearest neighbour: (D, H, W) uint8 -> (D, S, S) uint8."""
    return torch.from_numpy(nearest(np.asarray(label), (protocol.image_size, protocol.image_size), protocol.resize))


def label_map(logits: torch.Tensor, shape: tuple[int, int], protocol: Protocol) -> np.ndarray:
    """Logits (D, K, S, S) -> label maps (D, H, W) uint8 in the file's own grid.

    `logits`: resized linearly, then argmax. `labels`: argmax, then nearest neighbour, as the literature.
    """
    if protocol.output == "logits":
        return _linear(logits.float(), shape).argmax(dim=1).to(torch.uint8).cpu().numpy()
    return nearest(logits.argmax(dim=1).to(torch.uint8).cpu().numpy(), shape, protocol.resize)


def training_arrays(data: Prepared, cases: Sequence[int], protocol: Protocol) -> tuple[torch.Tensor, torch.Tensor]:
    """All slices of these cases in memory: images (N, 1, S, S) float32 and labels (N, S, S) uint8."""
    images = [network_input(data.image(i), protocol) for i in cases]
    labels = [network_label(data.label(i), protocol) for i in cases]
    return torch.cat(images), torch.cat(labels)


def augment(
    images: torch.Tensor, labels: torch.Tensor, protocol: Protocol, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flips, rotations by 90 degrees and small rotations, drawn for each image from the generator alone.

    Args:
        images: (N, C, S, S) float32. labels: (N, S, S) uint8.
    """
    n = len(images)
    draws = torch.rand(n, 6, generator=generator)
    images, labels = images.clone(), labels.clone()
    for i in range(n):
        dims = [d for d, draw in ((-1, draws[i, 0]), (-2, draws[i, 1])) if draw < protocol.flip]
        turns = 1 + int(draws[i, 3] * 3) if draws[i, 2] < protocol.rot90 else 0
        images[i] = torch.rot90(images[i].flip(dims), turns, (-2, -1))
        labels[i] = torch.rot90(labels[i].flip(dims), turns, (-2, -1))
    rotated = (draws[:, 4] < protocol.rotate).nonzero().flatten()
    if len(rotated):
        angles = torch.deg2rad((2 * draws[rotated, 5] - 1) * protocol.rotate_degrees)
        images[rotated], labels[rotated] = _rotate(images[rotated], labels[rotated], angles)
    return images, labels


def nearest(label: np.ndarray, shape: tuple[int, int], resize: str) -> np.ndarray:
    """Label maps (D, H, W) on another grid by nearest neighbour; `transunet` as scipy's zoom of order 0 does it."""
    rows, columns = (_nearest_index(n, m, resize) for n, m in zip(label.shape[-2:], shape, strict=True))
    out = label[:, rows.clip(0)][:, :, columns.clip(0)]
    out[:, rows < 0] = 0
    out[:, :, columns < 0] = 0
    return out


def _rotate(images: torch.Tensor, labels: torch.Tensor, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotates about the centre: images linearly with their border repeated, labels by nearest with background."""
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    maps = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return turned, maps[:, 0].to(labels.dtype)


def _linear(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size=shape, mode="bilinear", align_corners=False, antialias=True)


@cache
def _cubic_matrix(n: int, size: int) -> torch.Tensor:
    """(size, n): scipy's zoom of order 3 along one axis; it is linear, so that zoom(x) = W @ x @ V.T."""
    from scipy.ndimage import zoom

    return torch.from_numpy(zoom(np.eye(n), (size / n, 1), order=3).astype(np.float32))


@cache
def _nearest_index(n: int, size: int, resize: str) -> np.ndarray:
    """Source index of each output sample; -1 where scipy's zoom of order 0 puts 0 by a rounding error at the end."""
    if resize == "transunet":
        from scipy.ndimage import zoom

        return zoom(np.arange(1.0, n + 1), size / n, order=0).astype(int) - 1
    return ((np.arange(size) + 0.5) * n / size).astype(int)
