"""Flips, quarter turns, rotations, crops and scales of a training batch, drawn for each image.

What moves pixels between the grid's points (rotation, crop, scale, shift) is one affine map and one resampling.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from bench.datasets.augmentation.settings import AugmentationSettings
from bench.datasets.base import Selected

CROP_RATIOS = (3 / 4, 4 / 3)  # width to height of a random resized crop, as torchvision's
ZOOMS = (0.7, 1.4)  # nnU-Net's


def move(
    images: Selected,
    labels: Selected,
    protocol: AugmentationSettings,
    generator: torch.Generator,
    chosen: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flips, quarter turns and affine maps, drawn for each image from the generator alone.

    The number of draws depends on the size of the batch alone, so that one setting does not change what another draws.
    They are drawn on the CPU wherever the images are, so that every device sees the same images up to rounding.

    Args:
        images: (N, C, S, S) float32, on any device. labels: (N, S, S) uint8, which move with their image, or (N,),
            which do not.
        chosen: the batch's positions among the images, (B,); all of them by default.
    """
    chosen = torch.arange(len(images)) if chosen is None else chosen
    n, maps = len(chosen), labels.ndim > 1
    draws = torch.rand(n, 6, generator=generator)
    further = torch.rand(n, 8, generator=generator)
    turns = torch.where(draws[:, 2] < protocol.rot90, 1 + (draws[:, 3] * 3).int(), 0)
    across, down = draws[:, 0] < protocol.flip, draws[:, 1] < protocol.upside_down
    ways: dict[tuple[bool, bool, bool], list[int]] = {}
    for i, way in enumerate(zip(across.tolist(), down.tolist(), turns.tolist(), strict=True)):
        ways.setdefault(_dihedral(*way), []).append(i)
    place = images.device if isinstance(images, torch.Tensor) else torch.device("cpu")
    turned, turned_labels = [], []
    for way, members in ways.items():
        source = sent(chosen[members], place)
        turned.append(_turned(images.index_select(0, source), way))
        if maps:
            turned_labels.append(_turned(labels.index_select(0, source), way))
    back = sent(torch.tensor([i for members in ways.values() for i in members]).argsort(), place)
    moved = torch.cat(turned).index_select(0, back)
    moved_labels = (
        torch.cat(turned_labels).index_select(0, back) if maps else labels.index_select(0, sent(chosen, place))
    )
    matrices, resampled = affine_maps(draws[:, 4:6], further, protocol)
    places = resampled.nonzero().flatten()
    if len(places):
        grid, there = sampling_grid(sent(matrices[places], place), images.shape[-1]), sent(places, place)
        moved = replaced(moved, places, _sample_images(moved.index_select(0, there), grid))
        if maps:
            sampled = _sample_labels(moved_labels.index_select(0, there), grid)
            moved_labels = replaced(moved_labels, places, sampled)
    return moved, moved_labels


def replaced(images: torch.Tensor, places: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """Images (N, ...) of which those at `places`, (M,) on the CPU, are the changed ones, (M, ...).

    On the CPU in place. On a GPU `index_copy_` has a deterministic form that sorts, and takes twenty times as long as
    one gather of both.
    """
    if images.device.type == "cpu":
        return images.index_copy_(0, places, changed)
    source = torch.arange(len(images))
    source[places] = len(images) + torch.arange(len(places))
    return torch.cat([images, changed]).index_select(0, sent(source, images.device))


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A few numbers of the CPU, where the images are: from pinned memory, so that a GPU's queue is not waited for."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def affine_maps(
    rotation: torch.Tensor, further: torch.Tensor, protocol: AugmentationSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image's map from output to input coordinates in [-1, 1], and whether it is not the identity.

    Args:
        rotation: (N, 2) uniform draws: whether, and by which angle. further: (N, 8): of the crop's area, ratio and two
            places, whether to scale, by how much, and two displacements.

    Returns:
        (N, 2, 3) float32: a rotation about the centre, then the crop's window, or a scale and a displacement; (N,)
        bool.
    """
    rotated = rotation[:, 0] < protocol.rotate
    angles = torch.where(rotated, torch.deg2rad((2 * rotation[:, 1] - 1) * protocol.rotate_degrees), 0.0)
    zoomed = further[:, 4] < protocol.zoom
    low, high = math.log(ZOOMS[0]), math.log(ZOOMS[1])
    scale = torch.where(zoomed, torch.exp(-(low + further[:, 5] * (high - low))), 1.0)
    width, height = scale, scale.clone()
    across = torch.where(zoomed, (2 * further[:, 6] - 1) * 2 * protocol.shift, 0.0)
    down = torch.where(zoomed, (2 * further[:, 7] - 1) * 2 * protocol.shift, 0.0)
    cropped = protocol.crop < 1
    if cropped:
        area = protocol.crop + further[:, 0] * (1 - protocol.crop)
        low, high = math.log(CROP_RATIOS[0]), math.log(CROP_RATIOS[1])
        ratio = torch.exp(low + further[:, 1] * (high - low))
        crop_width, crop_height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
        across = across + (2 * further[:, 2] - 1) * (1 - crop_width)
        down = down + (2 * further[:, 3] - 1) * (1 - crop_height)
        width, height = width * crop_width, height * crop_height
    cos, sin = angles.cos(), angles.sin()
    rows = torch.stack([width * cos, width * -sin, across]), torch.stack([height * sin, height * cos, down])
    return torch.stack(rows).permute(2, 0, 1), rotated | zoomed | torch.tensor(cropped)


def sampling_grid(matrices: torch.Tensor, size: int) -> torch.Tensor:
    """Where each pixel comes from: maps (N, 2, 3) -> (N, S, S, 2), x before y.

    As torch's affine_grid without aligned corners, in a tenth of its time: two outer sums in place of a product.
    """
    middle = torch.linspace(-1, 1, size, device=matrices.device) * (size - 1) / size
    grid = torch.empty(len(matrices), size, size, 2, device=matrices.device)
    for axis in (0, 1):
        of_x, of_y, shift = (matrices[:, axis, k, None] for k in range(3))
        torch.add((middle * of_x + shift)[:, None, :], (middle * of_y)[:, :, None], out=grid[..., axis])
    return grid


def _dihedral(across: bool, down: bool, turns: int) -> tuple[bool, bool, bool]:
    """Flips and then quarter turns as one of eight: whether to transpose, then flip across, then down."""
    if turns % 2 == 0:
        half = turns == 2
        return False, across != half, down != half
    return True, down != (turns == 3), across != (turns == 1)


def _turned(x: torch.Tensor, way: tuple[bool, bool, bool]) -> torch.Tensor:
    transposed, across, down = way
    dims = [d for d, flipped in ((-1, across), (-2, down)) if flipped]
    x = x.transpose(-2, -1) if transposed else x
    return x.flip(dims) if dims else x


def _sample_images(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Linearly, with their border repeated."""
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _sample_labels(labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """By nearest neighbour, with background around."""
    maps = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return maps[:, 0].to(labels.dtype)
