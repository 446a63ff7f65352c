"""The losses of both tasks, of mixed batches and of networks that are supervised at several resolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bench.datasets.augmentation.batches import Mixture
from bench.runs.protocol import Protocol

BatchLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(protocol: Protocol) -> nn.Module:
    """The loss of logits and labels, softmax inside.

    `ce+dice`: cross-entropy and soft Dice (MONAI's), background included, sums over the batch; of logits (N, K, H, W)
    and labels (N, 1, H, W). `ce`: mean cross-entropy of logits (N, K, ...) and labels (N, ...).
    """
    if protocol.loss == "ce":
        return nn.CrossEntropyLoss(label_smoothing=protocol.label_smoothing)
    from monai.losses import DiceCELoss

    return DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        squared_pred=True,
        batch=True,
        lambda_ce=protocol.ce_weight,
        lambda_dice=protocol.dice_weight,
    )


def batch_loss(
    loss: BatchLoss, outputs: torch.Tensor | Sequence[torch.Tensor], labels: torch.Tensor, mixture: Mixture | None
) -> torch.Tensor:
    """The loss of a batch.

    Args:
        outputs: logits, or those of several resolutions, the full one first: nnU-Net's weights, each half of the one
            before, with a sum of 1; labels are resized by nearest neighbour.
        labels: as `loss` takes them.
        mixture: of a mixed batch: the loss is the mixture of the losses of both labels.
    """
    if not isinstance(outputs, torch.Tensor):
        weights = [2.0**-level for level in range(len(outputs))]
        losses = [
            weight * loss(logits, _resized(labels, logits)) for weight, logits in zip(weights, outputs, strict=True)
        ]
        return torch.stack(losses).sum() / sum(weights)
    if mixture is None:
        return loss(outputs, labels)
    of_partner = loss(outputs, labels[mixture.partner.to(labels.device)])
    return mixture.weight * loss(outputs, labels) + mixture.rest * of_partner


def _resized(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Label maps (N, 1, H, W), or (N, H, W), on the grid of the logits."""
    if labels.shape[-2:] == logits.shape[-2:]:
        return labels
    maps = labels if labels.ndim == 4 else labels[:, None]
    resized = F.interpolate(maps.float(), size=logits.shape[-2:], mode="nearest-exact").to(labels.dtype)
    return resized if labels.ndim == 4 else resized[:, 0]
