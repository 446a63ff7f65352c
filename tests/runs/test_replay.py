"""Replayed training steps, on graphs that are made up: what a graph reads, what it leaves, and what refuses one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bench.datasets.augmentation.batches import Mixture, mix
from bench.runs.losses import batch_loss
from bench.runs.replay import EAGER, SWITCH, Replay, replay_on

CUDA = torch.device("cuda")


class Work:
    """A small network's gradients, and a graph that is one: its replay is the same work on the tensors recorded."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))
        self.recorded: tuple[Any, ...] | None = None
        self.recordings, self.replays = 0, 0
        self.recording = False

    def gradients(self, x: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        self.network.zero_grad()
        loss = batch_loss(nn.CrossEntropyLoss(), self.network(x), y, mixture)
        loss.backward()
        if self.recording:
            self.recorded = (x, y, mixture), loss.detach(), [p.grad for p in self.network.parameters()]
        return loss.detach()

    def replay(self, recorded: Any) -> None:
        batch, loss, gradients = recorded
        self.replays += 1
        loss.copy_(self.gradients(*batch))
        for kept, parameter in zip(gradients, self.network.parameters(), strict=True):
            kept.copy_(parameter.grad)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    made = Work()

    class Graph:
        recorded: Any

        def replay(self) -> None:
            made.replay(self.recorded)

    @contextlib.contextmanager
    def graph(into: Graph) -> Iterator[None]:
        made.recording, made.recordings = True, made.recordings + 1
        try:
            yield
        finally:
            made.recording, into.recorded = False, made.recorded

    class Stream:
        def wait_stream(self, other: Stream) -> None:
            assert isinstance(other, Stream)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
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


def test_what_cannot_be_recorded_is_launched_as_before_and_told_once(work: Work) -> None:
    said: list[str] = []
    look = work.gradients

    def looking(*batch: Any) -> torch.Tensor:
        if work.recording:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        return look(*batch)

    replay = Replay(looking, list(work.network.parameters()), said.append)
    for batch in batches(8):
        assert torch.equal(replay(*batch), look(*batch))
    assert work.recordings == 1
    assert len(said) == 1
    assert "operation not permitted when stream is capturing" in said[0]
    assert "second" not in said[0]


def test_where_steps_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay_on(CUDA, "32-true", 1)
    assert not replay_on(torch.device("cpu"), "32-true", 1)
    assert not replay_on(CUDA, "bf16-mixed", 1)
    assert not replay_on(CUDA, "32-true", 2)
    monkeypatch.setenv(SWITCH, "0")
    assert not replay_on(CUDA, "32-true", 1)
