"""Parameters and MACs against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.errors import UserError
from bench.zoo.complexity import Complexity, complexity

N, C, H, W = 2, 8, 6, 6


class Attention(nn.Module):
    """Self-attention over the pixels: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.qkv, self.heads = nn.Linear(C, 3 * C), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.qkv(x.flatten(2).transpose(1, 2))
        q, k, v = tokens.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(x), C, H, W)


class ReadsValues(nn.Module):
    """A wrapper whose forward asks for a value, which the meta device does not have."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x * 2 if x.sum().item() > 0 else x)


QKV = N * H * W * C * 3 * C
PRODUCTS = 2 * N * (H * W) ** 2 * C  # q k^T and the weighted sum of v
HAND = {
    "convolution": (nn.Conv2d(C, 4, 3, padding=1), C * 4 * 9 + 4, N * H * W * 4 * C * 9),
    "strided, no bias": (nn.Conv2d(C, 4, 2, stride=2, bias=False), C * 4 * 4, N * 9 * 4 * C * 4),
    "grouped": (nn.Conv2d(C, 16, 3, padding=1, groups=4), 16 * 2 * 9 + 16, N * H * W * 16 * 2 * 9),
    "depth-wise": (nn.Conv2d(C, C, 5, padding=2, groups=C), C * 25 + C, N * H * W * C * 25),
    "transposed": (nn.ConvTranspose2d(C, 4, 2, stride=2), C * 4 * 4 + 4, N * H * W * C * 4 * 4),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(C * H * W, 10)), 2890, N * C * H * W * 10),
    "norm, activation": (nn.Sequential(nn.BatchNorm2d(C), nn.GELU()), 2 * C, 0),
    "attention": (Attention(), 3 * C * (C + 1), QKV + PRODUCTS),
}


@pytest.mark.parametrize("name", HAND)
def test_counts_equal_those_by_hand(name: str) -> None:
    model, params, macs = HAND[name]
    batched = PRODUCTS if name == "attention" else 0
    assert complexity(model, (N, C, H, W)) == Complexity(params, params, macs, batched)


@pytest.mark.parametrize("name", HAND)
def test_the_cpu_fallback_counts_the_same_and_says_so(name: str) -> None:
    model, params, macs = HAND[name]
    batched = PRODUCTS if name == "attention" else 0
    assert complexity(ReadsValues(model), (N, C, H, W)) == Complexity(params, params, macs, batched, "cpu")


@pytest.mark.parametrize("wrap", [nn.Sequential, ReadsValues])
def test_transformer_encoder_is_counted_in_full(wrap: type[nn.Module]) -> None:
    layer = nn.TransformerEncoderLayer(C, 2, 32, batch_first=True)
    macs = 5 * (3 * C * C + C * C + 2 * C * 32) + 2 * 25 * C
    assert complexity(wrap(layer), (1, 5, C)).macs == macs


def test_frozen_and_shared_parameters() -> None:
    first = nn.Linear(4, 4, bias=False)
    model = nn.Sequential(first, first, nn.Linear(4, 2).requires_grad_(False))
    assert complexity(model, (1, 4)) == Complexity(params=26, trainable=16, macs=40)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(C, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    complexity(ReadsValues(model), (N, C, H, W))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_that_cannot_be_copied_says_what_to_take() -> None:
    older = torch.nn.utils.weight_norm(nn.Conv2d(1, 4, 3))
    older(torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match=r"torch\.nn\.utils\.parametrizations"):
        complexity(older, (1, 1, 8, 8))


def test_a_wrong_input_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        complexity(nn.Conv2d(C, 4, 3), (N, C + 1, H, W))
