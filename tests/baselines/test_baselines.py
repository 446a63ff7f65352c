"""Every baseline that the entry points name keeps the contract: shapes, logits, gradients, determinism."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.zoo.complexity import inference_parameters
from bench.zoo.registry import build_model, canonical_name, model_entry, model_names, parse_model, value_text

NAMES = sorted(
    p.name for p in entry_points(group="medbench.models") if p.value.startswith("baselines.") and ":" in p.value
)
REDUCED = [name for name in NAMES if name.endswith("_s")]
ARMS = ["segformer_b0_s_identity", "swin_unet_s_identity"]  # of reduced networks, without their attention
SMALL = [*REDUCED, *ARMS, "unext"]
BIG = [name for name in NAMES if name not in SMALL and name != "chance"]
TRAINED = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in BIG)]


def build(name: str, channels: int = 1, classes: int = 3, size: int = 64) -> nn.Module:
    """The model under a fixed seed."""
    torch.manual_seed(0)
    return build_model(name, "segmentation", channels, classes, size)


def batch(n: int = 2, size: int = 64) -> tuple[Tensor, Tensor]:
    """Images (n, 1, size, size) and labels 0..2 that can be read off them: blobs of three intensities."""
    coarse = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    x = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return x, (x[:, 0] > -0.3).long() + (x[:, 0] > 0.3).long()


def gradients(model: nn.Module) -> dict[str, Tensor | None]:
    """Of one training step's loss, under a fixed seed for stochastic depth."""
    torch.manual_seed(0)
    x, y = batch()
    nn.functional.cross_entropy(model.train()(x), y).backward()
    used = {id(p) for p in inference_parameters(model)}
    return {name: p.grad for name, p in model.named_parameters() if id(p) in used}


def test_the_baselines_are_there() -> None:
    both = ("unet", "attention_unet", "nnunet", "swin_unet", "swinunetr")
    dkfz = [f"dkfz_mednext_{size}" for size in ("small", "base", "medium", "large")]
    also = ("unet_plus_plus", "transunet", "segformer_b0", "emcad_b0", "deeplabv3plus", "unetr", "segresnet")
    reduced = [f"{n}_s" for n in (*both, *also, "dkfz_mednext_small")]
    others = ("chance", "unext", "segformer_b1", "emcad_b2")
    assert sorted(NAMES) == sorted([*others, *both, *also, *dkfz, *reduced, *ARMS])


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_reach_every_parameter_equal_seeds_give_equal_ones_and_the_state_survives(name: str) -> None:
    """The state in safetensors, which refuses two names for one tensor."""
    first, second = build(name), build(name)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    found, again = gradients(first), gradients(second)
    assert [n for n, g in found.items() if g is None or not g.isfinite().all()] == []
    # a bias in front of a normalisation has no effect, hence weights only
    assert [n for n, g in found.items() if g is not None and g.ndim > 1 and not g.any()] == []
    assert [n for n in found if not torch.equal(found[n], again[n])] == []  # type: ignore[arg-type]
    for p in second.parameters():
        nn.init.zeros_(p)
    second.load_state_dict(safetensors.torch.load(safetensors.torch.save(first.state_dict())))
    x, _ = batch(1)
    with torch.no_grad():
        assert torch.equal(first.eval()(x), second.eval()(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *BIG])
