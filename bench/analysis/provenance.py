"""Where each row of a table comes from: the command that runs it again, configs, keys, versions and machine."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pandas as pd

from bench.analysis.comparison import Table
from bench.analysis.sheet import Sheet
from bench.records.keys import dataset_of

NOTE = (
    "The command runs the cells of a row again, or finds them finished, with the images prepared as they were (their "
    "fingerprint is in the key). A key is the hash of all that decides a result."
)


def provenance_sheet(table: Table) -> Sheet:
    """A row for each model: how to run it again, and what it was run with."""
    rows = []
    for title in table.frame["Model"]:
        cells = table.cells[table.cells["shown_as"] == title]
        rows.append({"Model": str(title), "Command": command(cells), **_made(cells)})
    frame = pd.DataFrame(rows)
    return Sheet("", frame, (NOTE,), left=tuple(frame.columns[1:]))


def command(cells: pd.DataFrame) -> str:
    """`medbench run` of the cells of one row."""
    first = cells.iloc[0]
    model = re.sub(r" v\d+$", "", str(first["model"]))
    words = run_words(model, str(first["dataset"]), str(first["preset"]))
    split, _, folds = str(first["split"]).partition("/")
    words += ["--split", split, *(["--folds", folds] if folds else [])]
    words += ["--seeds", ",".join(map(str, sorted(set(cells["seed"])))) + ","]
    words += ["--threads", str(first["threads"])]
    if pd.notna(first.get("train_patients")):
        words += ["--train-patients", f"{first['train_patients']:.0f}"]
    tuned = first.get("tuned")
    if isinstance(tuned, dict) and "trials" in tuned:
        words += ["--tune", str(tuned["trials"])]
    words += ["--pretrained"] if pd.notna(first.get("init")) else []
    words += ["--data", "phantom"] if first["source"] == "phantom" else []
    return f"medbench run {shlex.join(words)}"


def run_words(model: str, dataset: str, preset: str) -> list[str]:
    """The arguments of `medbench run` for a model, and a data set and preset as tables name them."""
    name, _, changes = preset.partition(" with ")
    changed = [word for change in filter(None, changes.split(", ")) for word in ("--set", change)]
    return ["--models", model, "--dataset", dataset_of(dataset), "--preset", name, *changed]


def _made(cells: pd.DataFrame) -> dict[str, str]:
    """What a row was run with; what differs between its cells is listed."""
    config = [json.dumps(config, sort_keys=True) for config in cells["config"]]
    versions = [", ".join(f"{name} {version}" for name, version in found.items()) for found in cells["versions"]]
    machines = [f"{cpu}, {device}" for cpu, device in zip(cells["cpu"], cells["device"], strict=True)]
    commits = [f"{str(commit)[:7]}{' (changed)' if dirty is True else ''}" for commit, dirty in _commits(cells)]
    seconds = cells["seconds"].astype(float).dropna()
    return {
        "Keys, by seed": ", ".join(f"{seed}: {key}" for seed, key in zip(cells["seed"], cells["key"], strict=True)),
        "Version": _distinct([str(version) for version in cells["version"]]),
        "Config": _distinct(config),
        "Data": _distinct([str(fingerprint) for fingerprint in cells.get("fingerprint", pd.Series(dtype=str))]),
        "Machine": _distinct(machines),
        "Threads": _distinct([str(threads) for threads in cells["threads"]]),
        "Commit": _distinct(commits),
        "Libraries": _distinct(versions),
        "Seconds a run": f"{seconds.mean():.0f}" if len(seconds) else "",
    }


def _commits(cells: pd.DataFrame) -> list[tuple[Any, Any]]:
    dirty = cells["dirty"] if "dirty" in cells else [None] * len(cells)
    return list(zip(cells["commit"], dirty, strict=True))


def _distinct(values: list[str]) -> str:
    return "; ".join(dict.fromkeys(values))
