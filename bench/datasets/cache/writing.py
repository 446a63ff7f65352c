"""Writing a cache: case by case into a temporary folder, which is renamed into place at the end."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np

from bench.datasets.base import DOUBT, FACTS, ROWS, DatasetSpec, RawCase, RawImage
from bench.datasets.cache.manifest import fingerprint, form_of, load_manifest
from bench.datasets.cache.resuming import JOURNAL, Line, finished_lines, open_arrays, restore, source_state
from bench.datasets.readers.images import SIXTEEN_BITS
from bench.datasets.splits import duplicates
from bench.datasets.splits.duplicates import grey_levels, near_duplicates, thumbnail
from bench.datasets.stored import Values
from bench.errors import UserError

T = TypeVar("T")
Report = Callable[[str, int, int], None]
_NPY_HEADER = 128


def write_cache(
    spec: DatasetSpec, source: Path, layout: str, kind: str, folder: Path, report: Report | None
) -> dict[str, Any]:
    """Writes arrays and manifest into a folder; the arrays' headers come last, when their length is known.

    Cases are read by several threads and written in their order. Where the folder holds the finished cases of an
    interrupted preparation of the same files, it goes on behind them.
    """
    form = form_of(spec.task, spec.channels)
    state = source_state(source, {"preparation": form.preparation, "layout": layout, "kind": kind, **_reading(spec)})
    lines = finished_lines(folder, state, form.arrays, _NPY_HEADER)
    reads = spec.list_cases(source, layout)
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in open_arrays(folder, lines, form.arrays, _NPY_HEADER)]
        journal = stack.enter_context((folder / JOURNAL).open("w", encoding="utf-8"))
        journal.writelines(json.dumps(line) + "\n" for line in (state, *lines))
        for arrays, line in read_ahead([partial(_load, read, spec, source) for read in reads[len(lines) :]]):
            for file, array in zip(files, arrays, strict=True):
                file.write(array.data)
                file.flush()
            journal.write(json.dumps(line) + "\n")
            journal.flush()
            lines.append(line)
            if report:
                report(line["entry"]["case"], len(lines), len(reads))
        offsets = list(accumulate((math.prod(line["entry"]["shape"]) for line in lines), initial=0))
        for file, dtype in zip(files, form.arrays.values(), strict=True):
            _write_header(file, dtype, offsets[-1])
    for line, offset in zip(lines, offsets[:-1], strict=True):
        line["entry"]["offset"] = offset
    entries = [line["entry"] for line in lines]
    facts = {line["entry"]["case"]: line["facts"] for line in lines if line["facts"] or spec.task == "classification"}
    groups = _groups(spec, folder, entries)
    manifest = _manifest(spec, kind, layout, entries, offsets[-1], groups) | _conversion(lines)
    if facts:
        (folder / FACTS).write_text(json.dumps(facts, indent=0) + "\n", encoding="utf-8")
    if spec.list_rows:
        rows = [asdict(row) for row in spec.list_rows(source, layout)]
        (folder / ROWS).write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    (folder / JOURNAL).unlink()
    return manifest


def _reading(spec: DatasetSpec) -> dict[str, Any]:
    """What of a data set's description decides the entries and arrays of its cases, beside the files themselves."""
    described = spec.reading() if spec.reading else ""
    return {"classes": spec.classes, "channels": spec.channels, "reading": described}


