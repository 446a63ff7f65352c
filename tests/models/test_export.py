"""The proposed model outside plain eager mode: compiled, channels_last, autocast, exported, in ONNX Runtime."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.models.fuse import fuse
from bench.zoo.registry import build_model

TASKS = ("classification", "segmentation")
VARIANTS = ("mednext_tiny", "mednext_small", "mednext_base")
VARIANT_TASKS = [
    pytest.param(v, t, marks=() if v == "mednext_tiny" else pytest.mark.slow) for v in VARIANTS for t in TASKS
]
FORMS = ("training", "fused")
# With one block a stage all operations are there: the whole networks are exported in the slow ones.
SHORT = "mednext_tiny[depths=1-1-1-1]"
EXPORTED = [(SHORT, "segmentation", "fused"), pytest.param(SHORT, "classification", "training", marks=pytest.mark.slow)]
EXPORTED += [pytest.param(*case, marks=pytest.mark.slow) for case in itertools.product(VARIANTS, TASKS, FORMS)]


def network(variant: str, task: str, form: str = "training") -> nn.Module:
    torch.manual_seed(0)
    model = build_model(variant, task, 1, 3, 64).eval()
    return fuse(model) if form == "fused" else model


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("variant", "task"), VARIANT_TASKS)
def test_torch_compile_gives_the_same_logits(variant: str, task: str, form: str) -> None:
    model = network(variant, task, form)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = model(images())
        got = torch.compile(model)(images())
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_compiled_training_step_gives_the_same_gradients(task: str) -> None:
    def gradients(compiled: bool) -> dict[str, torch.Tensor]:
        torch._dynamo.reset()
        model = network("mednext_tiny", task).train()
        run = torch.compile(model) if compiled else model
        run(images(4)).square().mean().backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    eager, compiled = gradients(False), gradients(True)
    assert set(eager) == set(compiled) != set()
    for name, gradient in eager.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=1e-2, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("variant", "task"), VARIANT_TASKS)
def test_channels_last_gives_the_same_logits(variant: str, task: str, form: str) -> None:
    model = network(variant, task, form)
    with torch.no_grad():
        expected = model(images())
        got = model.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", ["classification", pytest.param("segmentation", marks=pytest.mark.slow)])
def test_autocast_is_near_to_float32(task: str, form: str, dtype: torch.dtype) -> None:
    """Within 5 % of the logits' range: bf16 has 8 bits of mantissa."""
    model = network("mednext_tiny", task, form)
    with torch.no_grad():
        expected = model(images())
        with torch.autocast("cpu", dtype=dtype):
            got = model(images())
    assert got.dtype == dtype
    assert (got.float() - expected).abs().max() < 0.05 * (expected.max() - expected.min())


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", ["classification", pytest.param("segmentation", marks=pytest.mark.slow)])
def test_a_training_step_under_autocast_has_finite_gradients(task: str, dtype: torch.dtype) -> None:
    model = network("mednext_tiny", task).train()
    with torch.autocast("cpu", dtype=dtype):
        loss = model(images(4)).float().square().mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.slow  # ONNX's exporter, which is run always, begins with it
@pytest.mark.parametrize(("variant", "task", "form"), EXPORTED)
def test_torch_export_takes_any_batch(variant: str, task: str, form: str) -> None:
    model = network(variant, task, form)
    program = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with torch.no_grad():
        for n in (1, 3, 5):
            torch.testing.assert_close(program.module()(images(n)), model(images(n)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "task", "form"), EXPORTED)
def test_onnx_runtime_gives_the_same_logits_for_any_batch(variant: str, task: str, form: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra `dev`")
    model = network(variant, task, form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            model,
            (images(),),
            tmp_path / "model.onnx",
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 3, 8):
        (got,) = session.run(["logits"], {"images": images(n).numpy()})
        with torch.no_grad():
            expected = model(images(n)).numpy()
        assert np.abs(got - expected).max() < 1e-4
