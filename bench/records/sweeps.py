"""Milliseconds of a pass by batch, of all stored profiles: of those that they swept, and of the one that was timed."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.records.damage import Damaged
from bench.records.profiles import DEFAULTS, machine_name, read_profile

if TYPE_CHECKING:
    import pandas as pd

# What is timed, and how: all of a profile's setting but the reference, which says nothing of a network's milliseconds.
TIMED = [
    *("machine", "device", "torch", "allocator", "task", "image", "classes", "precision", "threads"),
    *("model", "version", "form"),
]
COLUMNS = [*TIMED, "title", "family", "batch", "milliseconds", "measured"]


def load_sweeps(results: str | Path) -> pd.DataFrame:
    """A row for each batch of each uncompiled network: the median round's milliseconds of a pass, the columns above.

    Of profiles that differ in nothing but the reference one is taken: the newest of those that swept, if any did. Where
    profiles of several batches swept the same one, it is the newest one's. A profile that cannot be read is left out;
    `bench.records.profiles.load_profiles` names it.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for number, path in enumerate(sorted((Path(results) / "profiles").rglob("*.json"))):
        try:
            rows += [{**row, "profile": number} for row in _rows(read_profile(path))]
        except (Damaged, KeyError, TypeError, ValueError, AttributeError):
            continue
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "own_batch", "swept", "profile"])
    newest = frame.sort_values(["swept", "measured"], ascending=False, kind="stable")
    of_one = newest.groupby([*TIMED, "own_batch"], dropna=False)["profile"].transform("first")
    alone = newest[newest["profile"] == of_one].drop_duplicates([*TIMED, "batch"])
    return alone.sort_index()[COLUMNS].reset_index(drop=True)


def _rows(profile: dict[str, Any]) -> list[dict[str, Any]]:
    """The columns of `load_sweeps`, the batch that was timed against the reference, and whether others were swept."""
    setting, environment = profile["setting"], profile["environment"]
    steps = (profile.get("sweep") or {}).get("steps") or []
    times = {step["batch"]: 1e3 * median(step["seconds"]) for step in steps}
    times.setdefault(setting["batch"], profile["figures"]["candidate"]["ms_per_batch"])
    if setting["compiled"] or setting["work"] != "inference":
        return []
    shared = {
        "machine": machine_name(environment),
        "device": environment["gpu"] or environment["cpu"],
        "torch": environment["versions"]["torch"],
        "allocator": setting.get("allocator", DEFAULTS["allocator"]),
        "image": f"{setting['channels']}x{setting['image_size']}x{setting['image_size']}",
        **{name: setting[name] for name in ("task", "classes", "precision", "threads", "form")},
        "model": profile["model"]["name"],
        "version": setting["model"]["version"],
        **{name: profile["model"][name] for name in ("title", "family")},
        "measured": str(profile["measured"]),
        "own_batch": setting["batch"],
        "swept": bool(steps),
    }
    return [{**shared, "batch": batch, "milliseconds": time} for batch, time in times.items() if time is not None]
