"""The child process of one measurement: one network, or two of them timed by turns; answers in JSON.

`python -m bench.cost.worker` reads a request from standard input and writes one JSON object to standard output: the
answer, or {"error": one line}. A request has `setting`, `model` and what is to be found out in `what`:

    speed       with `reference`, `seconds` and `sweep`: the measured parts of a profile
    rounds      with `reference` and `seconds`: its samples alone, of one more process
    memory      the peak of the setting's kind of work, in a process that holds the candidate alone
    metric      with `results` and `data_root`: what the setting's variant makes of trained weights' scores
    complexity  parameters and MACs by three counters; nothing is timed
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from bench.cost.counters import cross_check
from bench.cost.memory import give_back, measure_memory
from bench.cost.passes import Pass, block, candidate_network, formed, make_pass, network, warm_up
from bench.cost.rounds import PROCESSES, alternate
from bench.cost.sweep import latencies, sweep
from bench.errors import UserError
from bench.records.environment import environment
from bench.records.profiles import Setting

WARM_SECONDS = 1.0
LATENCY_SHARE, SWEEP_SHARE = 1 / 6, 1 / 3  # of the seconds of the rounds, after them


def main() -> None:
    """Answers one request. What a network's own code prints goes to standard error."""
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        answer = respond(request)
    json.dump(answer, sys.stdout)


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request; whatever goes wrong is one line in it, since any network's own code runs here."""
    try:
        setting, name, what = Setting(**request["setting"]), request["model"], request["what"]
        if setting.device.startswith("cuda"):
            torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32, in what outputs are held against too
        if what == "memory":
            return measure_memory(setting, name)
        if what == "metric":
            from bench.cost.variants import metric_change

            return {"metric": metric_change(setting, name, request["results"], request["data_root"])}
        if what == "complexity":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other projects' networks while they are built
                model = formed(setting, network(setting, name))
            return {"cost": count(setting, model)}
        if what == "rounds":
            model = formed(setting, network(setting, name), check=False)  # the first process checks it
            return time_rounds(setting, model, request["reference"], request["seconds"])
        return measure(setting, name, request["reference"], request["seconds"], request["sweep"])
    except Exception as error:
        words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".splitlines()[0]
        return {"error": words}


def measure(setting: Setting, model: str, reference: str, seconds: float, to_the_peak: bool) -> dict[str, Any]:
    """Times a candidate against the reference, then by itself.

    Args:
        to_the_peak: whether larger batches are tried until there is no gain, however long it takes.
    """
    torch.set_num_threads(setting.threads)
    candidate, change = candidate_network(setting, model)
    if change is not None:
        give_back()  # what the comparison of outputs took
    answer = time_rounds(setting, candidate, reference, seconds)
    device = torch.device(setting.device)
    latency = batches = None
    if setting.work == "inference":
        latency = latencies(candidate, setting, device, LATENCY_SHARE * seconds)
        batches = sweep(candidate, setting, device, None if to_the_peak else SWEEP_SHARE * seconds)
    return {
        **answer,
        "change": change,
        "latency": latency,
        "sweep": batches,
        "cost": count(setting, candidate),
        "environment": environment(setting.device, setting.threads) | _backends(device),
    }


def time_rounds(setting: Setting, candidate: nn.Module, reference: str, seconds: float) -> dict[str, Any]:
    """Times this process's share of the rounds; CUDA's peak of memory is read before the reference is built."""
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32, as in training
    load = _load_average()
    run = make_pass(candidate, setting, device, setting.compiled)
    warm = min(WARM_SECONDS, seconds / 10)
    passes = warm_up(run, device, warm)
    peak = peak_memory(run, device)
    beside = replace(setting, step=setting.reference_step)
    run_reference = make_pass(network(setting, reference), beside, device, compiled=False)
    reference_passes = warm_up(run_reference, device, warm)
    blocks = block(run, passes, device), block(run_reference, reference_passes, device)
    samples = alternate(*blocks, seconds / PROCESSES)
    return {
        "samples": asdict(samples) | {"passes": passes, "reference_passes": reference_passes},
        "peak_bytes": peak,
        "load": {"start": load, "end": _load_average()},
    }


def count(setting: Setting, model: nn.Module) -> dict[str, Any]:
    """Counts parameters and the MACs of one image; what the other counters say stands in `counters`."""
    shape = (1, setting.channels, setting.image_size, setting.image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a child's warnings have no reader
        check = cross_check(model, shape)
    return check.cost.stored() | {"counters": check.stored()}


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
    """The settings of torch that change the arithmetic of fp32 on CUDA; nothing on the CPU."""
    if device.type != "cuda":
        return {}
    convolutions = torch.backends.cudnn.allow_tf32
    backends = {"tf32_convolutions": convolutions, "matmul": torch.get_float32_matmul_precision()}
    return {"backends": backends, "clock_mhz": _clock(device)}


def _clock(device: torch.device) -> int | None:
    """The clock of a GPU's multiprocessors right after the rounds, in MHz; None where its library cannot be asked."""
    try:
        return torch.cuda.clock_rate(device)
    except (ImportError, RuntimeError):  # torch asks NVIDIA's library through a package of its own
        return None


if __name__ == "__main__":
    main()
