"""The residual branch around each filling, and its inference form."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from bench.models.fuse import add_identity, fused_form, is_depthwise, is_plain, scaled


class Residual(nn.Module):
    """x + DropPath(LayerScale(module(x))); DropPath drops whole images' branches, in training alone."""

    def __init__(self, module: nn.Module, channels: int, scale: float, drop: float) -> None:
        super().__init__()
        self.module, self.drop = module, drop
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.scale * self.module(x)
        if self.training and self.drop > 0:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            branch = branch * keep / (1 - self.drop)
        return x + branch

    def no_weight_decay(self) -> set[str]:
        """LayerScale, which has the shape of a map's channels."""
        return {"scale"}

    def fused(self) -> nn.Module:
        """LayerScale goes into the branch's last convolution; a branch that is depth-wise takes the shortcut in too."""
        module = fused_form(self.module)
        if is_plain(module, nn.Conv2d):
            conv = scaled(cast(nn.Conv2d, module), self.scale)
            return add_identity(conv) if is_depthwise(conv) else Shortcut(conv)
        if is_plain(module, nn.Sequential) and is_plain(cast(nn.Sequential, module)[-1], nn.Conv2d):
            module[-1] = scaled(module[-1], self.scale)  # type: ignore[index,operator]
            return Shortcut(module)
        last = getattr(module, "last", None)
        if isinstance(last, str) and is_plain(getattr(module, last), nn.Conv2d):
            setattr(module, last, scaled(getattr(module, last), self.scale))
            return Shortcut(module)
        self.module = module
        return self


class Shortcut(nn.Module):
    """x + module(x): a residual branch of the inference form."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x).add_(x)
