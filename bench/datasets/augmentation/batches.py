"""Augmentation of whole training batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bench.datasets.augmentation.geometry import move
from bench.datasets.augmentation.intensity import change_intensities
from bench.datasets.augmentation.settings import AugmentationSettings
from bench.datasets.base import Selected

MIXED_SHARE = 0.5  # of the batches, where there is mixup


@dataclass(frozen=True)
class Mixture:
    """How a batch was mixed: each image is `weight` of itself and the rest of its partner.

    Attributes:
        partner: the partners' positions in the batch, (B,).
        weight: in [0.5, 1]; where a step is recorded, a number on the GPU (`bench.runs.replay`), as is `rest`.
        rest: 1 - weight.
    """

    partner: torch.Tensor
    weight: float | torch.Tensor
    rest: float | torch.Tensor


def augment(
    images: Selected,
    labels: Selected,
    protocol: AugmentationSettings,
    generator: torch.Generator,
    chosen: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Geometry and intensities of a batch, drawn for each image from the generator alone.

    Args:
        images: (N, C, S, S) float32. labels: (N, S, S) uint8, which move with their image, or (N,), which do not.
        chosen: the batch's positions among the images, (B,); all of them by default.
    """
    moved, moved_labels = move(images, labels, protocol, generator, chosen)
    if protocol.intensity or protocol.low_resolution or protocol.colour or protocol.erasing:
        moved = change_intensities(moved, protocol, generator)
    return moved, moved_labels


def mix(images: torch.Tensor, alpha: float, seed: int) -> tuple[torch.Tensor, Mixture | None]:
    """Mixup (Zhang et al., ICLR 2018) of half of the batches: (B, C, S, S) with its partners in reverse order.

    Args:
        alpha: of the Beta distribution of the weight, one for a batch; 0 mixes nothing.
        seed: of the batch.

    Returns:
        The images, and how they were mixed; None where they were not.
    """
    rng = np.random.default_rng(seed)
    if not alpha or rng.random() >= MIXED_SHARE:
        return images, None
    weight = float(rng.beta(alpha, alpha))
    weight = max(weight, 1 - weight)
    partner = torch.arange(len(images) - 1, -1, -1, device=images.device)
    return images * weight + images[partner] * (1 - weight), Mixture(partner, weight, 1 - weight)
