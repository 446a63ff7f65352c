"""Tables of what networks cost beside their relative speed: latency, best batch and memory; parameters and MACs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records.profiles import load_profiles
from bench.report.notes import in_a_line
from bench.report.speeds import SHARED, form_text, sheet, significant, speed_tables, threads_text

LATENCY = (
    "ms of one image: quantiles of single passes of inference over a batch of 1, of at least 30. images/s: of the "
    "batch, among 1, 2, 4, ..., that no twice as large one gained more than 2 % on, each timed by turns with the one "
    "before; > where the time, + where the memory was over before that."
)
MEMORY = (
    "MiB: the peak of a pass over one batch ({batch}) beyond what is held before it (weights, batch, libraries): "
    "activations, working memory and, in a training step, gradients and AdamW's state; {method}, in a process that "
    "holds the network alone. Weights: the safetensors file."
)
METHODS = {
    "resident memory": "by the process's peak of resident memory",
    "resident memory, never set back": "by the process's peak of resident memory, which includes its start",
    "CUDA allocator": "by the CUDA allocator's peak",
}
ENDS = {"time": ">", "memory": "+"}
COUNTED = (
    "GMACs: multiply-accumulates of convolutions and matrix products, attention's too, by torch's FlopCounterMode on "
    "the meta device. fvcore and ptflops (aten backend): all that they count, attention unfused. Spread: the larger "
    "difference of the two from it; left: of convolutions and products alone, without what they count beside (in "
    "millions)."
)
SKIPPED = "Skipped: operators that a counter has no formula for; all: all three."
ON_CPU = "c does not run on the meta device: counted on the CPU, attention unfused."
FLAGGED = (
    "! counters differ by more than 2 % that nothing explains, one failed, or all leave out an operator that may "
    "multiply."
)


def stored_profiles(results: str | Path) -> tuple[list[Sheet], tuple[str, ...]]:
    """All tables of a results folder's profiles, and what was left out. Raises UserError where there are none."""
    profiles = load_profiles(results)
    notes = profiles.attrs["notes"]
    if profiles.empty:
        raise UserError(
            f"No profiles in {str(results)!r}. Run `medbench profile --models NAMES` first.{in_a_line(notes)}"
        )
    return profile_tables(profiles), notes


def profile_tables(profiles: pd.DataFrame) -> list[Sheet]:
    """All that profiles say: speed beside the reference, then latency, best batch and memory, then the counts."""
    return [*speed_tables(profiles), *use_tables(profiles), *complexity_tables(profiles)]


def use_tables(profiles: pd.DataFrame) -> list[Sheet]:
    """Latency, best batch and memory of profiles, a table for each that `speed_tables` makes; none without figures."""
    columns = ("latency_p50", "best_batch", "inference_bytes", "training_bytes")
    if not set(columns) <= {*profiles} or profiles[[*columns]].isna().all(axis=None):
        return []
    shown = profiles[profiles["ratio"].notna() & profiles[[*columns]].notna().any(axis=1)]
    shared = [name for name in SHARED if not name.startswith("reference")]
    return [_use_table(group) for _, group in shown.groupby(shared, sort=False, dropna=False)]


def _use_table(rows: pd.DataFrame) -> Sheet:
    first = rows.iloc[0]
    frame = pd.DataFrame([_use(row) for row in rows.to_dict("records")])
    caption = (
        f"Latency, throughput and memory, {first['task']}, {first['input'].partition('x')[2]}, {first['classes']:.0f} "
        f"classes, {first['precision']}, {threads_text(first)}. {first['device']}, torch {first['torch']}."
    )
    methods = [METHODS.get(method, method) for method in rows["memory_method"].dropna().unique()]
    memory = MEMORY.format(batch=first["input"], method=" or ".join(methods)) if methods else ""
    timed = LATENCY if rows["latency_p50"].notna().any() else ""
    return sheet(caption, (timed, memory), frame)


def _use(row: dict[Any, Any]) -> dict[str, str]:
    best = f"{ENDS.get(row['sweep_ended'], '')}{_digits(row['best_images_per_second'])}"
    return {
        "Model": row["title"],
        "Form": form_text(row),
        **{f"ms, p{q}": _digits(row[f"latency_p{q}"]) for q in (50, 90, 99)},
        "images/s": "" if pd.isna(row["best_batch"]) else best,
        "at batch": "" if pd.isna(row["best_batch"]) else f"{row['best_batch']:.0f}",
        **{f"MiB, {name}": _mib(row[f"{name}_bytes"]) for name in ("inference", "training", "weights")},
    }


def _digits(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else significant(value)


def _mib(value: float | None) -> str:
    return "" if value is None or pd.isna(value) else significant(value / 2**20)


def complexity_tables(rows: pd.DataFrame) -> list[Sheet]:
    """Parameters and MACs by three counters, a table per task, input and number of classes.

    Args:
        rows: of `bench.cost.speed.count`, or profiles; a network and form is shown once, those without counters not.
    """
    if "fvcore_macs" not in rows:
        return []
    counted = rows[rows["agrees"].notna()].assign(image=rows["input"].str.split("x", n=1).str[1])
    once = counted.drop_duplicates(["model", "form", "task", "image", "classes"])
    groups = once.groupby(["task", "image", "classes"], sort=False)
    return [_complexity_table(group) for _, group in groups]


def _complexity_table(rows: pd.DataFrame) -> Sheet:
    first = rows.iloc[0]
    frame = pd.DataFrame([_complexity(row) for row in rows.to_dict("records")])
    notes = (
        COUNTED,
        SKIPPED,
        ON_CPU if (rows["counted_on"] == "cpu").any() else "",
        FLAGGED if not rows["agrees"].astype(bool).all() else "",
    )
    errors = [
        f"{row['title']}: {row['counter_errors']}" for row in rows.to_dict("records") if pd.notna(row["counter_errors"])
    ]
    errors += [
        f"{row['title']}: its MACs are without {row['uncounted']}, for which no counter has a formula."
        for row in rows.to_dict("records")
        if pd.notna(row.get("uncounted"))
    ]
    caption = f"Parameters and MACs, {first['task']}, one image of {first['image']}, {first['classes']:.0f} classes."
    return sheet(caption, (*notes, *errors), frame)


def _complexity(row: dict[Any, Any]) -> dict[str, str]:
    flag = "" if row["agrees"] else " !"
    macs = f"GMACs, 1x{row['image']}"
    return {
        "Model": row["title"],
        "Form": row["form"],
        "Params (M)": f"{row['params'] / 1e6:.2f}",
        "trainable": f"{row['trainable'] / 1e6:.2f}",
        macs: f"{row['macs'] / 1e9:.3f}{'c' if row['counted_on'] == 'cpu' else ''}",
        "fvcore": _giga(row["fvcore_macs"]),
        "ptflops": _giga(row["ptflops_macs"]),
        "Spread": f"{100 * row['spread']:.1f} %",
        "left": f"{100 * row['unexplained']:.1f} %{flag}",
        "Counted beside": row["beside"] or "",
        "Skipped": row["skipped"] or "",
    }


def _giga(value: float | None) -> str:
    return "failed" if value is None or pd.isna(value) else f"{value / 1e9:.3f}"
