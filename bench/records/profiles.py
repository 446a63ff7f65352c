"""Profiles on disk: one JSON file per measurement, `<results>/profiles/<machine>/<key>.json`.

The key is 12 hex digits of what was timed and how (`Setting`); measuring the same again replaces the file. In it:

    setting        everything that the key hashes: model and reference (name, config, version), task, input, classes,
                   batch, threads, device, precision, form, work, compiled, torch's version, allocator
    model          canonical name, title, family; `reference` the same
    figures        ratio, its interval, flag, rounds, and images/s and ms per batch of both (`bench.cost.rounds`)
    samples        raw: seconds of one pass, a value per round, for both, which came first, and which process it was
    latency        raw: seconds of single passes of inference over one image
    sweep          raw: batches of 1, 2, 4, ... (`steps`: batch, seconds of one pass, gain) and why they `ended`
    cost           params, trainable params, MACs of one image, `counters`: what fvcore and ptflops count
    change         of a faster variant (fused, autocast, compiled): largest difference of any logit from those of the
                   training form in fp32, eager, on the same device; the largest of those (`output_scale`); images
    metric         of a faster variant: scores of trained weights in the training form and in the variant, or `error`
                   (`bench.cost.variants`); null where there are no such weights
    memory         `inference`, `training`: a peak in a process of its own (`bench.cost.memory`), or its `error`
    peak_bytes     on CUDA: most memory that the candidate alone had allocated; null on the CPU
    load           load averages (1, 5, 15 minutes) at start and end; null where the system has none
    environment    machine, versions, commit, threads, device; `backends` on CUDA
    measured       when, UTC

Profiles from before there were `latency`, `sweep`, `change`, `metric`, `memory` and `counters` are read with blanks; a
fused form's change stands in `fused` there. Their rounds are of one process, which gave freed memory back to the system
at the C library's discretion (`allocator` default): what is timed there beside the network is page faults.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records.damage import Damaged, check_schema, read_json
from bench.records.keys import digest
from bench.records.store import write_json

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
OTHERS = {"fvcore", "ptflops"}
QUANTILES = (50, 90, 99)  # of the latency, in %
SPEEDS = ("images_per_second", "ms_per_batch", "ms_p25", "ms_p75", "ms_best")  # of each network in `figures`
FIELDS = {
    *("schema", "key", "setting", "model", "reference", "figures", "samples", "cost", "peak_bytes", "load"),
    *("environment", "measured"),
}


@dataclass(frozen=True)
class Setting:
    """What is timed, and how, resolved in full.

    Attributes:
        model, reference: {"name", "config", "version"}, the config with every field. The reference is always in its
            training form and never compiled.
        channels, image_size, classes, batch: the input is (batch, channels, image_size, image_size).
        threads: torch's intra-op threads. device: `cpu` or `cuda`.
        precision: `fp32`, or autocast to `bf16` or `fp16`.
        form: `training`, as it was trained, or `fused`, as `bench.models.fuse.fuse` returns it.
        work: `inference`, or `training-step`: forward, cross-entropy, backward, AdamW.
        torch: the installed version.
        allocator: `kept`: freed memory stays with the process (glibc), so that no pass faults pages in anew; `default`:
            as the C library does it.
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
    allocator: str = "default"

    @property
    def key(self) -> str:
        """12 hex digits of the sha256 of the setting's canonical JSON; older profiles have no allocator in it."""
        return digest({k: v for k, v in asdict(self).items() if (k, v) != ("allocator", "default")})


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
    """One stored profile. Raises Damaged when the file cannot be read, or is none of this schema."""
    profile = read_json(path)
    check_schema(path, profile, "profile", SCHEMA, FIELDS)
    return profile


