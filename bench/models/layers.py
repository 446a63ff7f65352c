"""Pieces that the proposed model is put together from."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from bench.models.fuse import fold_before, fused_form, in_place
from bench.models.slots import BlockConfig, activation


def resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear, to the height and width of another map."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def depthwise_norm(channels: int, size: int | tuple[int, int], dilation: int = 1) -> nn.Sequential:
    """A depth-wise convolution that keeps the size, and its norm."""
    height, width = (size, size) if isinstance(size, int) else size
    padding = (dilation * (height // 2), dilation * (width // 2))
    conv = nn.Conv2d(
        channels, channels, (height, width), padding=padding, dilation=dilation, groups=channels, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def depthwise(channels: int, size: int, config: BlockConfig) -> nn.Module:
    """A depth-wise convolution that keeps the size: with its bias, or with its norm where the config says `dw_norm`."""
    if config.dw_norm:
        return depthwise_norm(channels, size)
    return nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels)


def conv_norm_act(inside: int, outside: int, act: str | None, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A dense convolution, its norm, and an activation unless that is None."""
    layers: list[nn.Module] = [
        nn.Conv2d(inside, outside, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *([activation(act)] if act else []))


class NormFirst(nn.Module):
    """A filling that begins with a norm: 1x1 convolutions read it and nothing else does, `project` makes the output.

    A subclass makes `norm`, the convolutions that `readers` names, `project`, and `act` where it has an activation,
    whose input nothing else reads.
    """

    readers: tuple[str, ...]
    depthwise_convolutions: tuple[str, ...] = ()  # which may have norms of their own
    last = "project"  # into which the residual branch folds its LayerScale
    norm: nn.Module
    act: nn.Module

    def fused(self) -> nn.Module:
        """The norm goes into the 1x1 convolutions that read it, those of depth-wise convolutions into them."""
        norm = cast(nn.BatchNorm2d, self.norm)
        for name in self.readers:
            setattr(self, name, fold_before(norm, getattr(self, name)))
        for name in self.depthwise_convolutions:
            setattr(self, name, fused_form(getattr(self, name)))
        self.norm = nn.Identity()
        if hasattr(self, "act"):
            self.act = in_place(self.act)
        return self
