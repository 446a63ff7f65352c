"""Replayed training steps, on graphs that are made up: what a graph reads, what it leaves, and what refuses one."""

from __future__ import annotations

import contextlib
import random
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from bench.datasets.augmentation.batches import Mixture, mix
from bench.runs.losses import batch_loss, make_loss
from bench.runs.protocol import Protocol
from bench.runs.replay import EAGER, SWITCH, Replay, is_replayed
from bench.runs.train import Loop, make_optimizer

CUDA = torch.device("cuda")


class Work:
    """A small network's gradients, and graphs that are made up: a replay is the same work on the tensors recorded.

    Attributes:
        log: what was done, in order: `wait`, `work` and `record` with the number of the stream it was done on.
        mode: torch's debug mode of waiting for a GPU; a network that waits warns under it, as torch does.
    """

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
        self.recorded: tuple[Any, ...] | None = None
        self.recordings, self.replays = 0, 0
        self.recording = False
        self.log: list[tuple[str, int]] = []
        self.stream, self.streams = 0, 0
        self.mode = 0

    def gradients(self, x: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        self.log.append(("record" if self.recording else "work", self.stream))
        for parameter in self.network.parameters():
            assert parameter.grad is None or not self.recording  # a graph must make its own
            parameter.grad = None
        loss = batch_loss(nn.CrossEntropyLoss(), self.network(x), y, mixture)
        loss.backward()
        if self.recording:
            self.recorded = (x, y, mixture), loss.detach(), [p.grad for p in self.network.parameters()]
        return loss.detach()

    def replay(self, recorded: Any) -> None:
        """Writes what a GPU would, and sets no parameter's gradient, which is Python's to do."""
        batch, loss, gradients = recorded
        self.replays += 1
        loss.copy_(self.gradients(*batch))
        for kept, parameter in zip(gradients, self.network.parameters(), strict=True):
            kept.copy_(parameter.grad)
            parameter.grad = torch.full_like(parameter, torch.nan)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    made = Work()

    class Graph:
        recorded: Any

        def replay(self) -> None:
            made.replay(self.recorded)

        def pool(self) -> int:
            return 7

    class Stream:
        def __init__(self, number: int | None = None) -> None:
            made.streams += number is None
            self.number = made.streams if number is None else number

        def wait_stream(self, other: Stream) -> None:
            made.log.append(("wait", self.number))

    @contextlib.contextmanager
    def on(stream: Stream) -> Iterator[None]:
        before, made.stream = made.stream, stream.number
        yield
        made.stream = before

    @contextlib.contextmanager
    def graph(into: Graph, pool: int | None, stream: Stream) -> Iterator[None]:
        assert pool == (7 if made.recordings else None)  # later ones share the memory of the first
        made.recording, made.recordings = True, made.recordings + 1
        made.stream = stream.number
        try:
            yield
        finally:
            made.recording, into.recorded = False, made.recorded
        made.stream = 0  # not after an error, as an older torch

    def set_stream(stream: Stream) -> None:
        made.stream = stream.number

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(made.stream))
    monkeypatch.setattr(torch.cuda, "set_stream", set_stream)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: made.mode)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: setattr(made, "mode", mode))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    return made


def batches(count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, Mixture | None]]:
    """Batches of 4, about half of them mixed."""
    made = torch.Generator().manual_seed(1)
    for number in range(count):
        x, mixture = mix(torch.randn(4, 3, 4, 4, generator=made), 0.2, number)
        yield x, torch.randint(0, 2, (4,), generator=made), mixture


def test_replayed_steps_give_each_batch_its_own_loss_and_gradients(work: Work) -> None:
    parameters = list(work.network.parameters())
    replay = Replay(work.gradients, parameters)
    losses, mixed = [], set()
    for batch in batches(20):
        loss = work.gradients(*batch)
        wanted = [p.grad.clone() for p in parameters]  # type: ignore[union-attr]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, torch.nan)  # of the step before, clipped
        losses.append((replay(*batch), loss))
        mixed.add(batch[2] is not None)
        for parameter, gradient in zip(parameters, wanted, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)
    assert mixed == {True, False}
    assert all(torch.equal(got, loss) for got, loss in losses)  # none is overwritten by the next
    assert work.recordings == 2  # one for mixed batches and one for the others
    assert work.replays == 20 - EAGER


