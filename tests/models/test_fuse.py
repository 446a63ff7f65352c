"""The fused network is the training network: the same function to rounding, with nothing left to fold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ablations.fillings  # noqa: F401  these too
import bench.models.mednext  # noqa: F401  registers the fillings
from bench.errors import UserError
from bench.models import slots
from bench.models.fuse import fold_after, fold_before, fuse
from bench.models.residual import Residual
from bench.models.slots import BlockConfig, fill, filling_names
from bench.zoo.registry import build_model

VARIANTS = ("mednext_tiny", "mednext_small", "mednext_base")
TASKS = ("classification", "segmentation")
# The segmenter has the classifier's stages and more: with each filling the classifier is slow.
BOTH_TASKS = [pytest.param("classification", marks=pytest.mark.slow), "segmentation"]
# What is folded in more than one way; the other fillings are slow, and the whole network has the default ones.
OFTEN = [("laffn", "separable"), ("sem", "multiscale5"), ("sdffn", "glu")]
FILLINGS = [
    pytest.param(slot, name, marks=() if (slot, name) in OFTEN else pytest.mark.slow)
    for slot in ("laffn", "sem", "sdffn")
    for name in filling_names(slot)
]


def with_random_statistics(model: nn.Module, channels: int, size: int = 64) -> nn.Module:
    """Norms as in training, then shaken: every running statistic and parameter is off its start, in a sane range."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model.double().train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            if norm.weight is not None:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
            if norm.bias is not None:
                nn.init.normal_(norm.bias, 0, 0.3)
        model(torch.randn(4, channels, size, size, dtype=torch.float64))
        for norm in norms:
            if norm.running_mean is None or norm.running_var is None:
                continue
            norm.running_mean += 0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.3)
    return model.eval()


def largest_difference(model: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        expected, got = model(x), fuse(model, x)(x)
    assert expected.abs().max() > 1e-3
    return float((expected - got).abs().max())


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(
    "variant", [VARIANTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS[1:])]
)
def test_all_variants_are_equal_to_1e9(variant: str, task: str) -> None:
    torch.manual_seed(0)
    model = with_random_statistics(build_model(variant, task, 3, 4, 64), 3)
    assert largest_difference(model, torch.randn(2, 3, 61, 70, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(("slot", "name"), FILLINGS)
def test_all_fillings_are_equal_to_1e9(slot: str, name: str, task: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), slot: name}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(2, 1, 64, 49, dtype=torch.float64)) < 1e-9


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize(
    ("stem", "laffn", "sdffn"),
    [
        ("dense_full", "convmod", "smooth"),
        pytest.param("dense_half", "none", "mix", marks=pytest.mark.slow),
        pytest.param("dense_half", "none", "glu", marks=pytest.mark.slow),
        pytest.param("dense_half", "convmod", "smooth", marks=pytest.mark.slow),
    ],
)
def test_all_stems_with_norms_after_depthwise_convolutions_are_equal_to_1e9(
    stem: str, laffn: str, sdffn: str, task: str
) -> None:
    torch.manual_seed(0)
    config = {"stem": stem, "laffn": laffn, "sdffn": sdffn, "dw_norm": True, "layer_scale": 0.1}
    config |= {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), "deep_supervision": True}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
    assert largest_difference(model, torch.randn(2, 1, 64, 49, dtype=torch.float64)) < 1e-9
    left = [name for name, m in fuse(model).named_modules() if isinstance(m, nn.BatchNorm2d) or "lower_heads." in name]
    assert left == []


@pytest.mark.parametrize("task", BOTH_TASKS)
@pytest.mark.parametrize("act", ["gelu", *(pytest.param(act, marks=pytest.mark.slow) for act in ("relu", "hardswish"))])
def test_all_activations_are_equal_to_1e9(act: str, task: str) -> None:
    torch.manual_seed(0)
    config = {"depths": (1, 1, 2, 1), "widths": (16, 24, 32, 40), "act": act, "laffn": "none"}
    model = with_random_statistics(build_model("mednext_tiny", task, 1, 3, 64, **config), 1)
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


def test_a_form_that_was_checked_elsewhere_is_made_without_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("mednext_tiny", "segmentation", 1, 3, 64)
    monkeypatch.setattr(type(model), "forward", lambda self, x: pytest.fail("a pass takes memory and time"))
    assert not [m for m in fuse(model, check=False).modules() if isinstance(m, nn.BatchNorm2d)]


def test_what_is_kept_of_a_convolution() -> None:
    options: Any = {"stride": (2, 1), "padding": (3, 4), "dilation": (1, 2), "groups": 2, "padding_mode": "circular"}
    conv = nn.Conv2d(4, 6, (3, 5), **options, dtype=torch.float16)
    norm = nn.BatchNorm2d(6)
    folded = fold_after(conv, norm)
    assert folded.extra_repr() == conv.extra_repr()
    assert folded.weight.dtype == torch.float16
    assert folded.weight.data_ptr() != conv.weight.data_ptr()


def test_a_shortcut_goes_into_a_dilated_depthwise_convolution() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
    fused = fuse(Residual(conv, 4, 0.5, 0.0), torch.randn(1, 4, 8, 8))
    assert isinstance(fused, nn.Conv2d)
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(fused(x), x + 0.5 * conv(x))


def test_the_check_leaves_flags_statistics_and_random_numbers_alone() -> None:
    model = build_model("mednext_tiny", "classification", 1, 3, 64, drop_path=0.1).train()
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.random.get_rng_state()
    fuse(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_activations_behind_convolutions_are_in_place_as_far_as_that_is_proved() -> None:
    fused = fuse(build_model("mednext_tiny", "segmentation", 1, 3, 64))
    acts = [module for module in fused.modules() if isinstance(module, nn.ReLU)]
    assert acts
    assert all(act.inplace for act in acts)
    before = nn.Sequential(nn.ReLU(), Residual(nn.Conv2d(4, 4, 1), 4, 1.0, 0.0))
    assert not [m for m in fuse(before, torch.randn(1, 4, 8, 8)).modules() if getattr(m, "inplace", False)]


def test_an_input_that_cannot_be_guessed_is_asked_for() -> None:
    class Own(nn.Module):
        def fused(self) -> nn.Module:
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(UserError, match="pass fuse\\(\\) an example input"):
        fuse(Own())
    wide = nn.Sequential(Residual(nn.Conv2d(4, 4, 1), 4, 1.0, 0.0), nn.ReflectionPad2d(40))
    with pytest.raises(UserError, match=r"does not take random images of 2x4x32x64.*pass fuse"):
        fuse(wide)
    fuse(wide, torch.randn(1, 4, 64, 64))
    fuse(Own(), torch.randn(1, 2, 8, 8))
