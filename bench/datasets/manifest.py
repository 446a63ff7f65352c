"""The manifest of a prepared cache: what stands in it, how its content is named, and when it is broken."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError

SCHEMA = 1
# Raise it when the same files would give another cache: it is part of the fingerprint.
PREPARATION_VERSION = 1
PREPROCESSING = "none: the files' own intensities as float32, axes (z, y, x), labels as uint8, native grid"
ARRAYS = {"images.npy": "<f4", "labels.npy": "|u1"}
FILES = {"manifest.json", *ARRAYS}


@dataclass(frozen=True)
class Case:
    """One volume in the cache.

    Attributes:
        shape: (D, H, W).
        spacing: (z, y, x) in mm, or None where the files do not carry it.
        offset: index of its first voxel in the flat arrays.
        voxels: voxels of each class, by label id.
    """

    case: str
    patient: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    offset: int
    voxels: tuple[int, ...]


def fingerprint(entries: list[dict[str, Any]]) -> str:
    """12 hex digits of what training can see; where the files came from is not part of it."""
    keys = ("case", "patient", "shape", "spacing", "image_sha256", "label_sha256")
    content = [PREPARATION_VERSION, [[entry[key] for key in keys] for entry in entries]]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_cache(folder: Path) -> bool:
    """Whether a folder holds nothing but a cache's files, so that replacing it loses nobody's data."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= FILES


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with every field that is read later checked for being there."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if (manifest["schema"], manifest["preparation_version"]) != (SCHEMA, PREPARATION_VERSION):
            raise broken(folder, "it was prepared by another version of medbench")
        lengths = [math.prod(read_case(entry).shape) for entry in manifest["cases"]]
        offsets = [entry["offset"] for entry in manifest["cases"]]
        sound = offsets == [sum(lengths[:i]) for i in range(len(lengths))] and (
            manifest["counts"]["voxels"] == sum(lengths)
            and manifest["fingerprint"] == fingerprint(manifest["cases"])
            and {"dataset", "kind", "layout", "phantom_version"} <= set(manifest)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(folder, f"manifest.json cannot be read ({type(error).__name__}: {error})") from error
    if not sound:
        raise broken(folder, "manifest.json contradicts itself")
    return manifest


def read_case(entry: dict[str, Any]) -> Case:
    """A case of the manifest; KeyError, TypeError or ValueError where it is not one."""
    d, h, w = entry["shape"]
    spacing = entry["spacing"] and (entry["spacing"][0], entry["spacing"][1], entry["spacing"][2])
    return Case(entry["case"], entry["patient"], (d, h, w), spacing, entry["offset"], tuple(entry["voxels"]))


def broken(folder: Path, why: str) -> UserError:
    """The error for a cache that cannot be used, with the way out."""
    if folder.name.endswith("-phantom"):
        return UserError(f"The cache {folder} is unusable: {why}. Delete the folder; phantoms are drawn anew.")
    return UserError(
        f"The cache {folder} is unusable: {why}. "
        f"Run `medbench data prepare {folder.name} --from DIR --data-root {folder.parent} --replace`."
    )
