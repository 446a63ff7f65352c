"""What is timed: networks built under a constant seed, one pass over one batch, and blocks of passes on a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bench.cost.rounds import Timer
from bench.errors import UserError
from bench.records.profiles import Setting
from bench.runs.depthwise import speed_up_training
from bench.runs.devices import laid_out, memory_format
from bench.runs.losses import make_loss
from bench.runs.protocol import Protocol
from bench.runs.train import make_optimizer
from bench.zoo.registry import build_model

BLOCK_SECONDS = 0.2  # of one network in one round
MOST_PASSES = 10_000
WARM_PASSES = 3
SETTLING_PASSES, SETTLING_IMAGES = 3, 4
COMPILED_SHAPES = 64
LEARNING_RATE = 1e-6  # so small that the numbers, and with them the speed, stay what they are
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

Pass = Callable[[], Any]


def network(setting: Setting, name: str) -> nn.Module:
    """Builds a model by name, under a constant seed, for the setting's task and input."""
    torch.manual_seed(0)
    return build_model(name, setting.task, setting.channels, setting.classes, setting.image_size)


def formed(setting: Setting, model: nn.Module, check: bool = True) -> nn.Module:
    """A network in the setting's form: itself, or its fused copy. `check` compares both: memory and time."""
    if setting.form == "training":
        return model
    from bench.models.fuse import fuse

    return fuse(model, random_batch(setting, 2)[0], check)


def candidate_network(setting: Setting, name: str) -> tuple[nn.Module, dict[str, Any] | None]:
    """The candidate in its form; of a faster variant also how far its outputs are from the plain ones.

    Faster variants are the fused form, autocast and torch.compile; plain is the training form in fp32, eager, on the
    same device. A few passes in training mode first move the norms' running statistics away from 0 and 1, where
    folding them would be no test.

    Returns:
        The network, and None or {`largest_difference`: of any logit, `output_scale`: the largest plain logit,
        `images`: how many they are of}.
    """
    model = network(setting, name)
    if (setting.form, setting.precision, setting.compiled) == ("training", "fp32", False):
        return model, None
    device = torch.device(setting.device)
    model.to(device)
    with torch.no_grad():
        images = random_batch(setting, SETTLING_IMAGES)[0].to(device)
        for _ in range(SETTLING_PASSES):
            model.train()(images)
        expected = model.eval()(random_batch(setting, setting.batch)[0].to(device))
        form = formed(setting, model)
        outputs = make_pass(form, replace(setting, work="inference"), device, setting.compiled)()
        difference = (outputs.float() - expected).abs().max().item()
    scale = expected.abs().max().item()
    return form, {"largest_difference": difference, "output_scale": scale, "images": setting.batch}


def random_batch(setting: Setting, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, C, S, S) and labels, (N,) or (N, S, S), from a constant seed."""
    generator, size = torch.Generator().manual_seed(0), setting.image_size
    images = torch.randn(count, setting.channels, size, size, generator=generator)
    shape = (count,) if setting.task == "classification" else (count, size, size)
    return images, torch.randint(setting.classes, shape, generator=generator)


def make_pass(model: nn.Module, setting: Setting, device: torch.device, compiled: bool) -> Pass:
    """One pass over one batch, as a function: of inference, or a training step on always the same batch.

    Inference returns the logits. Code is compiled for the one shape it is timed at. A step is that of a cell with
    `setting.step` (`bench.records.profiles.Setting`): the reference's pass is given the setting with its own.

    Raises:
        UserError: a training step of a model without trainable parameters.
    """
    model = model.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    images, labels = (tensor.to(device) for tensor in random_batch(setting, setting.batch))
    images = laid_out(images, device)
    dtype = AUTOCAST.get(setting.precision)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    if setting.work == "inference":
        network = specialised(model.eval()) if compiled else model.eval()

        def infer() -> torch.Tensor:
            with torch.inference_mode(), autocast:
                return network(images)

        return infer
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UserError("It has no trainable parameters: there is no training step to time.")
    if setting.step == "cell":
        speed_up_training(model)
    network = specialised(model.train()) if compiled else model.train()
    protocol = step_protocol(setting)
    optimizer = make_optimizer(model, protocol)
    if setting.step != "cell":
        groups = [{name: group[name] for name in ("params", "weight_decay")} for group in optimizer.param_groups]
        optimizer = torch.optim.AdamW(groups, lr=protocol.lr)
    loss_of = nn.CrossEntropyLoss() if setting.step == "bare" else make_loss(protocol)
    labels = labels[:, None] if protocol.loss != "ce" and setting.step != "bare" else labels
    scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "fp16")

    def step() -> None:
        with autocast:
            loss = loss_of(network(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if setting.step != "bare":
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(trained, protocol.clip)
        scaler.step(optimizer)
        scaler.update()

    return step


def step_protocol(setting: Setting) -> Protocol:
    """The protocol of a step that is timed: the task's loss, and a rate that leaves the numbers as they are."""
    precision = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[setting.precision]
    loss = "ce" if setting.task == "classification" else "ce+dice"
    return Protocol(loss=loss, lr=LEARNING_RATE, batch_size=setting.batch, precision=precision)


def specialised(model: nn.Module) -> nn.Module:
    """Compiles a network for each shape on its own; a sweep has more shapes than torch compiles before it gives up.

    On a GPU its passes are recorded as CUDA graphs as well, which spares the launching of each kernel.
    """
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = COMPILED_SHAPES
    on_gpu = any(parameter.device.type == "cuda" for parameter in model.parameters())
    return torch.compile(model, dynamic=False, mode="reduce-overhead" if on_gpu else None)  # type: ignore[return-value]


def warm_up(run: Pass, device: torch.device, seconds: float) -> int:
    """Runs passes until caches are warm, kernels chosen and code compiled; returns how many make up a block."""
    times: list[float] = []
    start = time.perf_counter()
    timed = block(run, 1, device)
    while len(times) < WARM_PASSES or time.perf_counter() - start < seconds:
        times.append(timed())
    late = sorted(times[len(times) // 2 :])
    return max(1, min(MOST_PASSES, round(BLOCK_SECONDS / late[len(late) // 2])))


def block(run: Pass, passes: int, device: torch.device) -> Timer:
    """A function that times a block of passes, in seconds a pass.

    On CUDA by two events in its queue, which is empty before and after and full within; else by the process's clock.
    """

    def timed() -> float:
        start = time.perf_counter()
        for _ in range(passes):
            run()
        return (time.perf_counter() - start) / passes

    def timed_on_cuda() -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        first.record()
        for _ in range(passes):
            run()
        last.record()
        torch.cuda.synchronize(device)
        return first.elapsed_time(last) / 1e3 / passes

    return timed_on_cuda if device.type == "cuda" else timed
