"""Which exceptions say that memory was short."""

from __future__ import annotations


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an exception says that memory was short: Python's own, torch's on a device, torch's on the CPU."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    return bool({"MemoryError", "OutOfMemoryError"} & names) or (
        isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "CUDA out of memory" in text)
    )