def read_ahead(loads: Sequence[Callable[[], T]]) -> Iterator[T]:
    """The results in their order; as many threads as there are cores (at most 4) make a few of them in advance.

    The first error is raised where its result would have come; calls that have not begun by then are never made.
    """
    workers = min(4, os.cpu_count() or 1)
    waiting: deque[Future[T]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        try:
            for load in loads:
                waiting.append(pool.submit(load))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _load(read: Callable[[], RawCase | RawImage], spec: DatasetSpec, source: Path) -> tuple[list[np.ndarray], Line]:
    """A case's arrays as they are written, and its line in the journal."""
    case = read()
    files = {path.relative_to(source).as_posix(): _source_sha256(path) for path in case.files}
    if isinstance(case, RawCase):
        arrays, entry = _volume(case, spec)
        facts: Line = {"facts": {DOUBT: case.doubt} if case.doubt else {}}
    else:
        arrays, entry = _image(case, spec)
        facts = {"facts": case.facts, **({"levels": case.levels} if case.levels else {})}
    part = {"part": case.part} if case.part else {}
    return arrays, {"entry": {**entry, **part, "files": files}, **facts}


def _conversion(lines: Sequence[Line]) -> dict[str, Any]:
    """The manifest's section on images of 16 bits: the rule, and how many levels were lost; {} without such images."""
    kept = {line["entry"]["case"]: line["levels"] for line in lines if "levels" in line}
    if not kept:
        return {}
    shares = {case: left / min(distinct, 256) for case, (distinct, left) in kept.items()}
    worst = min(shares, key=shares.__getitem__)
    facts = {"images": len(kept), "under_half": sum(share < 0.5 for share in shares.values())}
    return {"sixteen_bits": {"rule": SIXTEEN_BITS, **facts, "worst": {"case": worst, "levels": list(kept[worst])}}}


def _groups(spec: DatasetSpec, folder: Path, entries: list[dict[str, Any]]) -> list[list[str]] | None:
    """The near-duplicates among the images that were written, as cases' names; None where none are sought.

    In segmentation they are sought among single pictures whose patients are unknown, which nothing else groups.
    """
    if spec.task == "segmentation" and not (spec.is_divided_here and all(map(_is_lone_picture, entries))):
        return None
    stored = Values(folder / "images.npy", form_of(spec.task, spec.channels).arrays["images.npy"], _NPY_HEADER)
    shapes = [cast(tuple[int, int, int], tuple(entry["shape"])) for entry in entries]
    images = (stored.read(e["case"], shape, e["offset"]) for e, shape in zip(entries, shapes, strict=True))
    thumbnails = [thumbnail(_shown(image)) for image in images]
    return [[entries[i]["case"] for i in group] for group in near_duplicates(thumbnails)]


def _is_lone_picture(entry: dict[str, Any]) -> bool:
    return bool("voxels" in entry and entry["shape"][0] == 1 and entry["patient"] == entry["case"])


def _shown(image: np.ndarray) -> np.ndarray:
    """A stored image as (C, H, W) uint8."""
    if image.dtype.kind == "V":
        return image[0].view(np.uint8).reshape(*image.shape[1:], -1).transpose(2, 0, 1)
    return image if image.dtype == np.uint8 else grey_levels(image[0])


def _manifest(
    spec: DatasetSpec,
    kind: str,
    layout: str,
    entries: list[dict[str, Any]],
    voxels: int,
    groups: list[list[str]] | None,
) -> dict[str, Any]:
    form = form_of(spec.task, spec.channels)
    counts: dict[str, Any] = {"cases": len(entries), "patients": len({e["patient"] for e in entries})}
    images: dict[str, Any] = {}
    if groups is not None:
        images = {"duplicates": duplicates.SETTINGS, "groups": groups}
    if not spec.has_published_classes:
        images |= {"classes_hashed": True}
    if spec.task == "classification":
        images = {"task": spec.task, **images}
        of_class = Counter(e["label"] for e in entries)
        counts["classes"] = [of_class[k] for k in range(len(spec.classes))]
    else:
        counts["slices"] = sum(e["shape"][0] for e in entries)
    return {
        "schema": form.schema,
        "preparation_version": form.preparation,
        "dataset": spec.name,
        "kind": kind,
        "phantom_version": spec.phantom_version if kind == "phantom" else None,
        "layout": layout,
        "classes": list(spec.classes),
        "preprocessing": form.preprocessing,
        "counts": {**counts, "voxels": voxels},
        "fingerprint": fingerprint(entries, spec.task, groups, None if spec.has_published_classes else spec.classes),
        **images,
        "cases": entries,
    }


def _volume(case: RawCase, spec: DatasetSpec) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The arrays of a volume as they are written, and its entry in the manifest."""
    image = _stored_volume(case.image, spec)
    label = np.ascontiguousarray(case.label, dtype=np.uint8)
    return [image, label], {
        "case": case.case,
        "patient": case.patient,
        "shape": list(label.shape),
        "offset": 0,  # known when all cases are written
        "spacing": None if case.spacing is None else [float(x) for x in case.spacing],
        "voxels": np.bincount(label.ravel(), minlength=len(spec.classes)).tolist(),
        "image_sha256": hashlib.sha256(image.data).hexdigest(),
        "label_sha256": hashlib.sha256(label.data).hexdigest(),
    }


def _stored_volume(image: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """(D, H, W) float32, or of colours (D, H, W, 3) uint8, as its bytes are written."""
    if spec.channels == 1:
        return np.ascontiguousarray(image, dtype="<f4")
    assert image.dtype == np.uint8, image.dtype
    assert image.ndim == 4 and image.shape[-1] == spec.channels, image.shape  # noqa: PT018
    return np.ascontiguousarray(image)


def _image(case: RawImage, spec: DatasetSpec) -> tuple[list[np.ndarray], dict[str, Any]]:
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
        "offset": 0,  # known when all cases are written
        "image_sha256": hashlib.sha256(image.data).hexdigest(),
    }


def _write_header(file: BinaryIO, dtype: str, length: int) -> None:
    file.seek(0)
    header = {"descr": dtype, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
    assert file.tell() == _NPY_HEADER


def file_sha256(path: Path) -> str:
    """Hex digits of the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _source_sha256(path: Path) -> str:
    """The hash of a source file; one that holds all cases is read once."""
    facts = path.stat()
    return _hashed_once(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _hashed_once(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)


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
        for name in (FACTS, ROWS):
            if (temporary / name).exists():
                (temporary / name).replace(final / name)
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


def _require_same(final: Path, manifest: dict[str, Any]) -> None:
    old = load_manifest(final)
    if _without_names(old) != _without_names(manifest):
        raise UserError(
            f"{final} holds another content (fingerprint {old['fingerprint']}, layout {old['layout']}; "
            f"new: {manifest['fingerprint']}, {manifest['layout']}). Pass --replace to overwrite it."
        )


def _without_names(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest that names source files by their hashes alone: an archive may have moved or renamed them."""
    cases = [{**entry, "files": sorted(entry["files"].values())} for entry in manifest["cases"]]
    return {**manifest, "cases": cases}
