"""Which exceptions say that memory was short."""

from __future__ import annotations

WORDS = (
    *("DefaultCPUAllocator", "CUDA out of memory"),
    *("CUDA error: out of memory", "ALLOC_FAILED"),  # what a graph's launch, cuBLAS and cuDNN say
)


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory was short: Python's own, torch's on a device, torch's on the CPU."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    return bool({"MemoryError", "OutOfMemoryError"} & names) or (
        isinstance(error, RuntimeError) and any(words in text for words in WORDS)
    )
