"""Operators that run beside those that torch's counter has formulas for: which of them multiply, and how often.

torch's FlopCounterMode passes over an operator without a formula in silence: deformable convolutions of torchvision,
products of a matrix and a vector, every custom operator of somebody's own. Here each operator of a pass is seen, of any
namespace. Some get a formula (`FORMULAS`); of the others, those that are known to have no products (point by point, or
reductions by torch's own tags, and `WITHOUT_PRODUCTS`) are told from those of which nobody knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# Operators without arithmetic: they make, move or copy. Views are known by their schema.
MOVES = {
    *("arange", "bernoulli", "cat", "clone", "constant_pad_nd", "copy", "detach", "empty", "empty_like", "fill"),
    *("full", "full_like", "gather", "index", "lift_fresh", "new_empty", "new_full", "new_ones", "new_zeros", "ones"),
    *("ones_like", "pixel_shuffle", "reflection_pad2d", "repeat", "roll", "scalar_tensor", "select_backward", "stack"),
    *("tensor", "to_copy", "unsafe_view", "where", "zeros", "zeros_like", "local_scalar_dense", "pad", "eq", "ne"),
    *("im2col", "col2im", "channel_shuffle", "flip", "index_put", "masked_fill", "index_select", "logical_not"),
    "scaled_dot_product_attention_math",  # a name around the products that are counted
}
# Arithmetic, but no products of two tensors that are summed, beyond what norms, pooling and resizing are.
WITHOUT_PRODUCTS = {
    *("hardswish", "huber_loss", "floor_divide", "rsub", "lift_fresh_copy", "log_normal", "mse_loss", "to_dense"),
    *("batch_norm", "layer_norm", "group_norm", "fused_rms_norm", "softmax", "log_softmax", "dropout", "embedding"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d"),
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "max_unpool2d", "fractional_max_pool2d"),
    *("grid_sampler_2d", "grid_sampler_3d", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "sort", "topk"),
    *("kthvalue", "median", "nanmedian", "mode", "scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy"),
    *("masked_scatter", "masked_select", "nonzero", "unique2", "unique_consecutive", "unique_dim", "bucketize"),
    *("searchsorted", "histc", "triu", "tril", "triu_indices", "tril_indices", "linspace", "eye", "diag_embed"),
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "uniform"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d", "reflection_pad1d", "reflection_pad3d"),
    *("unsafe_split", "unsafe_split_with_sizes", "split_with_sizes_copy", "split_copy", "repeat_interleave", "resize"),
    *("pixel_unshuffle", "rrelu_with_noise", "prelu_kernel", "weight_norm_interface", "equal", "is_all_true"),
    *("assert_async", "assert_tensor_metadata", "multinomial", "new_empty_strided", "empty_strided", "view_copy"),
    *("norm", "linalg_vector_norm", "max", "min", "aminmax", "trace", "renorm", "take", "put", "rot90", "one_hot"),
    *("transpose", "polar", "view_as_complex", "view_as_real", "nan_to_num", "isin", "set", "clone_preserve_strides"),
    *("unfold_copy", "permute_copy", "expand_copy", "slice_scatter", "select_scatter", "diagonal_scatter", "complex"),
    *("as_strided_scatter", "adaptive_max_pool3d", "max_unpool3d", "safe_softmax", "log_sigmoid_forward", "glu"),
    *("fused_dropout", "exponential", "cauchy", "geometric", "poisson", "bincount", "index_fill", "masked_scale", "t"),
    *("unsafe_index", "unsafe_index_put", "unsafe_masked_index", "hann_window", "logspace", "alias_copy", "block_diag"),
    *("as_strided_copy", "squeeze_copy", "unsqueeze_copy", "transpose_copy", "t_copy", "narrow_copy", "diagonal_copy"),
    *("reshape_copy", "unbind_copy", "is_pinned", "is_same_size", "pin_memory", "resize_as", "segment_reduce", "lift"),
    *("functional_assert_async", "empty_permuted", "index_reduce", "unique", "nonzero_static", "linalg_cross"),
    *("as_strided", "zero"),
}
QUIET = {"prim", "profiler"}  # namespaces without arithmetic

Shape = Sequence[int] | None


def _all_of(position: int) -> Callable[[Sequence[Shape], Sequence[int]], int]:
    """One multiply-accumulate for each element of an argument."""
    return lambda inputs, output: prod(inputs[position] or ())


def _kernel(inputs: Sequence[Shape], output: Sequence[int]) -> int:
    """A convolution's: each output pixel of each channel (N, O, H, W) takes one kernel (O, C / groups, h, w)."""
    return prod(output) * prod((inputs[1] or ())[1:])


