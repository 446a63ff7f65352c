"""Stand-ins for the child processes of a measurement, for tests of what is made of their answers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import Any

import pytest

from bench.cost import speed
from bench.cost.rounds import Samples

ENVIRONMENT = {
    "gpu": None,
    "cpu": "AMD EPYC 7B13",
    "logical_cores": 2,
    "versions": {"torch": "2.13.0"},
    "commit": "a" * 40,
}


def answer(candidate: float = 0.010) -> dict[str, Any]:
    """What a child answers: ten rounds against a reference of 20 ms a pass."""
    samples = Samples([candidate] * 10, [0.020] * 10, [True, False] * 5, [0] * 10, 4.0)
    return {
        "samples": asdict(samples) | {"passes": 20, "reference_passes": 10},
        "latency": {"batch": 1, "seconds": [0.002] * 50 + [0.004] * 50},
        "sweep": {
            "steps": [
                {"batch": 1, "seconds": [0.002] * 6, "gain": None},
                {"batch": 2, "seconds": [0.0025] * 6, "gain": 0.6},
                {"batch": 4, "seconds": [0.005] * 6, "gain": 0.0},
            ],
            "ended": "peak",
        },
        "cost": {"params": 2_500_000, "trainable": 2_400_000, "macs": 300_000_000, "counted_on": "meta"},
        "change": None,
        "peak_bytes": None,
        "load": {"start": [0.5, 0.4, 0.3], "end": None},
        "environment": ENVIRONMENT,
    }


def fake_child(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[dict[str, Any]]:
    """Children that answer by the candidate's name: with a dict, or as a process of a return code and a last line."""
    asked: list[dict[str, Any]] = []

    def run(command: list[str], input: str, env: dict[str, str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        request = json.loads(input)
        asked.append({**request, "command": command, "env": env})
        given = answers[request["model"]]
        if request["what"] == "memory" and isinstance(given, dict):
            step = request["setting"]["work"] == "training-step"
            given = {"bytes": 3 * 2**20 if step else 2**20, "before": 2**27, "method": "resident memory", "weights": 99}
        if isinstance(given, dict):
            return subprocess.CompletedProcess(command, 0, json.dumps(given), "")
        return subprocess.CompletedProcess(command, given[0], "", given[1])

    monkeypatch.setattr(speed.subprocess, "run", run)
    return asked
