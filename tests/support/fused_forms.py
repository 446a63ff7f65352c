"""How far a network is from its fused form, with norms as after training."""

from __future__ import annotations

import torch
from torch import nn

from bench.models.fuse import fuse


def with_random_statistics(model: nn.Module, channels: int, size: int = 64) -> nn.Module:
    """Norms as in training, then shaken: every running statistic and parameter is off its start, in a sane range."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model.double().train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            if norm.weight is not None:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
            if norm.bias is not None:
                nn.init.normal_(norm.bias, 0, 0.3)
        model(torch.randn(4, channels, size, size, dtype=torch.float64))
        for norm in norms:
            if norm.running_mean is None or norm.running_var is None:
                continue
            norm.running_mean += 0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.3)
    return model.eval()


def largest_difference(model: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        expected, got = model(x), fuse(model, x)(x)
    assert expected.abs().max() > 1e-3
    return float((expected - got).abs().max())
