"""Three counters of MACs beside each other: torch's on the meta device is the figure, fvcore and ptflops check it.

Each sees another level of the same forward pass: torch's FlopCounterMode the operators that run, fvcore the traced
graph, ptflops (`aten` backend; its default one misses a third of a ViT) again the operators, by formulas of its own.
None of them has a formula for fused attention on the CPU, so that attention is unfused while they count. What else none
has one for is counted in all three by those of `bench.zoo.operators`, or named in the figure's `uncounted`. What
fvcore and ptflops count beside convolutions and matrix products (norms, pooling, resizing; the additions of biases)
explains a difference and is kept apart; what is left is to be within `TOLERANCE`.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.zoo.complexity import Complexity, complexity

if TYPE_CHECKING:
    import torch
    from torch import nn

TOLERANCE = 0.02  # of the MACs: how far two counters may be apart when what explains a difference is left out

PRODUCTS = {"conv", "convolution", "linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "einsum"}  # and operators'
BIASES = "bias additions"


@dataclass(frozen=True)
class Count:
    """What one counter says of a forward pass.

    Attributes:
        macs: multiply-accumulates of convolutions and matrix products.
        beside: operator -> what the counter adds for it, in its own unit; norms, pooling, additions of biases.
        skipped: operator with arithmetic -> calls that the counter has no formula for.
    """

    macs: int
    beside: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All that the counter counts: the figure that its user would read."""
        return self.macs + sum(self.beside.values())


@dataclass(frozen=True)
class CrossCheck:
    """Three counts of one network at one input.

    Attributes:
        cost: the figure, `bench.zoo.complexity`.
        skipped: operators that the figure leaves out -> calls.
        counts: `fvcore` and `ptflops`, where they came to an end.
        failed: counter -> the line it ended with.
    """

    cost: Complexity
    skipped: dict[str, int]
    counts: dict[str, Count]
    failed: dict[str, str]

    @property
    def spread(self) -> float:
        """The largest difference of a counter's whole count from the figure, as a fraction of it."""
        return max((_apart(count.total, self.cost.macs) for count in self.counts.values()), default=0.0)

    @property
    def unexplained(self) -> float:
        """The same of convolutions and products alone."""
        return max((_apart(count.macs, self.cost.macs) for count in self.counts.values()), default=0.0)

    @property
    def agrees(self) -> bool:
        """Whether every counter came to an end, within `TOLERANCE` of the figure once what explains it is left out.

        Counters that all leave out the same operator agree on nothing.
        """
        return not self.failed and not self.cost.uncounted and self.unexplained <= TOLERANCE

    def stored(self) -> dict[str, Any]:
        """As JSON, with the derived figures: `fvcore`, `ptflops`, `skipped`, `failed`, `spread`, `unexplained`."""
        derived = {"spread": self.spread, "unexplained": self.unexplained, "agrees": self.agrees}
        counts = {name: asdict(count) for name, count in self.counts.items()}
        return {**counts, "skipped": self.skipped, "failed": self.failed, **derived}


def _apart(count: int, figure: int) -> float:
    return abs(count / figure - 1) if figure else float(count > 0)


def cross_check(model: nn.Module, input_shape: tuple[int, ...]) -> CrossCheck:
    """Counts a model three times in inference; the model itself is left as it is.

    Args:
        input_shape: (N, C, H, W). fvcore's trace runs the model on the CPU, so that one image is enough.
    """
    cost = complexity(model, input_shape)
    counts: dict[str, Count] = {}
    skipped = dict(cost.uncounted)
    failed: dict[str, str] = {}
    for name, counter in (("fvcore", _fvcore), ("ptflops", _ptflops)):
        try:
            with unfused_attention():
                counts[name], seen = counter(model, input_shape, cost.counted_on)
        except Exception as error:  # another project's code on any network's: its limits make a flag, not an end
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            skipped |= seen
    return CrossCheck(cost, skipped, counts, failed)


