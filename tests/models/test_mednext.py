"""The proposed model: sizes, slots, costs as the docstrings' formulas say, and training that works."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import bench.models.mednext  # noqa: F401  registers the fillings
from bench.errors import UserError
from bench.models.slots import _FILLINGS, SLOTS, BlockConfig, fill, filling_names
from bench.runs.protocol import PRESETS
from bench.runs.seeding import build_seeded
from bench.runs.train import learning_rate, make_optimizer
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model

VARIANTS = ("mednext_tiny", "mednext_small", "mednext_base")
MARKED = [VARIANTS[0], *(pytest.param(variant, marks=pytest.mark.slow) for variant in VARIANTS[1:])]
TASKS = ("classification", "segmentation")
# The readings and `none`; what comes by an entry point is tested where it is defined.
FILLINGS = [
    (slot, name)
    for slot in SLOTS
    for name in filling_names(slot)
    if name == "none" or getattr(_FILLINGS[slot].get(name), "__module__", "").startswith("bench.")
]

# MACs of each reading at H W pixels, C channels, kernel k and expansion r: the formulas of the docstrings.
FORMULAS = {
    ("laffn", "convmod"): lambda hw, c, k, r: hw * (3 * c**2 + k**2 * c),
    ("laffn", "gated"): lambda hw, c, k, r: hw * (3 * c**2 + k**2 * c),
    ("laffn", "separable"): lambda hw, c, k, r: hw * (3 * c**2 + c),
    ("sem", "multiscale"): lambda hw, c, k, r: hw * c * (k**2 + 18 + (25 if k > 5 else 0)),
    ("sem", "multiscale5"): lambda hw, c, k, r: hw * c * (25 + 18),
    ("sem", "dw3"): lambda hw, c, k, r: hw * 9 * c,
    ("sem", "dilated"): lambda hw, c, k, r: hw * 27 * c,
    ("sem", "inception"): lambda hw, c, k, r: 31 * hw * (c // 8),
    ("sem", "strip"): lambda hw, c, k, r: hw * (c**2 + (25 + 2 * (7 + 11 + 21)) * c),
    ("sdffn", "smooth"): lambda hw, c, k, r: hw * (2 * r * c**2 + 9 * r * c),
    ("sdffn", "smt"): lambda hw, c, k, r: hw * (2 * r * c**2 + 9 * r * c),
    ("sdffn", "cmt"): lambda hw, c, k, r: hw * (2 * r * c**2 + 9 * r * c),
    ("sdffn", "mix"): lambda hw, c, k, r: hw * (2 * r * c**2 + 9 * r * c),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", MARKED)
@pytest.mark.parametrize(("channels", "classes", "shape"), [(1, 2, (32, 32)), (3, 9, (33, 47)), (2, 14, (50, 96))])
def test_any_size_channels_and_classes(
    variant: str, task: str, channels: int, classes: int, shape: tuple[int, int]
) -> None:
    model = build_model(variant, task, channels, classes, 64).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, channels, *shape))
    assert logits.shape == ((2, classes) if task == "classification" else (2, classes, *shape))
    assert logits.isfinite().all()


def test_every_filling_has_a_formula() -> None:
    assert {pair for pair in FILLINGS if pair[1] != "none"} <= set(FORMULAS)


@pytest.mark.parametrize(("slot", "name"), list(FORMULAS))
@pytest.mark.parametrize("kernel", [7, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 5))])
def test_a_filling_costs_what_its_formula_says(slot: str, name: str, kernel: int) -> None:
    module = fill(slot, name, 24, BlockConfig(kernel, 3, "relu"))
    assert module is not None
    assert complexity(module, (1, 24, 10, 14)).macs == FORMULAS[slot, name](10 * 14, 24, kernel, 3)


def blocks(model: nn.Module) -> list[tuple[int, int, int, int]]:
    """(H W, C, k, r) of each block of mednext_tiny's classifier at 64 px, from its published-in-code defaults."""
    from bench.zoo.registry import parse_model

    config = parse_model("mednext_tiny")[1]
    stages = zip(config["widths"], config["depths"], config["kernels"], config["expansions"], strict=True)
    return [((64 // 4 // 2**i) ** 2, c, k, r) for i, (c, depth, k, r) in enumerate(stages) for _ in range(depth)]


@pytest.mark.parametrize(
    ("slot", "name"),
    [
        pytest.param(
            *p, marks=() if p in (("laffn", "convmod"), ("sem", "strip"), ("sdffn", "smooth")) else pytest.mark.slow
        )
        for p in FILLINGS
        if p[1] != "none"
    ],
)
def test_removing_a_module_takes_away_exactly_its_cost(slot: str, name: str) -> None:
    shape = (1, 3, 64, 64)
    full = build_model("mednext_tiny", "classification", 3, 2, 64, **{slot: name})
    without = build_model("mednext_tiny", "classification", 3, 2, 64, **{slot: "none"})
    removed = [m for n, m in full.named_modules() if n.endswith(f".{slot}")]
    assert len(removed) == len(blocks(full))
    a, b = complexity(full, shape), complexity(without, shape)
    assert a.macs - b.macs == sum(FORMULAS[slot, name](*block) for block in blocks(full))
    assert a.params - b.params == sum(p.numel() for m in removed for p in m.parameters()) > 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("slot", ["laffn", "sem", "sdffn"])
def test_removing_a_module_changes_the_output_and_leaves_the_rest_equal(task: str, slot: str) -> None:
    def seeded(**config: str) -> nn.Module:
        return build_seeded(lambda: build_model("mednext_tiny", task, 1, 3, 64, **config), 0).eval()

    full, without = seeded(), seeded(**{slot: "none"})
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert not torch.allclose(full(x), without(x), atol=1e-4)
    weights = full.state_dict()
    for name, tensor in without.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


@pytest.mark.parametrize("task", TASKS)
def test_all_slots_may_be_empty(task: str) -> None:
    model = build_model("mednext_tiny", task, 1, 3, 64, laffn="none", sem="none", sdffn="none")
    assert not any("laffn" in name or ".sem" in name or "sdffn" in name for name, _ in model.named_modules())
    assert model(torch.randn(2, 1, 64, 64)).isfinite().all()


@pytest.mark.parametrize("slot", ["laffn", "sem", "sdffn"])
def test_an_unknown_filling_is_named(slot: str) -> None:
    with pytest.raises(UserError, match=f"filling of slot {slot}"):
        build_model("mednext_tiny", "classification", 1, 2, 64, **{slot: "nosuch"})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kernels", (5, 7, 7, 6), "odd"),
        ("widths", (24, 56, 144), "4 positive integers"),
        ("depths", (1, 1, 5, 0), "4 positive integers"),
        ("act", "swish9", "activation"),
        ("stem", "dense", "Unknown stem 'dense'"),
    ],
)
def test_a_wrong_config_is_one_clear_line(field: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_model("mednext_tiny", "segmentation", 1, 2, 64, **{field: value})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "variant", [VARIANTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS[1:])]
)
def test_only_convolutions_and_linear_layers(variant: str, task: str) -> None:
    """No N x N attention: with twice the side, the MACs of every operator are four times as many, none is quadratic."""
    from torch.utils.flop_counter import FlopCounterMode

    def counts(side: int) -> dict[str, int]:
        model = build_model(variant, task, 1, 2, side).to("meta").eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 1, side, side, device="meta"))
        return {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}

    small, large = counts(64), counts(128)
    assert set(small) <= {"aten.convolution", "aten.addmm"}
    assert large["aten.convolution"] == 4 * small["aten.convolution"]
    assert large.get("aten.addmm") == small.get("aten.addmm")


