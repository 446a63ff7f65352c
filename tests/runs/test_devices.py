"""Devices: what their names mean here, arithmetic, and batches on a GPU that is made up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from made_up_device import GPU, MadeUpDevice
from torch import nn

from bench.datasets.augmentation.batches import augment, mix
from bench.errors import UserError
from bench.records.keys import FIELDS, cell_key, comparison_key
from bench.runs.devices import (
    drawn_batch,
    found_device,
    largest_batch,
    make_fabric,
    placed,
    set_arithmetic,
    undetermined,
)
from bench.runs.exhaustion import ran_out_of_memory
from bench.runs.losses import make_loss
from bench.runs.protocol import PRESETS, Protocol, preset_protocol
from bench.runs.seeding import generator
from bench.runs.train import Checkpoint, Loop, Watch, make_optimizer, train

CELL = dict.fromkeys(FIELDS, "") | {"fold": None, "source": {"kind": "real"}}
RECIPES = {
    "segmentation": PRESETS["standard"].protocol,
    "classification": PRESETS["standard"].classification,
    "every change": Protocol(
        loss="ce", intensity=3, low_resolution=1, colour=0.5, erasing=1, crop=0.3, rotate=1, zoom=1, shift=0.1
    ),
}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


NAMES = {"cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1", "auto": "cuda"}


@pytest.mark.parametrize(("name", "found"), NAMES.items())
def test_what_names_mean_where_there_are_two_gpus(two_gpus: None, name: str, found: str) -> None:
    assert found_device(name, "16-mixed" if name != "cpu" else "32-true") == found


def test_a_gpu_that_is_not_there_is_one_line(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"N from 0 to 1, but got 'cuda:2'"):
        found_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for wrong in ("mps", "gpu", "cpu:0", "cuda:x", "cuda:-1"):
        with pytest.raises(UserError, match="Expected a device cpu, cuda, cuda:N or auto"):
            found_device(wrong)
    assert found_device("auto") == "cpu"
    with pytest.raises(UserError, match="No CUDA device"):
        found_device("cuda")
    with pytest.raises(UserError, match="32-true or bf16-mixed on the CPU"):
        found_device("auto", "16-mixed")


def batches(task: str) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    channels = 3 if task == "classification" else 1
    labels = torch.arange(12) % 2 if task == "classification" else torch.randint(0, 4, (12, 32, 32), dtype=torch.uint8)
    return torch.randn(12, channels, 32, 32), labels


def drawn(images: torch.Tensor, labels: torch.Tensor, recipe: Protocol, device: torch.device) -> list[torch.Tensor]:
    """What a step draws, for a few steps, back on the CPU."""
    found = []
    for step in range(6):
        chosen = torch.randperm(12, generator=generator(0, "order", step))[:8]
        given = drawn_batch(images, labels, chosen, device)
        x, y = augment(*given[:2], recipe, generator(0, "augment", step), given[2])
        x, mixture = mix(x, recipe.mixup, step)
        assert x.device.type == y.device.type == device.type
        assert mixture is None or mixture.partner.device.type == device.type
        found += [x.cpu(), y.cpu()]
    return found


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("resident", [True, False], ids=["on the GPU", "in memory"])
def test_a_gpu_sees_the_cpu_s_images(recipe: Protocol, task: str, resident: bool) -> None:
    images, labels = batches(task)
    expected = drawn(images, labels, recipe, torch.device("cpu"))
    with MadeUpDevice() as device:
        there = (device.put(images), device.put(labels)) if resident else (images, labels)
        on_gpu = drawn(*there, recipe, GPU)
    for got, wanted in zip(on_gpu, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert torch.allclose(got.float(), wanted.float(), atol=1e-5)


def test_the_made_up_gpu_refuses_what_a_real_one_refuses() -> None:
    with MadeUpDevice() as device:
        x = device.put(torch.ones(3))
        assert (x.device, (x + 1).device, torch.zeros(3, device=x.device).device) == (GPU, GPU, GPU)
        assert x.cpu().device.type == torch.ones(3).device.type == "cpu"
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)


def test_what_has_nothing_to_train_is_fitted_to_labels_on_a_gpu(tmp_path: Path) -> None:
    class Count(nn.Module):
        seen: torch.Tensor

        def fit(self, labels: torch.Tensor) -> None:
            self.seen = labels

    images, labels = batches("classification")
    model, fabric = Count(), SimpleNamespace(to_device=lambda tensor: tensor)
    with MadeUpDevice() as device:
        there = device.put(images), device.put(labels)
        watch, checkpoint = Watch(lambda network: 0.0), Checkpoint(tmp_path, "")
        train(model, *there, RECIPES["classification"], 0, fabric, watch, checkpoint)  # type: ignore[arg-type]
        assert model.seen.device == GPU
    assert torch.equal(model.seen, labels)


@pytest.mark.parametrize(("free", "resident"), [(10**9, True), (10**4, False)])
def test_images_lie_on_a_gpu_that_has_room_for_them(monkeypatch: pytest.MonkeyPatch, free: int, resident: bool) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**10))
    images, labels = batches("segmentation")
    with MadeUpDevice():
        found = placed(images, labels, GPU)
        assert [t.device.type for t in found] == ["cuda" if resident else "cpu"] * 2
    assert placed(images, labels, torch.device("cpu"))[0] is images


@pytest.fixture
def arithmetic() -> Iterator[Any]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    yield SimpleNamespace(cudnn=cudnn, matmul=matmul)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("tf32", [False, True])
def test_a_gpu_is_deterministic_and_has_tf32_if_asked_for(
    arithmetic: Any, monkeypatch: pytest.MonkeyPatch, tf32: bool
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_arithmetic("cuda:0", preset_protocol("quick", (f"tf32={str(tf32).lower()}",), threads=1))
    assert (arithmetic.cudnn.benchmark, arithmetic.cudnn.deterministic) == (False, True)
    assert (arithmetic.cudnn.allow_tf32, arithmetic.matmul.allow_tf32) == (tf32, tf32)
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    set_arithmetic("cpu", preset_protocol("quick", threads=1))
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_fabric_gives_no_advice(caplog: pytest.LogCaptureFixture) -> None:
    from lightning_fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn

    make_fabric("cpu", Protocol(threads=1))
    rank_zero_info("You should set another precision")
    assert not caplog.records
    with pytest.warns(UserWarning, match="goes on"):
        rank_zero_warn("a warning goes on")


def test_operators_without_a_deterministic_form_are_named_and_other_warnings_go_on() -> None:
    names = {"nll_loss2d_forward_out_cuda_template", "grid_sampler_2d_backward_cuda"}

    def warn() -> set[str]:
        with undetermined() as operators:
            for name in names:
                warnings.warn(f"{name} does not have a deterministic implementation, but you set ...", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
        return operators

    with pytest.warns(UserWarning, match="something else") as others:
        assert warn() == names
    assert len(others) == 1


@pytest.mark.parametrize("most", [0, 1, 5, 7, 15])
def test_the_largest_batch_that_fits(most: int) -> None:
    tried: list[int] = []
    assert largest_batch(lambda n: tried.append(n) or n <= most, 16) == most  # type: ignore[func-returns-value]
    assert len(tried) == 4
    assert 16 not in tried


class Greedy(nn.Module):
    """A network whose pass takes more memory than there is from 6 images on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 5:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore words")
        return self.head(x.mean(dim=(1, 2, 3))[:, None])


def test_out_of_memory_is_told_with_the_largest_batch_that_fits() -> None:
    protocol = Protocol(loss="ce", image_size=32, batch_size=8, steps=2)
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup_module(Greedy())
    optimizer = fabric.setup_optimizers(make_optimizer(model, protocol))
    loop = Loop(model, optimizer, make_loss(protocol), None, protocol, 0, fabric)
    images, labels = torch.randn(16, 1, 32, 32), torch.arange(16) % 2
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"9 GiB\. Of .* below 8, the largest batch that fits is 5"):
        loop.step_or_tell(images, labels, 0)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_a_gpu_says_where_memory_is_short(error: Exception, short: bool) -> None:
    assert ran_out_of_memory(error) is short


def test_tf32_is_part_of_the_key_where_it_is_on() -> None:
    with_tf32, without = ({**CELL, "protocol": {"steps": 4, "tf32": value}} for value in (True, False))
    assert cell_key(without) == cell_key({**CELL, "protocol": {"steps": 4}}) != cell_key(with_tf32)
    assert comparison_key(without) != comparison_key(with_tf32)
    with pytest.raises(UserError, match="tf32 to be of type bool, but got 'yes'"):
        preset_protocol("quick", ("tf32=yes",))
