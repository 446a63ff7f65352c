"""Seeds: one integer feeds separate streams, each a function of its purpose and place alone.

No stream has a state that training carries along: the order of epoch 7 or the dropout of step 412 is computed from
(seed, "order", 7) or (seed, "dropout", 412). So all models of one seed see the same images in the same order under
the same augmentation, and a resumed run needs no generator's state.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


def derive(seed: int, *place: str | int) -> int:
    """A 63-bit seed for a place in a stream, from sha256: equal on every machine and Python version."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *place: str | int) -> torch.Generator:
    """A CPU generator for a place in a stream."""
    return torch.Generator().manual_seed(derive(seed, *place))


def seed_all(seed: int) -> None:
    """Seeds torch on all devices, numpy and `random`: a network of one's own may draw from any of them."""
    torch.manual_seed(seed)
    _seed_python(seed)


def _seed_python(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the generator that networks draw from


@contextmanager
def _python_as_it_was() -> Iterator[None]:
    """Puts numpy's and `random`'s generators back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def build_seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Builds a model whose initial parameters depend on the seed and on each parameter's own name alone.

    Whatever initialisers a network uses, the in-place operations that they apply to a parameter are recorded while
    the network is built, and applied again, parameter by parameter, each under the seed (seed, "init", name). Two
    networks that share a module under the same name thus start with equal weights in it, even when one of them lacks
    another module (our choice; it makes ablation arms comparable).

    What is not drawn in place (`nn.Parameter(torch.randn(...))`, `orthogonal_`) keeps the values of the build, which
    runs under (seed, "build"): reproducible, but dependent on what was built before it.

    Networks are built on the CPU, so its generator alone is seeded: `torch.manual_seed` also formats the whole stack
    for each kind of accelerator that is not in use yet, which takes longer than to fill most parameters.
    """
    with torch.random.fork_rng(devices=[]), _python_as_it_was(), _Recorder() as recorder:
        torch.default_generator.manual_seed(derive(seed, "build"))
        _seed_python(derive(seed, "build"))
        model = build()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for name, parameter in model.named_parameters():
            torch.default_generator.manual_seed(derive(seed, "init", name))
            for call in recorder.calls.get(_storage(parameter), []):
                call.apply(parameter.data)
    return model


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Call:
    """An in-place operation on (a view of) a parameter."""

    def __init__(self, func: Any, target: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.view = (target.size(), target.stride(), target.storage_offset())

    def apply(self, tensor: torch.Tensor) -> None:
        self.func(tensor.as_strided(*self.view), *self.args, **self.kwargs)


class _Recorder(TorchDispatchMode):
    """Records in-place operations by the storage that they change."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, list[_Call]] = {}
        self._alive: list[torch.Tensor] = []  # keeps storages from being reused while recording

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._schema.name.endswith("_") and args and isinstance(args[0], torch.Tensor):
            call = _Call(func, args[0], args[1:], kwargs)
            self.calls.setdefault(_storage(args[0]), []).append(call)
            self._alive.append(args[0])
        return out
