"""Fillings of a user's own: fused to the same function whatever they are made of, or refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fused_forms import largest_difference, with_random_statistics
from torch import nn

import ablations.fillings  # noqa: F401  these too
import bench.models.mednext  # noqa: F401  registers the fillings
from bench.errors import UserError
from bench.models import slots
from bench.models.fuse import fold_before, fuse
from bench.models.residual import Residual
from bench.models.slots import BlockConfig, fill
from bench.zoo.registry import build_model


class PreActivated(nn.Module):
    """A filling of a user's own: activation first, so that its input is read again by the residual around it."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.act, self.conv, self.norm = nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(self.act(x)))


def pre_activated_sequence(channels: int, config: BlockConfig) -> nn.Module:
    """Norm and activation before each convolution: nothing in it folds, nothing may be overwritten."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.Hardswish(),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1),
    )


def padded(mode: str) -> Any:
    """Convolution and norm, padded by other pixels than zeros, of unequal sides."""

    def make(channels: int, config: BlockConfig) -> nn.Module:
        size: Any = {"kernel_size": (3, 5), "padding": (1, 2), "padding_mode": mode}
        return nn.Sequential(
            nn.Conv2d(channels, channels, **size, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2, padding_mode=mode),
            nn.BatchNorm2d(channels, affine=False),
        )

    return make


class SharesParts(nn.Module):
    """One convolution and one norm, each used twice, and a filling of ours as a part used twice."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        conv, norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.first, self.second = nn.Sequential(conv, norm, nn.ReLU()), nn.Sequential(conv, nn.ReLU(), norm)
        self.ours = self.again = fill("sdffn", "smooth", channels, config)
        self.both = nn.ModuleList([Residual(self.ours, channels, 0.5, 0.0), Residual(self.ours, channels, 0.7, 0.0)])  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(x))
        for module in (self.ours, self.again, *self.both):
            y = module(y)  # type: ignore[misc]
        return y


def other_parts(channels: int, config: BlockConfig) -> nn.Module:
    """Conv, ReLU, norm in that order; a transposed convolution; a norm by the batch's own statistics."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(channels),
        nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, channels, 1),
        nn.BatchNorm2d(channels, track_running_stats=False),
    )


class EndsInLast(nn.Module):
    """A part named `last`, as the attribute is by which our fillings name the convolution at their end."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x).relu()


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised as it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


def hooked_and_standardised(channels: int, config: BlockConfig) -> nn.Module:
    """Convolutions that compute more than their class says."""
    hooked = nn.Conv2d(channels, channels, 1)
    hooked.register_forward_hook(double)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Conv2d(channels, channels, 1))
    norms = [nn.BatchNorm2d(channels) for _ in range(3)]
    return nn.Sequential(
        hooked, norms[0], Standardised(channels, channels, 3, padding=1), norms[1], nn.ReLU(), spectral, norms[2]
    )


def double(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    return 2 * output


OTHERS = {
    "pre-activation": PreActivated,
    "pre-activation, as a Sequential": pre_activated_sequence,
    **{f"padding {mode}": padded(mode) for mode in ("reflect", "circular", "replicate")},
    "shared parts": SharesParts,
    "other orders": other_parts,
    "a part named last": EndsInLast,
    "hooks and subclasses": hooked_and_standardised,
}


@pytest.fixture
def registered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(slots._FILLINGS["sem"], "users_own", request.param)
    return "users_own"


@pytest.mark.parametrize("registered", OTHERS.values(), ids=OTHERS, indirect=True)
def test_fillings_of_a_user_s_own_are_equal_to_1e9(registered: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 1, 1), "widths": (8, 12, 16, 20), "sem": registered}
    model = with_random_statistics(build_model("mednext_tiny", "classification", 1, 3, 64, **config), 1, 128)
    images = torch.randn(1, 1, 128, 192, dtype=torch.float64)
    with torch.no_grad():
        scale = model(images).abs().max().item()  # far from 1 where statistics are shared
    assert largest_difference(model, images) < 1e-9 * max(1, scale)


class TakesApart(nn.Module):
    """Reads what a part of its Sequential made twice: overwriting it, or folding it away, is wrong."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body[0](x)
        return self.body[1](y) - y


class ForgetsTheShift(nn.Module):
    """Its own inference form is wrong where statistics are not 0 and 1: a new network does not show it."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)

    def fused(self) -> nn.Module:
        return nn.Identity()


class TakesAFolded(TakesApart):
    """Its norm is folded away, and it asks for it by number."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__(channels, config)
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))


class FoldsWhatItMayNot(nn.Module):
    """A norm before a padded convolution: at the border it would have to fill the padding."""

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(x))[..., 1:-1, 1:-1]

    def fused(self) -> nn.Module:
        return fold_before(self.norm, self.conv)


WRONG = {
    TakesApart: "outputs of its fused form differ",
    ForgetsTheShift: "outputs of its fused form differ",
    TakesAFolded: "cannot be fused: TypeError",
    FoldsWhatItMayNot: "cannot be fused: ValueError: a norm cannot go into Conv2d",
}


@pytest.mark.parametrize("registered", WRONG, indirect=True)
def test_a_form_that_would_be_another_function_is_refused_in_one_line(registered: str) -> None:
    config: dict[str, Any] = {"depths": (1, 1, 1, 1), "widths": (8, 12, 16, 20), "sem": registered}
    model = build_model("mednext_tiny", "segmentation", 1, 3, 64, **config)
    with pytest.raises(UserError) as error:
        fuse(model)
    assert WRONG[slots._FILLINGS["sem"][registered]] in str(error.value)  # type: ignore[index]
    assert "\n" not in str(error.value)
