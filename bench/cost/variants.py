"""What a faster variant (fused, autocast, compiled) makes of a metric, where trained weights of the network exist.

Weights are those of finished cells of the same network at the profile's task, input and classes. The part scored is the
validation part: who takes a variant for its speed chooses by this figure, and the test part is there to choose nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from bench.cost.passes import AUTOCAST, formed, network, specialised
from bench.datasets.base import Prepared, Source
from bench.datasets.cache.prepared import open_prepared, resolve_root
from bench.datasets.splits.assignment import assign
from bench.errors import UserError
from bench.records import store
from bench.records.keys import digest
from bench.records.profiles import Setting
from bench.records.rows import task_of
from bench.runs.cell import Cell
from bench.runs.devices import memory_format
from bench.runs.division import split_of
from bench.runs.evaluate import headline, score_cases
from bench.zoo.registry import dataset_spec

METRICS = {"segmentation": ("dice_strict", "hd95_vox_strict"), "classification": ("accuracy", "balanced_accuracy")}
PART = "val"
SOURCES = ("real", "substitute", "phantom")  # which weights are taken first, where there are several data sets'


class Variant(nn.Module):
    """A network in a setting's form and arithmetic; the logits are float32."""

    def __init__(self, model: nn.Module, setting: Setting) -> None:
        super().__init__()
        form = formed(setting, model)
        self.network = specialised(form) if setting.compiled else form
        self.device_type, self.dtype = torch.device(setting.device).type, AUTOCAST.get(setting.precision)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.network(x).float()


def metric_change(
    setting: Setting, model: str, results: str | Path, data_root: str | Path | None
) -> dict[str, Any] | None:
    """Scores trained weights twice, in the training form (fp32, eager) and in the setting's, on the same device.

    Args:
        model: the candidate's canonical name.
        results: the folder whose cells are looked through.
        data_root: as `bench.run` takes it.

    Returns:
        dataset (as results call it), split, preset (with what is peculiar), part, cases, and `cells`: seed and key of
        each, with `plain` and `variant`, the metrics of `METRICS` as fractions (HD95 in voxels), None where one is not
        defined. None where no weights fit.

    Raises:
        UserError: the data set is not prepared, or is no longer what the weights were trained on; damaged weights.
    """
    torch.set_num_threads(setting.threads)
    chosen = trained_cells(setting, results)
    if not chosen:
        return None
    folder, first, preset = chosen[0]
    spec = dataset_spec(first.dataset, data_root)
    kind: Source = "phantom" if first.source["kind"] == "phantom" else "real"
    data = open_prepared(spec, resolve_root(data_root)[0], kind)
    if data.fingerprint != first.fingerprint:
        raise UserError(
            f"The prepared data in {data.folder} are not those that the weights in {folder} were trained on."
        )
    cases = assign(data.cases, split_of(first, data)).indices[PART]
    cells = []
    for folder, cell, _ in chosen:
        scores = _scores(setting, model, folder / "weights.safetensors", cell, data, cases)
        cells.append({"seed": cell.seed, "key": cell.key, **scores})
    return {
        "dataset": first.dataset_label,
        "split": first.split,
        "preset": ", ".join([preset, *_peculiar(first)]),
        "part": PART,
        "cases": len(cases),
        "cells": cells,
    }


def trained_cells(setting: Setting, results: str | Path) -> list[tuple[Path, Cell, str]]:
    """Folders, cells and presets of one comparison whose weights fit the setting's network, input and classes, by seed.

    Of a cross-validation those of one fold, whose validation cases are the same. Of several comparisons the one on real
    data; then the one trained as others are (no fold, no smaller training part, not tuned, not pretrained); then with
    most seeds, with most steps; then the first by data set and key.
    """
    comparisons: dict[tuple[Any, ...], list[tuple[Path, Cell, str]]] = {}
    wanted = (setting.task, setting.channels, setting.classes, setting.image_size, digest(setting.model))
    for folder, record in store.read_records(results).records:
        if record["status"] != "complete" or not (folder / "weights.safetensors").is_file():
            continue
        cell, dataset = Cell(**record["cell"]), record["dataset"]
        shape = (task_of(record), dataset.get("channels"), len(dataset["classes"]), cell.protocol["image_size"])
        if (*shape, digest(cell.model)) == wanted:
            rank = (SOURCES.index(cell.source["kind"]), len(_peculiar(cell)))
            group = (*rank, -cell.protocol["steps"], cell.dataset, cell.comparison, cell.parts)
            comparisons.setdefault(group, []).append((folder, cell, record["preset"]))
    best = min(comparisons, key=lambda group: (*group[:2], -len(comparisons[group]), *group[2:]), default=None)
    return sorted(comparisons.get(best or (), []), key=lambda entry: entry[1].seed)


def _peculiar(cell: Cell) -> list[str]:
    """Words for all that sets a cell's training apart from the plain run of its preset."""
    parts = {
        f"fold {cell.fold}": cell.fold,
        f"{cell.train_patients} training patients": cell.train_patients,
        "tuned": cell.tuned if "trials" in (cell.tuned or {}) else None,  # a rate of the grid is the preset's own
        "pretrained": cell.init,
    }
    return [text for text, value in parts.items() if value is not None]


def _scores(
    setting: Setting, name: str, weights: Path, cell: Cell, data: Prepared, cases: tuple[int, ...]
) -> dict[str, dict[str, float | None]]:
    model = network(setting, name)
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError, OSError) as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{weights} cannot be loaded ({line}): copy it again from where the cell was run, or run that with --force."
        ) from None
    device = torch.device(setting.device)
    model.to(device, memory_format=memory_format(device)).eval()  # type: ignore[call-overload]
    scores = {}
    for form, scored in (("plain", model), ("variant", Variant(model, setting).eval())):
        try:
            figures = headline(score_cases(scored, data, cases, cell.settings()))
        except FloatingPointError as error:
            raise UserError(
                f"Diverged in {'the training form' if form == 'plain' else 'this form'}: {error}."
            ) from None
        scores[form] = {metric: figures[metric] for metric in METRICS[setting.task]}
    return scores
