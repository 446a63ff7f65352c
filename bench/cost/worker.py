"""The child process of one measurement: builds candidate and reference, times them by turns, answers in JSON.

`python -m bench.cost.worker` reads a request from standard input ({"setting", "model", "reference", "seconds"}) and
writes one JSON object to standard output: the measured parts of a profile, or {"error": one line}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from bench.cost.complexity import complexity
from bench.cost.rounds import Timer, alternate
from bench.environment import environment
from bench.errors import UserError
from bench.profiles import Setting
from bench.registry import build_model

BLOCK_SECONDS = 0.2  # of one network in one round
MOST_PASSES = 10_000
WARM_SECONDS, WARM_PASSES = 1.0, 3
SETTLING_PASSES, SETTLING_IMAGES = 3, 4
LEARNING_RATE = 1e-6  # so small that the numbers, and with them the speed, stay what they are
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

Pass = Callable[[], None]


def main() -> None:
    """Answers one request. What a network's own code prints goes to standard error."""
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answer = respond(request)
    json.dump(answer, sys.stdout)


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request; whatever goes wrong is one line in it, since any network's own code runs here."""
    try:
        setting = Setting(**request["setting"])
        return measure(setting, request["model"], request["reference"], request["seconds"])
    except UserError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def measure(setting: Setting, model: str, reference: str, seconds: float) -> dict[str, Any]:
    """Times a candidate against the reference. The candidate's memory is read before the reference is built."""
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    load = _load_average()
    candidate, fused = candidate_network(setting, model)
    size = setting.image_size
    cost = asdict(complexity(candidate, (1, setting.channels, size, size)))
    run = make_pass(candidate, setting, device, setting.compiled)
    warm = min(WARM_SECONDS, seconds / 10)
    passes = warm_up(run, device, warm)
    peak = peak_memory(run, device)
    other = make_pass(network(setting, reference), setting, device, compiled=False)
    other_passes = warm_up(other, device, warm)
    samples = alternate(block(run, passes, device), block(other, other_passes, device), seconds)
    return {
        "samples": asdict(samples) | {"passes": passes, "reference_passes": other_passes},
        "cost": cost,
        "fused": fused,
        "peak_bytes": peak,
        "load": {"start": load, "end": _load_average()},
        "environment": environment(setting.device, setting.threads) | _backends(device),
    }


def network(setting: Setting, name: str) -> nn.Module:
    """A model by name, under a constant seed, for the setting's task and input."""
    torch.manual_seed(0)
    return build_model(name, setting.task, setting.channels, setting.classes, setting.image_size)


def candidate_network(setting: Setting, name: str) -> tuple[nn.Module, dict[str, float] | None]:
    """The candidate in its form; of a fused one also how far its output is from the training form's.

    They are compared on the CPU in float32, on random images, after a few passes in training mode have moved the
    norms' running statistics away from 0 and 1, where folding them would be no test.
    """
    model = network(setting, name)
    if setting.form == "training":
        return model, None
    from bench.models.fuse import fuse

    images, _ = random_batch(setting, SETTLING_IMAGES)
    with torch.no_grad():
        for _ in range(SETTLING_PASSES):
            model.train()(images)
        expected = model.eval()(images)
        fused = fuse(model)
        difference = (fused(images) - expected).abs().max().item()
    return fused, {"largest_difference": difference, "output_scale": expected.abs().max().item()}


def random_batch(setting: Setting, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, S, S) and labels, (N,) or (N, S, S), from a constant seed."""
    generator, size = torch.Generator().manual_seed(0), setting.image_size
    images = torch.randn(count, setting.channels, size, size, generator=generator)
    shape = (count,) if setting.task == "classification" else (count, size, size)
    return images, torch.randint(setting.classes, shape, generator=generator)


def make_pass(model: nn.Module, setting: Setting, device: torch.device, compiled: bool) -> Pass:
    """One pass over one batch, as a function: of inference, or a training step on always the same batch.

    Raises:
        UserError: a training step of a model without trainable parameters.
    """
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = (tensor.to(device) for tensor in random_batch(setting, setting.batch))
    images = images.contiguous(memory_format=torch.channels_last)
    dtype = AUTOCAST.get(setting.precision)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    if setting.work == "inference":
        network = torch.compile(model.eval()) if compiled else model.eval()

        def infer() -> None:
            with torch.inference_mode(), autocast:
                network(images)

        return infer
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UserError("It has no trainable parameters: there is no training step to time.")
    network = torch.compile(model.train()) if compiled else model.train()
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE)
    scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")

    def step() -> None:
        with autocast:
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def warm_up(run: Pass, device: torch.device, seconds: float) -> int:
    """Passes until caches are warm, kernels chosen and code compiled; returns how many make up a block."""
    times: list[float] = []
    start = time.perf_counter()
    timed = block(run, 1, device)
    while len(times) < WARM_PASSES or time.perf_counter() - start < seconds:
        times.append(timed())
    late = sorted(times[len(times) // 2 :])
    return max(1, min(MOST_PASSES, round(BLOCK_SECONDS / late[len(late) // 2])))


def block(run: Pass, passes: int, device: torch.device) -> Timer:
    """Times a block of passes, in seconds a pass. On CUDA the queue is empty before and after, and full within."""

    def timed() -> float:
        synchronize(device)
        start = time.perf_counter()
        for _ in range(passes):
            run()
        synchronize(device)
        return (time.perf_counter() - start) / passes

    return timed


def synchronize(device: torch.device) -> None:
    """Waits for what the device has been given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(run: Pass, device: torch.device) -> int | None:
    """Most bytes allocated at a time on a CUDA device, weights and batch included, during one warm pass."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


def _load_average() -> list[float] | None:
    try:
        return list(os.getloadavg())
    except (AttributeError, OSError):  # not on every system
        return None


def _backends(device: torch.device) -> dict[str, Any]:
    """What changes the arithmetic of fp32 on CUDA."""
    if device.type != "cuda":
        return {}
    convolutions = torch.backends.cudnn.allow_tf32
    return {"backends": {"tf32_convolutions": convolutions, "matmul": torch.get_float32_matmul_precision()}}


if __name__ == "__main__":
    main()
