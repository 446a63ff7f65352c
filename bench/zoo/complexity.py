"""What a network costs on paper: parameters and multiply-accumulates, counted and not measured."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, cast

from bench.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Complexity:
    """The size of a network and the work of one forward pass.

    Attributes:
        params: parameters that inference uses (`inference_parameters`), shared ones once.
        trainable: those that require a gradient.
        macs: multiply-accumulates of convolutions and matrix products (attention's too) for the whole input;
            norms, activations, pooling and resizing are not counted.
        attention_macs: those of them that are batched products of two computed matrices, as attention's are.
        counted_on: `meta`, or `cpu` for a model that does not run without data.
        uncounted: operator that may multiply, and that no formula is known of -> calls; the MACs are without it.
    """

    params: int
    trainable: int
    macs: int
    attention_macs: int = 0
    counted_on: Literal["meta", "cpu"] = "meta"
    uncounted: dict[str, int] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """As JSON; `uncounted` where there is any, so that records from before it read the same."""
        return {name: value for name, value in asdict(self).items() if name != "uncounted" or value}


def complexity(model: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Counts a model's parameters and its MACs in inference; the model itself is left as it is.

    torch's FlopCounterMode has no formula for the CPU's fused attention and drops it silently. Attention is
    therefore forced into plain matrix products, on the meta device, where nothing is computed.

    Args:
        input_shape: (N, C, H, W); MACs are those of all N images.
    """
    counted_on: Literal["meta", "cpu"] = "meta"
    try:
        macs, batched, uncounted = _count(model, input_shape, "meta")
    except RuntimeError:  # forward reads values, or an operator has no meta kernel (NotImplementedError)
        (macs, batched, uncounted), counted_on = _count(model, input_shape, "cpu"), "cpu"
    return Complexity(
        params=sum(p.numel() for p in inference_parameters(model)),
        trainable=sum(p.numel() for p in inference_parameters(model) if p.requires_grad),
        macs=macs,
        attention_macs=batched,
        counted_on=counted_on,
        uncounted=uncounted,
    )


def inference_parameters(model: nn.Module) -> list[nn.Parameter]:
    """A network's parameters without those that training alone uses, such as heads of deep supervision.

    Which these are, the network or a module in it says by a method `training_only() -> set[str]`: names, or patterns.
    """
    patterns = [
        f"{place}.{name}".lstrip(".")
        for place, module in model.named_modules()
        if hasattr(type(module), "training_only")  # of the class: a wrapper passes on what its module has
        for name in cast(Any, module).training_only()
    ]
    named = model.named_parameters()
    return [parameter for name, parameter in named if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def _copied(model: nn.Module) -> nn.Module:
    """A copy. Raises UserError where a weight is no leaf of the graph, as the older `weight_norm` leaves it."""
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise UserError(
            f"Expected a network that can be copied, but it cannot ({str(error).splitlines()[0][:120]}): of weight and "
            "spectral norm take the form in torch.nn.utils.parametrizations."
        ) from None


def _count(model: nn.Module, input_shape: tuple[int, ...], device: str) -> tuple[int, int, dict[str, int]]:
    """MACs of one forward pass of a copy of the model, those of its batched matrix products, and what is uncounted."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from bench.zoo.operators import Watch

    replica, watch = _copied(model).to(device).eval(), Watch()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # this fused kernel has no formula either
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), watch, FlopCounterMode(display=False) as counter:
            replica(torch.zeros(input_shape, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    by_operator = counter.get_flop_counts().get("Global", {})
    batched = sum(by_operator.get(operator, 0) for operator in (torch.ops.aten.bmm, torch.ops.aten.baddbmm))
    macs = int(counter.get_total_flops()) // 2 + sum(watch.macs.values())  # torch counts 2 FLOPs a MAC
    return macs, int(batched) // 2, dict(watch.uncounted)
