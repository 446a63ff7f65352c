"""Classifiers of timm: published networks, and small variants of the same lines, all from random weights.

Papers: a line each in `PAPER` and `CPU`, with timm's exact name of the network. Code: timm (Apache-2.0).
Differs from the papers: no pretraining unless it is asked for (then timm's default weights), no distillation (RepViT
keeps both its heads, averaged), one recipe for all.
Stochastic depth is by size (`baselines.drop_path`), a config field of all but DenseNet, RepViT and EfficientViT, where
timm offers none. What timm sets else when nothing is asked for is kept, residual branches that start at zero or nearly
so among it (ResNet, RegNet, EfficientViT). ConvNeXt's LayerScale is a config field: its paper's 1e-6, made for 300
epochs of ImageNet, and 0.1 in a second row, since branches that start a million times too small may not come to count
in a short run. DeiT, Swin and EfficientViT are built for the image size asked for; the windows of the last two stay 7
wide, a map that they do not divide is padded, and a map that is smaller is one window. `efficientvit_m5` is MSRA's
(cascaded group attention).
Published: timm's own list (`SOURCE`), 1000 classes, 3 channels. It counts norms as well and rounds to 0.01 G: by our
count, which has no norms, MobileNetV3 is 6 % below the list's 0.23 G (large) and 0.06 G (small), and states no figure.
One channel stays one channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.zoo.entry import Family, Pretrained, Published, register_model

SOURCE = "timm results/benchmark-infer-amp-nchw-pt240-cu124-rtx3090.csv"
LEAST = 32  # pixels: the deepest map of all is then one pixel wide

RESNET = "He et al., CVPR 2016"
DENSENET = "Huang et al., CVPR 2017"
EFFICIENTNET = "Tan and Le, ICML 2019"
MOBILENET = "Howard et al., ICCV 2019"
REGNET = "Radosavovic et al., CVPR 2020"
VIT = "Dosovitskiy et al., ICLR 2021"
DEIT = "Touvron et al., ICML 2021"
SWIN = "Liu et al., ICCV 2021"
CONVNEXT = "Liu et al., CVPR 2022"
ATTO = f"{CONVNEXT}; this width: timm"
PVT = "Wang et al., Computational Visual Media 2022"
EFFICIENTVIT = "Liu et al., CVPR 2023"
MOBILEVIT = "Mehta and Rastegari, TMLR 2023"
REPVIT = "Wang et al., CVPR 2024"


@dataclass(frozen=True)
class Network:
    """One network of timm's.

    Attributes:
        timm: its name there.
        params, gmacs: timm's list's, in millions and thousands of millions, at `published_size` pixels.
        step: 0 where one network takes all image sizes; else it is built for one, a multiple of `step`, since the
            patches of any other would leave pixels out.
        drops: whether timm's network takes a rate of stochastic depth.
        layer_scale: start of LayerScale, of a network that has it.
        version: its entry's.
    """

    name: str
    timm: str
    title: str
    family: Family
    citation: str
    year: int
    params: float
    gmacs: float | None
    published_size: int = 224
    step: int = 0
    drops: bool = True
    layer_scale: float | None = None
    version: int = 1

    def config(self) -> dict[str, float]:
        """Config fields with their defaults."""
        rate = {"drop_path": drop_path_rate(self.params * 1e6)} if self.drops else {}
        return rate if self.layer_scale is None else rate | {"layer_scale": self.layer_scale}


PAPER = (
    Network("resnet18", "resnet18", "ResNet-18", "cnn", RESNET, 2016, 11.69, 1.82, version=2),
    Network("resnet50", "resnet50", "ResNet-50", "cnn", RESNET, 2016, 25.56, 4.11, version=2),
    Network("densenet121", "densenet121", "DenseNet-121", "cnn", DENSENET, 2017, 7.98, 2.87, drops=False),
    Network("efficientnet_b0", "efficientnet_b0", "EfficientNet-B0", "cnn", EFFICIENTNET, 2019, 5.29, 0.40),
    Network("mobilenetv3_large_100", "mobilenetv3_large_100", "MobileNetV3-L", "cnn", MOBILENET, 2019, 5.48, None),
    Network("regnety_008", "regnety_008", "RegNetY-800MF", "cnn", REGNET, 2020, 6.26, 0.81, version=2),
    Network(
        "convnext_tiny", "convnext_tiny", "ConvNeXt-T", "cnn", CONVNEXT, 2022, 28.59, 4.47, layer_scale=1e-6, version=2
    ),
    Network("repvit_m1", "repvit_m1", "RepViT-M1", "cnn", REPVIT, 2024, 5.49, 0.83, drops=False),
    Network(
        "deit_small", "deit_small_patch16_224", "DeiT-S", "transformer", DEIT, 2021, 22.05, 4.61, 224, 16, version=2
    ),
    Network("vit_base", "vit_base_patch16_224", "ViT-B/16", "transformer", VIT, 2021, 86.57, 17.58, 224, 16, version=2),
    Network("swin_tiny", "swin_tiny_patch4_window7_224", "Swin-T", "transformer", SWIN, 2021, 28.29, 4.51, 224, 4),
    Network("pvt_v2_b1", "pvt_v2_b1", "PVTv2-B1", "transformer", PVT, 2022, 14.01, 2.12, version=2),
    Network(
        "efficientvit_m5",
        "efficientvit_m5",
        "EfficientViT-M5",
        "hybrid",
        EFFICIENTVIT,
        2023,
        12.47,
        0.53,
        step=1,
        drops=False,
    ),
    Network("mobilevitv2_100", "mobilevitv2_100", "MobileViTv2-1.0", "hybrid", MOBILEVIT, 2023, 4.90, 1.84, 256),
)
CPU = (
    Network("mobilenetv3_small", "mobilenetv3_small_100", "MobileNetV3-S", "cnn", MOBILENET, 2019, 2.54, None),
    Network("convnext_atto", "convnext_atto", "ConvNeXt-A", "cnn", ATTO, 2022, 3.70, 0.55, layer_scale=1e-6),
    Network(
        "convnext_atto_ls",
        "convnext_atto",
        "ConvNeXt-A (LayerScale 0.1)",
        "cnn",
        ATTO,
        2022,
        3.70,
        0.55,
        layer_scale=0.1,
    ),
    Network("deit_tiny", "deit_tiny_patch16_224", "DeiT-Ti", "transformer", DEIT, 2021, 5.72, 1.26, 224, 16),
    Network("mobilevitv2_050", "mobilevitv2_050", "MobileViTv2-0.5", "hybrid", MOBILEVIT, 2023, 1.37, 0.48, 256),
    Network("resnet10t", "resnet10t", "ResNet-10-T", "cnn", f"{RESNET}; this form: timm", 2022, 5.44, 1.10),
)


ARGUMENTS = {"drop_path": "drop_path_rate", "layer_scale": "ls_init_value"}  # config field -> timm's name


def create(network: Network, in_channels: int, num_classes: int, image_size: int, **weights: Any) -> nn.Module:
    """timm's network, with random weights where none are given."""
    import timm

    size = {"img_size": image_size} if network.step else {}
    asked = {"pretrained": False, "in_chans": in_channels, "num_classes": num_classes, **size, **weights}
    return timm.create_model(network.timm, **asked)


