"""Attention U-Net: the U-Net of `baselines.unet` with gates on its skips, and a form of reduced width.

Paper: Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018.
Code: written for this project; no library beyond torch (BSD-3-Clause).
Differs from the paper: 2-D; the gating signal is the upsampled decoder map, at the skip's own resolution,
where the paper gates with the coarser map and resamples the coefficients; deep supervision by a head and a
loss for each decoder map (`training_logits`), where its code joins them before one loss; batch
normalisation in the gates. These are the choices of the widely copied implementation that the published
figures were counted on. `attention_unet_s` has the 2x2 up-convolutions of `unet_s`, so that the two
differ by the gates alone.
Published (FengheTan9 Medical-Image-Segmentation-Benchmarks): 34.87 M parameters, 66.63 GMACs at 3 x 256 x
256 and one class; multiply-accumulates, though the list calls them FLOPs.
One channel stays one channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.deep_supervision import HEADS, lower_heads, lower_logits
from baselines.unet import UNet, check_image_size
from bench.zoo.entry import Published, register_model

CITATION = "Oktay et al., MIDL 2018"


def projection(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution and batch normalisation; (N, in, H, W) -> (N, out, H, W)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


class Gate(nn.Module):
    """One coefficient in (0, 1) for each pixel of the skip, from the skip and the decoder's map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.of_signal = projection(channels, channels // 2)
        self.of_skip = projection(channels, channels // 2)
        self.to_coefficient = projection(channels // 2, 1)

    def forward(self, signal: Tensor, skip: Tensor) -> Tensor:
        """Two maps (N, C, H, W) -> the gated skip (N, C, H, W)."""
        joint = torch.relu(self.of_signal(signal) + self.of_skip(skip))
        return skip * torch.sigmoid(self.to_coefficient(joint))


class AttentionUNet(UNet):
    """A U-Net whose skips pass a gate before they are concatenated."""

    def __init__(self, in_channels: int, num_classes: int, features: tuple[int, ...], up: str) -> None:
        super().__init__(in_channels, num_classes, features, up)
        self.gates = nn.ModuleList(Gate(channels) for channels in reversed(features[:-1]))
        self.lower_heads = lower_heads(features[1:-1], num_classes)

    def merge(self, level: int, up: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((self.gates[level](up, skip), up), dim=1)

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """Logits of each decoder map, full resolution first, then halves."""
        lower: list[Tensor] = []
        logits = self.head(self.decode(x, lower))
        return [logits, *lower_logits(self.lower_heads, lower)]

    def training_only(self) -> set[str]:
        """The heads at lower resolutions."""
        return {f"{HEADS}.*"}


@register_model(
    title="Attention U-Net",
    deep_supervision=True,
    family="cnn",
    citation=CITATION,
    lists=("paper",),
    year=2018,
    published=Published(
        34.87e6, 66.63e9, 3, 256, 1, "FengheTan9/Medical-Image-Segmentation-Benchmarks README (2c75eee)"
    ),
)
def attention_unet(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (64, 128, 256, 512, 1024),
    up: str = "resize",
) -> nn.Module:
    """Attention U-Net at the published size. Raises UserError for a size the stages do not divide."""
    check_image_size("attention_unet", image_size, 2 ** (len(features) - 1))
    return AttentionUNet(in_channels, num_classes, features, up)


@register_model(
    title="Attention U-Net (reduced)",
    deep_supervision=True,
    family="cnn",
    citation=CITATION,
    lists=("cpu",),
    year=2018,
    reduced_from="attention_unet",
    note="a quarter of the published width; 2x2 up-convolutions",
)
def attention_unet_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (16, 32, 64, 128, 256),
    up: str = "transpose",
) -> nn.Module:
    """Attention U-Net at a quarter of the width."""
    check_image_size("attention_unet_s", image_size, 2 ** (len(features) - 1))
    return AttentionUNet(in_channels, num_classes, features, up)
