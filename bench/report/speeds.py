"""Tables of speed, from profiles: one per machine, input, arithmetic, kind of work and reference, never mixed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.analysis.sheet import Sheet

LEFT = ("Form", "Counted beside", "Skipped")  # columns of words beside the models
DETAILS = ("Rounds", "Metric", "GMACs", "trainable", "Params (M)")  # what a narrow terminal leaves out, in this order
# What all rows of one table share.
SHARED = [
    *("machine", "device", "torch", "task", "work", "input", "classes", "precision", "threads", "allocator"),
    *("processes", "reference", "reference_version", "step", "reference_step"),
]
RATIO = (
    "x {reference}: images a second, times the reference's; the median over rounds that time both by turns in one "
    "process, the order swapped each round{interval}. images/s and ms: medians of this measurement; on a shared "
    "machine they drift by tens of percent from one to the next, the ratio by a few."
)
ONE, SEVERAL = (
    ", with its 95 % bootstrap interval over rounds (another process would move it by more)",
    "; of {count} such processes the median, with its 95 % bootstrap interval over processes and rounds",
)
KEPT = "Freed memory is kept by the process, so that no pass faults pages in anew."
FLAGGED = "* the interval is still wider than 2 % to each side: the time was over, or the processes differ."
FUSED_FORM = (
    "fused: norms and parallel branches folded into convolutions, for the proposed model alone; other networks' own "
    "re-parameterisations (RepViT's, EfficientViT's) are not used."
)
FUSED = (
    f"{FUSED_FORM} Difference: the largest of any logit from the training form's, and the largest logit, in float32 on "
    "the CPU."
)
CHANGE = (
    "Difference: what a faster variant (fused, autocast, compiled) makes of the outputs: the largest of any logit from "
    "that of the training form in fp32, uncompiled, on the same device, and the largest of those logits."
)
METRIC = (
    "Metric: of trained weights (data set, split, preset, seeds), on the validation part: the mean over seeds in the "
    "training form in fp32, uncompiled, what the variant adds to it, in brackets the largest change of any one seed; %."
)
NO_METRIC = (
    "No change of a metric is shown: no finished run of these networks at this input, with its weights, is in the "
    "results folder (`medbench run` leaves them)."
)
METRICS = {"dice": "Dice", "accuracy": "accuracy"}
STEP = (
    "A training step is forward, cross-entropy, backward and AdamW on one batch; loading and augmentation are left out."
)
CELLS_STEP = (
    "A training step is a cell's on one batch: forward, the task's loss, backward, clipping and AdamW; loading, "
    "augmentation, the average of the weights and lower heads are left out."
)
TIME = "Time: seconds of a step, as a fraction of those of {reference}, with the interval."
PLAIN = "plain: the same network, trained by torch's own gradients and unfused AdamW."
COMPILED = "compiled: the candidate, not the reference, through torch.compile."


def sheet(caption: str, notes: Iterable[str], frame: pd.DataFrame) -> Sheet:
    """A table of measured figures, without the notes that are blank."""
    columns = list(frame.columns)
    left, details = ([name for name in names if name in columns] for names in (LEFT, DETAILS))
    return Sheet(caption, frame, tuple(filter(None, notes)), left=tuple(left), details=tuple(details))


def speed_tables(profiles: pd.DataFrame) -> list[Sheet]:
    """Tables of profiles (`bench.records.profiles.load_profiles`, `bench.profile`); failed candidates have no row."""
    if "ratio" not in profiles or profiles["ratio"].isna().all():
        return []
    measured = profiles[profiles["ratio"].notna()]
    return [_table(group) for _, group in measured.groupby(SHARED, sort=False, dropna=False)]


def _table(rows: pd.DataFrame) -> Sheet:
    first = rows.iloc[0]
    frame = pd.DataFrame([_texts(row) for row in rows.to_dict("records")]).fillna("")
    compiled, is_variant = rows["compiled"].astype(bool), rows["difference"].notna()
    not_fused_alone = compiled | (rows["precision"] != "fp32") | rows["peak_bytes"].notna()  # the last: on CUDA
    varied = (not_fused_alone & is_variant).any()
    interval = SEVERAL.format(count=f"{first['processes']:.0f}") if first["processes"] > 1 else ONE
    scored, failed = rows["metric"].notna().any(), rows["metric_error"].dropna().unique()
    notes = (
        RATIO.format(reference=first["reference_title"], interval=interval),
        KEPT if first["allocator"] == "kept" and rows["peak_bytes"].isna().all() else "",
        FLAGGED if rows["flagged"].astype(bool).any() else "",
        (FUSED_FORM if varied else FUSED) if "fused" in set(rows["form"]) else "",
        CHANGE if varied else "",
        METRIC if scored else "",
        NO_METRIC if is_variant.any() and rows["metric_sought"].any() and not scored and not len(failed) else "",
        *(f"The change of a metric could not be measured: {line}" for line in failed),
        (STEP if first["step"] == "bare" else CELLS_STEP) if first["work"] == "training-step" else "",
        TIME.format(reference=first["reference_title"]) if first["work"] == "training-step" else "",
        PLAIN if first["reference_step"] == "plain" else "",
        COMPILED if compiled.any() else "",
    )
    return sheet(_caption(rows), notes, frame)


def _texts(row: dict[Any, Any]) -> dict[str, str]:
    flag = "*" if row["flagged"] else ""
    texts = {
        "Model": row["title"],
        "Form": form_text(row),
        f"x {row['reference_title']}": f"{row['ratio']:.2f}{flag}",
        "95 % interval": f"{row['low']:.2f} to {row['high']:.2f}",
        "images/s": significant(row["images_per_second"]),
        "ms per batch": significant(row["ms_per_batch"]),
        "Params (M)": f"{row['params'] / 1e6:.2f}",
        "GMACs": f"{row['macs'] / 1e9:.3f}",
        "Rounds": f"{row['rounds']:.0f}",
    }
    if row["work"] == "training-step":
        texts["Time"] = f"{1 / row['ratio']:.2f} ({1 / row['high']:.2f} to {1 / row['low']:.2f})"
    if not pd.isna(row["peak_bytes"]):
        texts["Peak MiB"] = f"{row['peak_bytes'] / 2**20:.0f}"
    if not pd.isna(row["difference"]):
        texts["Difference"] = f"{row['difference']:.1e} of {row['output_scale']:.2g}"
    if not pd.isna(row["metric"]):
        texts["Metric"] = metric_text(row)
    return texts


def metric_text(row: dict[Any, Any]) -> str:
    """`Dice 77.95 +0.01 (0.02), acdc, ssl4mis, quick, 3 seeds`: plain, change, largest change, in percent."""
    plain, change, largest = (100 * row[f"metric_{part}"] for part in ("plain", "change", "largest"))
    return f"{METRICS[row['metric']]} {plain:.2f} {change:+.2f} ({largest:.2f}), {row['metric_of']}"


def form_text(row: dict[Any, Any]) -> str:
    """`training`, `fused`, either `, compiled`."""
    return row["form"] + (", compiled" if row["compiled"] else "")


def threads_text(row: pd.Series[Any]) -> str:
    """`1 thread`, `2 threads`."""
    return f"{row['threads']:.0f} thread{'s' if row['threads'] > 1 else ''}"


def significant(value: float) -> str:
    """Three digits that mean something: 1234, 123, 12.3, 1.23."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _caption(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    loads = pd.concat([rows["load_start"], rows["load_end"]]).dropna()
    load = f", load average {loads.min():.1f} to {loads.max():.1f} on {first['cores']:.0f} cores" if len(loads) else ""
    work = "training steps" if first["work"] == "training-step" else first["work"]
    return (
        f"Speed of {work}, {first['task']}, batches of {first['input']}, {first['classes']:.0f} classes, "
        f"{first['precision']}, {threads_text(first)}. {first['device']}, torch {first['torch']}{load}."
    )
