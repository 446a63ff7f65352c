"""A training step's passes through the network as one CUDA graph: launched at once, not kernel by kernel.

A step of a small network is some thousands of kernels of a few microseconds, and a GPU waits for the CPU that launches
them one by one. A graph records forward pass, loss and backward pass once, and replays them with new images: the same
kernels in the same order on the same numbers (tests/runs/test_on_a_gpu.py holds four classifiers to the same bits, and
six segmenters, whose loss sums in any order on a GPU, to the same loss). Augmentation, clipping, the optimiser and the
average of the weights are launched as before. Source: torch's documentation of `torch.cuda.graph`, its section on
whole-network capture.

Python runs once, at the recording. What a network decides in it by a number of the GPU or by a draw of the CPU is found
out in the last step before, and its steps are then launched as before. What it decides by a counter of its own is not:
such a network is trained with `SWITCH` at 0.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.datasets.augmentation.batches import Mixture

EAGER = 3  # steps before recording: in them kernels are loaded and libraries take their workspaces
SWITCH = "MEDBENCH_CUDA_GRAPHS"  # set to 0, every step is launched kernel by kernel
WAITS = "called a synchronizing CUDA operation"  # torch's words where the CPU waits for a GPU, under its debug mode
Gradients = Callable[[torch.Tensor, torch.Tensor, Mixture | None], torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor, Mixture | None]


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
            returns the loss, detached. What it does may depend on its arguments and on draws of the GPU alone.
        parameters: those that have gradients, on the GPU of the images.
        say: is told once where a network's passes cannot be recorded; its steps are then launched as they were.
    """

    def __init__(
        self, gradients: Gradients, parameters: Sequence[nn.Parameter], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._gradients = gradients
        self._parameters = list(parameters)
        self._recordings: dict[tuple[object, ...], Recording] = {}
        self._aside: torch.cuda.Stream | None = None
        self._say = say
        self._done = 0
        self._refused = False

    def __call__(self, x_NCHW: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        """The loss, detached; the parameters hold the batch's gradients."""
        batch = (x_NCHW, y, mixture)
        if self._refused:
            return self._gradients(*batch)
        with torch.cuda.device(x_NCHW.device):
            if self._done < EAGER:
                self._done += 1
                return self._watched(batch) if self._done == EAGER else self._eagerly(batch)
            inputs, kind = _taken_apart(batch)
            if kind not in self._recordings:
                why = self._record(inputs, kind)
                if why:  # what the failed recording held is free by now
                    self._refuse(why)
                    self.forget()
                    return self._gradients(*batch)
            return self._replayed(self._recordings[kind], inputs)

    def forget(self) -> None:
        """Gives back the memory of all recordings; the next batch is recorded anew."""
        self._recordings.clear()
        for parameter in self._parameters:
            parameter.grad = None
        torch.cuda.empty_cache()

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._say(f"steps are launched kernel by kernel, since no graph can be made of them: {why}")

    def _eagerly(self, batch: Batch) -> torch.Tensor:
        """On a stream aside, as torch asks of what comes before a recording."""
        here = torch.cuda.current_stream()
        self._aside = self._aside or torch.cuda.Stream()
        self._aside.wait_stream(here)
        with torch.cuda.stream(self._aside):
            loss = self._gradients(*batch)
        here.wait_stream(self._aside)
        return loss

    def _watched(self, batch: Batch) -> torch.Tensor:
        """A step as before, in which it is found out what a recording would freeze."""
        drawn, mode = _draws(), torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                loss = self._eagerly(batch)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        waits = [warning for warning in said if WAITS in str(warning.message)]
        for other in said:
            if other not in waits and "debug mode" not in str(other.message):
                warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        if waits:
            self._refuse("the network waits for a number of the GPU")
        elif _draws() != drawn:
            self._refuse("the network draws on the CPU")
        return loss

    def _record(self, inputs: list[torch.Tensor], kind: tuple[object, ...]) -> str:
        """Records the passes of such batches; why that did not work, blank where it did."""
        kept = [tensor.clone() for tensor in inputs]
        for parameter in self._parameters:
            parameter.grad = None  # so that the graph makes its own, and sets them at each replay
        graph = torch.cuda.CUDAGraph()
        pool = next((recording.graph.pool() for recording in self._recordings.values()), None)
        here = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=self._aside):
                loss = self._gradients(*_put_together(kept))
        except RuntimeError as error:  # an operator that cannot be recorded, or no memory for a second copy
            torch.cuda.set_stream(here)  # an older torch leaves the recording's
            return _first_line(error)
        self._recordings[kind] = Recording(graph, kept, loss, [parameter.grad for parameter in self._parameters])
        return ""

    def _replayed(self, recording: Recording, inputs: list[torch.Tensor]) -> torch.Tensor:
        for kept, new in zip(recording.inputs, inputs, strict=True):
            kept.copy_(new)
        recording.graph.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.loss.clone()


def is_replayed(device: torch.device, precision: str, pieces: int) -> bool:
    """Whether steps are replayed: on a GPU, in single precision, a batch at a time, unless `SWITCH` says 0."""
    return device.type == "cuda" and precision == "32-true" and pieces == 1 and os.environ.get(SWITCH, "1") != "0"


def _draws() -> tuple[object, ...]:
    """Where the CPU's generators of random numbers stand."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  a network may draw from it
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), str(name), np.asarray(keys).tobytes(), *rest


def _first_line(error: BaseException) -> str:
    """What the first of a chain of errors says: the later ones say that there was one."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return next(iter(str(error).splitlines()), type(error).__name__)


def _taken_apart(batch: Batch) -> tuple[list[torch.Tensor], tuple[object, ...]]:
    """The tensors that a graph reads, and what another graph is needed for."""
    x_NCHW, y, mixture = batch
    inputs = [x_NCHW, y]
    if mixture is not None:
        shares = torch.tensor([mixture.weight, mixture.rest]).pin_memory().to(x_NCHW.device, non_blocking=True)
        inputs += [mixture.partner, shares]
    return inputs, (tuple(x_NCHW.shape), x_NCHW.stride(), tuple(y.shape), mixture is not None)


def _put_together(inputs: list[torch.Tensor]) -> Batch:
    """What `_taken_apart` took apart, the shares of a mixture as numbers of the GPU."""
    if len(inputs) == 2:
        return inputs[0], inputs[1], None
    x_NCHW, y, partner, shares = inputs
    return x_NCHW, y, Mixture(partner, shares[0], shares[1])
