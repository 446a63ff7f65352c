"""CCT-7: the authors' costs at their input, tokens by image size, and what is not decayed."""

from __future__ import annotations

import pytest
import torch

from bench.errors import UserError
from bench.runs.train import excepted_names
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model, model_entry


def test_costs_are_the_published_ones_at_the_published_input() -> None:
    """3.760 M and 0.947 G, CCT-7/3x1 at 32 pixels; MACs without the products of attention."""
    figures = model_entry("cct7").published
    assert figures is not None
    found = complexity(build_model("cct7", "classification", 3, 10, 32), (1, 3, 32, 32))
    assert found.params == pytest.approx(figures.params, rel=0.001)
    assert found.macs - found.attention_macs == pytest.approx(figures.macs, rel=0.001)
    assert found.attention_macs == 7 * 2 * 256**2 * 256


@pytest.mark.parametrize(("size", "tokens"), [(32, 256), (62, 961), (64, 16), (128, 64), (224, 196)])
def test_tokens_stay_few_whatever_the_size(size: int, tokens: int) -> None:
    with torch.device("meta"):
        model = build_model("cct7", "classification", 1, 2, size)
    assert model.position.shape == (1, tokens, 256)
    assert model(torch.zeros(2, 1, size, size, device="meta")).shape == (2, 2)
    assert excepted_names(model) == {"position"}


def test_a_size_that_it_does_not_take_is_said_in_one_line() -> None:
    with pytest.raises(UserError, match="cct7 that is a multiple of 16 and at least 32, but got 100; try 96"):
        build_model("cct7", "classification", 1, 2, 100)


def test_pooling_weighs_tokens_by_their_score() -> None:
    """With one score far above the others the logits are those of its token alone."""
    torch.manual_seed(0)
    model = build_model("cct7", "classification", 1, 3, 64).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        tokens = model.norm(model.blocks(model.tokens(x).flatten(2).transpose(1, 2) + model.position))  # type: ignore[operator]
        model.score.weight.copy_(1e4 * tokens[0, 5][None])  # type: ignore[operator,union-attr]
        chosen = int(model.score(tokens)[0, :, 0].argmax())  # type: ignore[operator]
        torch.testing.assert_close(model(x), model.head(tokens[:, chosen]))  # type: ignore[operator]
