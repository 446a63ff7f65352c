"""Chance: every pixel is background, every image of the commonest class; the floor for a trained network.

Paper: none; code: written for this project. No parameters, so there is nothing to train.
Under the `strict` policy its Dice is 0 wherever the reference has the class; under `transunet` it is 1
wherever the reference lacks it, which shows what that policy gives away.
In classification the answer is the frequencies of the classes in the training part, whatever the image: its accuracy
is the share of that part's commonest class, its balanced accuracy 1 / K, its AUC 0.5. Without training labels all
classes are equal, and the first is predicted.
One channel stays one channel; the input's values are not looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.zoo.entry import register_model


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


class Majority(nn.Module):
    """Logits whose softmax is the frequency of each class among the labels that it was shown."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.log_counts: Tensor
        self.register_buffer("log_counts", torch.zeros(num_classes))

    def fit(self, labels: Tensor) -> None:
        """Counts class indices (N,); a class without images counts as one image."""
        counts = labels.bincount(minlength=len(self.log_counts))
        self.log_counts.copy_(counts.clamp_min(1).log())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K), the same for every image."""
        return self.log_counts.to(x.dtype).expand(len(x), -1)


@register_model(
    title="Chance (all background)",
    family="chance",
    citation="none",
    tasks=("segmentation", "classification"),
    lists=("cpu", "paper"),
    note="no trainable parameters",
    titles={"classification": "Chance (majority class)"},
)
def chance(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """All background, or the training part's majority class, at every image size and number of channels."""
    return Majority(num_classes) if task == "classification" else Background(num_classes)
