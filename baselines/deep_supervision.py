"""Heads of deep supervision: logits at lower resolutions, in training alone, where a network's own paper has them.

Lee et al., "Deeply-Supervised Nets", AISTATS 2015. A network with such heads has a method `training_logits(x)`, which
gives a list of logits, those of `forward` first, and a method `training_only()`, which names the heads: they are no
part of what inference costs (`bench.zoo.complexity`). `forward` does not run them. How the losses of the list are
weighted is the protocol's; with its `deep_supervision=none` the heads are never run, and nothing trains them.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

HEADS = "lower_heads"


def lower_heads(channels: Iterable[int], num_classes: int) -> nn.ModuleList:
    """A 1x1 convolution to logits for each map of so many channels."""
    return nn.ModuleList(nn.Conv2d(count, num_classes, 1) for count in channels)


def lower_logits(heads: nn.ModuleList, maps: Iterable[Tensor]) -> list[Tensor]:
    """Logits of as many maps as there are heads."""
    return [head(x) for head, x in zip(heads, maps, strict=False)]