@pytest.mark.parametrize(
    ("stem", "per_pixel"),
    [
        ("plain", 9 * 3 * 12 / 4),
        ("dense_full", 9 * 3 * 16 + 9 * 16 * 12 / 4),
        ("dense_half", 9 * 3 * 32 / 4 + 9 * 32**2 / 4),
    ],
)
def test_a_stem_costs_what_its_formula_says(stem: str, per_pixel: float) -> None:
    """3 channels in, w_1 = 24, fine channels of 16 and 32."""
    model = build_model("mednext_tiny", "classification", 3, 2, 64, stem=stem)
    assert complexity(model.encoder.stem, (1, 3, 64, 64)).macs == 64 * 64 * per_pixel  # type: ignore[union-attr,arg-type]


def test_a_norm_follows_every_depthwise_convolution_where_it_is_asked_for() -> None:
    model = build_model("mednext_tiny", "segmentation", 1, 2, 64, dw_norm=True)
    depthwise = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1]
    assert depthwise
    assert all(isinstance(model.get_submodule(f"{name[:-1]}1"), nn.BatchNorm2d) for name in depthwise)


def test_heads_of_deep_supervision_are_for_training_alone() -> None:
    def seeded(**config: bool) -> nn.Module:
        return build_seeded(lambda: build_model("mednext_tiny", "segmentation", 1, 3, 64, **config), 0).eval()

    plain, deep, x = seeded(), seeded(deep_supervision=True), torch.randn(2, 1, 64, 64)
    logits = deep.training_logits(x)  # type: ignore[operator]
    assert [tuple(y.shape) for y in logits] == [(2, 3, side, side) for side in (64, 32, 16, 8)]
    assert torch.equal(deep(x), plain(x))
    assert torch.equal(plain.training_logits(x)[0], plain(x))  # type: ignore[operator]
    assert complexity(deep, (1, 1, 64, 64)) == complexity(plain, (1, 1, 64, 64))
    assert len(deep.state_dict()) == len(plain.state_dict()) + 6


