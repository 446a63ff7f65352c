"""Speed and memory of networks: milliseconds of a pass against the batch, and peaks of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bench.analysis.aside import name_versions, without_arms
from bench.report.drawing.style import (
    BLUE,
    GREY,
    ORANGE,
    legend_below,
    legend_height,
    log_axis,
    looks,
    named,
    new_figure,
    row_edges,
    set_rows,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the rows of one figure share.
SWEPT = ["machine", "device", "torch", "allocator", "task", "image", "classes", "precision", "threads"]
MEBI = 2**20


def _where(first: pd.Series) -> str:
    threads = f"{first['threads']:.0f} thread{'s' if first['threads'] > 1 else ''}"
    return (
        f"{first['task']}, {first['image']}, {first['classes']:.0f} classes, {first['precision']}, {first['device']}, "
        f"{threads}, torch {first['torch']}, allocator {first['allocator']}"
    )


@styled
def latency_by_batch(sweeps: pd.DataFrame) -> Figure:
    """Milliseconds of one image within a batch, against the batch, both axes logarithmic; a line for each version.

    Args:
        sweeps: rows of `bench.records.sweeps.load_sweeps` that share `SWEPT`.
    """
    sweeps = name_versions(sweeps.assign(comparison=""))
    form = np.where(sweeps["form"] == "training", "", ", " + sweeps["form"])
    sweeps = sweeps.assign(line=sweeps["model"] + form, shown=sweeps["title"] + form)
    order = sweeps.sort_values(["family", "shown"]).drop_duplicates("line")
    families = dict(zip(order["line"], order["family"], strict=True))
    labels = dict(zip(order["line"], order["shown"], strict=True))
    title = f"Inference against the batch: {_where(sweeps.iloc[0])}. ms of one image, medians of rounds"
    figure, axis = new_figure(2.6 + legend_height(list(labels.values())), title)
    styles = looks(families)
    for line in families:
        rows = sweeps[sweeps["line"] == line].sort_values("batch")
        axis.plot(rows["batch"], rows["milliseconds"] / rows["batch"], label=named(labels[line]), **styles[line])
    log_axis(axis, "y")
    axis.set_xscale("log", base=2)
    batches = sorted(set(sweeps["batch"]))
    axis.set_xticks(batches, [f"{batch:.0f}" for batch in batches])
    axis.minorticks_off()
    axis.grid()
    axis.set_xlabel("images in a batch")
    axis.set_ylabel("ms of one image")
    legend_below(figure, axis)
    return figure


def memory_rows(profiles: pd.DataFrame) -> pd.DataFrame:
    """The profiles whose memory was measured, of networks but arms, in their training form; with `image`.

    Of those that differ in nothing but the reference it is the newest.
    """
    if "inference_bytes" not in profiles:
        return pd.DataFrame(columns=[*SWEPT, "title", "inference_bytes", "training_bytes"])
    profiles, _ = without_arms(profiles, ())
    plain = (profiles["form"] == "training") & (profiles["work"] == "inference") & ~profiles["compiled"].astype(bool)
    known = profiles[plain & profiles["inference_bytes"].notna()]
    known = known.assign(image=known["input"].str.split("x", n=1).str[1])
    newest = known.sort_values("measured", ascending=False, kind="stable")
    return newest.drop_duplicates([*SWEPT, "batch", "model", "version"]).sort_index()


@styled
def memory(profiles: pd.DataFrame) -> Figure:
    """Peak of memory of inference and of a training step, a row for each network, the smallest on top.

    Args:
        profiles: rows of `memory_rows` that share `SWEPT` and the batch.
    """
    rows = name_versions(profiles.assign(comparison="")).sort_values("inference_bytes", kind="stable")
    title = f"Peak memory beyond weights and batch, batches of {rows['batch'].iloc[0]:.0f}: {_where(rows.iloc[0])}"
    names = [named(name) for name in rows["title"]]
    edges = row_edges(names)
    figure, axis = new_figure(0.75 + edges[-1], title)
    heights = set_rows(axis, names, edges)
    inference, training = (rows[f"{name}_bytes"].astype(float).to_numpy() / MEBI for name in ("inference", "training"))
    axis.hlines(heights, inference, training, color=GREY, linewidth=0.8)
    axis.plot(inference, heights, "o", color=BLUE, label="inference")
    axis.plot(training, heights, "s", color=ORANGE, label="training step")
    log_axis(axis)
    axis.grid()
    axis.set_xlabel("MiB")
    legend_below(figure, axis)
    return figure
