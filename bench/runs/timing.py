"""What a cell will take here, measured: a few of its own training steps and passes, on noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import cast

import torch

from bench.runs.averaging import WeightAverage
from bench.runs.depthwise import speed_up_training
from bench.runs.devices import make_fabric, set_gpu_arithmetic, set_up
from bench.runs.estimate import PlannedCell
from bench.runs.evaluate import predict_logits
from bench.runs.job import Job
from bench.runs.losses import make_loss
from bench.runs.protocol import Protocol
from bench.runs.replay import EAGER
from bench.runs.seeding import build_seeded
from bench.runs.train import Loop, make_optimizer
from bench.zoo.registry import dataset_spec

WARM_UP, STEPS = 2, 7
WARM_UP_REPLAYED = EAGER + 8  # mixed batches and others have each been recorded then
PASSES = 16  # images of a timed forward pass


def measured(cells: list[PlannedCell]) -> list[PlannedCell]:
    """The cells with seconds from their own steps, timed now; each model's and protocol's once. Done ones keep 0.

    A cell takes its steps, and a forward pass of each validation image in each round, for the average too. Test scores
    are left out: they take seconds. A network that cannot be timed keeps its estimate.
    """
    timed: dict[tuple[str, str, str], Pace | str] = {}
    return [cell if cell.state == "done" else _measured(cell, timed) for cell in cells]


def _measured(cell: PlannedCell, timed: dict[tuple[str, str, str], Pace | str]) -> PlannedCell:
    protocol = replace(cell.job.cell, tuned=None).settings()  # a rate takes no time
    key = (cell.job.cell.dataset, cell.job.model, repr(protocol))
    if key not in timed:
        try:
            timed[key] = pace(cell.job, protocol)
        except Exception as error:  # a network's own code, on images of noise
            timed[key] = f"{type(error).__name__}: {error}".splitlines()[0]
    found = timed[key]
    if isinstance(found, str):
        return replace(cell, basis=f"{cell.basis}; its steps cannot be timed: {found}")
    rounds = protocol.evaluations * (2 if protocol.average else 1)
    seconds = protocol.steps * found.step + rounds * cell.job.validated * found.image
    return replace(cell, seconds=seconds, basis=f"{STEPS} steps of it, timed here")


@dataclass(frozen=True)
class Pace:
    """Seconds of a training step, and of a forward pass, an image; medians with the protocol's threads."""

    step: float
    image: float


def pace(job: Job, protocol: Protocol) -> Pace:
    """Times a few steps and passes of a cell's network, on noise. Raises whatever the network does."""
    spec = dataset_spec(job.cell.dataset, job.data_root)
    torch.set_num_threads(protocol.threads)
    if job.device != "cpu":
        set_gpu_arithmetic(protocol)
    entry, shape = job.entry(), (spec.channels, len(spec.classes), protocol.image_size)
    model = build_seeded(lambda: entry.build(spec.task, *shape, **job.cell.model["config"]), job.cell.seed)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return Pace(0.0, 0.0)
    fabric = make_fabric(job.device, protocol)
    speed_up_training(model)
    network = set_up(model, fabric)
    optimizer = cast(torch.optim.Optimizer, fabric.setup_optimizers(make_optimizer(network, protocol)))
    average = WeightAverage(network, protocol.average) if protocol.average else None
    loop = Loop(network, optimizer, make_loss(protocol), average, protocol, 0, fabric).replaying()
    side, count = protocol.image_size, 2 * protocol.batch_size
    images = torch.randn(count, spec.channels, side, side)
    of_images = (count,) if spec.task == "classification" else (count, side, side)
    labels = torch.randint(0, len(spec.classes), of_images, dtype=torch.int64 if len(of_images) == 1 else torch.uint8)
    for step in range(WARM_UP if loop.replay is None else WARM_UP_REPLAYED):
        loop.step(images, labels, step)
    passed = torch.randn(PASSES, spec.channels, side, side)
    return Pace(
        median(_seconds(lambda: loop.step(images, labels, WARM_UP).item()) for _ in range(STEPS)),
        median(_seconds(lambda: predict_logits(network, passed)) for _ in range(3)) / PASSES,
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
