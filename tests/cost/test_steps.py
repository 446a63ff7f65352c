"""Training steps that are timed: those of cells, beside a reference's or the same network's by torch's own means."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from children import answer, fake_child
from click.testing import CliRunner
from torch import nn

import bench
from bench.cli.main import main
from bench.cost import passes as cost_passes
from bench.cost import speed, worker
from bench.cost.measurement import Measurement, make_settings
from bench.cost.passes import make_pass, network
from bench.errors import UserError
from bench.records.profiles import Setting, load_profiles

CPU = torch.device("cpu")
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"


def small(task: str = "classification", **changes: Any) -> Setting:
    request = {"image_size": 32, "channels": 1, "classes": 3, "batch": 2, "threads": 1, "step": True}
    return make_settings(Measurement(SMALL, task, **{**request, **changes}))[0]


def test_the_plain_baseline_is_the_same_network() -> None:
    setting = small(baseline="plain")
    assert setting.reference == setting.model
    assert (setting.step, setting.reference_step) == ("cell", "plain")
    beside = small()
    assert beside.reference["name"] == "resnet18"
    assert (beside.step, beside.reference_step) == ("cell", "cell")
    assert len({setting.key, beside.key, replace(beside, step="bare", reference_step="bare").key}) == 3


def test_keys_of_inference_and_of_older_profiles_stay() -> None:
    inference = small(step=False)
    older = {name: value for name, value in asdict(inference).items() if name not in ("step", "reference_step")}
    assert Setting(**older).key == inference.key


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"baseline": "plain"}, "The baseline 'plain' is of training steps: add --step, or leave out --baseline."),
        ({"baseline": "none", "step": True}, "Expected baseline to be one of reference, plain, but got 'none'."),
        ({"baseline": "plain", "step": True, "reference": "resnet10t"}, "each network is its own reference"),
    ],
)
def test_a_mistake_is_found_before_anything_is_measured(request_: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=line):
        bench.profile("mednext_tiny", results=tmp_path, **request_)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_both_steps_are_one_to_rounding_and_only_a_cells_is_sped_up(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's loss, clipping and decay are in both; gradients and the optimiser's kernel are what differs."""
    made: list[torch.optim.Optimizer] = []

    class Noted(torch.optim.AdamW):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(torch.optim, "AdamW", Noted)
    monkeypatch.setattr(cost_passes, "LEARNING_RATE", 1e-2)
    setting = small(task)
    models = {step: network(setting, SMALL) for step in ("cell", "plain", "bare")}
    for step, model in models.items():
        made.clear()
        take = make_pass(model, replace(setting, step=step), CPU, compiled=False)
        take()
        assert [group["fused"] for group in made[-1].param_groups] == [True if step == "cell" else None] * 2
        assert sorted(group["weight_decay"] for group in made[-1].param_groups)[0] == 0
        patched = any("_conv_forward" in vars(module) for module in model.modules())
        assert patched == (step == "cell")
    cell, plain, bare = (
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]) for model in models.values()
    )
    torch.testing.assert_close(cell, plain, rtol=1e-3, atol=1e-4)
    assert cell.norm() <= 1.001, "clipped to 1"
    assert (bare.norm() - cell.norm()).abs() > 1e-3


def test_the_reference_takes_its_own_kind_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(model: nn.Module, setting: Setting, device: torch.device, compiled: bool) -> Any:
        seen.append(setting.step)
        return lambda: None

    monkeypatch.setattr(worker, "make_pass", noted)
    monkeypatch.setattr(worker, "warm_up", lambda run, device, seconds: 1)
    setting = small(baseline="plain")
    worker.time_rounds(setting, network(setting, SMALL), SMALL, 0.01)
    assert seen == ["cell", "plain"]


def test_one_table_shows_each_networks_time_as_a_fraction_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_child(monkeypatch, {"mednext_tiny": answer(0.012), "resnet10t": answer(0.019)})
    arguments = ["profile", "--models", "mednext_tiny,resnet10t", "--step", "--baseline", "plain"]
    shown = CliRunner().invoke(main, [*arguments, "--format", "markdown", "--results", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("Speed of training steps") == 1
    assert "| Time |" in shown.output
    assert "| 0.60 (0.60 to 0.60) |" in shown.output
    assert "| 0.95 (0.95 to 0.95) |" in shown.output
    assert "plain: the same network, trained by torch's own gradients and unfused AdamW." in shown.output
    assert "loading, augmentation, the average of the weights and lower heads are left out." in shown.output
    stored = load_profiles(tmp_path)
    assert set(stored["reference"]) == {"plain"}
    assert set(stored["reference_step"]) == {"plain"}


def measured_against_itself(results: Path) -> str:
    """The command on a tiny network, whose table it returns."""
    arguments = ["--size", "32", "--channels", "1", "--batch", "2", "--threads", "1"]
    arguments += ["--step", "--baseline", "plain", "--seconds", "0.1", "--results", str(results)]
    shown = CliRunner().invoke(main, ["profile", "--models", SMALL, "--format", "markdown", *arguments])
    assert shown.exit_code == 0, shown.output
    row = load_profiles(results).iloc[0]
    assert 0.2 < row["ratio"] < 5
    assert (row["processes"], row["work"], row["reference_step"]) == (5, "training-step", "plain")
    return shown.output


@pytest.mark.slow
def test_a_step_against_its_plain_self(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_here(command: list[str], input: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, json.dumps(worker.respond(json.loads(input))), "")

    monkeypatch.setattr(speed, "subprocess", SimpleNamespace(run=answer_here))
    monkeypatch.setattr(cost_passes, "BLOCK_SECONDS", 0.001)
    assert "x plain" in measured_against_itself(tmp_path)


@pytest.mark.slow
def test_a_step_against_its_plain_self_in_real_children_too(tmp_path: Path) -> None:
    assert "x plain" in measured_against_itself(tmp_path)
