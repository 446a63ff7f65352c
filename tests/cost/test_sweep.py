"""Latency and growing batches, on a fake device whose passes take as long as it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench.cost import sweep as module
from bench.cost.measurement import Measurement, make_settings
from bench.cost.sweep import LATENCY_PASSES, MOST_LATENCIES, SWEEP_ROUNDS, latencies, sweep
from bench.records.profiles import Setting

CPU = torch.device("cpu")
MODEL = nn.Identity()


def setting() -> Setting:
    return make_settings(Measurement("resnet10t", threads=1))[0]


class Device:
    """Passes over a batch of n take `seconds(n)` of a clock that nothing else moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now, self.batches, self.works = 0.0, list[int](), set[str]()

        def make_pass(model: nn.Module, setting: Setting, device: torch.device, compiled: bool) -> Callable[[], None]:
            self.batches.append(setting.batch)
            self.works.add(setting.work)
            duration = seconds(setting.batch)

            def run() -> None:
                self.now += duration

            return run

        def block(run: Callable[[], None], passes: int, device: torch.device) -> Callable[[], float]:
            def timed() -> float:
                start = self.now
                for _ in range(passes):
                    run()
                return (self.now - start) / passes

            return timed

        monkeypatch.setattr(module, "make_pass", make_pass)
        monkeypatch.setattr(module, "block", block)
        monkeypatch.setattr(module, "warm_up", lambda run, device, seconds: (run(), 2)[1])
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(module, "set_peak_back", lambda: True)


def test_batches_grow_until_twice_as_many_images_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, lambda n: 0.010 + 0.001 * max(n, 2 * n - 8))  # from 8 on twice the images cost twice
    found = sweep(MODEL, setting(), CPU, None)
    assert found["ended"] == "peak"
    assert [step["batch"] for step in found["steps"]] == [1, 2, 4, 8, 16, 32, 64][: len(found["steps"])]
    assert device.batches == [step["batch"] for step in found["steps"]]
    gains = [step["gain"] for step in found["steps"]]
    assert gains[0] is None
    assert gains[1] == pytest.approx(2 * 0.011 / 0.012 - 1)
    assert all(gain > module.GAIN for gain in gains[1:-1])
    assert gains[-1] <= module.GAIN
    assert all(len(step["seconds"]) == SWEEP_ROUNDS for step in found["steps"])
    assert found["steps"][2]["seconds"] == pytest.approx([0.014] * SWEEP_ROUNDS)


def test_a_batch_that_does_not_fit_into_the_time_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, lambda n: 0.1 + 0.001 * n)
    found = sweep(MODEL, setting(), CPU, 8.0)
    assert found["ended"] == "time"
    assert len(found["steps"]) >= 2
    assert device.now <= 8.0
    Device(monkeypatch, lambda n: 100.0)
    assert [step["batch"] for step in sweep(MODEL, setting(), CPU, 1.0)["steps"]] == [1]


def test_a_cuda_device_that_is_full_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(n: int) -> float:
        if n > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return 0.01

    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    Device(monkeypatch, seconds)
    found = sweep(MODEL, setting(), torch.device("cuda"), None)
    assert (found["ended"], [step["batch"] for step in found["steps"]]) == ("memory", [1, 2, 4])
    assert emptied == [None]


def test_on_the_cpu_the_next_batch_must_fit_by_what_the_last_took(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, lambda n: 0.01)
    held, each, free = 100, 50, 1000
    monkeypatch.setattr(module, "resident", lambda: held + each * max(device.batches, default=0))
    monkeypatch.setattr(module, "highest", lambda: held + each * max(device.batches, default=0))
    monkeypatch.setattr(module, "available", lambda: free - each * max(device.batches, default=0))
    found = sweep(MODEL, setting(), CPU, None)
    assert found["ended"] == "memory"  # 16 images have taken 800 and keep it: 32 would take 800 more, and 200 are free
    assert [step["batch"] for step in found["steps"]] == [1, 2, 4, 8, 16]


def test_what_was_given_back_must_fit_again(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch, lambda n: 0.01)
    monkeypatch.setattr(module, "resident", lambda: 100)
    monkeypatch.setattr(module, "highest", lambda: 100 + 50 * max(device.batches, default=0))
    monkeypatch.setattr(module, "available", lambda: 1000)
    found = sweep(MODEL, setting(), CPU, None)
    assert found["ended"] == "memory"  # 8 images take 400: 16 would take 800, more than 70 % of the 1000
    assert [step["batch"] for step in found["steps"]] == [1, 2, 4, 8]


def test_there_is_a_largest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BATCH", 8)
    Device(monkeypatch, lambda n: 0.01)
    monkeypatch.setattr(module, "highest", lambda: None)
    found = sweep(MODEL, setting(), CPU, None)
    assert (found["ended"], found["steps"][-1]["batch"]) == ("largest", 8)


@pytest.mark.parametrize(("budget", "passes"), [(0.0, LATENCY_PASSES), (0.5, 50), (1e9, MOST_LATENCIES)])
def test_latency_is_of_single_images_at_least_thirty_times(
    budget: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(monkeypatch, lambda n: 0.01 * n)
    found: dict[str, Any] = latencies(MODEL, make_settings(Measurement("resnet10t", step=True))[0], CPU, budget)
    assert abs(len(found["seconds"]) - passes) <= 1
    assert found["seconds"] == pytest.approx([0.01] * len(found["seconds"]))
    assert (device.batches, device.works, found["batch"]) == ([1], {"inference"}, 1)