def load_profiles(results: str | Path = "results") -> pd.DataFrame:
    """All stored profiles, of all machines, a row each with the columns of `profile_row`; of copies the newest.

    A damaged one is left out, and named in `.attrs["notes"]`.
    """
    import pandas as pd

    newest: dict[tuple[str, str], dict[str, Any]] = {}
    notes = []
    for path in sorted((Path(results) / "profiles").rglob("*.json")):
        try:
            row = _row_of(path)
        except Damaged as error:
            notes.append(f"Left out: {error}")
        else:
            identity = (row["machine"], row["key"])
            newest[identity] = max(newest.get(identity, row), row, key=lambda copy: str(copy["measured"]))
    frame = pd.DataFrame(list(newest.values()))
    if newest:
        frame = frame.sort_values(["machine", "model", "form"], kind="stable", ignore_index=True)
    frame.attrs["notes"] = tuple(notes)
    return frame


def _row_of(path: Path) -> dict[str, Any]:
    profile = read_profile(path)
    try:
        row = profile_row(profile)
        for name in ("ratio", "low", "high", "params", "macs"):
            row[name] = None if row[name] is None else row[name] + 0  # a text raises
        return row
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise Damaged(path, f"is no profile of schema {SCHEMA} ({line}): measuring again replaces it.") from None


def profile_row(profile: dict[str, Any]) -> dict[str, Any]:
    """A profile as one flat row; speeds in images/s and ms, memory in bytes, MACs of one image."""
    setting, figures, environment = profile["setting"], profile["figures"], profile["environment"]
    load, change = profile["load"], profile.get("change") or profile.get("fused") or {}
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
        "allocator": setting.get("allocator", "default"),
        "device": environment["gpu"] or environment["cpu"],
        "cores": environment["logical_cores"],
        "machine": machine_name(environment),
        "torch": environment["versions"]["torch"],
        "commit": environment["commit"],
        **{name: figures[name] for name in ("ratio", "low", "high", "half_width", "flagged", "rounds", "seconds")},
        "processes": figures.get("processes", 1),
        **{name: figures["candidate"][name] for name in SPEEDS},
        "reference_images_per_second": figures["reference"]["images_per_second"],
        **_latency(profile.get("latency")),
        **_best_batch(profile.get("sweep")),
        **cost_row(profile["cost"]),
        **_memory(profile.get("memory")),
        "peak_bytes": profile["peak_bytes"],
        "difference": change.get("largest_difference"),
        "output_scale": change.get("output_scale"),
        "metric_sought": "metric" in profile,
        **_metric(profile.get("metric"), setting["task"]),
        "load_start": load["start"][0] if load["start"] else None,
        "load_end": load["end"][0] if load["end"] else None,
        "measured": profile["measured"],
        "error": None,
    }


def cost_row(cost: dict[str, Any]) -> dict[str, Any]:
    """A cost as flat columns: the figure, what the two other counters say, and how far they are from it.

    `fvcore_macs` and `ptflops_macs` are all that each counts; `beside` says what of it is no convolution or product,
    `skipped` what each has no formula for, `uncounted` what of that may multiply and is in nobody's count. Blank in
    profiles from before the counters.
    """
    counters = cost.get("counters") or {}
    totals = {name: counters[name]["macs"] + sum(counters[name]["beside"].values()) for name in OTHERS & {*counters}}
    return {
        "params": cost["params"],
        "trainable": cost.get("trainable"),
        "macs": cost["macs"],
        "attention_macs": cost.get("attention_macs"),
        "counted_on": cost.get("counted_on"),
        **{f"{name}_macs": totals.get(name) for name in sorted(OTHERS)},
        **{name: counters.get(name) for name in ("spread", "unexplained", "agrees")},
        "beside": beside_text(counters) if counters else None,
        "skipped": skipped_text(counters) if counters else None,
        "uncounted": ", ".join(cost.get("uncounted", {})) or None,
        "counter_errors": "; ".join(f"{name}: {line}" for name, line in counters.get("failed", {}).items()) or None,
    }


