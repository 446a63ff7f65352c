"""Fillings for comparison: shapes at any size, gradients, costs as the formulas say, how they are found and listed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ablations.fillings as fillings
from ablations.listing import listing
from bench.errors import UserError
from bench.models import slots
from bench.models.fuse import fuse
from bench.models.slots import ATTENTION_NOTE, SLOTS, BlockConfig, fill, filling, filling_names, filling_note
from bench.runs.seeding import build_seeded
from bench.zoo import catalogue
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model

ATTENTION = {("laffn", "mhsa"), ("laffn", "window")}


def padded(side: int) -> tuple[int, int]:
    """A window's side and the padded map's."""
    number = math.ceil(side / 7)
    return math.ceil(side / number), math.ceil(side / number) * number


def window_macs(h: int, w: int, c: int, r: int) -> int:
    (wh, ph), (ww, pw) = padded(h), padded(w)
    return 4 * h * w * c**2 + 2 * ph * pw * wh * ww * c


# MACs at H, W, C and r: the formulas of the docstrings.
FORMULAS = {
    ("laffn", "mhsa"): lambda h, w, c, r: 4 * h * w * c**2 + 2 * (h * w) ** 2 * c,
    ("laffn", "window"): window_macs,
    ("laffn", "mlp"): lambda h, w, c, r: 2 * h * w * r * c**2,
    ("laffn", "se"): lambda h, w, c, r: 2 * c * max(8, c // 16),
    ("laffn", "pool"): lambda h, w, c, r: 0,
    ("sem", "dw7"): lambda h, w, c, r: 49 * h * w * c,
    ("sem", "dw3d2"): lambda h, w, c, r: 9 * h * w * c,
    ("sdffn", "mlp"): lambda h, w, c, r: 2 * h * w * r * c**2,
    ("sdffn", "inverted"): lambda h, w, c, r: h * w * (2 * r * c**2 + 9 * r * c),
    ("sdffn", "glu"): lambda h, w, c, r: h * w * (3 * c + 9) * (2 * r * c // 3),
}
OURS = sorted(FORMULAS)


def made(slot: str, name: str, channels: int, expansion: int = 2) -> nn.Module:
    module = fill(slot, name, channels, BlockConfig(7, expansion, "relu"))
    assert module is not None
    return module


@pytest.fixture
def registration() -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = {slot: dict(names) for slot, names in slots._FILLINGS.items()}
    notes = dict(slots._NOTES)
    yield
    for slot, names in kept.items():
        slots._FILLINGS[slot] = names
    slots._NOTES.clear()
    slots._NOTES.update(notes)
    slots._load_registered.cache_clear()


def test_every_filling_of_the_module_is_tested() -> None:
    here = {
        (slot, name)
        for slot, names in slots._FILLINGS.items()
        for name, make in names.items()
        if make.__module__ == fillings.__name__
    }
    assert here == set(OURS)


@pytest.mark.parametrize("channels", [24, 61])
@pytest.mark.parametrize(("slot", "name"), OURS)
def test_any_size_keeps_its_shape(slot: str, name: str, channels: int) -> None:
    module = made(slot, name, channels).eval()
    with torch.inference_mode():
        for shape in ((1, 1), (1, 5), (2, 3), (7, 7), (8, 8), (13, 9), (32, 15)):
            out = module(torch.randn(2, channels, *shape))
            assert out.shape == (2, channels, *shape)
            assert out.isfinite().all()


@pytest.mark.parametrize(("slot", "name"), OURS)
def test_gradients_reach_all_parameters(slot: str, name: str) -> None:
    torch.manual_seed(0)
    module = made(slot, name, 64)
    (module(torch.randn(2, 64, 9, 11)) * torch.randn(2, 64, 9, 11)).sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 1e-3, key


@pytest.mark.parametrize(
    ("channels", "expansion", "size"), [(61, 3, (10, 15)), pytest.param(24, 2, (32, 32), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("slot", "name"), OURS)
def test_a_filling_costs_what_its_formula_says(
    slot: str, name: str, channels: int, expansion: int, size: tuple[int, int]
) -> None:
    cost = complexity(made(slot, name, channels, expansion), (1, channels, *size))
    assert cost.macs == FORMULAS[slot, name](*size, channels, expansion)
    assert cost.counted_on == "meta"
    assert (cost.attention_macs > 0) == ((slot, name) in ATTENTION)


@pytest.mark.parametrize(("slot", "name"), sorted(ATTENTION))
def test_attention_costs_what_its_formula_says_at_one_pixel_and_without_padding(slot: str, name: str) -> None:
    for size in ((1, 1), (8, 8), (32, 32)):
        assert complexity(made(slot, name, 24), (1, 24, *size)).macs == FORMULAS[slot, name](*size, 24, 2)


@pytest.mark.parametrize("task", ["classification", pytest.param("segmentation", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("slot", "name"), OURS)
def test_a_model_takes_it_by_name_and_trains_a_step(slot: str, name: str, task: str) -> None:
    """Also under deterministic algorithms and bf16 autocast, and equal seeds give equal gradients."""

    def gradients() -> list[torch.Tensor]:
        model = build_seeded(lambda: build_model(f"mednext_tiny[depths=1-1-1-1,{slot}={name}]", task, 1, 3, 32), 0)
        images = torch.randn(2, 1, 40, 33, generator=torch.Generator().manual_seed(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images.to(memory_format=torch.channels_last))
        logits.float().square().mean().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    torch.use_deterministic_algorithms(True)
    try:
        first, second = gradients(), gradients()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(g.isfinite().all() for g in first)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("channels", "heads"), [(1, 1), (24, 1), (26, 1), (32, 1), (56, 2), (61, 1), (144, 4), (157, 1), (256, 8)]
)
def test_heads_have_about_32_channels(channels: int, heads: int) -> None:
    assert fillings.head_count(channels) == heads


def test_self_attention_is_the_textbook_s() -> None:
    torch.manual_seed(0)
    module, x = made("laffn", "mhsa", 64).double().eval(), torch.randn(2, 64, 3, 5, dtype=torch.float64)
    q, k, v = module.qkv(module.norm(x)).flatten(2).reshape(2, 3, 2, 32, 15).unbind(1)
    weight = (torch.einsum("nhdq,nhdk->nhqk", q, k) / math.sqrt(32)).softmax(dim=-1)
    expected = module.project(torch.einsum("nhqk,nhdk->nhdq", weight, v).reshape(2, 64, 3, 5))
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (7, 7), (9, 16)])
def test_window_attention_is_attention_within_each_window(shape: tuple[int, int]) -> None:
    """Window by window, by hand: padding takes no part, and the bias is that of the offset."""
    torch.manual_seed(0)
    module, x = made("laffn", "window", 64).double().eval(), torch.randn(2, 64, *shape, dtype=torch.float64)
    nn.init.normal_(module.position)
    qkv, expected = module.qkv(module.norm(x)), torch.zeros_like(x)
    (h, _), (w, _) = padded(shape[0]), padded(shape[1])
    for top in range(0, shape[0], h):
        for left in range(0, shape[1], w):
            part = qkv[:, :, top : top + h, left : left + w]
            rows, columns = part.shape[2:]
            q, k, v = part.reshape(2, 3, 2, 32, rows * columns).transpose(-1, -2).unbind(1)
            at = [(i, j) for i in range(rows) for j in range(columns)]
            bias = torch.stack(
                [torch.stack([module.position[:, a - c + 6, b - d + 6] for c, d in at], dim=1) for a, b in at], dim=1
            )
            out = F.scaled_dot_product_attention(q, k, v, bias.expand(2, -1, -1, -1))
            out = out.transpose(-1, -2).reshape(2, 64, rows, columns)
            expected[:, :, top : top + h, left : left + w] = out
    torch.testing.assert_close(module(x), module.project(expected), rtol=0, atol=1e-12)


def test_pooling_is_the_mean_of_the_neighbours_inside_minus_the_pixel() -> None:
    module = made("laffn", "pool", 1).eval()
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    scale = 1 / math.sqrt(1 + 1e-5)
    expected = torch.tensor([[2.0, 2.5, 3.0], [2.0, 2.5, 3.0]]) - x[0, 0]
    torch.testing.assert_close(module(x)[0, 0], scale * expected)


def test_squeeze_excitation_s_gates_depend_on_the_mean_alone() -> None:
    module, x = made("laffn", "se", 24).eval(), torch.rand(1, 24, 4, 4) + 1
    gates = module(x) / x
    torch.testing.assert_close(gates, gates[:, :, :1, :1].expand_as(gates))
    shuffled = x.flatten(2)[:, :, torch.randperm(16)].reshape(x.shape)
    torch.testing.assert_close(module(shuffled) / shuffled, gates)


@pytest.mark.parametrize("name", ["mhsa", "window", "mlp"])
def test_folded_norms_are_gone(name: str) -> None:
    fused = fuse(build_model("mednext_tiny", "classification", 1, 2, 64, laffn=name))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())


def test_attention_and_what_came_after_the_freeze_are_marked_and_nothing_else() -> None:
    """What is marked is in no default space of a search, which so is the one of the committed study."""
    notes = {(slot, name): filling_note(slot, name) for slot in SLOTS for name in filling_names(slot)}
    marked = {pair: note for pair, note in notes.items() if note}
    late = {("laffn", "gated"): "made after the freeze"}
    assert marked == dict.fromkeys(ATTENTION, "breaks the convolution-only rule") | late
    assert ATTENTION_NOTE == "breaks the convolution-only rule"


def test_an_unknown_filling_is_answered_with_the_near_ones() -> None:
    for ask in (filling_note, lambda *pair: fill(*pair, 8, BlockConfig(7, 2, "relu"))):
        with pytest.raises(UserError, match=r"Unknown filling of slot laffn 'mhsaa'\. Did you mean: mhsa"):
            ask("laffn", "mhsaa")


@pytest.mark.usefixtures("registration")
def test_one_line_registers_another() -> None:
    @filling("sem", "mine")
    def mine(channels: int, config: BlockConfig) -> nn.Module:
        """Mine."""
        return nn.Conv2d(channels, channels, config.kernel, padding="same")

    assert "mine" in filling_names("sem")
    assert filling_note("sem", "mine") == ""
    assert build_model("mednext_tiny[sem=mine]", "classification", 1, 2, 32)(torch.randn(2, 1, 32, 32)).shape == (2, 2)
    filling("laffn", "mine", attention=True)(mine)
    assert filling_note("laffn", "mine") == ATTENTION_NOTE


@pytest.mark.usefixtures("registration")
def test_a_taken_name_or_an_unknown_slot_is_refused() -> None:
    def another(channels: int, config: BlockConfig) -> nn.Module:
        return nn.Identity()

    for name in ("convmod", "mhsa", "none"):
        with pytest.raises(UserError, match=f"filling '{name}' already"):
            filling("laffn", name)(another)
    with pytest.raises(UserError, match="Did you mean: laffn"):
        filling("lafn", "mine")
    filling("laffn", "mlp")(fillings.MLP)


@pytest.mark.usefixtures("registration")
def test_entry_points_are_loaded_when_a_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and not at all for a model whose fillings are known."""
    loads = []

    def entry_points(group: str) -> list[EntryPoint]:
        loads.append(group)
        return [EntryPoint("theirs", "ablations.fillings", group)]

    monkeypatch.setattr(slots, "entry_points", entry_points)
    slots._load_registered.cache_clear()
    build_model("mednext_tiny", "classification", 1, 2, 32)
    assert loads == []
    for _ in range(2):
        with pytest.raises(UserError, match="Unknown filling"):
            build_model("mednext_tiny[sdffn=nosuch]", "classification", 1, 2, 32)
    assert loads == ["medbench.fillings"]


