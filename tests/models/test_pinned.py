"""What a committed record rests on, pinned: seeded networks and loaders. A change here needs a higher version.

A model's `version` (in its `register_model`) enters its cells' keys; the loaders' is runs.protocol.PROTOCOL_VERSION.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.datasets.loading import label_map, network_input, network_label
from bench.runs.protocol import PRESETS
from bench.runs.seeding import build_seeded
from bench.zoo.registry import build_model, model_entry

# Mean absolute logit on a fixed input, seed 0, training form in eval mode, at the version of each.
OUTPUTS = {
    "attention_unet_s": 0.054082,
    "chance": 1.0,
    "mednext_tiny": 0.061741,
    "nnunet_s": 0.874459,
    "swin_unet_s": 0.514839,
    "swinunetr_s": 0.307653,
    "unet_s": 0.053326,
}
VERSIONS = {"mednext_tiny": 5, "swinunetr_s": 2}


def fixed_input() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-2, 2, 64), torch.linspace(-2, 2, 64), indexing="ij")
    return torch.stack([torch.sin(3 * x) * torch.cos(2 * y), x * y])[:, None]


def mean_logit(name: str) -> float:
    torch.set_num_threads(1)
    model = build_seeded(lambda: build_model(name, "segmentation", 1, 4, 64), 0).eval()
    with torch.inference_mode():
        return model(fixed_input()).abs().mean().item()


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_seeded_network_gives_its_pinned_output(name: str) -> None:
    assert model_entry(name).version == VERSIONS.get(name, 1)
    assert mean_logit(name) == pytest.approx(OUTPUTS[name], rel=1e-3)


@pytest.mark.parametrize(
    ("preset", "means"), [("quick", (0.693112, 0.748204, 1.5, 1.5)), ("paper", (0.278257, 0.161875, 1.5, 1.5))]
)
def test_the_loaders_give_their_pinned_values(preset: str, means: tuple[float, ...]) -> None:
    protocol = PRESETS[preset].protocol
    y, x = np.mgrid[:90, :120]
    image = np.stack([np.sin(y / 7) * np.cos(x / 11), (y * x) % 17]).astype(np.float32)
    label = ((y // 20 + x // 30) % 4).astype(np.uint8)[None].repeat(2, 0)
    batch, maps = network_input(image, protocol), network_label(label, protocol)
    logits = torch.nn.functional.one_hot(maps.long(), 4).permute(0, 3, 1, 2).float()
    back = label_map(logits, (90, 120), protocol)
    values = (batch.abs().mean().item(), (batch**2).mean().item(), maps.float().mean().item(), float(back.mean()))
    assert values == pytest.approx(means, rel=1e-4)


@pytest.mark.parametrize(
    ("fillings", "params", "macs"),
    [
        ("", 3_103_908, 428_910_592),
        ("[sem=none]", 3_051_684, 425_095_168),
        ("[laffn=none,sdffn=none,sem=none]", 560_388, 306_200_576),
    ],
)
def test_the_proposed_model_s_cost_is_pinned(fillings: str, params: int, macs: int) -> None:
    from bench.zoo.complexity import complexity

    cost = complexity(build_model(f"mednext_tiny{fillings}", "segmentation", 1, 4, 128), (1, 1, 128, 128))
    assert (cost.params, cost.macs) == (params, macs)
