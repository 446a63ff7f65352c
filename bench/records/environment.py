"""What a record says about where it was made: machine, versions, git, device and threads."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("medbench", "torch", "numpy", "scipy", "monai", "timm", "lightning-fabric", "scikit-learn")
SOURCES = ("bench", "baselines", "ablations", "pyproject.toml")
COMPILED = ":(exclude,glob)**/__pycache__/**"  # Python's own, which a checkout without .gitignore shows as new


def environment(device: str, threads: int) -> dict[str, Any]:
    """Where a result was made, as JSON-ready values; it names the kind of machine, never the host.

    Args:
        device: as torch spells it, `cpu` or `cuda:0`.
        threads: those that the run uses, as set.

    Returns:
        python, platform, cpu (model), logical_cores, ram_gb, gpu (name or None), device, threads, versions
        (by distribution, None where not installed), cuda (torch's, or None on the CPU), and commit and dirty
        of the checkout that this package lives in, both None when it was installed from a wheel.
    """
    gpu, cuda = _gpu(device)
    commit, dirty = git_state(Path(__file__).resolve().parents[2])
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "logical_cores": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "device": device,
        "threads": threads,
        "versions": {name: installed_version(name) for name in PACKAGES},
        "cuda": cuda,
        "commit": commit,
        "dirty": dirty,
    }


def trained_on(device: str) -> dict[str, str | None]:
    """What the bits of a training step depend on beside the protocol: the GPU or `cpu`, the CPU's model, torch."""
    return {"device": _gpu(device)[0] or "cpu", "cpu": cpu_model(), "torch": installed_version("torch")}


def cpu_model() -> str:
    """The CPU's model as the system names it (`AMD EPYC 7B13`), or the architecture where it does not say."""
    info = Path("/proc/cpuinfo")
    if info.exists() and (named := re.search(r"^model name\s*:(.*)", info.read_text(errors="replace"), re.MULTILINE)):
        return " ".join(named[1].split())
    if platform.system() == "Darwin" and (name := _output(["sysctl", "-n", "machdep.cpu.brand_string"])):
        return name
    return platform.processor() or platform.machine()


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout whose top is `folder`; (None, None) when there is none.

    A folder that merely lies inside a checkout (a virtual environment does) is none. Dirty means that the
    source differs from the commit; results and notes that lie about, and compiled files, do not count.
    """
    top, _, commit = (_output(["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]) or "").partition("\n")
    if not commit or Path(top).resolve() != folder.resolve():
        return None, None
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--", *SOURCES, COMPILED])
    return (None, None) if changes is None else (commit, bool(changes))


def _output(command: list[str]) -> str | None:
    """A command's output, or None when it is missing, slow or fails; GIT_DIR and its kin do not reach it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=clean, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def installed_version(distribution: str) -> str | None:
    """A distribution's version, or None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _gpu(device: str) -> tuple[str | None, str | None]:
    """The GPU's name and torch's CUDA version, None where there is none; torch is imported for a cuda device only."""
    if not device.startswith("cuda"):
        return None, None
    import torch

    if not torch.cuda.is_available():  # as where it is what failed
        return None, torch.version.cuda
    return torch.cuda.get_device_name(device), torch.version.cuda


def idle_cores(seconds: float = 0.5) -> float | None:
    """How many cores are idle, over so many seconds from now; None where the system does not say."""
    before = _core_times()
    time.sleep(seconds if before else 0.0)
    after = _core_times()
    if before is None or after is None or after[1] == before[1]:
        return None
    share = (after[0] - before[0]) / (after[1] - before[1])
    return (os.cpu_count() or 1) * min(1.0, max(0.0, share))  # sums of seconds are rounded


def too_few_idle(threads: int) -> str | None:
    """`0.3 of 2 cores are idle` where that is too few for the threads; None where it is enough, or unknown."""
    idle = idle_cores()
    return f"{idle:.1f} of {os.cpu_count()} cores are idle" if idle is not None and idle < threads - 0.5 else None


def _core_times() -> tuple[float, float] | None:
    """Idle and all seconds of all cores since the start; waiting for the disk is idle, guests count once."""
    try:
        times = psutil.cpu_times()._asdict()
    except (OSError, RuntimeError, psutil.Error):  # a container that hides them
        return None
    whole = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    return times["idle"] + times.get("iowait", 0.0), whole


def free_gb(folder: Path) -> float | None:
    """Free space, in GB, of the disk that a folder is on, or would be made on; None where the system does not say."""
    folder = folder.expanduser().absolute()
    try:
        return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free / 1e9
    except (OSError, StopIteration):
        return None


def accelerators() -> dict[str, str]:
    """What torch can train on beside the CPU: `cuda`, `mps` -> the device's name, or why there is none."""
    import torch

    if torch.cuda.is_available():
        cuda = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    else:
        built = torch.version.cuda
        cuda = f"none (torch is built for CUDA {built}: no driver, or no GPU)" if built else "none (torch has no CUDA)"
    mps = "there" if torch.backends.mps.is_available() else "none"
    return {"cuda": cuda, "mps": mps}


def thread_settings() -> str:
    """A line with torch's threads, and the variables that set them."""
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = ", ".join(f"{name}={os.environ[name]}" for name in names if os.environ.get(name))
    return f"torch {torch.get_num_threads()} ({variables or 'OMP_NUM_THREADS is not set'}); a cell takes the protocol's"


def blas_libraries() -> list[str]:
    """`openblas 0.3.30, 2 threads (numpy)` of each library for matrices that numpy, scipy and torch have loaded."""
    import numpy  # noqa: F401  loads its own
    import scipy.linalg  # noqa: F401  loads its own
    import torch
    from threadpoolctl import threadpool_info

    lines = []
    for library in threadpool_info():
        if library["user_api"] == "blas":
            folders = Path(library["filepath"]).parts
            owners = [f" ({name})" for name in ("numpy", "scipy", "torch") if {name, f"{name}.libs"} & {*folders}]
            text = f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
            lines.append(text + "".join(owners[:1]))
    return [*lines, f"torch: {'MKL' if torch.backends.mkl.is_available() else 'no MKL'}"]