@contextlib.contextmanager
def unfused_attention() -> Iterator[None]:
    """Attention as two matrix products and a softmax, whoever calls it: every counter has formulas for those."""
    import torch
    from torch.nn import functional

    fused, fastpath = functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    functional.scaled_dot_product_attention = plain_attention
    torch.backends.mha.set_fastpath_enabled(False)  # another fused kernel, of whole encoder layers
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused
        torch.backends.mha.set_fastpath_enabled(fastpath)


def plain_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, spelled out: (..., L, E), (..., S, E), (..., S, V)."""
    import torch

    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.nn.functional.dropout(scores.softmax(-1), dropout_p, dropout_p > 0) @ value


def _fvcore(model: nn.Module, input_shape: tuple[int, ...], device: str) -> tuple[Count, dict[str, int]]:
    """fvcore's count; its tracing cannot run on the meta device."""
    import torch

    from bench.zoo.operators import FORMULAS, MOVES, short

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit", category=DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis

        replica = copy.deepcopy(model).to("cpu").eval()
        with torch.no_grad():
            analysis = FlopCountAnalysis(replica, torch.zeros(input_shape))
            analysis.set_op_handle(**{name: _by_shapes(formula) for name, formula in FORMULAS.items()})
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            counts = {short(name): round(macs) for name, macs in analysis.by_operator().items()}
            skipped: Counter[str] = Counter()
            for name, calls in analysis.unsupported_ops().items():
                skipped[short(name)] += calls
    return _count(counts, {name: calls for name, calls in skipped.items() if name not in MOVES}), {}


def _by_shapes(formula: Callable[[Any, Any], int]) -> Callable[[list[Any], list[Any]], int]:
    """A formula of ours as fvcore takes it: of the values of a traced graph."""
    from fvcore.nn.jit_handles import get_shape

    return lambda inputs, outputs: formula([get_shape(value) for value in inputs], get_shape(outputs[0]) or ())


def _ptflops(model: nn.Module, input_shape: tuple[int, ...], device: str) -> tuple[Count, dict[str, int]]:
    """ptflops' count by its `aten` backend, and the operators that torch's counter skipped in the same pass."""
    import torch
    from ptflops.aten_engine import FlopCounterMode
    from ptflops.aten_ops import ATEN_OPS_MAPPING
    from torch.utils.flop_counter import flop_registry

    from bench.zoo.operators import Watch, short

    biases: list[int] = []
    aten = torch.ops.aten
    hooks = {
        op: _apart_from_bias(ATEN_OPS_MAPPING[op], position, biases)
        for op, position in ((aten.convolution, 2), (aten._convolution, 2), (aten.addmm, 0))
    }
    replica, watch = copy.deepcopy(model).to(device).eval(), Watch()
    counter = FlopCounterMode(custom_hooks=hooks)
    with torch.no_grad(), watch, counter:
        replica(torch.zeros(input_shape, device=device))
    counts: Counter[str] = Counter({BIASES: sum(biases)})
    for op, macs in counter.flop_counts["Global"].items():
        counts[short(str(op))] += int(macs)
    return _count(counts + watch.macs, watch.skipped(counter.all_ops)), watch.skipped(flop_registry)


def _apart_from_bias(formula: Callable[[Any, Any], int], position: int, biases: list[int]) -> Callable[[Any, Any], int]:
    """A formula that adds one for each output element where there is a bias: that part goes to `biases`."""

    def count(inputs: Any, outputs: Any) -> int:
        added = outputs[0].numel() if inputs[position] is not None else 0
        biases.append(added)
        return formula(inputs, outputs) - added

    return count


def _count(counts: dict[str, int], skipped: dict[str, int]) -> Count:
    from bench.zoo.operators import PRODUCTS as OWN

    names = PRODUCTS | OWN
    products = sum(macs for name, macs in counts.items() if name in names)
    beside = {name: macs for name, macs in counts.items() if name not in names and macs}
    return Count(products, beside, skipped)
