"""A real GPU, where there is one: the CPU's images, cells from data to record, resuming, full memory, TF32, speeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import nn

import bench
from bench.datasets.augmentation.batches import augment, mix
from bench.records import store
from bench.runs import runner
from bench.runs.devices import drawn_batch, placed, set_arithmetic
from bench.runs.losses import make_loss
from bench.runs.protocol import PRESETS, Protocol, preset_protocol
from bench.runs.replay import SWITCH
from bench.runs.request import Request
from bench.runs.seeding import generator
from bench.runs.train import Loop, make_optimizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]
RECIPES = {"segmentation": PRESETS["standard"].protocol, "classification": PRESETS["standard"].classification}
DATASETS = {"acdc": "unet_s", "sars-cov2-ct": "resnet10t"}
TINY = ("steps=20", "evaluations=4", "batch_size=4")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def run(results: Path, say: list[str] | None = None, **changes: Any) -> tuple[dict[str, Any], Path]:
    """The record of the one cell that is asked for, and its folder; `say` takes the notes."""
    shared: dict[str, Any] = {"preset": "smoke", "data": "phantom", "settings": TINY, "threads": 1, "device": "cuda"}
    (job,) = runner.make_jobs(Request(**{**shared, "seeds": "0,", "results": results, **changes}))
    runner.run_jobs([job], report=lambda event: say.append(event.text) if say is not None else None)
    record = store.read_record(job.folder)
    assert record is not None
    return record, job.folder


@pytest.mark.parametrize("task", RECIPES)
@pytest.mark.parametrize("resident", [True, False], ids=["on the GPU", "in memory"])
def test_it_sees_the_cpu_s_images(task: str, resident: bool) -> None:
    device, recipe, channels = torch.device("cuda", 0), RECIPES[task], 3 if task == "classification" else 1
    torch.manual_seed(0)
    images = torch.randn(12, channels, 64, 64)
    maps = torch.randint(0, 4, (12, 64, 64), dtype=torch.uint8)
    labels = maps if task == "segmentation" else torch.arange(12) % 2
    there = placed(images, labels, device) if resident else (images, labels)
    assert there[0].device.type == ("cuda" if resident else "cpu")  # type: ignore[union-attr]
    for step in range(20):
        chosen = torch.randperm(12, generator=generator(0, "order", step))[:8]
        seen = []
        for given in (
            drawn_batch(images, labels, chosen, torch.device("cpu")),
            drawn_batch(*there, chosen, device),
        ):
            x, y = augment(*given[:2], recipe, generator(0, "augment", step), given[2])
            x, _ = mix(x, recipe.mixup, step)
            seen.append((x.cpu(), y.cpu()))
        (wanted, wanted_labels), (got, got_labels) = seen
        assert (got - wanted).abs().max() < 1e-4
        assert (got_labels != wanted_labels).float().mean() < 1e-3  # a pixel between two by rounding


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_cell_is_trained_there_again_and_on_the_cpu(tmp_path: Path, dataset: str) -> None:
    found = {}
    for name, device in (("first", "cuda"), ("again", "cuda:0"), ("cpu", "cpu")):
        record, folder = run(tmp_path / name, dataset=dataset, models=DATASETS[dataset], device=device)
        assert record["status"] == "complete", record["error"]
        found[name] = record, load_file(folder / "weights.safetensors")
    record = found["first"][0]
    assert record["environment"]["device"].startswith("cuda")
    assert record["training"]["peak_bytes"] > 1e6
    for name, weights in found["first"][1].items():
        same = torch.equal(weights, found["again"][1][name])
        assert same or record["training"]["undetermined"], name
    history = {name: record["training"]["final_loss"] for name, (record, _) in found.items()}
    assert history["first"] == pytest.approx(history["cpu"], rel=0.05)
    assert found["first"][0]["key"] == found["cpu"][0]["key"]


@pytest.mark.parametrize("model", ["mednext_tiny", "mobilevitv2_050", "deit_tiny", "resnet10t"])
def test_replayed_steps_have_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    settings = (*TINY[1:], "steps=12", "mixup=0.2", "average=0.99")
    found = {}
    for switch in ("0", "1"):
        monkeypatch.setenv(SWITCH, switch)
        said: list[str] = []
        record, folder = run(tmp_path / switch, dataset="sars-cov2-ct", models=model, settings=settings, say=said)
        assert record["status"] == "complete", record["error"]
        assert not [line for line in said if "no graph" in line]
        weights = load_file(folder / "weights.safetensors") | load_file(folder / "average.safetensors")
        found[switch] = record["training"], weights, (folder / "history.csv").read_text()
    (launched, weights, history), (replayed, others, same) = found["0"], found["1"]
    assert not launched["undetermined"]
    assert not replayed["undetermined"]
    assert history == same
    for name, kept in weights.items():
        assert torch.equal(kept, others[name]), name


@pytest.mark.parametrize("model", ["mednext_tiny", "swin_unet_s", "segformer_b0_s", "nnunet_s", "unext", "transunet_s"])
def test_segmenters_are_replayed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    losses = []
    for switch in ("0", "1"):
        monkeypatch.setenv(SWITCH, switch)
        said: list[str] = []
        record, _ = run(tmp_path / switch, dataset="acdc", models=model, say=said)
        assert record["status"] == "complete", record["error"]
        assert not [line for line in said if "no graph" in line]
        losses.append(record["training"]["final_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # cross-entropy of maps sums in any order on a GPU


def test_a_network_that_waits_for_the_gpu_is_trained_as_before() -> None:
    class Waits(nn.Module):
        """Looks at a number of the GPU, which no graph can."""

        def __init__(self) -> None:
            super().__init__()
            self.head, self.dropout = nn.Linear(32 * 32, 2), nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dropout(self.head(x.flatten(1))) * (1.0 + x.mean().item())

    protocol = Protocol(loss="ce", image_size=32, batch_size=8, steps=8)
    images, labels = torch.randn(16, 1, 32, 32, device="cuda"), torch.arange(16, device="cuda") % 2
    weights, said = [], list[str]()
    for replayed in (True, False, True):  # the third: what the first left behind hinders nobody
        torch.manual_seed(0)
        fabric = Fabric(accelerator="cuda", devices=1)
        model = fabric.setup_module(Waits())
        optimizer = fabric.setup_optimizers(make_optimizer(model, protocol))
        loop = Loop(model, optimizer, make_loss(protocol), None, protocol, 0, fabric)  # type: ignore[arg-type]
        loop = loop.replaying(said.append) if replayed else loop
        for step in range(8):
            loop.step(images, labels, step)
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    assert len(said) == 2
    assert all("no graph can be made of them: the network waits for a number of the GPU" in line for line in said)
    for first, launched, again in zip(*weights, strict=True):
        assert torch.equal(first, launched)
        assert torch.equal(first, again)


class Killed(BaseException):
    """Ends a run as a kill would: nothing is written after it."""


def test_it_resumes_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(tmp_path / "whole", dataset="acdc", models="unet_s")
    step = Loop.step

    def dying(loop: Loop, images: Any, labels: Any, number: int) -> torch.Tensor:
        if number == 12:
            raise Killed
        return step(loop, images, labels, number)

    monkeypatch.setattr(Loop, "step", dying)
    with pytest.raises(Killed):
        run(tmp_path / "cut", dataset="acdc", models="unet_s")
    monkeypatch.setattr(Loop, "step", step)
    resumed, folder = run(tmp_path / "cut", dataset="acdc", models="unet_s")
    rows = (folder / "history.csv").read_text().splitlines()
    assert [int(row.partition(",")[0]) for row in rows[1:]] == [5, 10, 15, 20]
    assert resumed["training"]["final_loss"] == pytest.approx(whole["training"]["final_loss"], rel=0.02)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision(tmp_path: Path, precision: str) -> None:
    record, _ = run(tmp_path, dataset="acdc", models="unet_s", settings=(*TINY, f"precision={precision}"))
    assert record["status"] == "complete", record["error"]


def test_full_memory_is_told_with_the_largest_batch_that_fits() -> None:
    class Greedy(nn.Module):
        """1 GiB for an image."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            taken = torch.empty(len(x), 2**28, device=x.device)
            return self.head(x.mean(dim=(1, 2, 3))[:, None]) + 0 * taken[:, :1].detach().nan_to_num()

    protocol = Protocol(loss="ce", image_size=32, batch_size=8, steps=2)
    fabric = Fabric(accelerator="cuda", devices=1)
    model = fabric.setup_module(Greedy())
    optimizer = fabric.setup_optimizers(make_optimizer(model, protocol))
    loop = Loop(model, optimizer, make_loss(protocol), None, protocol, 0, fabric)
    images, labels = torch.randn(16, 1, 32, 32, device="cuda"), torch.arange(16, device="cuda") % 2
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 5.5 * 2**30) / whole)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError, match=r"below 8, the largest batch that fits is 5"):
            loop.step_or_tell(images, labels, 0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("tf32", [False, True])
def test_products_have_tf32_if_it_is_asked_for(tf32: bool) -> None:
    set_arithmetic("cuda", preset_protocol("quick", (f"tf32={str(tf32).lower()}",), threads=1))
    torch.manual_seed(0)
    x, w = torch.randn(4, 64, 32, 32), torch.randn(64, 64, 3, 3)
    exact = nn.functional.conv2d(x.double(), w.double(), padding=1)
    found = nn.functional.conv2d(x.cuda(), w.cuda(), padding=1).cpu().double()
    error = ((found - exact).norm() / exact.norm()).item()
    assert (1e-5 < error < 5e-3) if tf32 else error < 2e-6


def test_training_steps_are_timed_there(tmp_path: Path) -> None:
    request: dict[str, Any] = {"device": "cuda", "image_size": 64, "batch": 4, "step": True, "threads": 1}
    rows = bench.profile("mednext_tiny", results=tmp_path, seconds=1, **request)
    assert rows["error"].isna().all()
    assert (rows["images_per_second"] > 0).all()
