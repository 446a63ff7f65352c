"""Three counters against counts by hand, what explains their differences, and what is flagged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.cost import counters
from bench.cost.counters import BIASES, Count, CrossCheck, cross_check, plain_attention, unfused_attention
from bench.zoo.complexity import Complexity

N, C, S = 2, 8, 6
TOKENS = S * S


class Attention(nn.Module):
    """Self-attention over the pixels, a linear map before it: (N, C, S, S) -> (N, C, S, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(C, 3 * C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.qkv(x.flatten(2).transpose(1, 2))
        q, k, v = tokens.unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(x), C, S, S)


class Toy(nn.Module):
    """Every kind of operator that is counted, and the kinds that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, C, 3, stride=2, padding=1), nn.BatchNorm2d(C), nn.GELU())
        self.mix, self.attention = nn.Conv2d(C, C, 5, padding=2, groups=C, bias=False), Attention()
        self.encoder = nn.TransformerEncoderLayer(C, 2, 4 * C, batch_first=True)
        self.up, self.head = nn.ConvTranspose2d(C, 4, 2, stride=2), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.attention(self.mix(x))
        x = self.encoder(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        return self.head(self.up(x).mean((2, 3)))


STEM, MIX = N * TOKENS * C * 3 * 9, N * TOKENS * C * 25
ATTENTION = N * TOKENS * C * 3 * C + 2 * N * TOKENS**2 * C
ENCODER = N * TOKENS * (3 * C * C + C * C + 2 * C * 4 * C) + 2 * N * TOKENS**2 * C
UP, HEAD = N * TOKENS * C * 4 * 4, N * 4 * 5
HAND: dict[str, tuple[nn.Module, int]] = {
    "convolution": (nn.Conv2d(3, C, 3, stride=2, padding=1), STEM),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * TOKENS, 7)), N * 3 * 4 * TOKENS * 7),
    "attention": (nn.Sequential(nn.Conv2d(3, C, 2, stride=2), Attention()), N * TOKENS * C * 3 * 4 + ATTENTION),
    "all of it": (Toy(), STEM + MIX + ATTENTION + ENCODER + UP + HEAD),
}
INPUT = (N, 3, 2 * S, 2 * S)


@pytest.mark.parametrize("name", HAND)
def test_all_three_counters_equal_the_count_by_hand(name: str) -> None:
    model, macs = HAND[name]
    found = cross_check(model, INPUT)
    assert found.failed == {}
    assert {counter: count.macs for counter, count in found.counts.items()} == {"fvcore": macs, "ptflops": macs}
    assert (found.cost.macs, found.cost.counted_on) == (macs, "meta")
    assert found.agrees
    assert found.unexplained == 0


def test_what_explains_a_difference_is_counted_by_hand_too() -> None:
    stem = nn.Conv2d(3, C, 2, stride=2), nn.BatchNorm2d(C), nn.Flatten(2)
    found = cross_check(nn.Sequential(*stem, nn.LayerNorm(TOKENS), nn.Linear(TOKENS, 5)), INPUT)
    pixels = N * C * TOKENS
    norms = {"batch_norm": 2 * pixels, "layer_norm": 5 * pixels}
    assert found.counts["fvcore"].beside == norms
    assert found.counts["ptflops"].beside == {BIASES: pixels + N * C * 5}
    assert found.cost.macs == pixels * 12 + pixels * 5
    assert found.spread == pytest.approx(7 / 17)  # a user of the bare counters would see this
    assert found.agrees


def test_the_operators_without_a_formula_are_named_with_their_calls() -> None:
    found = cross_check(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GELU(), nn.GELU()), INPUT)
    assert found.skipped == {"batch_norm": 1, "gelu": 2}
    assert found.counts["fvcore"].skipped == {"gelu": 2}
    assert found.counts["ptflops"].skipped == {"batch_norm": 1, "gelu": 2}


@torch.library.custom_op("medbench_tests::mix", mutates_args=())
def mix(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A matrix product that nobody has a formula for, as selective scans come: (N, C, H, W), (C, D) -> (N, D, H, W)."""
    return torch.einsum("nchw,cd->ndhw", x, weight).contiguous()


@mix.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.new_empty(len(x), weight.shape[1], *x.shape[2:])


@torch.library.custom_op("medbench_tests::version", mutates_args=())
def version(number: int) -> int:
    """An operator that takes no tensor, as libraries ask for their own version."""
    return number


class Applies(nn.Module):
    """A 1x1 convolution to C channels, then a function of them and a weight."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *shape: int) -> None:
        super().__init__()
        self.stem, self.weight = nn.Conv2d(3, C, 1), nn.Parameter(torch.randn(shape))
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.stem(x), self.weight)


PIXELS = N * 4 * TOKENS
FIRST = PIXELS * 3 * C
UNKNOWN: dict[str, tuple[nn.Module, str]] = {
    "another namespace": (Applies(lambda x, w: mix(x, w), C, C), "medbench_tests::mix"),
    "a spectrum": (Applies(lambda x, w: torch.fft.rfft2(x * w.sum()).abs(), 1), "fft_r2c"),
    "distances": (Applies(lambda x, w: torch.cdist(x.flatten(1), w), 5, C * 4 * TOKENS), "cdist_forward"),
}


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: ReadsValues(model)], ids=["meta", "cpu"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_operator_that_no_counter_knows_is_named_by_all_and_flagged(name: str, wrap: Any) -> None:
    model, operator = UNKNOWN[name]
    found = cross_check(wrap(model), INPUT)
    assert found.cost.uncounted == {operator: 1}
    assert found.skipped[operator] == found.counts["ptflops"].skipped[operator] == 1
    assert found.cost.macs == FIRST
    assert not found.agrees
    assert found.cost.stored()["uncounted"] == {operator: 1}


def deform(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    from torchvision.ops import deform_conv2d

    assert version(3) == 3
    return deform_conv2d(x, x.new_zeros(len(x), 18, *x.shape[2:]), weight, padding=1)


COUNTED_HERE: dict[str, tuple[nn.Module, int]] = {
    "deformable convolution": (Applies(deform, 5, C, 3, 3), PIXELS * 5 * C * 9),
    "matrix times vector": (Applies(lambda x, w: x.flatten(1) @ w, C * 4 * TOKENS), N * C * 4 * TOKENS),
    "product of vectors": (Applies(lambda x, w: x.flatten() @ w, PIXELS * C), PIXELS * C),
}


@pytest.mark.parametrize("name", COUNTED_HERE)
def test_what_torch_s_counter_passes_over_and_we_know_is_counted(name: str) -> None:
    model, macs = COUNTED_HERE[name]
    found = cross_check(model, INPUT)
    assert found.cost.macs == FIRST + macs
    assert found.cost.uncounted == {}
    assert found.counts["ptflops"].macs == FIRST + macs


def test_operators_in_place_and_of_any_kind_without_products_raise_no_flag() -> None:
    layers = [nn.Hardswish(inplace=True), nn.GELU(), nn.PReLU(), nn.GroupNorm(2, C), nn.InstanceNorm2d(C), nn.GLU(1)]
    layers += [nn.AdaptiveMaxPool2d(5), nn.Upsample(scale_factor=2, mode="bicubic"), nn.LogSoftmax(1), nn.Dropout(0.5)]
    layers += [nn.LocalResponseNorm(2), nn.PixelUnshuffle(2), nn.ReplicationPad2d(1), nn.Mish(inplace=True)]
    found = cross_check(nn.Sequential(nn.Conv2d(3, C, 1), *layers), INPUT)
    assert found.cost.uncounted == {}
    assert found.cost.macs == FIRST


class ReadsValues(nn.Module):
    """Its forward asks for a value, which the meta device does not have."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x * 2 if x.sum().item() > 0 else x)


def test_a_model_that_does_not_run_on_meta_is_counted_on_the_cpu_and_says_so() -> None:
    found = cross_check(ReadsValues(Toy()), INPUT)
    assert found.cost.counted_on == "cpu"
    assert {found.cost.macs, *(count.macs for count in found.counts.values())} == {HAND["all of it"][1]}
    assert found.agrees


class Hides(nn.Module):
    """Attention by a name that was taken before it could be unfused: fvcore cannot count it."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = F.scaled_dot_product_attention

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attend(tokens, tokens, tokens)


def test_a_difference_that_nothing_explains_is_flagged() -> None:
    found = cross_check(nn.Sequential(nn.Conv2d(3, C, 2, stride=2), Hides()), INPUT)
    convolution, products = N * TOKENS * C * 12, 2 * N * TOKENS**2 * C
    assert found.cost.macs == convolution + products
    assert found.counts["fvcore"].macs == convolution
    assert found.counts["fvcore"].skipped == {"scaled_dot_product_attention": 1}
    assert found.unexplained == pytest.approx(products / (convolution + products))
    assert not found.agrees


def test_a_counter_that_fails_is_a_flag_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> Any:
        raise AssertionError("unequal lengths\nand more")

    monkeypatch.setattr(counters, "_fvcore", fails)
    found = cross_check(nn.Conv2d(3, 4, 1), INPUT)
    assert found.failed == {"fvcore": "AssertionError: unequal lengths"}
    assert list(found.counts) == ["ptflops"]
    assert not found.agrees


def test_a_network_without_products_has_no_spread() -> None:
    found = cross_check(nn.GELU(), INPUT)
    assert (found.cost.macs, found.spread, found.unexplained) == (0, 0, 0)
    assert CrossCheck(Complexity(0, 0, 0), {}, {"fvcore": Count(5)}, {}).unexplained == 1


def test_the_model_and_torch_are_left_as_they_were() -> None:
    model = Toy().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attention, fastpath = F.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    cross_check(model, INPUT)
    with pytest.raises(KeyError), unfused_attention():
        raise KeyError
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert F.scaled_dot_product_attention is attention
    assert torch.backends.mha.get_fastpath_enabled() == fastpath


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.rand(5, 7) > 0.3},
        {"attn_mask": torch.randn(2, 4, 5, 7)},
        {"enable_gqa": True},
    ],
)
def test_unfused_attention_is_the_same_function(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    few = 2 if options.get("enable_gqa") else 4
    query = torch.randn(2, 4, 5, 6, generator=generator)
    key, value = (torch.randn(2, few, 7, 6, generator=generator) for _ in range(2))
    expected = F.scaled_dot_product_attention(query, key, value, **options)
    torch.testing.assert_close(plain_attention(query, key, value, **options), expected)


def test_what_is_stored_is_json_with_the_derived_figures() -> None:
    stored = json.loads(json.dumps(cross_check(nn.Conv2d(3, 4, 1), INPUT).stored()))
    macs = N * 4 * 3 * 4 * TOKENS
    assert stored["fvcore"] == {"macs": macs, "beside": {}, "skipped": {}}
    assert stored["ptflops"]["beside"] == {BIASES: N * 4 * 4 * TOKENS}
    assert stored["spread"] == pytest.approx(1 / 3)
    assert (stored["unexplained"], stored["agrees"], stored["failed"]) == (0, True, {})
