"""The loop: learning rate, order, a pinned loss curve, resume bit for bit, divergence."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from bench.runs.averaging import WeightAverage
from bench.runs.evaluate import predict_logits
from bench.runs.protocol import Protocol
from bench.runs.seeding import build_seeded
from bench.runs.train import (
    Checkpoint,
    Progress,
    Watch,
    make_optimizer,
    train,
)
from bench.zoo.registry import build_model

PROTOCOL = Protocol(image_size=64, steps=12, batch_size=4, evaluations=3, lr=1e-3)
IMAGES = Protocol(image_size=64, steps=24, batch_size=8, evaluations=3, lr=1e-3, rot90=0.0, rotate=0.0, loss="ce")
# Mean training loss of each third of the twelve steps below. Changing what training computes changes it: raise
# bench.runs.protocol.PROTOCOL_VERSION and pin the new curve.
GOLDEN = (0.81465, 0.71780, 0.68767)


def discs(count: int = 12, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Bright discs of three classes on noise: images (N, 1, S, S), labels (N, S, S)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    images, labels = rng.normal(0, 0.3, (count, 1, size, size)), np.zeros((count, size, size), np.uint8)
    for i in range(count):
        for k in (1, 2, 3):
            cy, cx = rng.uniform(12, size - 12, 2)
            disc = (y - cy) ** 2 + (x - cx) ** 2 < 81
            labels[i][disc] = k
            images[i, 0][disc] += k
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)


def fit(folder: Path, protocol: Protocol = PROTOCOL, **options: Any) -> tuple[nn.Module, Progress]:
    torch.set_num_threads(1)
    fabric = options.pop("fabric", None) or Fabric(accelerator="cpu", devices=1)
    name, network = options.pop("model", "unet_s"), options.pop("network", None)
    built = network or build_seeded(lambda: build_model(name, "segmentation", 1, 4, 64), 0)
    model = fabric.setup_module(built)
    images, labels = discs()
    scores = iter(options.pop("scores", [0.1, 0.3, 0.2]))
    folder.mkdir(exist_ok=True)
    checkpoint = Checkpoint(folder / "checkpoint.pt", options.pop("key", "k"))
    watch = Watch(**{"validate": lambda network: next(scores), **options})
    return model, train(model, images, labels, protocol, 0, fabric, watch, checkpoint)


def test_the_loss_curve_is_pinned(tmp_path: Path) -> None:
    _, progress = fit(tmp_path)
    assert [row["train_loss"] for row in progress.history] == pytest.approx(GOLDEN, rel=2e-3)


def test_selection_takes_the_best_score_and_the_first_on_ties(tmp_path: Path) -> None:
    _, progress = fit(tmp_path, network=one_convolution(), scores=[0.1, 0.3, 0.3])
    assert (progress.best.step, progress.best.score, progress.step) == (8, 0.3, 12)
    assert set(progress.best.state) == set(one_convolution().state_dict())


def test_figures_are_told_every_few_steps_and_at_each_round(tmp_path: Path) -> None:
    """A look at the loss waits for a GPU: steps between are not asked for theirs."""
    told: list[tuple[int, float, float | None]] = []
    _, progress = fit(tmp_path, network=one_convolution(), on_figures=lambda *figures: told.append(figures))
    rounds = [(row["step"], row["train_loss"], row["val_score"]) for row in progress.history]
    assert [figures for figures in told if figures[2] is not None] == rounds
    assert [step for step, _, score in told if score is None] == [1, 11]


def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, progress = fit(tmp_path / "a")

    def stop(step: int) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", on_step=stop)
    first_steps: list[int] = []
    resumed, again = fit(tmp_path / "b", scores=[0.2], on_step=first_steps.append)
    assert first_steps[0] == 9
    assert again.history == progress.history
    state = whole.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in resumed.state_dict().items())


def scaled_fabric() -> tuple[Fabric, torch.amp.GradScaler]:
    """Half precision as on CUDA, on the CPU: a scale that overflows at first, is halved, and grows every 4 steps."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22, growth_interval=4)
    return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler)), scaler


