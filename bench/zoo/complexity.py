"""What a network costs on paper: parameters and multiply-accumulates, counted and not measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Complexity:
    """The size of a network and the work of one forward pass.

    Attributes:
        params: all parameters, shared ones once.
        trainable: those that require a gradient.
        macs: multiply-accumulates of convolutions and matrix products (attention's too) for the whole input;
            norms, activations, pooling and resizing are not counted.
        attention_macs: those of them that are batched products of two computed matrices, as attention's are.
        counted_on: `meta`, or `cpu` for a model that does not run without data.
    """

    params: int
    trainable: int
    macs: int
    attention_macs: int = 0
    counted_on: Literal["meta", "cpu"] = "meta"


def complexity(model: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Counts a model's parameters and its MACs in inference; the model itself is left as it is.

    torch's FlopCounterMode has no formula for the CPU's fused attention and drops it silently. Attention is
    therefore forced into plain matrix products, on the meta device, where nothing is computed.

    Args:
        input_shape: (N, C, H, W); MACs are those of all N images.
    """
    counted_on: Literal["meta", "cpu"] = "meta"
    try:
        flops, batched = _flops(model, input_shape, "meta")
    except RuntimeError:  # forward reads values, or an operator has no meta kernel (NotImplementedError)
        (flops, batched), counted_on = _flops(model, input_shape, "cpu"), "cpu"
    return Complexity(
        params=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        macs=flops // 2,
        attention_macs=batched // 2,
        counted_on=counted_on,
    )


def _flops(model: nn.Module, input_shape: tuple[int, ...], device: str) -> tuple[int, int]:
    """FLOPs (2 per MAC) of one forward pass of a copy of the model, and of its batched matrix products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    replica = copy.deepcopy(model).to(device).eval()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # this fused kernel has no formula either
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            replica(torch.zeros(input_shape, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    by_operator = counter.get_flop_counts().get("Global", {})
    batched = sum(by_operator.get(operator, 0) for operator in (torch.ops.aten.bmm, torch.ops.aten.baddbmm))
    return int(counter.get_total_flops()), int(batched)
