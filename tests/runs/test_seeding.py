"""Streams are functions of seed and place; initial weights of seed and name."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from bench.runs.seeding import build_seeded, derive, generator, seed_all
from bench.zoo.registry import build_model


def arm(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return build_seeded(lambda: build_model(name, "segmentation", 1, 4, 64), seed).state_dict()


def test_a_derived_seed_is_pinned() -> None:
    assert derive(0, "order", 3) == 2723741169552378311
    assert derive(0, "order", 3) != derive(0, "order", 4) != derive(1, "order", 3)


class DrawsElsewhere(nn.Module):
    """A network of one's own that draws from numpy and `random`, when it is built and when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(np.random.rand() + random.random()))  # noqa: NPY002

    def forward(self) -> torch.Tensor:
        return self.scale * (np.random.rand() + random.random())  # noqa: NPY002


def test_generators_of_numpy_and_python_are_seeded_as_torch_s_is() -> None:
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (build_seeded(DrawsElsewhere, seed) for seed in (0, 0, 1))
    assert one.scale.item() == again.scale.item() != other.scale.item()
    assert (np.random.get_state()[1] == before).all(), "a build leaves them as they were"  # noqa: NPY002
    passes = []
    for _ in range(2):
        seed_all(derive(0, "dropout", 3))
        passes.append(one().item())
    assert passes[0] == passes[1] != one().item()


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
    assert all((v == 1.0).all() for k, v in state.items() if k.endswith(".scale"))


class Drawn(nn.Module):
    """Parameters drawn in place, on a view, by a factory, and through a copy."""

    def __init__(self, extra: bool) -> None:
        super().__init__()
        self.before = nn.Linear(3, 3) if extra else nn.Identity()
        self.position = nn.Parameter(0.02 * torch.randn(1, 400))
        self.part = nn.Parameter(torch.zeros(4, 4))
        self.square = nn.Parameter(torch.empty(4, 4))
        self.ramp = nn.Parameter(torch.arange(1.0, 5).mul_(2).log())
        nn.init.normal_(self.part.data[:2])
        nn.init.orthogonal_(self.square)


def test_what_is_drawn_in_place_depends_on_its_name_alone() -> None:
    one, two = (build_seeded(lambda extra=extra: Drawn(extra), 3).state_dict() for extra in (True, False))
    assert torch.equal(one["part"], two["part"])
    assert (one["part"][2:] == 0).all()
    assert (one["part"][:2] != 0).all()


def test_what_is_not_drawn_in_place_keeps_its_distribution_and_follows_the_seed() -> None:
    one, again, other = (build_seeded(lambda: Drawn(False), seed).state_dict() for seed in (3, 3, 4))
    assert 0.015 < one["position"].std() < 0.025
    assert torch.allclose(one["square"] @ one["square"].T, torch.eye(4), atol=1e-5)
    assert torch.equal(one["ramp"], torch.arange(1.0, 5).mul(2).log())
    for name in ("position", "square"):
        assert torch.equal(one[name], again[name])
        assert not torch.equal(one[name], other[name])


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


def test_building_formats_no_stack_for_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` does so for each parameter: with it a network took several times as long to build."""
    calls: list[object] = []
    monkeypatch.setattr("traceback.format_stack", lambda *args, **options: calls.append(args) or [])
    build_seeded(lambda: nn.Linear(3, 3), 0)
    assert calls == []