def one_convolution() -> nn.Module:
    """The smallest network that learns: for half precision, which is slow on a CPU, and where the loop is tested."""
    return build_seeded(lambda: nn.Conv2d(1, 4, 3, padding=1), 0)


def test_a_resumed_run_of_half_precision_goes_on_with_the_scale_of_its_gradients(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fabric, scaler = scaled_fabric()
    half = replace(PROTOCOL, precision="16-mixed")
    whole, _ = fit(tmp_path / "a", half, network=one_convolution(), fabric=fabric)
    expected = scaler.state_dict()
    assert expected["scale"] < 2.0**22
    assert expected["_growth_tracker"] > 0, "or the tracker is not tested"

    def stop(step: int) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", half, network=one_convolution(), fabric=scaled_fabric()[0], on_step=stop)
    fabric, scaler = scaled_fabric()
    resumed, _ = fit(tmp_path / "b", half, network=one_convolution(), fabric=fabric, scores=[0.2])
    assert scaler.state_dict() == expected
    state = whole.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in resumed.state_dict().items())


def test_a_checkpoint_of_another_cell_is_not_taken(tmp_path: Path) -> None:
    fit(tmp_path, network=one_convolution())
    steps: list[int] = []
    fit(tmp_path, network=one_convolution(), key="other", on_step=steps.append)
    assert steps[0] == 1


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_starts_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    steps: list[int] = []
    fit(tmp_path, network=one_convolution(), on_step=steps.append)
    assert steps[0] == 1


