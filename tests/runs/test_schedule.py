"""When a step comes: its rate, its images, the validation rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.runs.protocol import Protocol
from bench.runs.train import (
    batch_indices,
    evaluation_steps,
    learning_rate,
)

PROTOCOL = Protocol(image_size=64, steps=12, batch_size=4, evaluations=3, lr=1e-3)


def test_learning_rate_warms_up_and_falls_to_the_end() -> None:
    protocol = Protocol(steps=100, warmup=0.1, lr=1.0, poly_power=0.9)
    rates = [learning_rate(step, protocol) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(0.918623, abs=1e-6)
    assert rates[50] == pytest.approx(0.535887, abs=1e-6)
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[99] < 0.02


def test_validation_rounds_end_with_the_last_step() -> None:
    assert evaluation_steps(Protocol(steps=10, evaluations=3)) == {4, 7, 10}
    assert max(evaluation_steps(Protocol(steps=601, evaluations=8))) == 601


def test_an_epoch_sees_each_image_once() -> None:
    protocol = Protocol(batch_size=4)
    epoch = torch.cat([batch_indices(13, step, protocol, 0) for step in range(3)])
    assert len(set(epoch.tolist())) == 12
    assert not torch.equal(batch_indices(13, 0, protocol, 0), batch_indices(13, 3, protocol, 0))
    assert len(batch_indices(3, 5, protocol, 0)) == 3


def test_the_cosine_ends_at_a_hundredth() -> None:
    protocol = replace(PROTOCOL, schedule="cosine", steps=1000, warmup=0.05, lr=1.0)
    rates = [learning_rate(step, protocol) for step in range(1000)]
    assert max(rates) == pytest.approx(0.994, abs=2e-3)
    assert rates[500] == pytest.approx(0.505, abs=1e-3)
    assert 0.01 <= rates[-1] < 0.0101
