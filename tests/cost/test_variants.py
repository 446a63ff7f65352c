"""What a faster variant makes of a metric: trained weights found, scored twice, on the validation part."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

import bench
import bench.models.fuse
from bench.cost import worker
from bench.cost.measurement import Measurement, make_settings
from bench.cost.variants import Variant, metric_change, trained_cells
from bench.errors import UserError
from bench.records.profiles import Setting, _metric
from bench.records.store import find_records, read_record
from bench.runs.cell import Cell

SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
TASKS = {"segmentation": ("acdc", 1, 4, "dice_strict"), "classification": ("large-covid-ct", 1, 3, "accuracy")}


def setting_of(task: str = "segmentation", **changes: Any) -> Setting:
    _, channels, classes, _ = TASKS[task]
    request = {"image_size": 32, "channels": channels, "classes": classes, "batch": 2, "threads": 1}
    return make_settings(Measurement(SMALL, task, **{**request, "reference": SMALL, **changes}))[-1]


def change_cell(folder: Path, **fields: Any) -> None:
    record = json.loads((folder / "record.json").read_text())
    record["cell"] |= fields
    record["key"] = Cell(**record["cell"]).key
    (folder / "record.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, user_data: Path) -> tuple[Path, Path]:
    """Results folder and data root of two seeds on phantoms, of both tasks."""
    results, root = tmp_path_factory.mktemp("results"), user_data / "medbench"
    short = {"preset": "smoke", "settings": ("steps=4", "evaluations=1", "image_size=32", "batch_size=4"), "threads": 1}
    for dataset in ("acdc", "large-covid-ct"):
        place = {"data": "phantom", "data_root": root, "results": results}
        bench.run(models=SMALL, dataset=dataset, seeds="2", **short, **place)
    return results, root


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_weights_are_scored_in_both_forms_as_the_run_scored_them(task: str, trained: tuple[Path, Path]) -> None:
    dataset, _, _, name = TASKS[task]
    found = metric_change(setting_of(task, fused=True), SMALL, *trained)
    assert found is not None
    assert (found["dataset"], found["part"]) == (f"{dataset}-phantom", "val")
    assert found["preset"] == "smoke with image_size=32, steps=4, batch_size=4, evaluations=1"
    assert [cell["seed"] for cell in found["cells"]] == [0, 1]
    records = {r["key"]: r for folder in find_records(trained[0]) if (r := read_record(folder)) is not None}
    for cell in found["cells"]:
        assert cell["variant"][name] == pytest.approx(cell["plain"][name], abs=1e-3)
        if task == "segmentation":  # there the score on the validation part is this metric
            assert cell["plain"][name] == pytest.approx(records[cell["key"]]["training"]["val_score"], abs=1e-9)


@pytest.mark.slow
def test_a_fused_form_that_is_wrong_shows_in_the_metric(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rolled(nn.Module):
        def forward(self, logits: torch.Tensor) -> torch.Tensor:
            return logits.roll(1, dims=1)

    right = bench.models.fuse.fuse
    monkeypatch.setattr(bench.models.fuse, "fuse", lambda *given: nn.Sequential(right(*given), Rolled()))
    found = metric_change(setting_of(fused=True), SMALL, *trained)
    assert found is not None
    assert all(cell["variant"] != cell["plain"] for cell in found["cells"])


def test_an_autocast_variant_computes_in_its_own_arithmetic_and_answers_in_float32() -> None:
    setting = setting_of(precision="bf16")
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1)).eval()
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        found, plain = Variant(model, setting)(x), model(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float())
    assert 0 < (found - plain).abs().max() < 0.05


@pytest.mark.slow
def test_only_weights_of_the_same_network_at_the_same_input_count(trained: tuple[Path, Path]) -> None:
    assert len(trained_cells(setting_of(), trained[0])) == 2
    others = {"image_size": 64, "channels": 3, "classes": 3}
    for name, value in others.items():
        assert trained_cells(setting_of(**{name: value}), trained[0]) == []
    wider = make_settings(Measurement("mednext_tiny", "segmentation", image_size=32, channels=1, classes=4))[0]
    assert metric_change(wider, "mednext_tiny", *trained) is None
    newer = replace(setting_of(), model={**setting_of().model, "version": 10**6})
    assert trained_cells(newer, trained[0]) == []


def test_real_images_come_before_phantoms_and_a_cell_without_weights_does_not_count(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path / "results")
    folders = [folder for folder, *_ in trained_cells(setting_of(), tmp_path / "results")]
    real = tmp_path / "results" / "runs" / "acdc" / "copy"
    shutil.copytree(folders[0], real)
    change_cell(real, source={"kind": "real"})
    assert [folder for folder, *_ in trained_cells(setting_of(), tmp_path / "results")] == [real]
    (real / "weights.safetensors").unlink()
    assert [folder for folder, *_ in trained_cells(setting_of(), tmp_path / "results")] == folders


def test_data_that_are_gone_or_changed_are_one_line(trained: tuple[Path, Path], tmp_path: Path) -> None:
    results, setting = tmp_path / "results", setting_of(fused=True)
    for field, said in (
        ("fingerprint", "are not those that the weights in"),
        ("parts", "has other patients in its parts"),
    ):
        shutil.copytree(trained[0], results, dirs_exist_ok=True)
        for folder, *_ in trained_cells(setting, results):
            change_cell(folder, **{field: "0" * 12})
        with pytest.raises(UserError, match=said):
            metric_change(setting, SMALL, results, trained[1])
    asked = {"what": "metric", "setting": asdict(setting), "model": SMALL, "data_root": str(tmp_path / "none")}
    answer = worker.respond({**asked, "results": str(trained[0])})
    assert answer["error"].startswith(f"The folder {tmp_path / 'none'} of --data-root does not exist.")


def test_damaged_weights_are_one_line_that_names_them(trained: tuple[Path, Path], tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(trained[0], results)
    (first, *_), (second, *_) = trained_cells(setting_of(), results)
    whole = (first / "weights.safetensors").read_bytes()
    for damaged in (whole[:100], whole[:-8], save({"a": torch.zeros(1)})):
        (first / "weights.safetensors").write_bytes(damaged)
        with pytest.raises(
            UserError, match=rf"{first.name}/weights.safetensors cannot be loaded \(.*\): copy it again"
        ):
            metric_change(setting_of(fused=True), SMALL, results, trained[1])
    assert second != first


def test_the_plain_training_comes_before_folds_and_tuned_ones(trained: tuple[Path, Path], tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(trained[0], results)
    (first, *_), (second, *_) = trained_cells(setting_of(), results)
    shutil.rmtree(second)
    for seed in (5, 6):
        shutil.copytree(first, first.parent / f"{seed}-copy")
        change_cell(first.parent / f"{seed}-copy", seed=seed, train_patients=2)
    assert [folder for folder, *_ in trained_cells(setting_of(), results)] == [first]
    shutil.rmtree(first)
    found = metric_change(setting_of(fused=True), SMALL, results, trained[1])
    assert found is not None
    assert found["preset"].endswith(", 2 training patients")
    assert [cell["seed"] for cell in found["cells"]] == [5, 6]


def test_a_row_has_means_over_seeds_and_the_largest_change_of_one() -> None:
    cells = [
        {"seed": seed, "key": "a", "plain": {"dice_strict": plain}, "variant": {"dice_strict": variant}}
        for seed, (plain, variant) in enumerate([(0.70, 0.71), (0.80, 0.76)])
    ]
    row = _metric({"dataset": "acdc", "split": "ssl4mis", "preset": "quick", "cells": cells}, "segmentation")
    assert row["metric_plain"] == pytest.approx(0.75)
    assert row["metric_change"] == pytest.approx(-0.015)
    assert row["metric_largest"] == pytest.approx(0.04)
    assert row["metric_of"] == "acdc, ssl4mis, quick, 2 seeds"
    cells[0]["variant"]["dice_strict"] = None
    row = _metric({"dataset": "acdc", "part": "val", "cells": cells}, "segmentation")
    assert row["metric_error"] == "dice_strict is not defined on the val part of acdc."
    assert _metric({"error": "gone"}, "segmentation")["metric_error"] == "gone"