def test_a_flipped_bit_in_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    fit(tmp_path, network=one_convolution())
    path, steps = tmp_path / "checkpoint.pt", list[int]()
    whole = path.read_bytes()
    fit(tmp_path, network=one_convolution(), on_step=steps.append)
    assert steps == [], "a whole one is gone on with"
    path.write_bytes(bytes(byte ^ (4 * (i == len(whole) // 2)) for i, byte in enumerate(whole)))
    fit(tmp_path, network=one_convolution(), on_step=steps.append)
    assert steps[0] == 1


def test_a_loss_that_is_not_finite_ends_as_diverged(tmp_path: Path) -> None:
    images, labels = discs()
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup_module(build_model("unet_s", "segmentation", 1, 4, 64))
    images[:] = math.nan
    watch, checkpoint = Watch(lambda network: 0.5), Checkpoint(tmp_path / "nan.pt", "k")
    spoilt = train(model, images, labels, PROTOCOL, 0, fabric, watch, checkpoint)
    assert spoilt.diverged
    assert spoilt.step == 4
    assert spoilt.history == []


def test_nothing_to_train_takes_no_step(tmp_path: Path) -> None:
    _, progress = fit(tmp_path, model="chance", scores=[0.0])
    assert progress.step == 0
    assert not (tmp_path / "checkpoint.pt").exists()


def test_what_has_nothing_to_train_is_shown_the_labels_once(tmp_path: Path) -> None:
    model = Fabric(accelerator="cpu", devices=1).setup_module(build_model("chance", "classification", 1, 2, 64))
    images, labels = torch.zeros(4, 1, 64, 64), torch.tensor([1, 1, 0, 1])
    fabric, seen = Fabric(accelerator="cpu", devices=1), []

    def validate(network: nn.Module) -> float:
        seen.append(network(images[:1]).softmax(1).tolist())
        return 0.0

    progress = train(model, images, labels, IMAGES, 0, fabric, Watch(validate), Checkpoint(tmp_path / "c.pt", "k"))
    assert seen == [[pytest.approx([0.25, 0.75])]]
    assert progress.best.state["log_counts"].softmax(0).tolist() == pytest.approx([0.25, 0.75])


def stripes(count: int = 24, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Lines across (0) or down (1) on noise: images (N, 1, S, S), classes (N,)."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    wave = np.sin(np.arange(size) / 2)
    images = rng.normal(0, 0.5, (count, 1, size, size)) + np.where(
        labels[:, None, None, None] == 1, wave[None, None, None, :], wave[None, None, :, None]
    )
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)


def classify(folder: Path, stop_at: int = 0) -> tuple[nn.Module, Progress]:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    fabric = Fabric(accelerator="cpu", devices=1)
    built = build_seeded(lambda: build_model("mednext_tiny", "classification", 1, 2, 64), 0)
    model = fabric.setup_module(built)
    images, labels = stripes()

    def stop(step: int) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    def score(network: nn.Module) -> float:
        return -nn.functional.cross_entropy(predict_logits(network, images), labels).item()

    try:
        checkpoint = Checkpoint(folder / "c.pt", "k")
        progress = train(model, images, labels, IMAGES, 0, fabric, Watch(score, on_step=stop), checkpoint)
    finally:
        torch.use_deterministic_algorithms(False)
    return model, progress


@pytest.mark.slow
def test_a_classifier_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, progress = classify(tmp_path / "a")
    assert progress.history[-1]["train_loss"] < min(0.1, progress.history[0]["train_loss"] / 2)
    assert progress.history[-1]["val_score"] > math.log(0.7)
    with pytest.raises(KeyboardInterrupt):
        classify(tmp_path / "b", stop_at=17)
    resumed, again = classify(tmp_path / "b")
    assert again.history == progress.history
    state = whole.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in resumed.state_dict().items())


def test_biases_norms_and_scales_are_not_decayed() -> None:
    model = build_model("mednext_tiny", "segmentation", 1, 4, 64)
    rest, decayed = make_optimizer(model, PROTOCOL).param_groups
    assert decayed["weight_decay"] == PROTOCOL.weight_decay
    assert rest["weight_decay"] == 0
    assert len(decayed["params"]) + len(rest["params"]) == len(list(model.parameters()))
    assert all(p.ndim == 4 for p in decayed["params"])
    assert any(p.ndim == 3 for p in rest["params"])


def test_the_fused_kernel_takes_the_steps_that_adamw_is() -> None:
    """Without a scale of the gradients, which Fabric cannot undo for it; on other devices torch chooses."""
    weights = [torch.randn(5, 4, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    layers = [nn.Linear(4, 5, bias=False) for _ in weights]
    for layer, start in zip(layers, weights, strict=True):
        layer.weight.data.copy_(start)
    model = nn.ModuleList(layers)
    fused, plain = make_optimizer(model, PROTOCOL), torch.optim.AdamW(weights, PROTOCOL.lr, weight_decay=0.05)
    assert all(group["fused"] for group in fused.param_groups)
    fused.param_groups[0]["weight_decay"] = 0.05
    for step in range(5):
        for layer, weight in zip(layers, weights, strict=True):
            weight.grad = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
            layer.weight.grad = weight.grad.clone()
        fused.step()
        plain.step()
    for layer, weight in zip(layers, weights, strict=True):
        torch.testing.assert_close(layer.weight.detach(), weight)
    scaled = make_optimizer(model, replace(PROTOCOL, precision="16-mixed"))
    elsewhere = make_optimizer(nn.Linear(4, 5, device="meta"), PROTOCOL)
    assert not any(group["fused"] for group in scaled.param_groups + elsewhere.param_groups)


def test_what_a_network_or_a_module_in_it_excepts_is_not_decayed() -> None:
    """Position embeddings and tables of position biases, also behind Fabric's wrapper, and scales shaped as maps."""
    excepted = {
        "deit_tiny": ("classification", {"pos_embed", "cls_token"}),
        "swin_unet_s": ("segmentation", {"relative_position_bias_table"}),
        "transunet_s": ("segmentation", {"position"}),
        "mednext_tiny[laffn=window]": ("segmentation", {"position", "scale"}),
    }
    for name, (task, ends) in excepted.items():
        wrapped = Fabric(accelerator="cpu", devices=1).setup_module(build_model(name, task, 1, 4, 64))
        rest, decayed = make_optimizer(wrapped, PROTOCOL).param_groups
        place = {id(p): key for key, p in wrapped.named_parameters()}
        assert (rest["weight_decay"], decayed["weight_decay"]) == (0, PROTOCOL.weight_decay)
        assert ends <= {place[id(p)].rpartition(".")[2] for p in rest["params"]}, name
        assert not ends & {place[id(p)].rpartition(".")[2] for p in decayed["params"]}, name


AVERAGED = replace(PROTOCOL, average=0.9)


@pytest.mark.slow
def test_an_average_of_the_weights_is_kept_and_scored_beside_them(tmp_path: Path) -> None:
    model, progress = fit(tmp_path, protocol=AVERAGED, scores=[0.1, 0.2, 0.3, 0.15, 0.2, 0.25])
    assert [row["average_val_score"] for row in progress.history] == [0.2, 0.15, 0.25]
    assert (progress.best.score, progress.best.step) == (0.3, progress.history[1]["step"])
    assert (progress.average_best.score, progress.average_best.step) == (0.25, progress.history[2]["step"])
    last = model.state_dict()
    assert set(progress.average) == set(last)
    assert any(not torch.equal(progress.average[name], tensor) for name, tensor in last.items())
    plain, _ = fit(tmp_path / "plain", protocol=PROTOCOL)
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in last.items())


def test_what_stops_a_run_hears_of_the_average_s_scores_as_tables_show_them(tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []

    def stop(step: int, score: float) -> bool:
        heard.append((step, score))
        return len(heard) == 2

    scores = [0.1, 0.2, 0.3, 0.15, 0.2, 0.25]  # of the weights themselves and of their average in turn
    _, progress = fit(tmp_path, AVERAGED, network=one_convolution(), scores=scores, stop=stop)
    assert progress.stopped
    assert [score for _, score in heard] == [0.2, 0.15]
    again: list[float] = []  # of the checkpoint's rounds first
    fit(
        tmp_path,
        AVERAGED,
        network=one_convolution(),
        scores=[0.2, 0.25],
        stop=lambda _, score: bool(again.append(score)),
    )
    assert again == [0.2, 0.15, 0.25]


@pytest.mark.slow
def test_an_average_resumes_bit_for_bit(tmp_path: Path) -> None:
    _, whole = fit(tmp_path / "whole", protocol=AVERAGED, scores=[0.1] * 6)

    def stop(step: int) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", protocol=AVERAGED, scores=[0.1] * 6, on_step=stop)
    _, resumed = fit(tmp_path / "cut", protocol=AVERAGED, scores=[0.1] * 6)
    assert all(torch.equal(resumed.average[name], tensor) for name, tensor in whole.average.items())


def test_the_average_forgets_the_start() -> None:
    """Against the plain formula, in float64."""
    model = nn.BatchNorm1d(2).double()
    average, expected = WeightAverage(model, 0.8), torch.zeros(2, dtype=torch.float64)
    for step in range(30):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([step, -step]))
            model.running_mean += 1
            model.num_batches_tracked += 1
        average.update()
        decay = min(0.8, 1 - (1 + step) ** -0.75)
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.state["weight"], expected)
    assert 20 < average.state["running_mean"][0] < 29
    assert average.state["num_batches_tracked"] == 30
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert model.weight[0] == 29


class Supervised(nn.Module):
    """A convolution that is supervised at half the resolution too; keeps the kinds of numbers that it computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)

    def training_logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        out = self.conv(x)
        self.seen.append(out.dtype)
        return [out, nn.functional.avg_pool2d(out, 2)]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_deep_supervision_is_in_the_protocols_precision_and_only_where_it_is_asked_for(
    tmp_path: Path, precision: str
) -> None:
    torch.manual_seed(0)
    network = Supervised()
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    fit(tmp_path, replace(PROTOCOL, deep_supervision="own", precision=precision), network=network, fabric=fabric)
    assert set(network.seen) == {torch.bfloat16 if precision == "bf16-mixed" else torch.float32}
    assert len(network.seen) == PROTOCOL.steps
    plain = Supervised()
    fit(tmp_path / "plain", PROTOCOL, network=plain)
    assert plain.seen == []