def test_a_batch_of_another_size_has_a_graph_of_its_own(work: Work) -> None:
    replay = Replay(work.gradients, list(work.network.parameters()))
    for batch in batches(EAGER + 8):
        replay(*batch)
    before = work.recordings
    x, y, _ = next(batches(1))
    assert torch.equal(replay(x[:2], y[:2], None), work.gradients(x[:2], y[:2], None))
    assert work.recordings == before + 1


def test_what_comes_before_a_recording_is_on_one_stream_aside_and_waited_for(work: Work) -> None:
    replay = Replay(work.gradients, list(work.network.parameters()))
    x, y, _ = next(batches(1))
    for _ in range(EAGER + 2):
        replay(x, y, None)
    eager = [("wait", 1), ("work", 1), ("wait", 0)]
    assert work.log == [*eager * EAGER, ("record", 1), ("work", 0), ("work", 0)]
    assert work.streams == 1
    assert work.mode == 0


def refused(work: Work, network: Callable[..., torch.Tensor]) -> list[str]:
    """What is said of a network, whose steps are those that were asked for."""
    said: list[str] = []
    replay = Replay(network, list(work.network.parameters()), said.append)
    for batch in batches(9):
        loss = replay(*batch)
        found = [p.grad.clone() for p in work.network.parameters()]  # type: ignore[union-attr]
        assert torch.equal(loss, work.gradients(*batch))
        for parameter, gradient in zip(work.network.parameters(), found, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, gradient)
    assert work.replays == 0
    assert work.streams == 1  # none for the steps after
    assert work.stream == 0
    assert work.log[-2:] == [("work", 0)] * 2
    return said


def test_what_cannot_be_recorded_is_launched_as_before_and_told_once(work: Work) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def looking(*batch: Any) -> torch.Tensor:
        assert not any(reference() is not None for reference in alive)  # its memory is free for this step
        if work.recording:
            activation = torch.zeros(8)
            alive.append(weakref.ref(activation))
            try:
                raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")
        return work.gradients(*batch)

    (said,) = refused(work, looking)
    assert work.recordings == 1
    assert said.endswith("operation not permitted when stream is capturing")


def test_a_network_that_waits_for_the_gpu_is_not_recorded(work: Work) -> None:
    def waiting(*batch: Any) -> torch.Tensor:
        if work.mode == "warn":
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at ...)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return work.gradients(*batch)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (said,) = refused(work, waiting)
    others = [str(warning.message) for warning in caught]
    assert said.endswith("the network waits for a number of the GPU")
    assert others == ["something else"] * 9  # what is no wait goes on
    assert work.recordings == 0


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(()), random.random, np.random.random], ids=["torch", "random", "numpy"]
)
def test_a_network_that_draws_on_the_cpu_is_not_recorded(work: Work, draw: Callable[[], Any]) -> None:
    def drawing(*batch: Any) -> torch.Tensor:
        draw()
        return work.gradients(*batch)

    (said,) = refused(work, drawing)
    assert said.endswith("the network draws on the CPU")
    assert work.recordings == 0


def test_what_was_recorded_can_be_given_back(work: Work) -> None:
    replay = Replay(work.gradients, list(work.network.parameters()))
    x, y, _ = next(batches(1))
    for _ in range(EAGER + 1):
        replay(x, y, None)
    replay.forget()
    assert all(parameter.grad is None for parameter in work.network.parameters())
    work.recordings = 0  # the next is a first one again
    assert torch.equal(replay(x, y, None), work.gradients(x, y, None))
    assert work.recordings == 1


def test_where_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_replayed(CUDA, "32-true", 1)
    assert not is_replayed(torch.device("cpu"), "32-true", 1)
    assert not is_replayed(CUDA, "bf16-mixed", 1)
    assert not is_replayed(CUDA, "32-true", 2)
    monkeypatch.setenv(SWITCH, "0")
    assert not is_replayed(CUDA, "32-true", 1)


def test_a_run_tells_its_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    protocol = Protocol(loss="ce", image_size=32, batch_size=2, steps=2)
    fabric = Fabric(accelerator="cpu", devices=1)
    said: list[str] = []
    loop = Loop(network, make_optimizer(network, protocol), make_loss(protocol), None, protocol, 0, fabric)
    assert loop.replaying(said.append) is loop  # on the CPU
    monkeypatch.setattr("bench.runs.train.is_replayed", lambda *asked: True)
    replayed = loop.replaying(said.append)
    assert replayed.replay is not None
    replayed.replay._refuse("so it is")
    assert said == ["steps are launched kernel by kernel, since no graph can be made of them: so it is"]
