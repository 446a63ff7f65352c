"""Writing a cache: case by case into a temporary folder, which is renamed into place at the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bench.datasets import duplicates
from bench.datasets.base import DatasetSpec, RawCase, RawImage
from bench.datasets.duplicates import near_duplicates, thumbnail
from bench.datasets.manifest import FACTS, FORMATS, fingerprint, load_manifest
from bench.errors import UserError

Report = Callable[[str, int, int], None]
_NPY_HEADER = 128


def write_cache(
    spec: DatasetSpec, source: Path, layout: str, kind: str, folder: Path, report: Report | None
) -> dict[str, Any]:
    """Writes arrays and manifest into a folder; the arrays' headers come last, when their length is known."""
    form = FORMATS[spec.task]
    total, offset = spec.count_cases(source, layout), 0
    entries: list[dict[str, Any]] = []
    thumbnails: list[np.ndarray] = []
    facts: dict[str, dict[str, str | int]] = {}
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in form.arrays]
        for file in files:
            file.write(bytes(_NPY_HEADER))
        for case in spec.read_cases(source, layout):
            arrays, entry = _volume(case, offset, spec) if isinstance(case, RawCase) else _image(case, offset, spec)
            for file, array in zip(files, arrays, strict=True):
                file.write(array.data)
            if isinstance(case, RawImage):
                thumbnails.append(thumbnail(arrays[0]))
                facts[case.case] = case.facts
            hashes = {path.relative_to(source).as_posix(): _file_sha256(path) for path in case.files}
            entries.append({**entry, "files": hashes})
            offset += arrays[0].size
            if report:
                report(case.case, len(entries), total)
        for file, dtype in zip(files, form.arrays.values(), strict=True):
            _write_header(file, dtype, offset)
    manifest = _manifest(spec, kind, layout, entries, offset, thumbnails)
    if facts:
        (folder / FACTS).write_text(json.dumps(facts, indent=0) + "\n", encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _manifest(
    spec: DatasetSpec,
    kind: str,
    layout: str,
    entries: list[dict[str, Any]],
    voxels: int,
    thumbnails: list[np.ndarray],
) -> dict[str, Any]:
    counts: dict[str, Any] = {"cases": len(entries), "patients": len({e["patient"] for e in entries})}
    images: dict[str, Any] = {}
    groups = None
    if spec.task == "classification":
        groups = [[entries[i]["case"] for i in group] for group in near_duplicates(thumbnails)]
        images = {"task": spec.task, "duplicates": duplicates.SETTINGS, "groups": groups}
        of_class = Counter(e["label"] for e in entries)
        counts["classes"] = [of_class[k] for k in range(len(spec.classes))]
    else:
        counts["slices"] = sum(e["shape"][0] for e in entries)
    return {
        "schema": FORMATS[spec.task].schema,
        "preparation_version": FORMATS[spec.task].preparation,
        "dataset": spec.name,
        "kind": kind,
        "phantom_version": spec.phantom_version if kind == "phantom" else None,
        "layout": layout,
        "classes": list(spec.classes),
        "preprocessing": FORMATS[spec.task].preprocessing,
        "counts": {**counts, "voxels": voxels},
        "fingerprint": fingerprint(entries, spec.task, groups),
        **images,
        "cases": entries,
    }


def _volume(case: RawCase, offset: int, spec: DatasetSpec) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The arrays of a volume as they are written, and its entry in the manifest."""
    image = np.ascontiguousarray(case.image, dtype="<f4")
    label = np.ascontiguousarray(case.label, dtype=np.uint8)
    return [image, label], {
        "case": case.case,
        "patient": case.patient,
        "shape": list(image.shape),
        "offset": offset,
        "spacing": None if case.spacing is None else [float(x) for x in case.spacing],
        "voxels": np.bincount(label.ravel(), minlength=len(spec.classes)).tolist(),
        "image_sha256": hashlib.sha256(image.data).hexdigest(),
        "label_sha256": hashlib.sha256(label.data).hexdigest(),
    }


def _image(case: RawImage, offset: int, spec: DatasetSpec) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The array of an image as it is written, and its entry in the manifest."""
    image = np.ascontiguousarray(case.image)
    assert image.dtype == np.uint8, f"{case.case}: {image.dtype}"
    assert image.shape[0] == spec.channels, f"{case.case}: {image.shape}"
    assert case.label in range(len(spec.classes)), f"{case.case}: class {case.label}"
    return [image], {
        "case": case.case,
        "patient": case.patient,
        "label": case.label,
        "shape": list(image.shape),
        "offset": offset,
        "image_sha256": hashlib.sha256(image.data).hexdigest(),
    }


def _write_header(file: BinaryIO, dtype: str, length: int) -> None:
    file.seek(0)
    header = {"descr": dtype, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
    assert file.tell() == _NPY_HEADER


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(temporary: Path, final: Path, manifest: dict[str, Any], replace: bool) -> bool:
    """Renames a finished folder into place; True when the same content is there already.

    Of two processes that finish at once one renames, the other finds the winner's and compares.
    """
    if not replace:
        try:
            if not final.exists():
                temporary.rename(final)
                return False
        except OSError:
            if not final.exists():
                raise
        _require_same(final, manifest)
        if (temporary / FACTS).exists():
            (temporary / FACTS).replace(final / FACTS)
        return True
    aside = temporary.with_name(f"{temporary.name}-old")
    try:
        if final.exists():
            final.rename(aside)
        temporary.rename(final)
    except OSError:
        if not final.exists():
            raise
    finally:
        restore(aside, final)
    return False


def restore(aside: Path, final: Path) -> None:
    """Ends a replacement: the old folder goes back where no new one came, else it is removed."""
    if aside.exists() and not final.exists():
        aside.rename(final)
    shutil.rmtree(aside, ignore_errors=True)


def _require_same(final: Path, manifest: dict[str, Any]) -> None:
    old = load_manifest(final)
    if old != manifest:
        raise UserError(
            f"{final} holds another content (fingerprint {old['fingerprint']}, layout {old['layout']}; "
            f"new: {manifest['fingerprint']}, {manifest['layout']}). Pass --replace to overwrite it."
        )


def remove_stale(root: Path, name: str) -> None:
    """Removes what killed runs left: temporary folders whose process is gone, or that carry our own id."""
    for path in root.glob(f"{name}.tmp-*"):
        pid = path.name.removeprefix(f"{name}.tmp-").removesuffix("-old")
        if pid.isdecimal() and (int(pid) == os.getpid() or not _alive(int(pid))):
            if path.name.endswith("-old"):
                restore(path, root / name)
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
