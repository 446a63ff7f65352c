"""What training leaves: its figures, the headlines of each set of weights, the weights' files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from bench.records import store
from bench.runs.averaging import State
from bench.runs.evaluate import headline
from bench.runs.train import Progress
from bench.zoo.complexity import inference_parameters
from bench.zoo.costs import cache_file


def training_figures(progress: Progress, images: int, batch_size: int) -> dict[str, Any]:
    """What a record says of training on so many images, or slices, in batches of that size.

    What is rare is there where it happened alone: batches that fewer images than their size made, batches that passed
    in pieces, and a run that was gone on with elsewhere, or with other pieces.
    """
    figures: dict[str, Any] = {
        "steps": progress.step,
        "best_val_step": progress.best.step,
        "val_score": _finite(progress.best.score),
        "final_loss": progress.history[-1]["train_loss"] if progress.history else None,
        "seconds": round(progress.seconds, 1),
    }
    if images < batch_size:
        figures["images_of_a_step"] = images
    if (pieces := max((stretch["pieces"] for stretch in progress.stretches), default=1)) > 1:
        figures["pieces_of_a_batch"] = pieces
    if any(stretch["from_step"] for stretch in progress.stretches):
        figures["stretches"] = progress.stretches
    if progress.average:
        best = progress.average_best
        figures["average"] = {"best_val_step": best.step, "val_score": _finite(best.score)}
    return figures


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None


def headlines(rows: list[dict[str, Any]], part: str) -> dict[str, Any]:
    """The figures of a part under each set of weights, from the rows of cases.csv."""
    of_part = [row for row in rows if row["part"] == part]
    sets = dict.fromkeys(row["weights"] for row in of_part)
    return {weights: headline([row for row in of_part if row["weights"] == weights]) for weights in sets}


def check_size(model: nn.Module, cost: dict[str, Any]) -> None:
    """No record holds another network's cost: one that was counted before is held against the network that is trained.

    Raises:
        ValueError: they differ, as after an update of what a third party's network imports.
    """
    params = sum(parameter.numel() for parameter in inference_parameters(model))
    if params != cost["params"]:
        raise ValueError(
            f"the network has {params:,} parameters, but its cost was counted with {cost['params']:,}: delete "
            f"{cache_file()}, and give the same command again"
        )


def save_weights(path: Path, state: State) -> None:
    """Writes a state dict as safetensors, renamed into place."""
    store.write_bytes(path, save({name: tensor.contiguous().clone() for name, tensor in state.items()}))
