"""Training steps' depth-wise convolutions on the CPU: the same function, its gradients by kernels that are fast there.

Much of a training step of a small network of depth-wise convolutions is their backward pass: oneDNN, which torch
calls, has fast gradients for plain 3x3 kernels alone, and slow ones for dilated kernels, for those of 5x5 and larger,
and for such of which the image touches the centre alone (`medbench profile --step --baseline plain` says by how much).
Written out in other convolutions, the same sums are fast ones; N images, C channels, H x W pixels, gy the gradient of
the output:

    input's gradient     of a dilated kernel: the convolution of gy with the flipped kernel.
    weight's gradient    `grouped`: one convolution of all N C maps of the input, each with its map of gy as the kernel,
                         the dilation as its stride, and a sum over N. `split`: a dilated 3x3 kernel is a plain one on
                         every d-th row and column, so that the d x d such maps go into the batch.
    `centre`             a kernel whose other taps lie off the image multiplies each channel by one number.

Which of them a convolution takes is a rule of its shape alone, so that the bits of a result depend on nothing else. All
were timed on one thread of an AVX2 machine, batches of 1 to 32, sides of 2 to 128.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight

from bench.models.fuse import keeps_size

Way = Literal["centre", "grouped", "split"]
Pair = tuple[int, int]

GROUPED_KERNELS = range(5, 10)  # both sides of an undilated kernel; oneDNN's convolution takes no larger ones fast
DILATIONS = range(2, 5)  # for larger ones, whose padding is wide, the convolution itself is slow
LEAST_SPLIT = 3  # pixels a side that are left of a map of which every d-th row and column is taken


def speed_up_training(model: nn.Module) -> None:
    """Has a network's depth-wise convolutions compute their gradients as above, from now on, wherever that is faster.

    It is the same network afterwards: the same modules, parameters, names and outputs, and it can be copied, stored,
    fused and counted as before. Evaluation, CUDA, autocast and numbers other than float32 go torch's own way.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_depthwise(module):
            module._conv_forward = partial(_convolve, module)  # type: ignore[method-assign]


def _is_depthwise(conv: nn.Conv2d) -> bool:
    """Whether a convolution is depth-wise, of stride 1, and pads with zeros to its input's size."""
    alone = conv.groups == conv.in_channels == conv.out_channels
    return alone and keeps_size(conv) and conv.padding_mode == "zeros"


def _convolve(conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """What `nn.Conv2d` computes of its input, (N, C, H, W), and its weights."""
    dilation = cast(Pair, conv.dilation)
    way = gradient_way(cast(Pair, conv.kernel_size), dilation, x.shape[-2:]) if _trains(conv, x, weight) else None
    if way is None:
        return F.conv2d(x, weight, bias, conv.stride, cast(Any, conv.padding), conv.dilation, conv.groups)
    return depthwise(x, weight, bias, dilation, way)


def _trains(conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether this is a training step on the CPU in float32."""
    plain = x.device.type == "cpu" and x.ndim == 4 and x.dtype == weight.dtype == torch.float32
    return conv.training and plain and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def gradient_way(kernel: Pair, dilation: Pair, size: Pair | torch.Size) -> Way | None:
    """The way in which a depth-wise convolution's gradients are fastest; None: torch's own."""
    if all(k == 1 or d >= side for k, d, side in zip(kernel, dilation, size, strict=True)):
        return "centre"
    if dilation == (1, 1):
        return "grouped" if set(kernel) <= set(GROUPED_KERNELS) else None
    if dilation[0] != dilation[1] or dilation[0] not in DILATIONS or max(kernel) >= GROUPED_KERNELS.stop:
        return None
    left = -(-min(size) // dilation[0])
    return "split" if max(kernel) == 3 and left >= LEAST_SPLIT else "grouped"


def depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: Pair, way: Way
) -> torch.Tensor:
    """A depth-wise convolution that keeps its input's size, with gradients by the way that is named.

    Args:
        x: (N, C, H, W). weight: (C, 1, k, l), k and l odd. bias: (C,).
    """
    if way == "centre":
        middle = weight[:, 0, weight.shape[2] // 2, weight.shape[3] // 2, None, None]
        return x * middle if bias is None else x * middle + bias[:, None, None]
    return cast(torch.Tensor, _Depthwise.apply(x, weight, bias, dilation, way))


class _Depthwise(torch.autograd.Function):
    """A depth-wise convolution; its gradients themselves cannot be differentiated."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: Pair, way: Way
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation, ctx.way = dilation, way
        return F.conv2d(x, weight, bias, 1, _padding(weight, dilation), dilation, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad[:3]
        gradient = _split_weight_gradient if ctx.way == "split" else _grouped_weight_gradient
        return (
            _input_gradient(gy, weight, ctx.dilation) if of_input else None,
            gradient(x, weight, gy, ctx.dilation) if of_weight else None,
            gy.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _padding(weight: torch.Tensor, dilation: Pair) -> Pair:
    """The padding that keeps the size."""
    return dilation[0] * (weight.shape[2] // 2), dilation[1] * (weight.shape[3] // 2)


def _input_gradient(gy: torch.Tensor, weight: torch.Tensor, dilation: Pair) -> torch.Tensor:
    if dilation == (1, 1):
        return conv2d_input(gy.shape, weight, gy, 1, _padding(weight, dilation), 1, len(weight))
    return F.conv2d(gy, weight.flip(2, 3), None, 1, _padding(weight, dilation), dilation, len(weight))


def _grouped_weight_gradient(x: torch.Tensor, weight: torch.Tensor, gy: torch.Tensor, dilation: Pair) -> torch.Tensor:
    n, c, height, width = x.shape
    maps, kernels = x.reshape(1, n * c, height, width), gy.reshape(n * c, 1, height, width)
    by_image = F.conv2d(maps, kernels, None, dilation, _padding(weight, dilation), 1, n * c)
    return by_image.reshape(n, *weight.shape).sum(0)


def _split_weight_gradient(x: torch.Tensor, weight: torch.Tensor, gy: torch.Tensor, dilation: Pair) -> torch.Tensor:
    maps, outputs = _every_other(x, dilation[0]), _every_other(gy, dilation[0])
    return conv2d_weight(maps, weight.shape, outputs, 1, _padding(weight, (1, 1)), 1, len(weight))


def _every_other(x: torch.Tensor, step: int) -> torch.Tensor:
    """Maps of every `step`-th row and column, in the batch: (N, C, H, W) -> (step^2 N, C, H / step, W / step).

    Sides that do not divide are filled up with zeros, as the convolution's padding has them. Channels stay last.
    """
    n, c, height, width = x.shape
    rows, columns = -(-height // step), -(-width // step)
    if (rows * step, columns * step) != (height, width):
        x = F.pad(x, (0, columns * step - width, 0, rows * step - height))
    taken = x.permute(0, 2, 3, 1).reshape(n, rows, step, columns, step, c).permute(2, 4, 0, 1, 3, 5)
    return taken.reshape(step * step * n, rows, columns, c).permute(0, 3, 1, 2)