@pytest.mark.usefixtures("registration")
def test_a_broken_entry_point_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("theirs", "no_such_package.fillings", "medbench.fillings")
    for module in (slots, catalogue):
        monkeypatch.setattr(module, "entry_points", lambda group: [broken])
    slots._load_registered.cache_clear()
    with pytest.raises(UserError, match=r"Entry point 'theirs' of medbench\.fillings.*No module named"):
        filling_names("sem")


def test_the_project_names_its_fillings_module() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["medbench.fillings"] == {"ablations": "ablations.fillings"}


@pytest.mark.slow
def test_the_listing_has_a_row_per_filling_with_the_whole_model_s_cost() -> None:
    frame = listing("mednext_tiny[depths=1-1-1-1]", "classification", 3, 2, 32)
    assert list(zip(frame["slot"], frame["filling"], strict=True)) == [(s, n) for s in SLOTS for n in filling_names(s)]
    rows = frame.set_index(["slot", "filling"])
    assert list(rows.index[rows["default"]]) == [("laffn", "convmod"), ("sem", "dilated"), ("sdffn", "smooth")]
    assert (frame.loc[frame["default"], ["params %", "MACs %"]] == 0).all(axis=None)
    cost = complexity(build_model("mednext_tiny[depths=1-1-1-1,sem=dw7]", "classification", 3, 2, 32), (1, 3, 32, 32))
    own = rows.loc[("sem", "dw7")]
    assert (own["params M"], own["GMACs"]) == (cost.params / 1e6, cost.macs / 1e9)
    assert own["MACs %"] > 0 > rows.loc[("laffn", "none"), "params %"]
    assert rows.loc[("laffn", "window"), "note"] == ATTENTION_NOTE
    assert frame["summary"].str.endswith(".").all(), list(frame["summary"])


@pytest.mark.slow
def test_the_listing_starts_from_the_model_as_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablations.listing.filling_names", lambda slot: ["none", {"sem": "dilated"}.get(slot, "mlp")])
    rows = listing("mednext_tiny[sem=none]", "classification", 1, 2, 32).set_index(["slot", "filling"])
    assert rows.loc[("sem", "none"), "default"]
    assert rows.loc[("sem", "dilated"), "params %"] > 0


def test_a_model_without_slots_is_told() -> None:
    with pytest.raises(UserError, match="Model 'unet_s' has no slots"):
        listing("unet_s")
    with pytest.raises(UserError, match="but got task 'detection'"):
        listing("mednext_tiny", "detection")
