"""Latency of one image, and throughput over batch sizes until it peaks: absolute speeds, which stand beside the ratio.

They drift with the machine. Whether a batch twice as large is worth it is therefore decided by turns, as the ratio is.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn

from bench.cost.memory import available, give_back, highest, resident, set_peak_back
from bench.cost.passes import Pass, block, make_pass, warm_up
from bench.cost.rounds import alternate
from bench.records.profiles import Setting

LATENCY_PASSES, MOST_LATENCIES = 30, 1000
SWEEP_ROUNDS = 6  # of the larger batch and of the one before it
GAIN = 0.02  # more images a second than the batch before: less is no gain
LARGEST_BATCH = 1024
MEMORY_SHARE = 0.7  # of what is available on the CPU, that a batch is expected to take at most


def latencies(model: nn.Module, setting: Setting, device: torch.device, budget: float) -> dict[str, Any]:
    """Seconds of single passes of inference over one image, after warming up.

    At least `LATENCY_PASSES`, until the budget (seconds) is spent or there are `MOST_LATENCIES`. On CUDA each pass is
    timed by events and waited for.
    """
    run = make_pass(model, replace(setting, work="inference", batch=1), device, setting.compiled)
    warm_up(run, device, budget / 10)
    timed, start = block(run, 1, device), time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < MOST_LATENCIES:
        if len(seconds) >= LATENCY_PASSES and time.perf_counter() - start >= budget:
            break
        seconds.append(timed())
    return {"batch": 1, "seconds": seconds}


def sweep(model: nn.Module, setting: Setting, device: torch.device, budget: float | None) -> dict[str, Any]:
    """Images a second over batches of 1, 2, 4, ..., each timed by turns with the one before.

    Args:
        budget: seconds; a batch that would not fit into what is left is not tried. None: until the peak.

    Returns:
        steps: {`batch`, `seconds` of one pass, a value per round, `gain` over the batch before as a fraction, null for
            the first}.
        ended: `peak` (the last batch gained at most `GAIN`), `memory`, `time`, or `largest` (`LARGEST_BATCH`).
    """
    steps: list[dict[str, Any]] = []
    start, last = time.perf_counter(), 0.0
    before: tuple[Pass, int] | None = None
    give_back()
    held = resident() if device.type == "cpu" and set_peak_back() else None
    batch = 1
    while True:
        now = time.perf_counter()
        if budget is not None and before is not None and now - start + 2 * last > budget:
            return {"steps": steps, "ended": "time"}
        if held is not None and before is not None and not _fits(held):
            return {"steps": steps, "ended": "memory"}
        try:
            run = make_pass(model, replace(setting, batch=batch), device, setting.compiled)
            passes = warm_up(run, device, 0.0)
            blocks = block(run, passes, device), block(*(before or (run, passes)), device)
            samples = alternate(*blocks, 0.0, least=SWEEP_ROUNDS)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            return {"steps": steps, "ended": "memory"}
        gain = None if before is None else _gain(samples.candidate, samples.reference)
        steps.append({"batch": batch, "seconds": samples.candidate, "gain": gain})
        if gain is not None and gain <= GAIN:
            return {"steps": steps, "ended": "peak"}
        if batch >= LARGEST_BATCH:
            return {"steps": steps, "ended": "largest"}
        before, batch, last = (run, passes), 2 * batch, time.perf_counter() - now


def _gain(seconds: list[float], of_half: list[float]) -> float:
    """How many more images a second a batch takes than one of half its size, by the median round."""
    return 2 * median(half / full for full, half in zip(seconds, of_half, strict=True)) - 1


def _fits(held: int) -> bool:
    """Whether twice of what the batches so far have taken at their peak fits beside what else is held.

    What the process still has of those batches counts for it: it is no longer available, and taken already.
    """
    peak = highest()
    return peak is None or 2 * (peak - held) - (resident() - held) <= MEMORY_SHARE * available()
