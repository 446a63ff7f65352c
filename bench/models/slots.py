"""Slots: the places of the proposed model that a config value fills.

A slot is a field of the model's config (`laffn`, `sem`, `sdffn`); its value names a filling. `none` means that the
residual branch is absent: no module, no parameters, no work. A filling is a function of (channels, BlockConfig) that
returns a module mapping (N, C, H, W) to (N, C, H, W); the residual, LayerScale and DropPath around it are the block's.

Modules that register fillings are found by the entry-point group `medbench.fillings`. They are imported when a name is
asked for that is not known yet, or when names are listed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from bench.errors import UserError, unknown
from bench.zoo.catalogue import known_fillings

if TYPE_CHECKING:
    from torch import nn

SLOTS = ("laffn", "sem", "sdffn")
ATTENTION_NOTE = "breaks the convolution-only rule"


@dataclass(frozen=True)
class BlockConfig:
    """What a filling may depend on, beside its channels.

    Attributes:
        kernel, expansion, activation: kernel size, expansion ratio and activation of its stage.
        dw_norm: whether a depth-wise convolution that has no norm of its own gets one (`layers.depthwise`).
    """

    kernel: int
    expansion: int
    activation: str
    dw_norm: bool = False


Filling = Callable[[int, BlockConfig], "nn.Module"]
_FILLINGS: dict[str, dict[str, Filling]] = {slot: {} for slot in SLOTS}
_NOTES: dict[tuple[str, str], str] = {}


def filling(slot: str, name: str, *, attention: bool = False, note: str = "") -> Callable[[Filling], Filling]:
    """Registers a filling of a slot under a name, as a decorator or by a call: `filling("sem", "mine")(make)`.

    Args:
        attention: it computes an N x N matrix over pixels, so it breaks the convolution-only rule; listings say so.
        note: what else listings say of it. What has a note is in no default space of a search.

    Raises:
        UserError: an unknown slot, or a name that another filling of the slot has.
    """
    if slot not in _FILLINGS:
        raise unknown("slot", slot, SLOTS)

    def decorate(make: Filling) -> Filling:
        present = _FILLINGS[slot].get(name)
        if name == "none" or (present is not None and _place(present) != _place(make)):
            raise UserError(f"Slot {slot} has a filling {name!r} already: give {_place(make)} another name.")
        _FILLINGS[slot][name] = make
        _NOTES[slot, name] = ATTENTION_NOTE if attention else note
        return make

    return decorate


def _place(make: Filling) -> str:
    """Where a filling is defined; a module that is imported twice defines the same ones again."""
    return f"{make.__module__}.{getattr(make, '__qualname__', type(make).__qualname__)}"


@cache
def _load_registered() -> None:
    """Imports what the entry points of the group `medbench.fillings` name, once."""
    for point in sorted(entry_points(group="medbench.fillings"), key=lambda p: (p.name, p.value)):
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            raise UserError(f"Entry point {point.name!r} of medbench.fillings, {point.value!r}: {error}.") from error


def filling_names(slot: str) -> list[str]:
    """Names that a slot takes, `none` included."""
    known = known_fillings()
    if known is None:
        _load_registered()
    return ["none", *sorted({*_FILLINGS[slot], *(known or {}).get(slot, ())} - {"none"})]


def _find(slot: str, name: str) -> Filling:
    """The maker of a filling. Raises UserError for a name that the slot does not take."""
    if name not in _FILLINGS[slot]:
        _load_registered()
    if name not in _FILLINGS[slot]:
        raise unknown(f"filling of slot {slot}", name, filling_names(slot))
    return _FILLINGS[slot][name]


def fill(slot: str, name: str, channels: int, config: BlockConfig) -> nn.Module | None:
    """Builds a slot's filling; None for `none`. Raises UserError for a name that the slot does not take."""
    return None if name == "none" else _find(slot, name)(channels, config)


def filling_note(slot: str, name: str) -> str:
    """What a listing has to say beside a filling's name: that it breaks the convolution-only rule, say."""
    return _described(slot, name)["note"]


def filling_summary(slot: str, name: str) -> str:
    """The first line of a filling's docstring."""
    return _described(slot, name)["summary"]


def _described(slot: str, name: str) -> Mapping[str, str]:
    """`summary` and `note` of a filling; the catalogue has those of a module that was not imported."""
    if name == "none":
        return {"summary": "The residual branch is absent.", "note": ""}
    if name not in _FILLINGS[slot] and (stored := (known_fillings() or {}).get(slot, {}).get(name)):
        return stored
    return {"summary": (inspect.getdoc(_find(slot, name)) or "").partition("\n")[0], "note": _NOTES[slot, name]}


ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "hardswish": "Hardswish"}  # config name -> torch's


def activation(name: str) -> nn.Module:
    """An activation by its config name. Raises UserError for an unknown one."""
    from torch import nn

    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return getattr(nn, ACTIVATIONS[name])()
