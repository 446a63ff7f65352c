"""What `medbench doctor` prints: versions, devices, threads, disk and data of this machine, and how to get the rest."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.datasets.base import DatasetSpec, Source, cache_name
from bench.errors import UserError
from bench.records.environment import (
    PACKAGES,
    accelerators,
    blas_libraries,
    cpu_model,
    environment,
    free_gb,
    idle_cores,
    thread_settings,
)
from bench.zoo.registry import dataset_names, dataset_spec, own_names

WIDTH = 80
INDENT = 11
EXTRAS = {  # what is not needed -> for what, how to get it; modules, and one program
    "SimpleITK": ("DICOM in `data add`", "pip install 'medbench[dicom]'"),
    "medpy": ("doctor --metrics", "pip install 'medbench[check]'"),
    "onnx": ("tests of the export", "pip install onnx onnxruntime onnxscript"),
    "pdflatex": ("compiling tables.tex", "install TeX Live with booktabs"),
}


def doctor_text(results: Path, data_root: str | None = None) -> str:
    """One screen of 80 columns: a fact a line, then each data set and extra, with what to do where it is missing.

    Args:
        results: the folder that runs write to. data_root: as `bench.datasets.cache.prepared.resolve_root` takes it.
    """
    from bench.datasets.cache.prepared import resolve_root

    root, _ = resolve_root(data_root, must_exist=False)
    facts = [*_machine(), ("disk free", _disks(results, root)), ("data", f"under {root}")]
    names = (*dataset_names(), *own_names(data_root))
    data = [line for name in names for line in _named_lines(name, root)]
    lines = [line for name, text in facts for line in _wrapped(name, text)]
    return "\n".join([*lines, *data, *(line for name in EXTRAS for line in _extra(name))])


def _machine() -> Iterator[tuple[str, str]]:
    machine, idle = environment("cpu", 1), idle_cores()
    versions = ", ".join(f"{name} {machine['versions'][name] or 'not installed'}" for name in PACKAGES[1:])
    cores = f"{os.cpu_count()} cores" + ("" if idle is None else f", {idle:.1f} of them idle")
    ram = "" if machine["ram_gb"] is None else f", {machine['ram_gb']} GiB of memory"
    yield "medbench", f"{machine['versions']['medbench'] or 'not installed'}, Python {machine['python']}, {_system()}"
    yield "versions", versions
    yield "cpu", f"{cpu_model()}, {cores}{ram}"
    yield "devices", "cpu; " + "; ".join(f"{name}: {what}" for name, what in accelerators().items())
    yield "threads", thread_settings()
    yield "BLAS", "; ".join(blas_libraries())


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _disks(results: Path, root: Path) -> str:
    places = {"results": results, "data": root, "temporary files": Path(tempfile.gettempdir())}
    free = {name: free_gb(folder) for name, folder in places.items()}
    return ", ".join(f"{name} {'unknown' if gb is None else f'{gb:.1f} GB'}" for name, gb in free.items())


def _named_lines(name: str, root: Path) -> list[str]:
    """The lines of a data set, or why its description cannot be read."""
    try:
        return _dataset_lines(dataset_spec(name, root), root)
    except UserError as error:
        return [f"  {name:<22}BROKEN", *_wrapped("", str(error))]


def _dataset_lines(spec: DatasetSpec, root: Path) -> list[str]:
    """A line for each state, then how to get what is missing, or why what is there cannot be used."""
    real, why = _state(spec, root, "real")
    phantom, broken = _state(spec, root, "phantom")
    lines = [f"  {spec.name:<22}{real}; phantoms: {phantom}"]
    if real == "not prepared":
        first = spec.how_to_get[0] if spec.variant_of is None else f"The files of {spec.variant_of}"
        lines += _wrapped("", f"{first} ... {spec.how_to_get[-1]}")
    return [*lines, *(line for text in (why, broken) if text for line in _wrapped("", text))]


def _state(spec: DatasetSpec, root: Path, kind: Source) -> tuple[str, str]:
    """`prepared`, `not prepared`, `BROKEN`, and of the last why."""
    from bench.datasets.cache.prepared import open_prepared

    absent = "not prepared" if kind == "real" else "drawn when asked for" if spec.draw_phantom else "none"
    if not (root / cache_name(spec, kind)).exists():
        return absent, ""
    try:
        return f"prepared, {len(open_prepared(spec, root, kind).cases)} cases", ""
    except UserError as error:
        return "BROKEN", str(error)


def _extra(name: str) -> list[str]:
    purpose, way = EXTRAS[name]
    location = shutil.which(name) if name == "pdflatex" else find_spec(name)
    return [f"{name:<{INDENT}}{'there' if location else f'missing, for {purpose}: {way}'}"]


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{name:<{INDENT}}" if name else "    ",
        subsequent_indent=" " * INDENT if name else "    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
