"""Requests, children and failures; whole measurements on a tiny network."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from children import answer, fake_child
from click.testing import CliRunner, Result

import bench
from bench.cli.main import main
from bench.cost import speed, worker
from bench.cost.measurement import Measurement, make_settings
from bench.cost.speed import measure
from bench.errors import UserError
from bench.records.profiles import load_profiles, read_profile

SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"


def medbench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_request_is_resolved_in_full() -> None:
    (found,) = make_settings(Measurement("mednext_tiny[sem=none]", image_size=96, batch=4, threads=1))
    assert found.model["name"] == "mednext_tiny"
    assert found.model["config"]["sem"] == "none"
    assert found.reference["name"] == "resnet18"
    assert (found.form, found.work, found.precision, found.compiled) == ("training", "inference", "fp32", False)
    (segmenter,) = make_settings(Measurement("unet_s", "segmentation", step=True))
    assert segmenter.reference["name"] == "unet_s"
    assert segmenter.work == "training-step"


def test_a_fused_form_follows_its_training_form_where_there_is_one() -> None:
    found = make_settings(Measurement("resnet10t,mednext_tiny", fused=True))
    assert [(s.model["name"], s.form) for s in found] == [
        ("resnet10t", "training"),
        ("mednext_tiny", "training"),
        ("mednext_tiny", "fused"),
    ]
    assert all(s.reference["name"] == "resnet18" for s in found)


def test_all_is_a_list_without_chance() -> None:
    names = [s.model["name"] for s in make_settings(Measurement("all"))]
    assert {"mednext_tiny", "mobilenetv3_small"} <= {*names}
    assert "chance" not in names
    assert "resnet50" in [s.model["name"] for s in make_settings(Measurement("all", preset="paper"))]
    assert [s.model["name"] for s in make_settings(Measurement("chance"))] == ["chance"]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"models": "mednxt_tiny"}, "Unknown model 'mednxt_tiny'. Did you mean: mednext_tiny"),
        ({"reference": "resnt18"}, "Unknown model 'resnt18'. Did you mean: resnet18"),
        ({"reference": "resnet*"}, "Expected one model as the reference, but 'resnet\\*' names 3: "),
        ({"models": "unet"}, "Model 'unet' does segmentation, but the dataset needs classification."),
        ({"models": "chanc*"}, "Expected a model to time, but 'chanc\\*' is chance alone"),
        ({"task": "detection"}, "Expected task to be one of classification, segmentation, but got 'detection'."),
        ({"precision": "fp8"}, "Expected precision to be one of fp32, bf16, fp16, but got 'fp8'."),
        ({"precision": "fp16"}, "Expected precision fp32 or bf16 on the CPU, but got fp16."),
        ({"batch": 0}, "Expected batch to be a whole number, 1 or more, but got 0."),
        ({"classes": 1}, "Expected classes to be a whole number, 2 or more, but got 1."),
        ({"preset": "fast"}, "Unknown preset 'fast'."),
        ({"fused": True, "step": True}, "A fused form is for inference alone"),
        (
            {"models": "resnet18", "fused": True},
            "Fused forms are offered for the proposed model alone, but got resnet18",
        ),
        ({"seconds": 0.0}, "Expected seconds to be positive, but got 0.0."),
    ],
)
def test_a_mistake_is_found_before_anything_is_measured(request_: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=line):
        bench.profile(**{"models": "mednext_tiny", "results": tmp_path, **request_})
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_cuda_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="No CUDA device is available to torch here"):
        make_settings(Measurement("mednext_tiny", device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert make_settings(Measurement("mednext_tiny", device="cuda", precision="fp16"))[0].precision == "fp16"


def test_the_childs_import_paths_and_threads_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_child(monkeypatch, {"mednext_tiny": answer()})
    monkeypatch.setattr(sys, "path", ["", "/somewhere", *sys.path])
    measure(make_settings(Measurement("mednext_tiny", threads=3))[0], 60.0)
    assert asked[0]["command"] == [sys.executable, "-P", "-m", "bench.cost.worker"]
    assert asked[0]["env"]["PYTHONPATH"].startswith("/somewhere:")
    assert asked[0]["env"]["OMP_NUM_THREADS"] == "3"
    assert (asked[0]["seconds"], asked[0]["sweep"]) == (60.0, False)
    assert [request["what"] for request in asked] == ["speed", *["rounds"] * 4, "memory", "memory"]
    assert [request["setting"]["work"] for request in asked[5:]] == ["inference", "training-step"]
    assert {request["env"].get("MALLOC_MMAP_MAX_") for request in asked[:5]} == {"0"}
    assert "MALLOC_MMAP_THRESHOLD_" not in asked[0]["env"]
    assert asked[5]["env"]["MALLOC_MMAP_THRESHOLD_"] == "65536"
    assert "MALLOC_MMAP_MAX_" not in asked[5]["env"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            (-9, ""),
            "Cannot measure the memory of resnet18 (training): its process was killed by SIGKILL (out of memory?).",
        ),
        ({"error": "ValueError: one value"}, "Cannot measure the memory of resnet18 (training): ValueError: one value"),
    ],
)
def test_memory_that_cannot_be_measured_is_a_line_beside_the_rest(
    given: Any, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], input: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        request = json.loads(input)
        if request["what"] == "memory" and request["setting"]["work"] == "training-step":
            code, text = (given[0], "") if isinstance(given, tuple) else (0, json.dumps(given))
            return subprocess.CompletedProcess(command, code, text, "")
        found = {"bytes": 5, "before": 0, "method": "resident memory", "weights": 9}
        return subprocess.CompletedProcess(
            command, 0, json.dumps(found if request["what"] == "memory" else answer()), ""
        )

    monkeypatch.setattr(speed.subprocess, "run", run)
    frame = bench.profile("resnet18", results=tmp_path)
    assert (frame["inference_bytes"][0], frame["training_bytes"][0], frame["error"][0]) == (5, None, None)
    (path,) = (tmp_path / "profiles").rglob("*.json")
    assert read_profile(path)["memory"]["training"] == {"error": line}


def test_memory_is_asked_for_the_forms_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_child(monkeypatch, {"mednext_tiny": answer()})
    measure(make_settings(Measurement("mednext_tiny", fused=True))[1], 60.0)
    assert [request["what"] for request in asked] == ["speed", *["rounds"] * 4, "memory"]
    assert measure(make_settings(Measurement("mednext_tiny", compiled=True))[0], 60.0)["memory"] is None


def test_too_few_idle_cores_are_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, {"resnet18": answer()})
    said: dict[float | None, list[str]] = {}
    for idle in (1.9, 0.8, None):
        monkeypatch.setattr("bench.records.environment.idle_cores", lambda idle=idle: idle)
        bench.profile("resnet18", results=tmp_path, report=said.setdefault(idle, []).append)
    assert said[1.9] == said[None] == ["measuring resnet18 (training form), 1 of 1"]
    assert said[0.8][0].startswith("note: 0.8 of ")
    assert "cores are idle, but --threads is 2: ratios mean little" in said[0.8][0]
    assert said[0.8][1:] == said[1.9]


def test_a_data_root_that_is_not_there_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    result = medbench("profile", "--models", "resnet18", "--results", tmp_path, "--data-root", tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: The folder {tmp_path / 'none'} of --data-root does not exist.")
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_dies_is_one_line_and_the_others_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_child(
        monkeypatch,
        {
            "resnet50": (-9, ""),
            "resnet18": (1, "Traceback ...\nImportError: no torch\n"),
            "deit_tiny": {"error": "Expected an image size"},
            "resnet10t": answer(),
        },
    )
    lines: list[str] = []
    frame = bench.profile("resnet50,resnet18,deit_tiny,resnet10t", results=tmp_path, report=lines.append)
    assert list(frame["model"]) == ["resnet50", "resnet18", "deit_tiny", "resnet10t"]
    assert list(frame["error"][:3]) == [
        "Cannot time resnet50 (training form, against resnet18): its process was killed by SIGKILL (out of memory?).",
        "Cannot time resnet18 (training form, against resnet18): its process ended with code 1: ImportError: no torch",
        "Cannot time deit_tiny (training form, against resnet18): Expected an image size",
    ]
    assert pd.isna(frame["error"][3])
    assert list(load_profiles(tmp_path)["model"]) == ["resnet10t"]
    assert lines[-1] == "measuring resnet10t (training form), 4 of 4"


def test_a_process_that_says_nothing_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(UserError, match="its process ended with code 1: it said nothing"):
        measure(make_settings(Measurement("mednext_tiny"))[0], 1.0)


def test_the_command_shows_the_rows_it_has_and_exits_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, {"resnet50": (-9, ""), "mednext_tiny": answer()})
    command = ["profile", "--models", "resnet50,mednext_tiny", "--results", str(tmp_path)]
    result = medbench(*command)
    assert result.exit_code == 2
    assert "MedNeXt-T (reconstr.) training" in result.stdout
    assert "x ResNet-18" in result.stdout
    assert result.stderr.splitlines()[-1] == (
        "Error: Cannot time resnet50 (training form, against resnet18): "
        "its process was killed by SIGKILL (out of memory?)."
    )
    assert medbench("profile", "--models", "mednext_tiny", "--results", tmp_path).exit_code == 0
    frame = pd.read_csv(io.StringIO(medbench(*command, "--format", "csv").stdout))
    assert list(frame["ratio"].fillna(0)) == [0, 2]


def test_the_command_ends_in_one_line_on_a_mistake_and_on_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = medbench("profile", "--models", "unet_s", "--results", tmp_path)
    line = "Error: Model 'unet_s' does segmentation, but the dataset needs classification.\n"
    assert (result.exit_code, result.stderr) == (2, line)

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "measure", stop)
    result = medbench("profile", "--models", "mednext_tiny", "--results", tmp_path)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Interrupted. The profiles measured so far are stored."


def test_an_unwritable_results_folder_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write to the results folder"):
        bench.profile("mednext_tiny", results=tmp_path / "file")


def answer_here(command: list[str], input: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """What the child would answer, from this process: no import of torch for each part of a measurement."""
    return subprocess.CompletedProcess(command, 0, json.dumps(worker.respond(json.loads(input))), "")


def check_against_itself(results: Path, seconds: float) -> pd.DataFrame:
    """A whole measurement; the bounds are wide because the machine may be busy."""
    request = {"image_size": 32, "channels": 1, "batch": 2, "threads": 1, "seconds": seconds, "reference": SMALL}
    frame = bench.profile(SMALL, results=results, **request)
    assert frame["error"].isna().all(), list(frame["error"])
    assert 0.8 < frame["ratio"][0] < 1.25
    assert frame["processes"][0] == 5
    assert frame["latency_p50"][0] <= frame["latency_p90"][0] <= frame["latency_p99"][0]
    assert frame["latency_passes"][0] >= 30
    assert frame["best_batch"][0] >= 1
    assert frame["weights_bytes"][0] > 4 * frame["params"][0]
    assert (frame["agrees"][0], frame["unexplained"][0]) == (True, 0)
    assert frame["params"][0] > 0
    assert bool(frame["flagged"][0]) == (frame["half_width"][0] > 0.02)
    assert load_profiles(results)["ratio"][0] == frame["ratio"][0]
    (path,) = (results / "profiles").rglob("*.json")
    assert path.stem == frame["key"][0]
    return frame


@pytest.mark.slow
def test_a_model_against_itself_is_about_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "subprocess", SimpleNamespace(run=answer_here))
    check_against_itself(tmp_path, seconds=0.4)


@pytest.mark.slow
def test_a_model_against_itself_is_about_1_in_real_children_too(tmp_path: Path) -> None:
    frame = check_against_itself(tmp_path, seconds=2.0)
    assert frame["rounds"][0] >= 50
    assert frame["training_bytes"][0] > frame["inference_bytes"][0] > 0


@pytest.mark.slow
def test_fused_rows_and_training_steps_of_both_tasks(tmp_path: Path) -> None:
    small = {"image_size": 64, "channels": 1, "batch": 2, "threads": 1, "seconds": 2.0, "results": tmp_path}
    frame = bench.profile("mednext_tiny", task="segmentation", fused=True, **small)
    assert list(frame["form"]) == ["training", "fused"]
    assert frame["difference"][1] < 1e-4 * frame["output_scale"][1]
    assert frame["params"][1] != frame["params"][0], "merged kernels are larger, and norms gone"
    assert list(frame["trainable"] > 0) == [True, False]
    steps = bench.profile("mednext_tiny,resnet10t", step=True, **small)
    assert steps["error"].isna().all()
    assert len(load_profiles(tmp_path)) == 4


def test_counting_alone_times_and_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = {
        **{name: {"macs": 10**9, "beside": {}, "skipped": {}} for name in ("fvcore", "ptflops")},
        "skipped": {},
        "failed": {},
        "spread": 0.0,
        "unexplained": 0.0,
        "agrees": True,
    }
    counted = {"cost": {**answer()["cost"], "counters": counters}}
    asked: list[dict[str, Any]] = []
    answers = {"resnet18": counted, "resnet50": {"error": "no such thing"}}
    monkeypatch.setattr(worker, "respond", lambda request: asked.append(request) or answers[request["model"]])
    command = ["profile", "--complexity", "--models", "resnet18,resnet50", "--size", "96", "--results", str(tmp_path)]
    result = medbench(*command, "--format", "markdown")
    assert [request["what"] for request in asked] == ["complexity"] * 2
    assert asked[0]["setting"]["image_size"] == 96
    assert list(tmp_path.iterdir()) == []
    assert "Parameters and MACs, classification, one image of 3x96x96, 2 classes." in result.stdout
    assert "| ResNet-18 | training | 2.50 | 2.40 | 0.300 | 1.000 | 1.000 |" in result.stdout
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: Cannot count resnet50: no such thing")
    frame = pd.read_csv(io.StringIO(medbench(*command, "--format", "csv").stdout))
    assert list(frame["fvcore_macs"].fillna(0)) == [1e9, 0]


def test_models_are_asked_for() -> None:
    result = medbench("profile")
    line = "Error: Expected --models NAMES, such as --models all, or --compare DIR.\n"
    assert (result.exit_code, result.stderr) == (2, line)
