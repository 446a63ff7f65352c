"""Milliseconds of a pass by batch, of all stored profiles: of those that they swept, and of the one that was timed."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.records.damage import Damaged
from bench.records.profiles import machine_name, read_profile

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    *("machine", "device", "task", "image", "classes", "precision", "threads", "title", "family", "form"),
    *("model", "batch", "milliseconds"),
]


def load_sweeps(results: str | Path) -> pd.DataFrame:
    """A row for each batch of each uncompiled profile: the median round's milliseconds of a pass, the columns above.

    A profile that cannot be read is left out; `bench.records.profiles.load_profiles` names it.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for path in sorted((Path(results) / "profiles").rglob("*.json")):
        try:
            rows += _rows(read_profile(path))
        except (Damaged, KeyError, TypeError, ValueError, AttributeError):
            continue
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(profile: dict[str, Any]) -> list[dict[str, Any]]:
    setting, environment = profile["setting"], profile["environment"]
    steps = (profile.get("sweep") or {}).get("steps") or []
    times = {step["batch"]: 1e3 * median(step["seconds"]) for step in steps}
    times.setdefault(setting["batch"], profile["figures"]["candidate"]["ms_per_batch"])
    if setting["compiled"] or setting["work"] != "inference":
        return []
    shared = {
        "machine": machine_name(environment),
        "device": environment["gpu"] or environment["cpu"],
        "image": f"{setting['channels']}x{setting['image_size']}x{setting['image_size']}",
        **{name: setting[name] for name in ("task", "classes", "precision", "threads", "form")},
        "model": profile["model"]["name"],
        **{name: profile["model"][name] for name in ("title", "family")},
    }
    return [{**shared, "batch": batch, "milliseconds": time} for batch, time in times.items() if time is not None]
