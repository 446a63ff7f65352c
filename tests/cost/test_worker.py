"""What the child process does, in this process: passes, blocks, the fused form, CUDA's calls on a stand-in."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.cost import passes as cost_passes
from bench.cost import worker
from bench.cost.measurement import Measurement, make_settings
from bench.cost.passes import MOST_PASSES, block, candidate_network, make_pass, network, random_batch, warm_up
from bench.cost.rounds import LEAST_ROUNDS
from bench.cost.sweep import LATENCY_PASSES
from bench.records.profiles import Setting

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"


def small(task: str = "classification", **changes: Any) -> Setting:
    request = {"image_size": 32, "channels": 1, "classes": 3, "batch": 2, "threads": 1, "reference": SMALL}
    return make_settings(Measurement(SMALL, task, **{**request, **changes}))[-1]


class Watched(nn.Module):
    """A linear map that notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32 * 32, 3)
        self.seen: list[tuple[Any, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x.flatten(1))
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((self.training, torch.is_inference_mode_enabled(), y.dtype, tuple(x.shape), channels_last))
        return y


def test_a_pass_of_inference_changes_nothing_and_records_nothing() -> None:
    model = Watched()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    make_pass(model, small(), CPU, compiled=False)()
    assert model.seen == [(False, True, torch.float32, (2, 1, 32, 32), True)]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_training_step_moves_every_parameter_a_little() -> None:
    model = Watched()
    before = model.linear.weight.detach().clone()
    step = make_pass(model, small(step=True), CPU, compiled=False)
    step()
    step()
    assert [seen[:2] for seen in model.seen] == [(True, False)] * 2
    assert not torch.equal(model.linear.weight, before)
    torch.testing.assert_close(model.linear.weight, before, atol=1e-5, rtol=0)


def test_a_training_step_of_a_segmenter_takes_label_maps() -> None:
    setting = small("segmentation", step=True)
    make_pass(network(setting, SMALL), setting, CPU, compiled=False)()
    images, labels = random_batch(setting, 2)
    assert images.shape == (2, 1, 32, 32)
    assert labels.shape == (2, 32, 32)
    assert sorted(labels.unique().tolist()) == [0, 1, 2]


@pytest.mark.parametrize("step", [False, True])
def test_bf16_is_autocast(step: bool) -> None:
    model = Watched()
    make_pass(model, small(precision="bf16", step=step), CPU, compiled=False)()
    assert model.seen[0][2] == torch.bfloat16
    assert model.linear.weight.dtype == torch.float32


def test_a_block_gives_seconds_a_pass() -> None:
    calls: list[None] = []

    def run() -> None:
        calls.append(None)
        time.sleep(0.002)

    assert 0.002 <= block(run, 5, CPU)() < 0.1
    assert len(calls) == 5


def test_warming_up_finds_the_passes_of_a_block() -> None:
    passes = warm_up(lambda: time.sleep(0.01), CPU, seconds=0.1)
    assert 2 <= passes <= 20
    assert warm_up(lambda: time.sleep(0.3), CPU, seconds=0) == 1
    assert warm_up(lambda: None, CPU, seconds=0.01) == MOST_PASSES


def test_a_slow_first_pass_is_no_measure_of_a_block() -> None:
    times = iter([1.0])
    passes = warm_up(lambda: time.sleep(next(times, 0.01)), CPU, seconds=0)
    assert passes > 1


def test_on_cuda_a_block_is_between_two_events_of_a_queue_that_is_empty_before_and_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            calls.append("event")

        def elapsed_time(self, other: Event) -> float:
            assert calls[-1] == "wait"
            return 6.0  # ms

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    assert block(lambda: calls.append("pass"), 3, CUDA)() == pytest.approx(0.002)
    assert calls == ["wait", "event", "pass", "pass", "pass", "event", "wait"]
    calls.clear()
    block(lambda: calls.append("pass"), 2, CPU)()
    assert calls == ["pass", "pass"]


def test_on_cuda_the_peak_is_that_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123 if calls[-1] == "wait" else 0)
    assert worker.peak_memory(lambda: calls.append("pass"), CUDA) == 123
    assert calls == ["wait", "reset", "pass", "wait"]
    assert worker.peak_memory(lambda: None, CPU) is None