# Schema name -> multiply-accumulates, of the shapes of the arguments (None: no tensor) and of the output. What a
# deformable convolution interpolates is left out, as resizing is.
FORMULAS: dict[str, Callable[[Sequence[Shape], Sequence[int]], int]] = {
    "torchvision::deform_conv2d": _kernel,
    "aten::mv": _all_of(0),
    "aten::addmv": _all_of(1),
    "aten::dot": _all_of(0),
    "aten::vdot": _all_of(0),
}
PRODUCTS = {name.partition("::")[2] for name in FORMULAS}


class Watch(TorchDispatchMode):
    """Sees every operator that runs; entered before torch's counter, which takes composite ones apart.

    Attributes:
        ran: operator (all its overloads) -> calls, of those with arithmetic.
        macs: operator with a formula here -> its multiply-accumulates.
        uncounted: operator that may multiply and has no formula, here or in torch's counter -> calls.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[Any] = Counter()
        self.macs: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves((args, kwargs))):
            self._note(func, args, out)  # what takes no tensor computes nothing
        return out

    def _note(self, func: Any, args: Sequence[Any], out: Any) -> None:
        operator, full = getattr(func, "overloadpacket", func), full_name(func)
        if func.namespace in QUIET or short(full) in MOVES or _only_views(func):
            return
        self.ran[operator] += 1
        if operator in flop_registry:
            return
        if full in FORMULAS:
            shapes = [tuple(a.shape) if isinstance(a, torch.Tensor) else None for a in args]
            self.macs[full.partition("::")[2]] += FORMULAS[full](shapes, tuple(out.shape))
        elif not _is_without_products(func, short(full)):
            self.uncounted[short(full)] += 1

    def skipped(self, formulas: Container[Any]) -> dict[str, int]:
        """Short names of the operators that ran and have no formula among these or here, with their calls."""
        skipped: Counter[str] = Counter()
        for operator, calls in self.ran.items():
            if operator not in formulas and full_name(operator) not in FORMULAS:
                skipped[short(full_name(operator))] += calls
        return dict(skipped)


def full_name(operator: Any) -> str:
    """`namespace::name` of an operator, of one overload, or of one of higher order (flex attention)."""
    name = getattr(operator, "_qualified_op_name", None)
    if name is None and hasattr(operator, "_schema"):
        name = operator._schema.name
    return name or f"{operator.namespace}::{operator.name()}"


def _only_views(func: Any) -> bool:
    returns = func._schema.returns if func.namespace == "aten" else []
    return any(r.alias_info and not r.alias_info.is_write for r in returns)


def _is_without_products(func: Any, name: str) -> bool:
    """Whether an operator is known to have none; one of another namespace than torch's own never is."""
    if func.namespace != "aten":
        return False
    return name in WITHOUT_PRODUCTS or name.startswith("upsample_") or _is_pointwise(func)


def _is_pointwise(func: Any) -> bool:
    """Whether torch tags an operator, or its form that is not in place (which alone may have the tag), as such."""
    plain = func.overloadpacket.__name__.rstrip("_")
    packets = (func.overloadpacket, getattr(torch.ops.aten, plain, func.overloadpacket))
    tags = {tag for packet in packets for overload in packet.overloads() for tag in getattr(packet, overload).tags}
    return bool(tags & {torch.Tag.pointwise, torch.Tag.reduction})


def short(name: str) -> str:
    """`aten::gelu_`, `aten::_native_batch_norm_legit_no_training` -> gelu, batch_norm; `mine::mix` stays."""
    name = re.sub(r"^aten(::|\.)|_legit|_no_training", "", name)
    return re.sub(r"^_?(native|cudnn|mkldnn|miopen)_|^_+|_+$", "", name)
