"""Chance: every pixel is background; the floor that a trained network has to be above.

Paper: none; code: written for this project. No parameters, so there is nothing to train.
Under the `strict` policy its Dice is 0 wherever the reference has the class; under `transunet` it is 1
wherever the reference lacks it, which shows what that policy gives away.
One channel stays one channel; the input's values are not looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.registry import register_model


class Background(nn.Module):
    """Logits whose argmax is class 0 everywhere."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W): 1 for class 0, -1 for the others; they carry no gradient."""
        n, _, height, width = x.shape
        background = torch.ones((n, 1, height, width), dtype=x.dtype, device=x.device)
        return torch.cat((background, -background.expand(-1, self.num_classes - 1, -1, -1)), dim=1)


@register_model(
    title="Chance (all background)",
    family="chance",
    citation="none",
    lists=("cpu", "paper"),
    note="no trainable parameters",
)
def chance(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """All background, at every image size and number of channels."""
    return Background(num_classes)
