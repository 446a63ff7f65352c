"""A training step's passes through the network as one CUDA graph: launched at once, not kernel by kernel.

A step of a small network is some thousands of kernels of a few microseconds, and a GPU waits for the CPU that launches
them one by one. A graph records forward pass, loss and backward pass once, and replays them with new images: the same
kernels in the same order on the same numbers, so that no bit depends on it (tests/runs/test_on_a_gpu.py). Augmentation,
clipping, the optimiser and the average of the weights are launched as before. Source: torch's documentation of
`torch.cuda.graph`, its section on whole-network capture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.datasets.augmentation.batches import Mixture

EAGER = 3  # steps before recording: in them kernels are loaded and libraries take their workspaces
SWITCH = "MEDBENCH_CUDA_GRAPHS"  # set to 0, every step is launched kernel by kernel
Gradients = Callable[[torch.Tensor, torch.Tensor, Mixture | None], torch.Tensor]


@dataclass
class Recording:
    """A graph, where it reads a batch from, and where it leaves the loss and each parameter's gradient."""

    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    loss: torch.Tensor
    gradients: list[torch.Tensor | None]


class Replay:
    """Computes the gradients of batches as `gradients` does, by a graph where that works.

    Args:
        gradients: of images (N, C, H, W), labels and how the batch is mixed: sets each parameter's gradient anew and
            returns the loss, detached. It must not look at a number of the GPU.
        parameters: those that have gradients.
        say: is told once where a network's passes cannot be recorded; its steps are then launched as they were.
    """

    def __init__(
        self, gradients: Gradients, parameters: Sequence[nn.Parameter], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._gradients = gradients
        self._parameters = list(parameters)
        self._recordings: dict[tuple[object, ...], Recording] = {}
        self._say = say
        self._done = 0
        self._refused = False

    def __call__(self, x_NCHW: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        """The loss, detached; the parameters hold the batch's gradients."""
        if self._refused or self._done < EAGER:
            self._done += 1
            return self._eagerly(x_NCHW, y, mixture)
        inputs, kind = _taken_apart(x_NCHW, y, mixture)
        if kind not in self._recordings:
            try:
                self._recordings[kind] = self._recorded(inputs)
            except RuntimeError as error:  # an operator that cannot be recorded, or no memory for a second copy
                self._refused = True
                self._say(f"steps are launched kernel by kernel, since no graph can be made: {first_line(error)}")
                torch.cuda.synchronize()
                return self._eagerly(x_NCHW, y, mixture)
        return self._replayed(self._recordings[kind], inputs)

    def _eagerly(self, *batch: torch.Tensor | Mixture | None) -> torch.Tensor:
        """On a stream of its own, as torch asks of what comes before a recording."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            loss = self._gradients(*batch)  # type: ignore[arg-type]
        here.wait_stream(aside)
        return loss

    def _recorded(self, inputs: list[torch.Tensor]) -> Recording:
        kept = [tensor.clone() for tensor in inputs]
        for parameter in self._parameters:
            parameter.grad = None  # so that the graph makes its own, and sets them at each replay
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._gradients(*_put_together(kept))
        return Recording(graph, kept, loss, [parameter.grad for parameter in self._parameters])

    def _replayed(self, recording: Recording, inputs: list[torch.Tensor]) -> torch.Tensor:
        for kept, new in zip(recording.inputs, inputs, strict=True):
            kept.copy_(new)
        recording.graph.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.loss.clone()


def replay_on(device: torch.device, precision: str, pieces: int) -> bool:
    """Whether steps are replayed: on a GPU, in single precision, a batch at a time, unless `SWITCH` says 0."""
    return device.type == "cuda" and precision == "32-true" and pieces == 1 and os.environ.get(SWITCH, "1") != "0"


def first_line(error: Exception) -> str:
    """What an error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _taken_apart(
    x_NCHW: torch.Tensor, y: torch.Tensor, mixture: Mixture | None
) -> tuple[list[torch.Tensor], tuple[object, ...]]:
    """The tensors that a graph reads, and what another graph is needed for."""
    inputs = [x_NCHW, y]
    if mixture is not None:
        shares = torch.tensor([mixture.weight, mixture.rest]).pin_memory().to(x_NCHW.device, non_blocking=True)
        inputs += [mixture.partner, shares]
    return inputs, (tuple(x_NCHW.shape), x_NCHW.stride(), tuple(y.shape), mixture is not None)


def _put_together(inputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, Mixture | None]:
    """What `_taken_apart` took apart, the shares of a mixture as numbers of the GPU."""
    if len(inputs) == 2:
        return inputs[0], inputs[1], None
    x_NCHW, y, partner, shares = inputs
    return x_NCHW, y, Mixture(partner, shares[0], shares[1])