def test_the_fused_form_is_compared_where_folding_is_a_test() -> None:
    setting = small(fused=True)
    assert setting.form == "fused"
    fused, change = candidate_network(setting, SMALL)
    assert change is not None
    assert change["images"] == 2
    assert 0 < change["largest_difference"] < 1e-4 * change["output_scale"]
    plain, nothing = candidate_network(replace(setting, form="training"), SMALL)
    assert nothing is None
    assert not [m for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in plain.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("step", [False, True])
def test_autocast_is_compared_with_fp32_too(step: bool) -> None:
    model, change = candidate_network(small(precision="bf16", step=step), SMALL)
    assert change is not None
    assert 1e-4 < change["largest_difference"] / change["output_scale"] < 0.2  # bf16 has three digits
    with torch.no_grad():
        plain = model.eval()(random_batch(small(), 2)[0])
    assert change["output_scale"] == pytest.approx(plain.abs().max().item(), rel=1e-4)


def test_a_fused_form_that_is_wrong_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.models.fuse

    right = bench.models.fuse.fuse

    def forgets_the_shift(model: nn.Module, *given: Any) -> nn.Module:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()  # type: ignore[union-attr]
        return right(model, *given)

    monkeypatch.setattr(bench.models.fuse, "fuse", forgets_the_shift)
    _, difference = candidate_network(small(fused=True), SMALL)
    assert difference is not None
    assert difference["largest_difference"] > 1e-3 * difference["output_scale"]


def request(setting: Setting, model: str = SMALL, reference: str = SMALL, what: str = "speed") -> dict[str, Any]:
    timing = {"reference": reference, "seconds": 0.01, "sweep": False}
    return {"what": what, "setting": asdict(setting), "model": model, **timing}


def test_the_answer_is_one_json_object_whatever_a_network_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_passes, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request(small()))))
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    real = cost_passes.build_model
    monkeypatch.setattr(cost_passes, "build_model", lambda *a: print("hello") or real(*a))
    worker.main()
    answer = json.loads(out.getvalue())
    assert set(answer) == {
        *("samples", "latency", "sweep", "cost", "change", "peak_bytes", "load", "environment"),
    }
    assert len(answer["samples"]["candidate"]) == len(answer["samples"]["reference"]) == LEAST_ROUNDS
    assert len(answer["latency"]["seconds"]) == LATENCY_PASSES
    assert answer["sweep"]["steps"][0]["batch"] == 1
    assert answer["change"] is None
    assert answer["cost"]["counters"]["agrees"]
    assert answer["samples"]["passes"] == 1
    assert answer["cost"]["params"] > 0
    assert answer["environment"]["threads"] == 1
    assert answer["peak_bytes"] is None


@pytest.mark.slow
def test_training_steps_have_no_latency_of_one_image() -> None:
    answer = worker.respond(request(small(step=True)))
    assert (answer["latency"], answer["sweep"]) == (None, None)
    assert len(answer["samples"]["candidate"]) == LEAST_ROUNDS


@pytest.mark.slow
def test_one_more_process_gives_its_rounds_alone() -> None:
    answer = worker.respond(request(small(), what="rounds"))
    assert set(answer) == {"samples", "peak_bytes", "load"}
    assert len(answer["samples"]["candidate"]) == LEAST_ROUNDS


def test_counting_times_nothing() -> None:
    answer = worker.respond(request(small(), what="complexity"))
    assert list(answer) == ["cost"]
    assert answer["cost"]["counters"]["fvcore"]["macs"] == answer["cost"]["macs"] > 0
    fused = worker.respond(request(small(fused=True), what="complexity"))
    assert fused["cost"]["params"] != answer["cost"]["params"]


def test_memory_is_asked_of_the_kind_of_work() -> None:
    answer = worker.respond(request(small(step=True), what="memory"))
    assert set(answer) == {"bytes", "before", "method", "weights"}


@pytest.mark.parametrize(
    ("setting", "model", "line"),
    [
        (small(image_size=40), "deit_tiny", "Expected an image size for deit_tiny that is a multiple of 16"),
        (small(step=True), "chance", "It has no trainable parameters: there is no training step to time."),
        (small(fused=True), "resnet10t", "ResNet has no fused form"),
        (small(image_size=8), SMALL[:-1], "Expected a model as name[field=value,...]"),
        (small(batch=1, step=True), SMALL, "ValueError: Expected more than 1 value per channel when training"),
    ],
)
def test_what_cannot_be_timed_is_one_line(setting: Setting, model: str, line: str) -> None:
    answer = worker.respond(request(setting, model))
    assert list(answer) == ["error"]
    assert answer["error"].startswith(line)
    assert "\n" not in answer["error"]


@pytest.mark.slow
def test_compiled_networks_are_timed_too() -> None:
    answer = worker.respond(request(small(compiled=True)))
    assert "error" not in answer, answer
    assert answer["change"]["largest_difference"] < 1e-4 * answer["change"]["output_scale"]