def test_the_separable_reading_is_mobilevit_v2_s_attention() -> None:
    """timm's LinearSelfAttention, on one patch of all pixels, without the norm before it."""
    from timm.models.mobilevit import LinearSelfAttention

    torch.manual_seed(0)
    module, oracle = fill("laffn", "separable", 8, BlockConfig(5, 2, "relu")), LinearSelfAttention(8, bias=True)
    assert module is not None
    module.norm = nn.Identity()
    parts = [getattr(module, name) for name in ("score", "key", "value")]
    with torch.no_grad():
        oracle.qkv_proj.weight.copy_(torch.cat([part.weight for part in parts]))
        oracle.qkv_proj.bias.copy_(torch.cat([part.bias for part in parts]))
        oracle.out_proj.load_state_dict(module.project.state_dict())  # type: ignore[union-attr]
        x = torch.randn(2, 8, 6, 7)
        torch.testing.assert_close(module(x).flatten(2), oracle(x.flatten(2)[:, :, None])[:, :, 0])


@pytest.mark.parametrize(("name", "factor"), [("convmod", 10_000), ("separable", 10_000), ("gated", 100)])
def test_of_the_modulations_the_gated_one_alone_grows_in_proportion(name: str, factor: float) -> None:
    """In evaluation, where a norm is a fixed scale: a hundred times the input, large enough for biases not to count."""
    torch.manual_seed(0)
    module, x = fill("laffn", name, 16, BlockConfig(5, 2, "relu")), 1e4 * torch.randn(2, 16, 20, 20)
    assert module is not None
    with torch.no_grad():
        grown = module.eval()(100 * x).std() / module(x).std()
    assert grown.item() == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("norm", [False, True])
def test_the_smoothing_kernel_is_binomial(norm: bool) -> None:
    module = fill("sdffn", "smooth", 8, BlockConfig(5, 2, "relu", norm))
    assert module is not None
    kernel = next(p for name, p in module.named_parameters() if name in ("smooth.weight", "smooth.0.weight"))
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(kernel, expected.expand_as(kernel))


def test_drop_path_drops_whole_images_and_only_in_training() -> None:
    model = build_model("mednext_tiny", "classification", 1, 2, 32, drop_path=0.5)
    x = torch.randn(4, 1, 32, 32)
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(x), model(x))
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.momentum = 0.0
        model.train()
        assert not torch.equal(model(x), model(x))


# One narrow block a stage and half the images: the whole network learns eight by heart in the slow ones.
NARROW = ("mednext_tiny[depths=1-1-1-1,widths=16-24-32-48]", 4, 100, 0.2)
LEARNT = [(*NARROW, "classification"), pytest.param(*NARROW, "segmentation", marks=pytest.mark.slow)]
LEARNT += [pytest.param(name, 8, 250, 0.05, task, marks=pytest.mark.slow) for name in VARIANTS for task in TASKS]


@pytest.mark.parametrize(("variant", "number", "steps", "limit", "task"), LEARNT)
def test_a_handful_of_images_is_learnt_by_heart(variant: str, number: int, steps: int, limit: float, task: str) -> None:
    """So many steps of the presets' recipe at 32 px take the loss to near zero; drop path as the variant has it."""
    torch.manual_seed(0)
    model = build_seeded(lambda: build_model(variant, task, 1, 3, 32), 0)
    images = nn.functional.interpolate(torch.randn(number, 1, 8, 8), size=32, mode="nearest")
    pixels = (images[:, 0] > 0.5).long() + (images[:, 0] > 1).long()
    target = torch.arange(number) % 3 if task == "classification" else pixels
    protocol = dataclasses.replace(PRESETS["quick"].of(task), steps=steps)
    optimizer = make_optimizer(model, protocol)
    losses = []
    for step in range(protocol.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, protocol)
        loss = nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), protocol.clip)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < limit, losses[::10]