def test_steps_on_one_batch_lower_its_loss(name: str) -> None:
    model, (x, y) = build(name).train(), batch()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(0 < loss < 20 for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", TRAINED)
def test_nothing_follows_the_linear_head(name: str) -> None:
    """Logits: with its bias away, a head that is 100 times as large gives 100 times the output."""
    model, (x, _) = build(name, classes=5).eval(), batch()
    kinds, used = (nn.Conv2d, nn.ConvTranspose2d), {id(p) for p in inference_parameters(model)}
    heads = [m for m in model.modules() if isinstance(m, kinds) and m.out_channels == 5 and id(m.weight) in used]
    assert len(heads) == 1
    with torch.no_grad():
        if heads[0].bias is not None:
            heads[0].bias.zero_()
        before = model(x)
        heads[0].weight.mul_(100)
        after = model(x)
    torch.testing.assert_close(after, 100 * before, rtol=1e-3, atol=1e-2)
    assert after.min() < 0
    assert after.max() > 1


@pytest.mark.parametrize("name", SMALL)
def test_small_ones_are_small_at_every_size_and_name_a_published_one(name: str) -> None:
    entry = model_entry(name)
    for size in (64, 256):  # position embeddings grow with it
        assert sum(p.numel() for p in build(name, 3, 14, size).parameters()) <= 2.5e6
    if name in REDUCED:
        assert entry.reduced_from == name.removesuffix("_s")
        assert entry.reduced_from in model_names()
        assert entry.lists in ((), ("cpu",))
        assert entry.title == f"{model_entry(entry.reduced_from).title} (reduced)"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_all_defaults_written_out_is_the_bare_one(name: str) -> None:
    entry, config = parse_model(name)
    written = ",".join(f"{field}={value_text(value, value)}" for field, value in entry.defaults.items())
    whole = parse_model(f"{name}[{written}]" if written else name)
    assert whole[1] == config
    assert canonical_name(*whole) == name
    assert entry.tasks == (("segmentation", "classification") if name == "chance" else ("segmentation",))
    assert (entry.reduced_from is not None) == (name in [*REDUCED, *ARMS])


def test_chance_is_background_and_has_nothing_to_train() -> None:
    model = build("chance", classes=4)
    logits = model(torch.randn(2, 1, 64, 64))
    assert list(model.parameters()) == []
    assert (logits.argmax(1) == 0).all()
    assert model_entry("chance").lists == ("cpu", "paper")


def test_chance_of_images_is_the_frequencies_of_the_training_labels() -> None:
    model = build_model("chance", "classification", 1, 3, 64)
    assert list(model.parameters()) == []
    assert model(torch.randn(4, 1, 64, 64)).softmax(1).flatten().tolist() == pytest.approx([1 / 3] * 12)
    model.fit(torch.tensor([2, 0, 2, 2, 1, 1]))  # type: ignore[operator]
    other = build_model("chance", "classification", 1, 3, 64)
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(model.state_dict())))
    logits = other(torch.randn(2, 1, 64, 64))
    assert logits.softmax(1).flatten().tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6] * 2)
    assert model_entry("chance").title_of("classification") == "Chance (majority class)"
    assert model_entry("chance").title_of("segmentation") == "Chance (all background)"


@pytest.mark.parametrize("up", ["resize", "transpose"])
def test_attention_unet_is_the_unet_where_its_gates_are_open(up: str) -> None:
    plain = build(f"unet_s[up={up}]").eval()
    gated = build(f"attention_unet_s[up={up}]").eval()
    missing = gated.load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    for gate in gated.gates:  # type: ignore[union-attr]
        nn.init.constant_(gate.to_coefficient[1].bias, 100.0)  # sigmoid(100) = 1
    x, _ = batch()
    with torch.no_grad():
        torch.testing.assert_close(gated(x), plain(x))


@pytest.mark.parametrize(("size", "stages"), [(64, 5), (96, 5), (128, 6), (224, 6), (256, 7), (512, 7)])
def test_nnunet_halves_while_four_pixels_are_left(size: int, stages: int) -> None:
    from baselines.nnunet import planned_stages

    assert planned_stages(size, 7) == stages


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("unet_s", 100, "multiple of 16 and at least 16, but got 100; try 96"),
        ("attention_unet_s", 8, "but got 8; try 16"),
        ("nnunet_s", 100, "multiple of 16"),
        ("swin_unet_s", 112, "multiple of 32 and at least 32"),
        ("swinunetr_s", 32, "at least 64, but got 32; try 64"),
        ("unet_s[up=bilinear]", 64, "Unknown up 'bilinear'"),
        ("nnunet_s[features=16-32]", 64, "at least 3 features"),
        ("swin_unet_s[heads=3-6-12-24]", 64, "heads that divide"),
        ("swin_unet_s[depths=2-2]", 64, "as many heads as depths"),
        ("swinunetr_s[features=16]", 64, "multiple of 12"),
        ("swinunetr_s[heads=5-5-5-5]", 64, "heads that divide"),
        ("swinunetr_s[depths=2-2]", 64, "four heads and four depths"),
    ],
)
def test_what_a_network_does_not_take_is_said_in_one_line(name: str, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as error:
        build(name, size=size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["deeplabv3plus", "deeplabv3plus_s"])
def test_the_atrous_pyramid_sees_more_than_its_centre(name: str) -> None:
    """With the rates of output stride 8, twice as large, every branch is a 1x1 convolution on the map of 128 px."""
    network = build(name, classes=4, size=128)
    atrous = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.dilation > (2, 2)]
    assert sorted(module.dilation for module in atrous) == [(6, 6), (12, 12), (18, 18)]
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} - {0.0} == {0.1}
    network(torch.randn(2, 1, 128, 128)).square().sum().backward()
    taps = {module.dilation[0]: (module.weight.grad != 0).flatten(0, 1).any(0).sum().item() for module in atrous}
    assert taps == {6: 9, 12: 1, 18: 1}
