"""The manifest of a prepared cache: what stands in it, how its content is named, and when it is broken."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

from bench.datasets.base import FACTS, PARTS, ROWS, Case, Task
from bench.datasets.readers.folders import is_litter
from bench.datasets.splits import duplicates
from bench.datasets.stored import broken, read_json


@dataclass(frozen=True)
class Format:
    """How the caches of a task are laid out.

    Attributes:
        preparation: raise it when the same files would give another cache: it is part of the fingerprint.
        arrays: file name -> type of its values.
        hashed: what of an entry the fingerprint covers.
    """

    schema: int
    preparation: int
    preprocessing: str
    arrays: dict[str, str]
    hashed: tuple[str, ...]


FORMATS: dict[Task, Format] = {
    "segmentation": Format(
        schema=1,
        preparation=1,
        preprocessing="none: the files' own intensities as float32, axes (z, y, x), labels as uint8, native grid",
        arrays={"images.npy": "<f4", "labels.npy": "|u1"},
        hashed=("case", "patient", "shape", "spacing", "image_sha256", "label_sha256"),
    ),
    "classification": Format(
        schema=1,
        preparation=1,
        preprocessing=(
            "8 bit, axes (c, y, x); turned as EXIF says, alpha laid over black, colour to the dataset's channels; "
            "own size, a longer side over 512 px reduced to 512 by area"
        ),
        arrays={"images.npy": "|u1"},
        hashed=("case", "patient", "shape", "label", "image_sha256"),
    ),
}
# Pictures in colour with label maps: three bytes a pixel, so that offsets count pixels in both files.
COLOUR = replace(
    FORMATS["segmentation"],
    preprocessing="8 bit, axes (z, y, x, c); turned as EXIF says, alpha laid over black; labels as uint8, own size",
    arrays={"images.npy": "|V3", "labels.npy": "|u1"},
)
FILES = {"manifest.json", FACTS, ROWS, *(name for form in FORMATS.values() for name in form.arrays)}


def form_of(task: Task, channels: int) -> Format:
    """How the caches of a task and of so many channels are laid out."""
    return COLOUR if task == "segmentation" and channels > 1 else FORMATS[task]


def fingerprint(
    entries: list[dict[str, Any]],
    task: Task = "segmentation",
    groups: Sequence[Sequence[str]] | None = None,
    named: Sequence[str] | None = None,
) -> str:
    """12 hex digits of what training can see, and results are called by; where the files came from is not part of it.

    Args:
        groups: the near-duplicates, which splits keep together; None where none were sought.
        named: the classes' names; None where a publication fixes them.
    """
    form = FORMATS[task]
    content: list[Any] = [form.preparation, [[entry[key] for key in form.hashed] for entry in entries]]
    if groups is not None:
        content.append(groups)
    if named is not None:
        content.append({"classes": list(named)})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_cache(folder: Path) -> bool:
    """Whether a folder holds nothing but a cache's files, so that replacing it loses nobody's data.

    What a file manager leaves in a folder that was looked into is nobody's data.
    """
    return folder.is_dir() and {path.name for path in folder.iterdir() if not is_litter(path)} <= FILES


def manifest_task(manifest: dict[str, Any]) -> Task:
    """The task of a cache; the manifests of volumes do not name it. Raises KeyError for one that is none."""
    task: Task = manifest.get("task", "segmentation")
    if task not in get_args(Task):
        raise KeyError(task)
    return task


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with every field that is read later checked for being there."""
    try:
        manifest = read_json(folder / "manifest.json")
        task = manifest_task(manifest)
        versions = (manifest["schema"], manifest["preparation_version"])
        if versions != (FORMATS[task].schema, FORMATS[task].preparation):
            raise broken(folder, "it was prepared by another version of medbench")
        cases = [read_case(entry, task) for entry in manifest["cases"]]
        ends = list(accumulate((math.prod(case.shape) for case in cases), initial=0))
        sound = (
            [case.offset for case in cases] == ends[:-1]
            and manifest["counts"]["voxels"] == ends[-1]
            and manifest["fingerprint"]
            == fingerprint(
                manifest["cases"],
                task,
                _groups(manifest, cases, task),
                manifest["classes"] if manifest.get("classes_hashed") else None,
            )
            and all(_counted(case, manifest["classes"]) for case in cases)
            and {"dataset", "kind", "layout", "phantom_version"} <= set(manifest)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(folder, f"manifest.json cannot be read ({type(error).__name__}: {error})") from error
    if not sound:
        raise broken(folder, "manifest.json contradicts itself")
    return manifest


def _counted(case: Case, classes: list[str]) -> bool:
    """Whether the classes' voxels of a volume sum to its size; an image has no such counts."""
    if case.label is not None:
        return True
    return len(case.voxels) == len(classes) and sum(case.voxels) == math.prod(case.shape)


def _groups(manifest: dict[str, Any], cases: list[Case], task: Task) -> list[list[str]] | None:
    """The near-duplicates of a manifest, None of volumes; ValueError where they are not disjoint sets of its cases."""
    if task == "segmentation" and "groups" not in manifest:
        return None
    groups: list[list[str]] = manifest["groups"]
    if manifest["duplicates"] != duplicates.SETTINGS:
        raise ValueError("near-duplicates were found by other settings")
    members = [name for group in groups for name in group]
    if len(set(members)) < len(members) or not set(members) <= {case.case for case in cases}:
        raise ValueError("groups name other cases")
    if task == "classification" and any(case.label not in range(len(manifest["classes"])) for case in cases):
        raise ValueError("a label names no class")
    return groups


def read_case(entry: dict[str, Any], task: Task = "segmentation") -> Case:
    """A case of the manifest; KeyError, TypeError or ValueError where it is not one."""
    a, h, w = entry["shape"]
    part = entry.get("part")
    if part not in (None, *PARTS):
        raise ValueError(f"{part!r} is no part")
    if task == "classification":
        return Case(entry["case"], entry["patient"], (a, h, w), None, entry["offset"], label=entry["label"], part=part)
    spacing = entry["spacing"] and (entry["spacing"][0], entry["spacing"][1], entry["spacing"][2])
    voxels = tuple(entry["voxels"])
    return Case(entry["case"], entry["patient"], (a, h, w), spacing, entry["offset"], voxels, part=part)
