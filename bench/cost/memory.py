"""Peak memory of one network, in a process that holds nothing else, and the size of its weights on disk.

The figure is what a pass takes beyond what is there before it. On the CPU: the process's peak of resident memory
(VmHWM, set back just before) during two passes over one batch, minus its resident memory after the imports, the
building of network and batch, and one pass over a single image, for which libraries load and set themselves up. On
CUDA: the allocator's peak minus what it held before. Weights and the batch are in neither: activations, the kernels'
working memory and, in training, gradients and AdamW's two moments are.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from bench.cost.passes import formed, make_pass, network
from bench.records.profiles import Setting

PASSES = 2  # the second training step runs beside the optimiser's state, which the first one makes
CUDA, RESIDENT, EVER = "CUDA allocator", "resident memory", "resident memory, never set back"


def measure_memory(setting: Setting, name: str) -> dict[str, Any]:
    """Measures the candidate's peak of memory in the setting's kind of work, and the size of its weights.

    Returns:
        bytes: the peak above `before`; null where the process once held more and cannot set its peak back.
        before: bytes held before the passes. method: whose counter. weights: bytes of its safetensors file.
    """
    torch.set_num_threads(setting.threads)
    device = torch.device(setting.device)
    model = formed(setting, network(setting, name), check=False)  # the first process of the profile has checked it
    weights = weights_bytes(model)
    make_pass(model, replace(setting, work="inference", batch=1), device, compiled=False)()
    run = make_pass(model, setting, device, compiled=False)
    gc.collect()
    before, method = _start(device)
    for _ in range(PASSES):
        run()
    peak = _peak(device, method)
    is_known = method != EVER or peak > before
    return {"bytes": peak - before if is_known else None, "before": before, "method": method, "weights": weights}


def weights_bytes(model: nn.Module) -> int:
    """Bytes of the state dict as one safetensors file."""
    from safetensors.torch import save

    return len(save({name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}))


def _start(device: torch.device) -> tuple[int, str]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device)), CUDA
    if set_peak_back():
        return resident(), RESIDENT
    return _ever(), EVER


def _peak(device: torch.device, method: str) -> int:
    if method == CUDA:
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    return (highest() or 0) if method == RESIDENT else _ever()


def set_peak_back() -> bool:
    """Sets this process's VmHWM back to its present resident memory; returns False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def give_back() -> None:
    """Gives freed memory back to the system, where the C library can."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not on every system
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of this process's resident memory."""
    return int(psutil.Process().memory_info().rss)


def available() -> int:
    """Bytes that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


def highest() -> int | None:
    """Bytes of this process's VmHWM, the peak that can be set back, which psutil does not tell."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _ever() -> int:
    """The largest resident memory this process ever had, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
