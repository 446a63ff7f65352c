"""The inference form of a network: norms folded into convolutions, parallel linear branches merged into one kernel.

In eval mode BatchNorm is the affine map x -> s x + t per channel, s = gamma / sqrt(var + eps), t = beta - s mean.
After a convolution it goes into the kernel's rows and the bias, before a 1x1 convolution into its columns; both are
exact, borders included (before a larger zero-padded kernel it would not be). Depth-wise convolutions of several sizes
and dilations, each followed by its norm, and the identity are one depth-wise convolution of the largest extent, as in
RepVGG (Ding et al., CVPR 2021) and UniRepLKNet (Ding et al., CVPR 2024).

A module takes part by a method `fused()`, which returns its inference form and leaves the module as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import UserError


def fuse(model: nn.Module) -> nn.Module:
    """A network's inference form, in eval mode: the same function to rounding, with fewer operations.

    The model itself stays as it is; its `state_dict` is the one to save. The fused copy cannot be trained further.

    Raises:
        UserError: no part of the model has a fused form.
    """
    if not any(hasattr(module, "fused") for module in model.modules()):
        raise UserError(f"{type(model).__name__} has no fused form: none of its modules has a method `fused`.")
    with torch.no_grad():
        fused = fused_form(copy.deepcopy(model).eval()).requires_grad_(False)
    for module in fused.modules():
        if isinstance(module, nn.ReLU | nn.Hardswish):
            module.inplace = True  # each follows a convolution, whose output nothing else reads
    return fused


def fused_form(module: nn.Module) -> nn.Module:
    """The inference form of one module: its own `fused()`, else itself with its children's forms."""
    own = cast(Callable[[], nn.Module] | None, getattr(module, "fused", None))
    if own is not None:
        return own()
    if isinstance(module, nn.Sequential):
        return _fused_sequence(module)
    for name, child in module.named_children():
        setattr(module, name, fused_form(child))
    return module


def _fused_sequence(sequence: nn.Sequential) -> nn.Module:
    """Children's forms, with a norm that follows a convolution folded into it."""
    parts: list[nn.Module] = []
    for child in sequence:
        if isinstance(child, nn.BatchNorm2d) and parts and isinstance(parts[-1], nn.Conv2d):
            parts[-1] = fold_after(parts[-1], child)
        else:
            parts.append(fused_form(child))
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift (C,) that a BatchNorm with running statistics applies in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - scale * norm.running_mean


def fold_after(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """norm(conv(x)) as one convolution."""
    scale, shift = affine(norm)
    bias = shift if conv.bias is None else shift + scale * conv.bias
    return like(conv, conv.weight * scale.reshape(-1, 1, 1, 1), bias)


def fold_before(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """conv(norm(x)) as one convolution; conv is 1x1 and dense."""
    assert conv.kernel_size == (1, 1)
    assert conv.groups == 1
    scale, shift = affine(norm)
    bias = conv.weight[:, :, 0, 0] @ shift
    return like(conv, conv.weight * scale.reshape(1, -1, 1, 1), bias if conv.bias is None else bias + conv.bias)


def scaled(conv: nn.Conv2d, scale: torch.Tensor) -> nn.Conv2d:
    """scale * conv(x) as one convolution; scale has one value an output channel."""
    bias = None if conv.bias is None else conv.bias * scale.flatten()
    return like(conv, conv.weight * scale.reshape(-1, 1, 1, 1), bias)


def like(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    """A convolution of the same stride, dilation and groups with other weights, padded to keep the size."""
    size = (weight.shape[2], weight.shape[3])
    inside, outside = weight.shape[1] * conv.groups, weight.shape[0]
    padding = tuple(d * (k // 2) for d, k in zip(conv.dilation, size, strict=True))
    with torch.device("meta"):
        out = nn.Conv2d(inside, outside, size, conv.stride, padding, conv.dilation, conv.groups, bias is not None)  # type: ignore[arg-type]
    out.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        out.bias = nn.Parameter(bias.detach().clone())
    return out


def is_depthwise(module: nn.Module) -> bool:
    """Whether a module is a depth-wise convolution of stride 1, undilated, that keeps the size."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels == module.out_channels
        and module.stride == (1, 1)
        and module.dilation == (1, 1)
        and all(k % 2 for k in module.kernel_size)
    )


def add_identity(conv: nn.Conv2d, weight: torch.Tensor | float = 1.0) -> nn.Conv2d:
    """weight * x + conv(x) as one depth-wise convolution; weight is one number, or one a channel."""
    assert is_depthwise(conv)
    kernel = conv.weight.clone()
    kernel[:, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] += weight
    return like(conv, kernel, conv.bias)


def dense_kernel(conv: nn.Conv2d, size: int) -> torch.Tensor:
    """The kernel (C, 1, size, size) of a depth-wise convolution, its dilation written out, zero-padded all round."""
    k, d = conv.kernel_size[0], conv.dilation[0]
    kernel = conv.weight.new_zeros(conv.out_channels, 1, d * (k - 1) + 1, d * (k - 1) + 1)
    kernel[:, :, ::d, ::d] = conv.weight
    margin = (size - kernel.shape[-1]) // 2
    return F.pad(kernel, (margin,) * 4)


def merge_depthwise(
    branches: Sequence[tuple[nn.Conv2d, nn.BatchNorm2d]], identity: nn.BatchNorm2d | None = None
) -> nn.Conv2d:
    """identity(x) + sum_i norm_i(conv_i(x)) as one depth-wise convolution of the largest extent."""
    folded = [fold_after(conv, norm) for conv, norm in branches]
    size = max(conv.dilation[0] * (conv.kernel_size[0] - 1) + 1 for conv in folded)
    kernel = torch.stack([dense_kernel(conv, size) for conv in folded]).sum(dim=0)
    bias = torch.stack([conv.bias for conv in folded if conv.bias is not None]).sum(dim=0)
    if identity is not None:
        scale, shift = affine(identity)
        kernel[:, 0, size // 2, size // 2] += scale
        bias = bias + shift
    channels = len(kernel)
    return like(nn.Conv2d(channels, channels, 1, groups=channels, device="meta"), kernel, bias)
