"""What a faster variant (fused, autocast, compiled) makes of a metric, where trained weights of the network exist.

Weights are those of finished cells of the same network at the profile's task, input and classes. The part scored is the
validation part: who takes a variant for its speed chooses by this figure, and the test part is there to choose nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bench import store
from bench.cost.passes import AUTOCAST, formed, network, specialised
from bench.datasets.prepared import Prepared, locate
from bench.datasets.splits import assign, make_split
from bench.errors import UserError
from bench.evaluate import headline, score_cases
from bench.plan import Cell, digest
from bench.profiles import Setting
from bench.registry import dataset_spec

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
        dataset (as results call it), split, preset (with its changed fields), part, cases, and `cells`: seed and key of
        each, with `plain` and `variant`, the metrics of `METRICS` as fractions (HD95 in voxels), None where one is not
        defined. None where no weights fit.

    Raises:
        UserError: the data set is not prepared, or is no longer what the weights were trained on.
    """
    torch.set_num_threads(setting.threads)
    chosen = trained_cells(setting, results)
    if not chosen:
        return None
    first = chosen[0][1]
    preset = (store.read_record(chosen[0][0]) or {})["preset"]
    spec = dataset_spec(first.dataset)
    data = locate(spec, "phantom" if first.source["kind"] == "phantom" else "real", data_root)
    if data.fingerprint != first.fingerprint:
        raise UserError(
            f"The prepared data in {data.folder} are not those that the weights in {chosen[0][0]} were trained on."
        )
    cases = assign(data.cases, make_split(spec, data, first.split, first.fold)).indices[PART]
    cells = []
    for folder, cell in chosen:
        scores = _scores(setting, model, folder / "weights.safetensors", cell, data, cases)
        cells.append({"seed": cell.seed, "key": cell.key, **scores})
    return {
        "dataset": first.dataset_label,
        "split": first.split,
        "preset": preset,
        "part": PART,
        "cases": len(cases),
        "cells": cells,
    }


def trained_cells(setting: Setting, results: str | Path) -> list[tuple[Path, Cell]]:
    """Folders and cells of one comparison whose weights fit the setting's network, input and classes, by seed.

    Of several comparisons the one on real data; then the one with most seeds, with most steps; then the first by data
    set and key.
    """
    found: dict[tuple[int, int, str, str], list[tuple[Path, Cell]]] = {}
    for folder in store.find_records(Path(results)):
        record = store.read_record(folder)
        if record is None or record["status"] != "complete" or not (folder / "weights.safetensors").is_file():
            continue
        cell, dataset = Cell(**record["cell"]), record["dataset"]
        fits = (store.task_of(record), dataset.get("channels"), len(dataset["classes"]), cell.protocol["image_size"])
        asked = (setting.task, setting.channels, setting.classes, setting.image_size)
        if fits == asked and digest(cell.model) == digest(setting.model):
            group = (SOURCES.index(cell.source["kind"]), -cell.protocol["steps"], cell.dataset, cell.comparison)
            found.setdefault(group, []).append((folder, cell))
    best = min(found, key=lambda group: (group[0], -len(found[group]), *group[1:]), default=None)
    return [] if best is None else sorted(found[best], key=lambda pair: pair[1].seed)


def _scores(
    setting: Setting, name: str, weights: Path, cell: Cell, data: Prepared, cases: tuple[int, ...]
) -> dict[str, dict[str, float | None]]:
    model = network(setting, name)
    model.load_state_dict(load_file(weights))
    model.to(torch.device(setting.device), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    scores = {}
    for form, scored in (("plain", model), ("variant", Variant(model, setting).eval())):
        figures = headline(score_cases(scored, data, cases, cell.settings()))
        scores[form] = {metric: figures[metric] for metric in METRICS[setting.task]}
    return scores
