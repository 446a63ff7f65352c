"""Slots: the places of the proposed model that a config value fills.

A slot is a field of the model's config (`laffn`, `sem`, `sdffn`); its value names a filling. `none` means that the
residual branch is absent: no module, no parameters, no work. A filling is a function of (channels, BlockConfig) that
returns a module mapping (N, C, H, W) to (N, C, H, W); the residual, LayerScale and DropPath around it are the block's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench.errors import unknown

SLOTS = ("laffn", "sem", "sdffn")


@dataclass(frozen=True)
class BlockConfig:
    """What a filling may depend on, beside its channels: kernel size, expansion ratio and activation of its stage."""

    kernel: int
    expansion: int
    activation: str


Filling = Callable[[int, BlockConfig], nn.Module]
_FILLINGS: dict[str, dict[str, Filling]] = {slot: {} for slot in SLOTS}


def filling(slot: str, name: str) -> Callable[[Filling], Filling]:
    """Registers a filling of a slot under a name."""

    def decorate(make: Filling) -> Filling:
        _FILLINGS[slot][name] = make
        return make

    return decorate


def filling_names(slot: str) -> list[str]:
    """Names that a slot takes, `none` included."""
    return ["none", *sorted(_FILLINGS[slot])]


def fill(slot: str, name: str, channels: int, config: BlockConfig) -> nn.Module | None:
    """Builds a slot's filling; None for `none`. Raises UserError for a name that the slot does not take."""
    if name == "none":
        return None
    if name not in _FILLINGS[slot]:
        raise unknown(f"filling of slot {slot}", name, filling_names(slot))
    return _FILLINGS[slot][name](channels, config)


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "hardswish": nn.Hardswish}


def activation(name: str) -> nn.Module:
    """An activation by its config name. Raises UserError for an unknown one."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()
