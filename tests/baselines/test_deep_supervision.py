"""Networks whose own papers supervise lower resolutions: heads that train, and that inference does not pay for."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from bench.zoo.complexity import complexity, inference_parameters
from bench.zoo.registry import build_model, model_entry, model_names

OWN = [name for name in model_names() if model_entry(name).deep_supervision]
SLOW = {name for name in OWN if not name.endswith("_s") and name != "emcad_b0"}
MARKED = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in OWN]
# Sides of the logits at 64 pixels; nnU-Net leaves its lowest decoder map out.
SIDES = {"attention_unet": (64, 32, 16, 8), "nnunet": (64, 32, 16), "unet_plus_plus": (64, 64, 64, 64)}
SIDES |= {"emcad_b0": (64, 32, 16, 8), "emcad_b2": (64, 32, 16, 8)}
SIDES |= {f"dkfz_mednext_{size}": (64, 32, 16, 8, 4) for size in ("small", "base", "medium", "large")}


def built(name: str, size: int = 64) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return build_model(name, "segmentation", 1, 3, size), torch.randn(2, 1, size, size)


def test_these_papers_have_it() -> None:
    assert {name.removesuffix("_s") for name in OWN} == set(SIDES)
    assert all(model_entry(name).tasks == ("segmentation",) for name in OWN)


@pytest.mark.parametrize("name", MARKED)
def test_logits_are_those_of_forward_and_lower_ones(name: str) -> None:
    model, x = built(name)
    for module in model.modules():  # so that two passes in training mode are one function
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    model.train()
    torch.manual_seed(1)  # of stochastic depth, which large networks have
    logits = cast(Any, model).training_logits(x)
    assert [tuple(y.shape) for y in logits] == [(2, 3, side, side) for side in SIDES[name.removesuffix("_s")]]
    torch.manual_seed(1)
    assert torch.equal(logits[0], model(x))
    sum(y.square().mean() for y in logits).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", MARKED)
def test_heads_cost_inference_nothing(name: str) -> None:
    """They are parameters that no logit depends on, and that no count holds."""
    model, x = built(name)
    used = {id(p) for p in inference_parameters(model)}
    heads = {key: p for key, p in model.named_parameters() if id(p) not in used}
    assert heads
    cost = complexity(model, (1, 1, 64, 64))
    assert cost.params == sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in heads.values())
    assert cost.trainable == cost.params
    model(x).sum().backward()
    assert all(p.grad is None for p in heads.values())
    assert all(p.grad is not None for p in inference_parameters(model))


def test_the_planned_number_of_stages_decides_how_many_heads_nnunet_has() -> None:
    for size, heads in ((16, 0), (32, 1), (64, 2), (128, 3), (256, 3)):
        assert len(cast(Any, built("nnunet_s", size)[0]).lower_heads) == heads


def test_a_network_without_the_method_has_all_its_parameters_counted() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1))
    assert inference_parameters(model) == list(model.parameters())
