"""Pieces that the proposed model is put together from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

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
