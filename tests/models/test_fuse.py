"""The fused network is the training network: the same function to rounding, with nothing left to fold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ablations.fillings  # noqa: F401  these too
import bench.models.mednext  # noqa: F401  registers the fillings
from bench.errors import UserError
from bench.models.fuse import fuse
from bench.models.slots import BlockConfig, fill, filling_names
from bench.zoo.registry import build_model

VARIANTS = ("mednext_tiny", "mednext_small", "mednext_base")
TASKS = ("classification", "segmentation")
FILLINGS = [(slot, name) for slot in ("laffn", "sem", "sdffn") for name in filling_names(slot)]


def with_random_statistics(model: nn.Module, channels: int) -> nn.Module:
    """Norms as in training, then shaken: every running statistic and parameter is off its start, in a sane range."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model.double().train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            if norm.bias is not None:
                nn.init.normal_(norm.bias, 0, 0.3)
        model(torch.randn(4, channels, 64, 64, dtype=torch.float64))
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean += 0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.3)
    return model.eval()


def largest_difference(model: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        expected, got = model(x), fuse(model)(x)
    assert expected.abs().max() > 1e-3
    return float((expected - got).abs().max())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_all_variants_are_equal_to_1e9(variant: str, task: str) -> None:
    torch.manual_seed(0)
    model = with_random_statistics(build_model(variant, task, 3, 4, 64), 3)
    assert largest_difference(model, torch.randn(2, 3, 61, 70, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("slot", "name"), FILLINGS)
def test_all_fillings_are_equal_to_1e9(slot: str, name: str, task: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), slot: name}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(2, 1, 64, 49, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("act", ["relu", "gelu", "hardswish"])
def test_all_activations_are_equal_to_1e9(act: str, task: str) -> None:
    torch.manual_seed(0)
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, act=act, laffn="none"), 1)
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
    from bench.models.residual import Residual

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
