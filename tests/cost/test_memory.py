"""Peaks of networks whose needs are known, in processes of their own, and the size of weights on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.cost import memory
from bench.cost.measurement import Measurement, make_settings
from bench.cost.memory import CUDA, EVER, measure_memory, weights_bytes
from bench.cost.speed import RETURNED

MIB = 2**20
SIDE = 512  # one channel of an image in float32: 1 MiB
CHILD = f"""
import dataclasses, json, sys, torch
from torch import nn
from bench.cost import memory
from bench.cost.measurement import Measurement, make_settings

class Holds(nn.Module):
    '''Keeps 64 maps of an image for a moment, with one weight beside them that takes gradients.'''
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8 * 2**20 // 4))
        self.head = nn.Linear(1, 2)
    def forward(self, x):
        held = x.expand(len(x), 64, {SIDE}, {SIDE}).contiguous()
        return self.head(held.sum((1, 2, 3))[:, None]) + self.weight.sum() * 0

memory.network = lambda setting, name: Holds()
request = dict(image_size={SIDE}, channels=1, batch=2, threads=1)
settings = {{
    work: make_settings(Measurement("resnet18", step=work == "training", **request))[0] for work in sys.argv[1:]
}}
print(json.dumps({{work: memory.measure_memory(setting, "resnet18") for work, setting in settings.items()}}))
"""


def in_a_child(*works: str) -> dict[str, Any]:
    """Work -> its memory, one after the other in one process."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, *works],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | RETURNED | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak to set back on this system")
def test_the_peak_of_resident_memory_is_what_a_pass_holds() -> None:
    """128 MiB of maps for two images; a training step adds the weight's gradient and AdamW's moments, 8 MiB each."""
    inference, training = in_a_child("inference", "training").values()
    assert inference["method"] == training["method"] == "resident memory"
    assert 126 * MIB <= inference["bytes"] <= 150 * MIB
    assert 16 * MIB <= training["bytes"] - inference["bytes"] <= 80 * MIB
    assert inference["before"] > 50 * MIB
    assert 8 * MIB < inference["weights"] < 8 * MIB + 1000


def test_weights_are_as_large_as_their_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    assert weights_bytes(model) == (tmp_path / "weights.safetensors").stat().st_size
    shared = nn.Linear(4, 4)
    assert weights_bytes(nn.Sequential(shared, shared)) > 2 * 4 * 20


SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
REQUEST: dict[str, Any] = {"image_size": 32, "channels": 1, "batch": 2, "threads": 1, "reference": SMALL}


def test_on_cuda_it_is_the_allocators_peak_above_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 350 if calls[-1] == "wait" else 0)
    device = torch.device("cuda")
    assert memory._start(device) == (100, CUDA)
    assert calls == ["wait", "reset"]
    assert memory._peak(device, CUDA) == 350


def test_where_the_peak_cannot_be_set_back_it_is_known_only_above_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks = iter([500, 500, 500, 800])
    monkeypatch.setattr(memory, "set_peak_back", lambda: False)
    monkeypatch.setattr(memory, "_ever", lambda: next(peaks))
    (setting,) = make_settings(Measurement(SMALL, **REQUEST))
    first, second = measure_memory(setting, SMALL), measure_memory(setting, SMALL)
    assert (first["bytes"], first["before"], first["method"]) == (None, 500, EVER)
    assert second["bytes"] == 300


def test_a_fused_form_has_its_own_weights() -> None:
    plain, fused = (
        measure_memory(setting, SMALL) for setting in make_settings(Measurement(SMALL, fused=True, **REQUEST))
    )
    assert fused["weights"] != plain["weights"]
