"""Streams are functions of seed and place; initial weights of seed and name."""

from __future__ import annotations

import torch
from torch import nn

from bench.registry import build_model
from bench.seeding import build_seeded, derive, generator


def arm(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return build_seeded(lambda: build_model(name, "segmentation", 1, 4, 64), seed).state_dict()


def test_a_derived_seed_is_pinned() -> None:
    assert derive(0, "order", 3) == 2723741169552378311
    assert derive(0, "order", 3) != derive(0, "order", 4) != derive(1, "order", 3)


def test_arms_share_the_weights_of_the_modules_they_share() -> None:
    full, without = arm("mednext_tiny"), arm("mednext_tiny[sem=none]")
    assert set(without) < set(full)
    assert all(torch.equal(full[name], without[name]) for name in without)


def test_another_seed_gives_other_weights_of_the_same_spread() -> None:
    one, two = arm("unet_s", 0), arm("unet_s", 1)
    name = next(n for n in one if n.endswith("weight") and one[n].ndim == 4)
    assert not torch.equal(one[name], two[name])
    assert abs(one[name].std() / two[name].std() - 1) < 0.2


def test_constants_stay_what_the_network_makes_them() -> None:
    state = arm("mednext_tiny")
    kernel = next(v for k, v in state.items() if k.endswith("smooth.weight"))
    line = torch.tensor([0.25, 0.5, 0.25])
    assert torch.equal(kernel[0, 0], torch.outer(line, line))
    assert all((v == 0.5).all() for k, v in state.items() if k.endswith(".scale"))


def test_factory_draws_and_views_are_redrawn_by_name() -> None:
    class Net(nn.Module):
        def __init__(self, extra: bool) -> None:
            super().__init__()
            self.before = nn.Linear(3, 3) if extra else nn.Identity()
            self.position = nn.Parameter(0.02 * torch.randn(1, 400))
            self.part = nn.Parameter(torch.zeros(4, 4))
            nn.init.normal_(self.part.data[:2])

    one, two = (build_seeded(lambda extra=extra: Net(extra), 3).state_dict() for extra in (True, False))
    assert torch.equal(one["part"], two["part"])
    assert (one["part"][2:] == 0).all()
    assert (one["part"][:2] != 0).all()
    assert 0.015 < one["position"].std() < 0.025


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    arm("unet_s")
    assert torch.equal(torch.rand(3), expected)


def test_a_generator_is_a_function_of_its_place() -> None:
    draws = [torch.rand(2, generator=generator(0, "augment", step)) for step in (1, 2, 1)]
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
