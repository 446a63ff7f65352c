"""An exponential average of a network's weights, kept beside them while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

State = dict[str, torch.Tensor]


class WeightAverage:
    """The average of all parameters and buffers; the more steps, the longer its memory.

    Its decay after `step` updates is min(largest, 1 - (1 + step) ** -0.75), as timm's ModelEmaV3 with warm-up; whole
    numbers (the counts of batch norms) are the network's own.
    """

    def __init__(self, model: nn.Module, largest: float) -> None:
        self.largest = largest
        self.updates = 0
        self._weights = model.state_dict()
        self.state = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        self._averaged = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        self._copied = [name for name in self.state if name not in set(self._averaged)]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network's present weights."""
        decay = min(self.largest, 1 - (1 + self.updates) ** -0.75)
        self.updates += 1
        average, weights = ([state[name] for name in self._averaged] for state in (self.state, self._weights))
        torch._foreach_lerp_(average, weights, 1 - decay)
        if self._copied:
            kept, counts = ([state[name] for name in self._copied] for state in (self.state, self._weights))
            torch._foreach_copy_(kept, counts)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged weights inside, and its own again afterwards."""
        own = {name: tensor.clone() for name, tensor in self._weights.items()}
        self._set(self.state)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, state: State) -> None:
        for name, tensor in self._weights.items():
            tensor.copy_(state[name])

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint holds."""
        return {"updates": self.updates, "state": self.state}

    @torch.no_grad()
    def load_state_dict(self, content: dict[str, object]) -> None:
        """Takes in what `state_dict` gave."""
        self.updates = int(content["updates"])  # type: ignore[call-overload]
        for name, tensor in content["state"].items():  # type: ignore[attr-defined]
            self.state[name].copy_(tensor)
