"""Where a cell runs: the CPU or one GPU, how torch computes there, and what that leaves to chance.

Tests hold it with a device that is made up (tests/support/made_up_device.py), and on a real one where there is one
(tests/runs/test_on_a_gpu.py).
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.runs.protocol import Protocol

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule
    from torch import nn

    from bench.datasets.base import Selected

ROOM = 0.5  # of a GPU's free memory: the most that the training images may take of it
WORKSPACE = ":4096:8"  # with it cuBLAS is deterministic (CUDA's documentation)
RANK_ZERO = "lightning_fabric.utilities.rank_zero"  # its logger advises TF32 for each cell, which a protocol decides
_DEVICE = re.compile(r"cpu|auto|cuda(:[0-9]{1,3})?")
_NOT_DETERMINISTIC = re.compile(r"^(\S+) does not have a deterministic implementation")


def found_device(name: str, precision: str = "32-true") -> str:
    """`cpu`, `cuda` or `cuda:N`, if it is there: what these and `auto` mean on this machine.

    Args:
        name: `cuda` is the first GPU, or where several cells run at a time one GPU for each; `auto` is `cuda`, or the
            CPU where there is no GPU.
        precision: of the protocol, or a profile's; half precision has no kernels on the CPU.

    Raises:
        UserError: there is no such GPU, or the device has no such arithmetic.
    """
    if not _DEVICE.fullmatch(name):
        raise UserError(f"Expected a device cpu, cuda, cuda:N or auto, but got {name!r}.")
    device = "cpu" if name == "cpu" else _gpu(name)
    if device == "cpu" and precision in ("16-mixed", "fp16"):
        others = "fp32 or bf16" if precision == "fp16" else "32-true or bf16-mixed"
        raise UserError(f"Expected precision {others} on the CPU, but got {precision}.")
    return device


def _gpu(name: str) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        if name == "auto":
            return "cpu"
        raise UserError("No CUDA device is available to torch here. Use --device cpu, or install a CUDA driver.")
    number = name.partition(":")[2]
    if number and int(number) >= count:
        raise UserError(f"Expected --device cuda:N with N from 0 to {count - 1}, but got {name!r}.")
    return f"cuda:{int(number)}" if number else "cuda"


def set_arithmetic(device: str, protocol: Protocol) -> None:
    """Makes torch compute alike in every run: the protocol's threads, deterministic kernels, TF32 only if asked for.

    On the CPU an operator without a deterministic form is an error; on CUDA it runs and is named in the record
    (`undetermined`), since common losses and resizings have none.
    """
    import torch

    torch.set_num_threads(protocol.threads)
    if torch.get_num_threads() != protocol.threads:  # what a scheduler sets may not be overruled, and changes bits
        raise RuntimeError(f"torch runs with {torch.get_num_threads()} threads, where {protocol.threads} were set")
    if device != "cpu":
        set_gpu_arithmetic(protocol)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def set_gpu_arithmetic(protocol: Protocol) -> None:
    """The part of `set_arithmetic` that trained networks need as well: no TF32 but where it was asked for."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # read when the first product is computed
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = protocol.tf32


def make_fabric(device: str, protocol: Protocol) -> Fabric:
    """Lightning Fabric on one device, with the protocol's precision."""
    from typing import cast

    from lightning_fabric import Fabric

    logging.getLogger(RANK_ZERO).setLevel(logging.WARNING)
    kind, _, number = device.partition(":")
    devices: int | list[int] = [int(number)] if number else 1
    return Fabric(accelerator=kind, devices=devices, precision=cast(Any, protocol.precision))


def memory_format(device: torch.device) -> torch.memory_format:
    """How a network's weights and maps lie in memory: channels last on the CPU, whose kernels are the fastest so.

    On a GPU channels first: in single precision its depth-wise kernels know no other order, and each would be copied.
    """
    import torch

    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def laid_out(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Network inputs (N, C, H, W) in the order that the device's networks have; they stay where they are."""
    return images.contiguous(memory_format=memory_format(device))


def set_up(model: nn.Module, fabric: Fabric) -> _FabricModule:
    """The network on Fabric's device, under its precision, in the device's order of memory."""
    return fabric.setup_module(model.to(memory_format=memory_format(fabric.device)))


@contextmanager
def undetermined() -> Iterator[set[str]]:
    """Collects the operators that torch says have no deterministic form on this device; other warnings go on."""
    operators: set[str] = set()
    shown = warnings.showwarning

    def show(message: Warning | str, *where: Any, **options: Any) -> None:
        named = _NOT_DETERMINISTIC.match(str(message))
        if named:
            operators.add(named[1])
        else:
            shown(message, *where, **options)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_NOT_DETERMINISTIC.pattern.lstrip("^"))
        warnings.showwarning = show
        yield operators


def placed(images: Selected, labels: Selected, device: torch.device) -> tuple[Selected, Selected]:
    """The training images where batches are drawn from: on a GPU that has room for them, else where they are.

    Args:
        images: (N, C, S, S). labels: (N, S, S) or (N,).
    """
    import torch

    if device.type != "cuda" or not isinstance(images, torch.Tensor) or not isinstance(labels, torch.Tensor):
        return images, labels
    size = images.numel() * images.element_size() + labels.numel() * labels.element_size()
    if size <= ROOM * torch.cuda.mem_get_info(device)[0]:
        return images.to(device), labels.to(device)
    return images, labels


def drawn_batch(
    images: Selected, labels: Selected, chosen: torch.Tensor, device: torch.device
) -> tuple[Selected, Selected, torch.Tensor | None]:
    """What augmentation takes: images, labels and the batch's positions among them, None for all.

    Images that are not on the device of training come to it from pinned memory, the batch's own alone; else nothing
    is copied.
    """
    import torch

    if device.type == "cpu" or (isinstance(images, torch.Tensor) and images.device == device):
        return images, labels, chosen
    batch = (kept.index_select(0, chosen).pin_memory().to(device, non_blocking=True) for kept in (images, labels))
    return next(batch), next(batch), None


def peak_bytes(device: str) -> int | None:
    """Most bytes allocated at a time on a GPU since the count was last set back, by CUDA's own counter."""
    import torch

    return None if device == "cpu" else int(torch.cuda.max_memory_allocated(device))


def set_back_peak(device: str) -> None:
    """Starts the count of `peak_bytes` anew."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def largest_batch(fits: Callable[[int], bool], batch: int) -> int:
    """The largest batch below one that is too large, by halving; 0 where a single image does not fit.

    Args:
        fits: whether a step of so many images goes through.
        batch: one that did not.
    """
    low, high = 0, batch
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