def beside_text(counters: dict[str, Any]) -> str:
    """What the other counters add to convolutions and products, in millions: `fvcore: batch_norm 12.2`."""
    return "; ".join(
        f"{name}: " + ", ".join(f"{op} {count / 1e6:.2f}" for op, count in counters[name]["beside"].items())
        for name in sorted(OTHERS & {*counters})
        if counters[name]["beside"]
    )


def skipped_text(counters: dict[str, Any]) -> str:
    """Operators that counters have no formula for, by who skips them: `all: gelu, softmax; torch, ptflops: relu`."""
    skips = {"torch": counters["skipped"]} | {name: counters[name]["skipped"] for name in sorted(OTHERS & {*counters})}
    by_whom: dict[str, list[str]] = {}
    for operator in dict.fromkeys(op for skipped in skips.values() for op in skipped):
        who = [name for name, skipped in skips.items() if operator in skipped]
        by_whom.setdefault("all" if len(who) == 3 else ", ".join(who), []).append(operator)
    return "; ".join(f"{who}: {', '.join(operators)}" for who, operators in by_whom.items())


def _latency(latency: dict[str, Any] | None) -> dict[str, Any]:
    """Quantiles of the passes over one image, in ms, and how many passes they are of."""
    import numpy as np

    seconds = latency["seconds"] if latency else []
    quantiles = {f"latency_p{q}": 1e3 * float(np.quantile(seconds, q / 100)) if seconds else None for q in QUANTILES}
    return {**quantiles, "latency_passes": len(seconds) or None}


def _best_batch(sweep: dict[str, Any] | None) -> dict[str, Any]:
    """The batch that no larger one gained on, its images a second (by the median round), and why the sweep ended."""
    if not sweep or not sweep["steps"]:
        return dict.fromkeys(("best_batch", "best_images_per_second", "sweep_ended"), None)
    steps, ended = sweep["steps"], sweep["ended"]
    best = steps[-2] if ended == "peak" else steps[-1]
    speed = best["batch"] / median(best["seconds"])
    return {"best_batch": best["batch"], "best_images_per_second": speed, "sweep_ended": ended}


def _metric(metric: dict[str, Any] | None, task: str) -> dict[str, Any]:
    """The task's first metric of trained weights in the training form and what the variant adds, fractions.

    Means over seeds, the largest change of any seed beside them, and what the weights are of.
    """
    names = ("metric", "metric_plain", "metric_change", "metric_largest", "metric_of", "metric_error")
    blank: dict[str, Any] = dict.fromkeys(names)
    if metric is None or "error" in metric:
        return blank | {"metric_error": metric and metric["error"]}
    name = {"segmentation": "dice_strict", "classification": "accuracy"}[task]
    scores = [(cell["plain"][name], cell["variant"][name]) for cell in metric["cells"]]
    if not scores or None in [score for pair in scores for score in pair]:
        return blank | {"metric_error": f"{name} is not defined on the {metric['part']} part of {metric['dataset']}."}
    plain, changes = [before for before, _ in scores], [after - before for before, after in scores]
    seeds = f"{len(plain)} seed{'s' if len(plain) > 1 else ''}"
    return blank | {
        "metric": name.removesuffix("_strict"),
        "metric_plain": sum(plain) / len(plain),
        "metric_change": sum(changes) / len(changes),
        "metric_largest": max(map(abs, changes)),
        "metric_of": f"{metric['dataset']}, {metric['split']}, {metric['preset']}, {seeds}",
    }


def _memory(memory: dict[str, Any] | None) -> dict[str, Any]:
    """Peaks of memory above what was held before, and the size of the weights' file, in bytes."""
    inference, training = ((memory or {}).get(work) or {} for work in ("inference", "training"))
    return {
        "inference_bytes": inference.get("bytes"),
        "training_bytes": training.get("bytes"),
        "weights_bytes": inference.get("weights"),
        "memory_method": inference.get("method"),
    }
