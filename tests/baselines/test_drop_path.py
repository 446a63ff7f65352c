"""Stochastic depth follows one rule of size wherever a network offers it, and positions are nowhere decayed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from baselines.drop_path import drop_path_rate
from bench.runs.train import excepted_names
from bench.zoo.registry import build_model, model_entry, model_names

LISTED = [name for name in model_names() if model_entry(name).lists]
HAVE = [name for name in LISTED if "drop_path" in model_entry(name).defaults]
# Without residual branches, or with none that their library drops.
WITHOUT = {"attention_unet", "chance", "deeplabv3plus", "densenet121", "efficientvit_m5", "nnunet", "repvit_m1"}
WITHOUT |= {"segresnet", "unet", "unet_plus_plus", "unetr", "unext"}
COUNTED = {"mednext_tiny": 3.1e6, "mednext_small": 6.9e6, "mednext_base": 17.4e6}  # nothing is published of them


@pytest.mark.parametrize(
    ("params", "rate"), [(0, 0.0), (5e6, 0.0), (5.7e6, 0.0), (12.5e6, 0.05), (2e7, 0.1), (1e9, 0.1)]
)
def test_the_rule(params: float, rate: float) -> None:
    assert drop_path_rate(params) == rate


def test_every_listed_network_follows_the_rule_or_is_known_to_have_none() -> None:
    assert {name.removesuffix("_s") for name in set(LISTED) - set(HAVE)} == WITHOUT
    for name in HAVE:
        entry = model_entry(name)
        params = COUNTED.get(name, entry.published.params if entry.published else None)
        assert (params is None) == (entry.reduced_from is not None), name
        assert entry.defaults["drop_path"] == drop_path_rate(params or 0), name


def rates(model: nn.Module) -> list[float]:
    found = [float(getattr(m, "drop_prob", getattr(m, "drop", 0))) for m in model.modules() if is_drop(m)]
    return sorted(rate for rate in found if rate > 0)


def is_drop(module: nn.Module) -> bool:
    return type(module).__name__ in ("DropPath", "Residual")


OFTEN = ("mednext_tiny", "segformer_b0_s", "deit_tiny", "convnext_atto")


@pytest.mark.parametrize("name", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.slow) for n in HAVE])
def test_the_rate_reaches_the_network(name: str) -> None:
    entry = model_entry(name)
    size = 64 if entry.tasks == ("segmentation",) or "mednext" in name else 96
    for rate in (0.0, 0.3):
        model = build_model(name, entry.tasks[-1], 1, 2, size, drop_path=rate)
        assert rates(model)[-1:] == ([pytest.approx(rate, abs=0.06)] if rate else [])


POSITIONS = ("position", "pos_embed", "relative_position", "attention_biases")


@pytest.mark.parametrize("name", ["unetr_s", "swinunetr_s", "swin_unet_s", "transunet_s", "deit_tiny", "cct7"])
def test_positions_are_not_decayed(name: str) -> None:
    from fnmatch import fnmatchcase

    model = build_model(name, model_entry(name).tasks[0], 1, 2, 64)
    excepted = excepted_names(model)
    positions = [key for key, _ in model.named_parameters() if any(word in key for word in POSITIONS)]
    assert positions
    assert all(any(fnmatchcase(key, pattern) for pattern in excepted) for key in positions)


def test_a_dropped_branch_leaves_the_image_as_it_is() -> None:
    """Stochastic depth changes the training pass alone."""
    torch.manual_seed(0)
    model = build_model("deit_tiny", "classification", 1, 2, 32, drop_path=0.5)
    x = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model.train()(x), model(x))
        assert torch.equal(model.eval()(x), model(x))
