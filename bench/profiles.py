"""Profiles on disk: one JSON file per measurement, `<results>/profiles/<machine>/<key>.json`.

The key is 12 hex digits of what was timed and how (`Setting`); measuring the same again replaces the file. In it:

    setting        everything that the key hashes: model and reference (name, config, version), task, input, classes,
                   batch, threads, device, precision, form, work, compiled, torch's version
    model          canonical name, title, family; `reference` the same
    figures        ratio, its interval, flag, rounds, and images/s and ms per batch of both (`bench.cost.rounds`)
    samples        raw: seconds of one pass, a value per round, for both, and which came first
    cost           params, and MACs of one image
    fused          of a fused form: largest difference of its output from the training form's, and that output's scale
    peak_bytes     on CUDA: most memory that the candidate alone had allocated; null on the CPU
    load           load averages (1, 5, 15 minutes) at start and end; null where the system has none
    environment    machine, versions, commit, threads, device; `backends` on CUDA
    measured       when, UTC
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.plan import digest
from bench.store import write_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
FIELDS = {
    *("schema", "key", "setting", "model", "reference", "figures", "samples", "cost", "fused", "peak_bytes", "load"),
    *("environment", "measured"),
}


@dataclass(frozen=True)
class Setting:
    """What is timed, and how; nothing in it reads `auto` or `default`.

    Attributes:
        model, reference: {"name", "config", "version"}, the config with every field. The reference is always in its
            training form and never compiled.
        channels, image_size, classes, batch: the input is (batch, channels, image_size, image_size).
        threads: torch's intra-op threads. device: `cpu` or `cuda`.
        precision: `fp32`, or autocast to `bf16` or `fp16`.
        form: `training`, as it was trained, or `fused`, as `bench.models.fuse.fuse` returns it.
        work: `inference`, or `training-step`: forward, cross-entropy, backward, AdamW.
        torch: the installed version.
    """

    model: dict[str, Any]
    reference: dict[str, Any]
    task: str
    channels: int
    image_size: int
    classes: int
    batch: int
    threads: int
    device: str
    precision: str
    form: str
    work: str
    compiled: bool
    torch: str

    @property
    def key(self) -> str:
        """12 hex digits of the sha256 of the setting's canonical JSON."""
        return digest(asdict(self))


def machine_name(environment: dict[str, Any]) -> str:
    """A folder's name for the kind of machine: `amd-epyc-7b13-2-cores`, on CUDA with the GPU before it."""
    text = f"{environment['gpu'] or ''} {environment['cpu']} {environment['logical_cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write_profile(results: Path, profile: dict[str, Any]) -> Path:
    """Stores a profile, in place of an older one of the same key on the same kind of machine.

    Raises:
        UserError: the disk is full or may not be written to.
    """
    path = results / "profiles" / machine_name(profile["environment"]) / f"{profile['key']}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, profile)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Name another folder with --results DIR.") from None
    return path


def read_profile(path: Path) -> dict[str, Any]:
    """One stored profile. Raises UserError when the file is none of this schema."""
    try:
        profile = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Delete it and measure again.") from None
    except ValueError:
        raise UserError(f"{path} is no JSON. Delete it and measure again.") from None
    if not isinstance(profile, dict) or profile.get("schema") != SCHEMA or not set(profile) >= FIELDS:
        raise UserError(f"{path} is no profile of schema {SCHEMA}. Delete it and measure again.")
    return profile


def load_profiles(results: str | Path = "results") -> pd.DataFrame:
    """All stored profiles, of all machines, a row each with the columns of `profile_row`."""
    import pandas as pd

    paths = sorted((Path(results) / "profiles").rglob("*.json"))
    rows = [profile_row(read_profile(path)) for path in paths]
    frame = pd.DataFrame(rows)
    return frame.sort_values(["machine", "model", "form"], kind="stable", ignore_index=True) if rows else frame


def profile_row(profile: dict[str, Any]) -> dict[str, Any]:
    """A profile as one flat row; speeds in images/s and ms, memory in bytes, MACs of one image."""
    setting, figures, environment = profile["setting"], profile["figures"], profile["environment"]
    own, other = figures["candidate"], figures["reference"]
    load, fused = profile["load"], profile["fused"] or {}
    size = setting["image_size"]
    return {
        "key": profile["key"],
        "model": profile["model"]["name"],
        "title": profile["model"]["title"],
        "family": profile["model"]["family"],
        "version": setting["model"]["version"],
        "form": setting["form"],
        "compiled": setting["compiled"],
        "reference": profile["reference"]["name"],
        "reference_title": profile["reference"]["title"],
        "reference_version": setting["reference"]["version"],
        "task": setting["task"],
        "work": setting["work"],
        "input": "x".join(map(str, (setting["batch"], setting["channels"], size, size))),
        "batch": setting["batch"],
        "classes": setting["classes"],
        "precision": setting["precision"],
        "threads": setting["threads"],
        "device": environment["gpu"] or environment["cpu"],
        "cores": environment["logical_cores"],
        "machine": machine_name(environment),
        "torch": environment["versions"]["torch"],
        "commit": environment["commit"],
        **{name: figures[name] for name in ("ratio", "low", "high", "half_width", "flagged", "rounds", "seconds")},
        "images_per_second": own["images_per_second"],
        "ms_per_batch": own["ms_per_batch"],
        "ms_p25": own["ms_p25"],
        "ms_p75": own["ms_p75"],
        "ms_best": own["ms_best"],
        "reference_images_per_second": other["images_per_second"],
        "params": profile["cost"]["params"],
        "macs": profile["cost"]["macs"],
        "peak_bytes": profile["peak_bytes"],
        "fused_difference": fused.get("largest_difference"),
        "output_scale": fused.get("output_scale"),
        "load_start": load["start"][0] if load["start"] else None,
        "load_end": load["end"][0] if load["end"] else None,
        "measured": profile["measured"],
        "error": None,
    }
