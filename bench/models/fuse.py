"""The inference form of a network: norms folded into convolutions, parallel linear branches merged into one kernel.

In eval mode BatchNorm is the affine map x -> s x + t per channel, s = gamma / sqrt(var + eps), t = beta - s mean.
After a convolution it goes into the kernel's rows and the bias, before a 1x1 convolution into its columns; both are
exact, borders included (before a larger zero-padded kernel it would not be). Depth-wise convolutions of several sizes
and dilations, each followed by its norm, and the identity are one depth-wise convolution of the largest extent, as in
RepVGG (Ding et al., CVPR 2021) and UniRepLKNet (Ding et al., CVPR 2024).

A module takes part by a method `fused()`, which returns its inference form; it is called once, on a copy. Beside that,
a norm is folded only where a plain `nn.Sequential` has it directly behind a plain convolution, and an activation is
computed in place only directly behind one: there nothing else reads what is overwritten. What comes out is compared
with the training form before it is handed on, since neither `fused()` nor a forward that takes a Sequential apart can
be proved right by reading its parts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

from bench.errors import UserError

EXAMPLE = (2, 32, 64)  # images, height and width of what both forms are compared on, where no example is given
TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3}  # of the largest output; float32 where float64 does not run


def fuse(model: nn.Module, example: torch.Tensor | None = None, check: bool = True) -> nn.Module:
    """A network's inference form, in eval mode: the same function to rounding, with fewer operations.

    The model itself stays as it is; its `state_dict` is the one to save. The fused copy cannot be trained further.

    Args:
        example: an input (N, C, H, W) that the model takes, whose shape both forms are compared at; by default two
            images of the first convolution's channels.
        check: false where another process has checked the same form, and memory or time are measured in this one.

    Raises:
        UserError: no part of the model has a fused form, or what comes out is another function.
    """
    name = type(model).__name__
    if not any(hasattr(module, "fused") for module in model.modules()):
        raise UserError(f"{name} has no fused form: none of its modules has a method `fused`.")
    try:
        fused = _converted(model)
        shape = tuple(example.shape) if example is not None else _input_shape(model) if check else ()
        difference = _largest_difference(model, shape) if check else None
    except UserError:
        raise
    except Exception as error:  # any filling's own code
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{name} cannot be fused: {line}. Use its training form.") from error
    if difference is not None:
        raise UserError(
            f"{name} cannot be fused: outputs of its fused form differ by {difference:.2g} of the largest, on random "
            "images. A method `fused` of one of its modules is wrong, or a forward takes a Sequential apart. Use its "
            "training form."
        )
    return fused


def _converted(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        return fused_form(_unshared(copy.deepcopy(model)).eval()).requires_grad_(False)


def _unshared(model: nn.Module) -> nn.Module:
    """The model with a copy of a module in each further place where it is used: each is fused once."""
    seen: set[int] = set()
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in seen:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, copy.deepcopy(module))
        seen.add(id(module))
    return model


def _input_shape(model: nn.Module) -> tuple[int, ...]:
    """The shape of an input, by the first module that has a number of channels."""
    for module in model.modules():
        channels = getattr(module, "in_channels", getattr(module, "num_features", None))
        if isinstance(channels, int) and isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            return (EXAMPLE[0], channels, *EXAMPLE[1:])
    raise UserError(f"The channels that {type(model).__name__} takes are not known: pass fuse() an example input.")


def _largest_difference(model: nn.Module, shape: tuple[int, ...]) -> float | None:
    """How far the forms' outputs are apart, as a fraction of the largest; None where that is rounding.

    Compared at the model's own weights, and with all that may hide a fault (statistics of 0 and 1, weights of one
    constant, as norms and LayerScale start with) moved at random. All on copies, on the CPU, with random numbers apart.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin, images = copy.deepcopy(model).cpu().float().eval(), torch.randn(shape)
        _check_input(twin, images)
        difference = _difference(twin, images)
        _shake(twin, images)
        return _difference(twin, images) if difference is None else difference


def _check_input(model: nn.Module, images: torch.Tensor) -> None:
    try:
        model(images.clone())
    except Exception as error:  # any network's own code
        size, line = "x".join(map(str, images.shape)), f"{type(error).__name__}: {error}".splitlines()[0]
        name = type(model).__name__
        raise UserError(
            f"{name} does not take random images of {size}, which its fused form is checked on ({line}): pass fuse() "
            "an example input."
        ) from error


