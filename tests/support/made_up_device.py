"""A GPU that is made up: tensors that say they are on `cuda:0`, lie in memory, and refuse to meet those of the CPU.

What a program does on a device is then checked without one: a tensor that was forgotten on the CPU is an error with
torch's own words, as it would be, and the figures are the CPU's.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
_MAKES_INDEX = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}  # torch takes an index of the CPU on a GPU


class MadeUpDevice(TorchFunctionMode):
    """While it is entered, `.to("cuda:0")`, `device="cuda:0"` and what is computed from it are on the made-up GPU."""

    def __init__(self) -> None:
        super().__init__()
        self._there: dict[int, weakref.ref[torch.Tensor]] = {}
        self.copies = 0  # tensors that were sent to it

    def holds(self, tensor: torch.Tensor) -> bool:
        found = self._there.get(id(tensor))
        return found is not None and found() is tensor

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, said to be on the GPU: a view of its own, so that the one on the CPU stays there."""
        with torch._C.DisableTorchFunction():
            moved = tensor if tensor.requires_grad else tensor.detach().clone()
        self._there[id(moved)] = weakref.ref(moved)
        return moved

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return GPU if self.holds(args[0]) else func(*args)
        target = self._target(func, args, kwargs)
        if func is torch.Tensor.to and target is not None:
            return self._sent(args, kwargs, target)
        if func in (torch.Tensor.cpu, torch.Tensor.pin_memory):
            with torch._C.DisableTorchFunction():
                return args[0].clone()
        if target is not None and target.type == "cuda":
            kwargs["device"] = "cpu"
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        there = [t for t in tensors if self.holds(t)]
        self._refuse_both(func, args, tensors, there)
        with torch._C.DisableTorchFunction():
            result = func(*args, **kwargs)
        on_gpu = bool(there) or (target is not None and target.type == "cuda")
        return tree_map(self._mark, result) if on_gpu and func not in (torch.Tensor.tolist,) else result

    def _mark(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            self._there[id(leaf)] = weakref.ref(leaf)
        return leaf

    def _sent(self, args: Any, kwargs: dict[str, Any], target: torch.device) -> torch.Tensor:
        rest = [a for a in args[1:] if not isinstance(a, str | torch.device)]
        kwargs = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking")}
        with torch._C.DisableTorchFunction():
            moved = args[0].to(*rest, **kwargs) if rest or kwargs else args[0]
        if target.type == "cuda":
            self.copies += not self.holds(args[0])
            return moved if moved is args[0] and self.holds(moved) else self.put(moved)
        with torch._C.DisableTorchFunction():
            return moved.clone() if self.holds(args[0]) else moved

    @staticmethod
    def _target(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
        """The device that a call names."""
        named = [kwargs.get("device"), *(args[1:] if func is torch.Tensor.to else ())]
        found = [torch.device(d) for d in named if isinstance(d, str | torch.device)]
        return found[0] if found else None

    @staticmethod
    def _refuse_both(func: Any, args: Any, tensors: list[torch.Tensor], there: Iterable[torch.Tensor]) -> None:
        kept = {id(t) for t in there}
        apart = [t for t in tensors if id(t) not in kept and t.ndim > 0]
        if func in _MAKES_INDEX and kept and id(args[0]) in kept:
            apart = []
        if kept and apart:
            both = "found at least two devices, cuda:0 and cpu!"
            raise RuntimeError(f"Expected all tensors to be on the same device, but {both} ({func})")
