"""Parameters and MACs: as published, with the input they were published for, and pinned where nothing is."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from torch import nn

from bench.cost.published import check_costs
from bench.zoo.catalogue import known_cost, shape_key
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model, model_entry

NAMES = sorted(
    p.name for p in entry_points(group="medbench.models") if p.value.startswith("baselines.") and ":" in p.value
)
PUBLISHED = [
    "attention_unet",
    "emcad_b0",
    "emcad_b2",
    "segformer_b0",
    "segformer_b1",
    "swin_unet",
    "transunet",
    "unet",
    "unet_plus_plus",
    "unext",
]
# Their libraries read values while they are built.
ON_CPU = ("swinunetr", "swinunetr_s", "segformer_b0", "segformer_b0_s", "segformer_b1", "transunet", "transunet_s")
ON_CPU += ("emcad_b0", "emcad_b0_s", "emcad_b2")


def build(name: str, channels: int, classes: int, size: int) -> nn.Module:
    """On the meta device where the builder allows it."""
    import torch

    with torch.device("cpu" if name in ON_CPU else "meta"):
        return build_model(name, "segmentation", channels, classes, size)


def test_these_and_no_others_claim_published_figures() -> None:
    assert [name for name in NAMES if model_entry(name).published] == PUBLISHED


def test_costs_are_the_published_ones() -> None:
    """The counts stored with the package, which tests/zoo/test_catalogue.py counts again."""
    checks = {check.entry.name: check for check in check_costs("segmentation")}
    for name in PUBLISHED:
        figures, found = model_entry(name).published, checks[name]
        assert figures is not None
        assert (found.channels, found.image_size, found.classes) == (
            figures.channels,
            figures.image_size,
            figures.classes,
        )
        assert found.counters.cost.counted_on == "meta"
        assert found.params == pytest.approx(figures.params, rel=0.02), name
        assert figures.macs is None or found.macs == pytest.approx(figures.macs, rel=0.05), name


@pytest.mark.parametrize(("size", "params"), [("S", 5.6e6), ("B", 10.5e6), ("M", 17.6e6), ("L", 61.8e6)])
def test_monai_s_dkfz_mednext_has_the_paper_s_parameters_in_3d(size: str, params: float) -> None:
    """The paper's table 1, kernels of 3; of the 2-D forms nothing is published."""
    import torch
    from monai.networks import nets

    with torch.device("meta"):
        network = getattr(nets, f"MedNeXt{size}")(spatial_dims=3, in_channels=1, out_channels=14)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(params, rel=0.02)


def test_monai_s_unetr_has_the_paper_s_parameters_in_3d() -> None:
    import torch
    from monai.networks.nets import UNETR

    with torch.device("meta"):
        network = UNETR(in_channels=1, out_channels=14, img_size=96)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(92.58e6, rel=0.02)


def test_swin_unet_has_the_other_lists_figures_too() -> None:
    """27.14 M at one class (FengheTan9), and 5.91 GMACs, at 224 pixels, not at the 256 of its heading."""
    found = complexity(build("swin_unet", 3, 1, 224), (1, 3, 224, 224))
    assert found.params == pytest.approx(27.14e6, rel=0.02)
    assert found.macs == pytest.approx(5.91e9, rel=0.05)


# At 128 pixels, one channel, four classes. A change here changes the network: raise its version.
PINNED = [
    ("attention_unet", 34_877_616, 16_590_503_936),
    ("attention_unet_s", 1_966_424, 771_211_264),
    ("chance", 0, 0),
    ("deeplabv3plus", 26_672_084, 2_260_664_320),
    ("dkfz_mednext_base", 10_432_004, 3_511_783_424),
    ("dkfz_mednext_large", 61_503_908, 15_009_777_664),
    ("dkfz_mednext_medium", 17_402_820, 5_417_373_696),
    ("deeplabv3plus_s", 1_696_916, 159_535_104),
    ("dkfz_mednext_small", 5_472_068, 2_180_132_864),
    ("dkfz_mednext_small_s", 1_384_868, 556_342_272),
    ("emcad_b0", 3_913_298, 206_576_288),
    ("emcad_b0_s", 2_224_578, 120_111_968),
    ("emcad_b2", 26_757_138, 1_396_598_944),
    ("nnunet", 20_611_236, 3_555_196_928),
    ("nnunet_s", 2_090_068, 746_323_968),
    ("segformer_b0", 3_712_036, 421_806_080),
    ("segformer_b0_s", 1_992_604, 152_186_880),
    ("segformer_b1", 13_672_004, 825_786_368),
    ("segresnet", 6_298_596, 3_882_352_640),
    ("segresnet_s", 1_576_436, 972_292_096),
    ("swin_unet", 27_159_588, 2_473_939_200),
    ("swin_unet_s", 2_329_852, 190_382_080),
    ("swinunetr", 25_138_078, 4_655_559_552),
    ("swinunetr_s", 1_581_694, 295_501_824),
    ("transunet", 105_168_708, 9_358_802_944),
    ("transunet_s", 1_842_164, 346_882_048),
    ("unet", 34_526_084, 16_321_085_440),
    ("unet_plus_plus", 9_118_756, 8_177_319_936),
    ("unet_plus_plus_s", 2_282_772, 2_046_033_920),
    ("unet_s", 1_943_812, 754_188_288),
    ("unetr", 87_167_972, 6_325_534_720),
    ("unetr_s", 2_137_796, 317_521_920),
    ("unext", 1_471_716, 136_568_832),
]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [pytest.param(*row, marks=() if "cpu" in model_entry(row[0]).lists else pytest.mark.slow) for row in PINNED],
)
def test_costs_at_128_pixels_are_pinned(name: str, params: int, macs: int) -> None:
    """Stored with the package are those of the small ones, which tests/zoo/test_catalogue.py counts again."""
    stored = known_cost(model_entry(name), shape_key(name, "segmentation", 1, 4, 128))
    found = stored or complexity(build(name, 1, 4, 128), (1, 1, 128, 128)).stored()
    assert (found["params"], found["macs"]) == (params, macs)