def _shake(model: nn.Module, images: torch.Tensor) -> None:
    """Moves statistics, and parameters that are one constant, off where they start, in a range that occurs."""
    for parameter in model.parameters():
        if parameter.numel() and parameter.min() == parameter.max():
            parameter.copy_(parameter + torch.empty_like(parameter).uniform_(0.2, 0.8))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(images.clone())  # values stay in range, however deep: statistics are those of the images
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.add_(0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.3))
    model.eval()


def _difference(model: nn.Module, images: torch.Tensor) -> float | None:
    """The largest difference at a model's present weights; None where it is rounding."""
    plain, dtype = copy.deepcopy(model).double(), torch.float64
    try:
        expected = tree_leaves(plain(images.to(dtype, copy=True)))
    except RuntimeError:  # a forward that makes tensors of float32
        plain, dtype = copy.deepcopy(model), torch.float32
        expected = tree_leaves(plain(images.clone()))
    outputs = tree_leaves(_converted(plain)(images.to(dtype, copy=True)))
    difference = max(_relative_difference(*pair) for pair in zip(expected, outputs, strict=True))
    return None if difference <= TOLERANCES[dtype] else difference


def _relative_difference(expected: torch.Tensor, output: torch.Tensor) -> float:
    """The largest difference over the largest expected value; infinite where shapes differ or a value is not finite."""
    if expected.shape != output.shape or not output.isfinite().all():
        return float("inf")
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((expected - output).abs().max() / scale)


def fused_form(module: nn.Module) -> nn.Module:
    """The inference form of one module: what its method `fused()` returns, else itself with its children's forms."""
    if hasattr(module, "fused"):
        return cast(Callable[[], nn.Module], module.fused)()
    if is_plain(module, nn.Sequential):
        return _fused_sequence(cast(nn.Sequential, module))
    for name, child in module.named_children():
        setattr(module, name, fused_form(child))
    return module


def _fused_sequence(sequence: nn.Sequential) -> nn.Module:
    """Children's forms, with a norm that follows a convolution folded into it, and an activation after one in place."""
    parts: list[nn.Module] = []
    for child in sequence:
        follows_convolution = bool(parts) and is_plain(parts[-1], nn.Conv2d)
        if follows_convolution and is_foldable(child):
            parts[-1] = fold_after(cast(nn.Conv2d, parts[-1]), cast(nn.BatchNorm2d, child))
        else:
            parts.append(in_place(child) if follows_convolution else fused_form(child))
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of exactly that kind, without hooks: what its parts compute is all that it computes."""
    return type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks


def is_foldable(module: nn.Module) -> bool:
    """Whether a module is a norm that is one affine map per channel in eval mode: it keeps running statistics."""
    return is_plain(module, nn.BatchNorm2d) and cast(nn.BatchNorm2d, module).running_mean is not None


def in_place(module: nn.Module) -> nn.Module:
    """An activation's form that overwrites its input, which nothing else may read; of another module its fused form."""
    if is_plain(module, nn.ReLU):
        return nn.ReLU(inplace=True)
    return nn.Hardswish(inplace=True) if is_plain(module, nn.Hardswish) else fused_form(module)


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift (C,) that a BatchNorm with running statistics applies in eval mode."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a norm without running statistics is no affine map")
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else norm.weight * scale
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else norm.bias + shift


