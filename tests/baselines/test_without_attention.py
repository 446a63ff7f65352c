"""Transformers without attention: what is left of them, held against the whole networks whose attention is skipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from baselines.without_attention import Identity, without_attention
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model, model_entry

PAIRS = [("segformer_b0_s", 8), ("swin_unet_s", 14)]  # and how many blocks


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, "segmentation", 1, 3, 64).eval()


def tokens_as_given(_: nn.Module, given: tuple[torch.Tensor, ...], __: Any) -> torch.Tensor:
    """A hook: in the place of what attention gives, what it was given."""
    return given[0]


@pytest.mark.parametrize(("name", "blocks"), PAIRS)
def test_it_is_the_whole_network_with_its_attention_skipped(name: str, blocks: int) -> None:
    whole, arm = build(name), build(f"{name}_identity")
    state = {key: value for key, value in whole.state_dict().items() if ".attn." not in key}
    arm.load_state_dict(state)
    hooked = [module for key, module in whole.named_modules() if key.endswith(".attn")]
    assert len(hooked) == sum(isinstance(module, Identity) for module in arm.modules()) == blocks
    x = torch.randn(2, 1, 64, 64)
    before = whole(x)
    for module in hooked:
        module.register_forward_hook(tokens_as_given)
    assert torch.equal(arm(x), whole(x))
    assert not torch.allclose(before, whole(x))


@pytest.mark.parametrize(("name", "blocks"), PAIRS)
def test_no_product_of_attention_is_counted_and_it_costs_less(name: str, blocks: int) -> None:
    whole, arm = (complexity(build(n), (1, 1, 64, 64)) for n in (name, f"{name}_identity"))
    assert arm.attention_macs == 0 < whole.attention_macs
    assert (arm.params < whole.params, arm.macs < whole.macs) == (True, True)


@pytest.mark.parametrize(("name", "blocks"), PAIRS)
def test_tables_say_what_it_is_and_all_does_not_mean_it(name: str, blocks: int) -> None:
    entry = model_entry(f"{name}_identity")
    assert (entry.family, entry.lists, entry.reduced_from) == ("other", (), model_entry(name).reduced_from)
    assert "without attention" in entry.title


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="modules named attn"):
        without_attention(build("unet_s"))