def pretrained(network: Network) -> Pretrained:
    """timm's default weights of a network; timm sums the first convolution's channels and resizes positions."""

    def repository() -> str:
        import timm

        return timm.get_pretrained_cfg(network.timm).hf_hub_id

    def heads() -> tuple[str, ...]:
        import timm

        names = timm.get_pretrained_cfg(network.timm).classifier
        return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))

    def adapt(state: dict[str, Any], in_channels: int, num_classes: int, image_size: int) -> dict[str, Any]:
        overlay = {"state_dict": state}
        model = create(network, in_channels, num_classes, image_size, pretrained=True, pretrained_cfg_overlay=overlay)
        return {key: value for key, value in model.state_dict().items() if not key.startswith(heads())}

    return Pretrained(repository, adapt, heads)


def register(network: Network, preset_list: str) -> None:
    """Registers a network under its name here."""

    def build(task: str, in_channels: int, num_classes: int, image_size: int, **config: float) -> nn.Module:
        """timm's network. Raises UserError for an image size that it does not take."""
        check_image_size(network.name, image_size, network.step or 1, least=LEAST)
        given = {ARGUMENTS[field]: value for field, value in config.items()}
        return create(network, in_channels, num_classes, image_size, **given)

    build.__name__ = build.__qualname__ = network.name
    macs = None if network.gmacs is None else network.gmacs * 1e9
    register_model(
        title=network.title,
        family=network.family,
        citation=network.citation,
        tasks=("classification",),
        lists=(preset_list,),
        version=network.version,
        defaults=network.config(),
        year=network.year,
        published=Published(network.params * 1e6, macs, 3, network.published_size, 1000, SOURCE),
        note=f"timm's {network.timm}, random weights",
        pretrained=pretrained(network),
    )(build)


for _network in PAPER:
    register(_network, "paper")
for _network in CPU:
    register(_network, "cpu")
