"""Predictions case by case, slices back to volumes, and their scores: rows of case x class x metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.datasets.loading import label_map, network_input
from bench.datasets.prepared import Prepared
from bench.metrics.segmentation import dice, score_case
from bench.plan import Protocol

BATCH = 16  # slices a forward pass; no result depends on it but by rounding


@torch.inference_mode()
def predict_volume(model: nn.Module, image: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Label map (D, H, W) uint8 of a volume (D, H, W), slice by slice, in the file's own grid.

    The model is put into eval mode, and left in the mode it was in.
    """
    mode = model.training
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    slices = network_input(image, protocol).contiguous(memory_format=torch.channels_last)
    shape = (image.shape[1], image.shape[2])
    maps = [label_map(model(batch.to(device)), shape, protocol) for batch in slices.split(BATCH)]
    model.train(mode)
    return np.concatenate(maps)


def score_cases(model: nn.Module, data: Prepared, cases: Iterable[int], protocol: Protocol) -> list[dict[str, Any]]:
    """A row for each case and foreground class, with the columns of cases.csv from `case` on."""
    rows = []
    for i in cases:
        case = data.cases[i]
        prediction = predict_volume(model, data.image(i), protocol)
        scores = score_case(prediction, np.asarray(data.label(i)), data.spec.classes, case.spacing)
        rows += [{"case": case.case, "patient": case.patient, **score} for score in scores]
    return rows


def validation_dice(model: nn.Module, data: Prepared, cases: Iterable[int], protocol: Protocol) -> float:
    """Mean foreground Dice over cases and classes under `strict`: both empty = left out, one empty = 0."""
    values = []
    for i in cases:
        prediction, reference = predict_volume(model, data.image(i), protocol), np.asarray(data.label(i))
        values += [dice(prediction == k, reference == k) for k in range(1, len(data.spec.classes))]
    return float(np.nanmean(values))


def headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures from its rows of one part: mean over cases within each class, then over classes.

    The order of the two means is the literature's; under `strict` a class's mean leaves out the cases without it.
    Missed and invented structures are counted.
    """
    out: dict[str, Any] = {}
    for metric in [k for k in rows[0] if k.startswith(("dice", "hd95"))]:
        by_class: dict[str, list[float]] = {}
        for row in rows:
            if row[metric] is not None:
                by_class.setdefault(row["class"], []).append(row[metric])
        means = [sum(values) / len(values) for values in by_class.values()]
        out[metric] = sum(means) / len(means) if means else None
    for outcome in ("missed", "invented"):
        out[outcome] = sum(row["outcome"] == outcome for row in rows)
    out["cases"] = len({row["case"] for row in rows})
    return out
