"""The fused network is the training network: the same function to rounding, with nothing left to fold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fused_forms import largest_difference, with_random_statistics
from torch import nn

import ablations.fillings  # noqa: F401  these too
import bench.models.mednext  # noqa: F401  registers the fillings
from bench.errors import UserError
from bench.models.fuse import fold_after, fuse
from bench.models.residual import Residual
from bench.models.slots import BlockConfig, fill, filling_names
from bench.zoo.registry import build_model

VARIANTS = ("mednext_tiny", "mednext_small", "mednext_base")
TASKS = ("classification", "segmentation")
# The segmenter has the classifier's stages and more: with each filling the classifier is slow.
BOTH_TASKS = [pytest.param("classification", marks=pytest.mark.slow), "segmentation"]
# What is folded in more than one way; the other fillings are slow, and the whole network has the default ones.
OFTEN = [("laffn", "separable"), ("sem", "multiscale5"), ("sdffn", "glu")]
FILLINGS = [
    pytest.param(slot, name, marks=() if (slot, name) in OFTEN else pytest.mark.slow)
    for slot in ("laffn", "sem", "sdffn")
    for name in filling_names(slot)
]


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(
    "variant", [VARIANTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS[1:])]
)
def test_all_variants_are_equal_to_1e9(variant: str, task: str) -> None:
    torch.manual_seed(0)
    model = with_random_statistics(build_model(variant, task, 3, 4, 64), 3)
    assert largest_difference(model, torch.randn(2, 3, 61, 70, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(("slot", "name"), FILLINGS)
def test_all_fillings_are_equal_to_1e9(slot: str, name: str, task: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), slot: name}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(2, 1, 64, 49, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(
    ("stem", "laffn", "sdffn"),
    [
        ("dense_full", "convmod", "smooth"),
        pytest.param("dense_half", "none", "mix", marks=pytest.mark.slow),
        pytest.param("dense_half", "none", "glu", marks=pytest.mark.slow),
        pytest.param("dense_half", "convmod", "smooth", marks=pytest.mark.slow),
    ],
)
def test_all_stems_with_norms_after_depthwise_convolutions_are_equal_to_1e9(
    stem: str, laffn: str, sdffn: str, task: str
) -> None:
    torch.manual_seed(0)
    config = {"stem": stem, "laffn": laffn, "sdffn": sdffn, "dw_norm": True, "layer_scale": 0.1}
    config |= {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), "deep_supervision": True}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(2, 1, 64, 49, dtype=torch.float64)) < 1e-9
    left = [name for name, m in fuse(model).named_modules() if isinstance(m, nn.BatchNorm2d) or "lower_heads." in name]
    assert left == []


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize("act", ["gelu", *(pytest.param(act, marks=pytest.mark.slow) for act in ("relu", "hardswish"))])
def test_all_activations_are_equal_to_1e9(act: str, task: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), "act": act, "laffn": "none"}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(1, 1, 64, 64, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", TASKS)
def test_no_norm_and_no_scale_is_left(task: str) -> None:
    fused = fuse(build_model("mednext_tiny", task, 1, 3, 64))
    assert not [name for name, m in fused.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert not [name for name, _ in fused.named_parameters() if name.endswith(".scale")]
    assert not any(p.requires_grad for p in fused.parameters())
    assert not fused.training


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_the_spatial_encoding_module_is_one_depthwise_kernel(kernel: int) -> None:
    module = fill("sem", "multiscale", 8, BlockConfig(kernel, 2, "relu"))
    assert module is not None
    torch.manual_seed(0)
    residual = with_random_statistics(Residual(module, 8, 0.7, 0.0), 8)
    fused = fuse(residual)
    assert isinstance(fused, nn.Conv2d)
    assert (fused.kernel_size, fused.groups) == ((kernel, kernel), 8)
    x = torch.randn(2, 8, 11, 12, dtype=torch.float64)
    torch.testing.assert_close(fused(x), residual(x), rtol=0, atol=1e-12)


def test_the_smooth_ffn_s_residual_is_in_its_kernel() -> None:
    module = fill("sdffn", "smooth", 8, BlockConfig(5, 3, "relu"))
    assert module is not None
    kinds = [type(m).__name__ for m in fuse(with_random_statistics(module, 8)).children()]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "Conv2d"]


def test_the_model_and_its_state_dict_stay_as_they_are() -> None:
    model = build_model("mednext_tiny", "segmentation", 1, 3, 64).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(2, 1, 64, 64)
    fused = fuse(model)
    with torch.no_grad():
        fused(x)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    fresh = build_model("mednext_tiny", "segmentation", 1, 3, 64)
    fresh.load_state_dict(after)


def test_fused_calls_do_not_change_their_input() -> None:
    fused = fuse(build_model("mednext_tiny", "segmentation", 1, 3, 64))
    x = torch.randn(2, 1, 64, 64)
    copy = x.clone()
    with torch.no_grad():
        assert torch.equal(fused(x), fused(x))
    assert torch.equal(x, copy)


def test_a_network_without_fused_parts_is_told() -> None:
    with pytest.raises(UserError, match="no fused form"):
        fuse(nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU()))


def test_a_form_that_was_checked_elsewhere_is_made_without_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("mednext_tiny", "segmentation", 1, 3, 64)
    monkeypatch.setattr(type(model), "forward", lambda self, x: pytest.fail("a pass takes memory and time"))
    assert not [m for m in fuse(model, check=False).modules() if isinstance(m, nn.BatchNorm2d)]


def test_what_is_kept_of_a_convolution() -> None:
    options: Any = {"stride": (2, 1), "padding": (3, 4), "dilation": (1, 2), "groups": 2, "padding_mode": "circular"}
    conv = nn.Conv2d(4, 6, (3, 5), **options, dtype=torch.float16)
    norm = nn.BatchNorm2d(6)
    folded = fold_after(conv, norm)
    assert folded.extra_repr() == conv.extra_repr()
    assert folded.weight.dtype == torch.float16
    assert folded.weight.data_ptr() != conv.weight.data_ptr()


def test_a_shortcut_goes_into_a_dilated_depthwise_convolution() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
    fused = fuse(Residual(conv, 4, 0.5, 0.0), torch.randn(1, 4, 8, 8))
    assert isinstance(fused, nn.Conv2d)
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(fused(x), x + 0.5 * conv(x))


def test_the_check_leaves_flags_statistics_and_random_numbers_alone() -> None:
    model = build_model("mednext_tiny", "classification", 1, 3, 64, drop_path=0.1).train()
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.random.get_rng_state()
    fuse(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_activations_behind_convolutions_are_in_place_as_far_as_that_is_proved() -> None:
    fused = fuse(build_model("mednext_tiny", "segmentation", 1, 3, 64))
    acts = [module for module in fused.modules() if isinstance(module, nn.ReLU)]
    assert acts
    assert all(act.inplace for act in acts)
    before = nn.Sequential(nn.ReLU(), Residual(nn.Conv2d(4, 4, 1), 4, 1.0, 0.0))
    assert not [m for m in fuse(before, torch.randn(1, 4, 8, 8)).modules() if getattr(m, "inplace", False)]


def test_an_input_that_cannot_be_guessed_is_asked_for() -> None:
    class Own(nn.Module):
        def fused(self) -> nn.Module:
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(UserError, match="pass fuse\\(\\) an example input"):
        fuse(Own())
    wide = nn.Sequential(Residual(nn.Conv2d(4, 4, 1), 4, 1.0, 0.0), nn.ReflectionPad2d(40))
    with pytest.raises(UserError, match=r"does not take random images of 2x4x32x64.*pass fuse"):
        fuse(wide)
    fuse(wide, torch.randn(1, 4, 64, 64))
    fuse(Own(), torch.randn(1, 2, 8, 8))
