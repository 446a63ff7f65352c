"""Exported networks: what a file says of itself, that it was compared, and that none which differs is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from torch import nn
from trained_runs import folders_of

from bench.cli.main import main
from bench.errors import UserError
from bench.runs import exporting
from bench.runs.exporting import export_run
from bench.runs.trained import load_trained


@pytest.mark.slow
def test_files_of_both_tasks_give_the_network_s_figures(user_data: Path, tmp_path: Path) -> None:
    for dataset, checked in (("acdc", "4 test volumes"), ("large-covid-ct", "test images")):
        trained = load_trained(folders_of(user_data)[dataset])
        files = {"torchscript": tmp_path / f"{dataset}.pt", "state-dict": tmp_path / f"{dataset}.safetensors"}
        script, state = export_run(trained, files, user_data / "medbench")
        assert (script.form, state.form) == ("fused" if dataset == "acdc" else "training", "training")
        assert checked in script.checked
        assert script.logits < 1e-4
        assert (state.logits, state.scores) == (0.0, 0.0)
        extra = {"medbench.json": ""}
        loaded = torch.jit.load(files["torchscript"], _extra_files=extra)
        about = json.loads(extra["medbench.json"])
        assert (about["cell"], about["classes"], about["form"]) == (trained.key, list(trained.classes), script.form)
        for batch in (1, 3):
            assert loaded(torch.zeros(batch, 1, 32, 32)).shape[:2] == (batch, len(trained.classes))
        with safe_open(files["state-dict"], "pt") as stored:
            assert json.loads(stored.metadata()["medbench"]) == {**about, "form": "training"}
            assert set(stored.keys()) == set(load_trained(trained.folder).model.state_dict())


def test_a_file_that_differs_is_refused_and_not_left(
    user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_trained(folders_of(user_data)["large-covid-ct"])
    path = tmp_path / "there" / "net.pt"

    def off(model: nn.Module, example: torch.Tensor, about: dict[str, Any]) -> Any:
        content, run, opset = exporting._torchscript(model, example, about)
        return content, lambda inputs: run(inputs) + 2e-3, opset

    monkeypatch.setitem(exporting.WRITERS, "torchscript", off)
    with pytest.raises(UserError, match=r"net.pt was not written: its outputs differ .* 0.002 in a logit"):
        export_run(trained, {"torchscript": path}, user_data / "medbench")
    assert not path.exists()


class OnlyTwo(nn.Module):
    """A trace of it takes the batch of its example alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (
            x.mean(dim=(1, 2, 3)).reshape(2, 1).expand(2, 3) if len(x) == 2 else x.mean(dim=(1, 2, 3))[:, None].tile(3)
        )


def test_a_trace_of_one_batch_size_is_refused(user_data: Path, tmp_path: Path) -> None:
    trained = replace(load_trained(folders_of(user_data)["large-covid-ct"]), model=OnlyTwo())
    with pytest.raises(UserError, match=r"cannot be exported as TorchScript|was not written"):
        export_run(trained, {"torchscript": tmp_path / "net.pt"}, user_data / "medbench")
    assert not (tmp_path / "net.pt").exists()


def test_without_its_data_a_network_is_compared_on_random_images(user_data: Path, tmp_path: Path) -> None:
    trained = load_trained(folders_of(user_data)["acdc"])
    (exported,) = export_run(trained, {"state-dict": tmp_path / "n.safetensors"}, tmp_path)
    assert exported.checked.startswith("4 random images (no test cases: ")
    assert exported.scores is None


def test_a_file_says_what_is_done_to_units_of_a_scanner(user_data: Path) -> None:
    trained = load_trained(folders_of(user_data)["acdc"])
    own, clipped = (
        exporting.description(replace(trained, dataset=name), "fused")["preprocessing"]
        for name in ("acdc-phantom", "synapse-phantom")
    )
    assert clipped == f"intensities clipped to [-125, 275] HU and scaled to [0, 1]; {own}"


def test_a_file_has_to_be_asked_for(user_data: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(folders_of(user_data)["acdc"])])
    assert (result.exit_code, "Expected --onnx FILE" in result.output) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["acdc", "large-covid-ct"])
def test_onnx_gives_the_network_s_figures_and_says_what_it_is(dataset: str, user_data: Path, tmp_path: Path) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    folder, path = folders_of(user_data)[dataset], tmp_path / "net.onnx"
    arguments = ["export", str(folder), "--onnx", str(path), "--data-root", str(user_data / "medbench")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    trained = load_trained(folder)
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert (about["model"], json.loads(about["classes"])) == (trained.name, list(trained.classes))
    assert about["preprocessing"].startswith("each ")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        x = torch.randn(batch, 1, 32, 32)
        (got,) = session.run(["logits"], {"images": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, trained.model(x).numpy(), atol=1e-4)