def fold_after(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """norm(conv(x)) as one convolution."""
    scale, shift = affine(norm)
    bias = shift if conv.bias is None else shift + scale * conv.bias
    return like(conv, conv.weight * scale.reshape(-1, 1, 1, 1), bias)


def fold_before(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """conv(norm(x)) as one convolution; conv is 1x1 and dense, without padding, which the norm would have to fill."""
    if (conv.kernel_size, conv.groups) != ((1, 1), 1) or conv.padding not in ((0, 0), "valid", "same"):
        raise ValueError(f"a norm cannot go into {conv}, which is not 1x1, dense and without padding")
    scale, shift = affine(norm)
    bias = conv.weight[:, :, 0, 0] @ shift
    return like(conv, conv.weight * scale.reshape(1, -1, 1, 1), bias if conv.bias is None else bias + conv.bias)


def scaled(conv: nn.Conv2d, scale: torch.Tensor) -> nn.Conv2d:
    """scale * conv(x) as one convolution; scale has one value an output channel."""
    bias = None if conv.bias is None else conv.bias * scale.flatten()
    return like(conv, conv.weight * scale.reshape(-1, 1, 1, 1), bias)


def like(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    """The same convolution (stride, padding and its mode, dilation, groups, type of numbers) with other weights."""
    if weight.shape != conv.weight.shape:
        raise ValueError(f"weights of {tuple(weight.shape)} do not fit {conv}")
    same = {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    return _with_weights(weight.to(conv.weight), bias, **same)


def _with_weights(weight: torch.Tensor, bias: torch.Tensor | None, **shape: Any) -> nn.Conv2d:
    """A convolution of these weights (out, in / groups, h, w), whose device and type of numbers it has.

    Args:
        shape: stride, padding and the like, as `nn.Conv2d` takes them.
    """
    outside, inside = weight.shape[0], weight.shape[1] * shape["groups"]
    conv = nn.Conv2d(inside, outside, weight.shape[2:], bias=bias is not None, device="meta", **shape)  # type: ignore[arg-type]
    conv.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().to(weight).clone())
    return conv


def keeps_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution has an odd kernel of stride 1, and padding that makes the output as large as the input."""
    padding = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    return conv.stride == (1, 1) and all(k % 2 for k in conv.kernel_size) and conv.padding in (padding, "same")


def is_depthwise(module: nn.Module) -> bool:
    """Whether a module is a plain depth-wise convolution of stride 1 that keeps the size."""
    if not (isinstance(module, nn.Conv2d) and is_plain(module, nn.Conv2d)):
        return False
    return module.groups == module.in_channels == module.out_channels and keeps_size(module)


def add_identity(conv: nn.Conv2d, weight: torch.Tensor | float = 1.0) -> nn.Conv2d:
    """weight * x + conv(x) as one depth-wise convolution; weight is one number, or one a channel."""
    if not is_depthwise(conv):
        raise ValueError(f"a shortcut cannot go into {conv}, which is not depth-wise or changes the size")
    kernel = conv.weight.clone()
    kernel[:, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] += weight
    return like(conv, kernel, conv.bias)


def dense_kernel(conv: nn.Conv2d, size: tuple[int, int]) -> torch.Tensor:
    """The kernel (C, 1, *size) of a depth-wise convolution, its dilation written out, zero-padded all round."""
    (height, width), (down, across) = _extent(conv), conv.dilation
    kernel = conv.weight.new_zeros(conv.out_channels, 1, height, width)
    kernel[:, :, ::down, ::across] = conv.weight
    below, beside = (size[0] - height) // 2, (size[1] - width) // 2
    return F.pad(kernel, (beside, beside, below, below))


def _extent(conv: nn.Conv2d) -> tuple[int, int]:
    """Height and width of a kernel with its dilation written out."""
    height, width = (d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    return height, width


def merge_depthwise(
    branches: Sequence[tuple[nn.Conv2d, nn.BatchNorm2d]], identity: nn.BatchNorm2d | None = None
) -> nn.Conv2d:
    """identity(x) + sum_i norm_i(conv_i(x)) as one depth-wise convolution of the largest extent.

    Raises:
        ValueError: a branch that is not depth-wise, changes the size, or does not pad with zeros.
    """
    for conv, _ in branches:
        if not is_depthwise(conv) or conv.padding_mode != "zeros":
            raise ValueError(f"{conv} cannot be merged: it is not depth-wise, changes the size, or pads with no zeros")
    folded = [fold_after(conv, norm) for conv, norm in branches]
    extents = [_extent(conv) for conv in folded]
    size = max(height for height, _ in extents), max(width for _, width in extents)
    kernel = torch.stack([dense_kernel(conv, size) for conv in folded]).sum(dim=0)
    bias = torch.stack([conv.bias for conv in folded if conv.bias is not None]).sum(dim=0)
    if identity is not None:
        scale, shift = affine(identity)
        kernel[:, 0, size[0] // 2, size[1] // 2] += scale
        bias = bias + shift
    return _with_weights(kernel, bias, padding=(size[0] // 2, size[1] // 2), groups=len(kernel))
