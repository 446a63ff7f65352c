"""EMCAD on PVTv2: a hierarchical Transformer encoder, and a decoder of multi-scale depth-wise convolutions and gates.

Paper: Rahman, Munir, Marculescu, "EMCAD: Efficient Multi-scale Convolutional Attention Decoding for Medical Image
Segmentation", CVPR 2024 (names of modules are its own).
Code: timm (Apache-2.0) for the encoder (`pvt_v2_b0`, `pvt_v2_b2`); the decoder was written for this project from the
paper's description.
Differs from the paper: no pretraining; the logits are those of the last stage alone, resized to the input's size,
linearly; deep supervision has a loss for each of the four stages (`training_logits`), where the paper has one for every
sum of some of them.
Published (the paper's table of binary segmentation): 3.92 M parameters and 0.84 GMACs with PVTv2-B0, 26.76 M and 5.60
with PVTv2-B2, at 3 x 256 x 256 and one class. Only multiply-accumulates without the products of attention reproduce the
latter (0.82 and 5.55; with them 0.89 and 5.79).
One channel stays one channel.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from baselines.deep_supervision import HEADS, lower_heads, lower_logits
from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model

CITATION, SOURCE = "Rahman et al., CVPR 2024", "the paper, its table of binary segmentation"
KERNELS = (1, 3, 5)


def conv_norm(ins: int, outs: int, kernel: int, groups: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    """Convolution that keeps the size, batch normalisation, and an activation where one is given."""
    layers: list[nn.Module] = [
        nn.Conv2d(ins, outs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outs),
    ]
    return nn.Sequential(*layers, *([act] if act else []))


def shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, H, W) dealt over groups: the first of each, the second of each, ..."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ChannelAttention(nn.Module):
    """CAB: a gate per channel of the map's mean and maximum, through one MLP."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // ratio)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return x * torch.sigmoid(self.mlp(mean) + self.mlp(peak))


class SpatialAttention(nn.Module):
    """SAB: a gate per pixel of the channels' mean and maximum, by a 7x7 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))


class MultiScaleBlock(nn.Module):
    """MSCB: 1x1 to twice the channels, parallel depth-wise convolutions summed, a shuffle, 1x1 back; residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = conv_norm(channels, wide, 1, act=nn.ReLU6(inplace=True))
        self.scales = nn.ModuleList(conv_norm(wide, wide, k, groups=wide, act=nn.ReLU6(inplace=True)) for k in KERNELS)
        self.project = conv_norm(wide, channels, 1)
        self.groups = gcd(wide, channels)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.expand(x)
        summed = torch.stack([scale(wide) for scale in self.scales]).sum(0)
        return x + self.project(shuffle(summed, self.groups))


class AttentionGate(nn.Module):
    """LGAG: the skip gated per pixel, by grouped 3x3 convolutions of the deeper map and of the skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.deep = conv_norm(channels, half, 3, groups=half)
        self.skip = conv_norm(channels, half, 3, groups=half)
        self.gate = nn.Sequential(conv_norm(half, 1, 1), nn.Sigmoid())

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return skip * self.gate(torch.relu(self.deep(deep) + self.skip(skip)))


class Doubling(nn.Module):
    """EUCB: twice the side, a depth-wise 3x3 convolution, a shuffle, 1x1 to the next stage's channels."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.mix = conv_norm(ins, ins, 3, groups=ins, act=nn.ReLU(inplace=True))
        self.project = nn.Conv2d(ins, outs, 1)
        self.channels = ins

    def forward(self, x: Tensor) -> Tensor:
        return self.project(shuffle(self.mix(interpolate(x, scale_factor=2, mode="nearest")), self.channels))


class EMCAD(nn.Module):
    """A PVTv2 and the decoder.

    Args:
        encoder: timm's name of a PVTv2.
        drop_path: stochastic depth of the encoder's deepest block.
        widths: the encoder's four stages' channels, where they are not its own.
    """

    def __init__(
        self, in_channels: int, num_classes: int, encoder: str, drop_path: float, widths: tuple[int, ...] = ()
    ) -> None:
        import timm

        super().__init__()
        options = {"drop_path_rate": drop_path} | ({"embed_dims": widths} if widths else {})
        self.encoder = timm.create_model(encoder, pretrained=False, in_chans=in_channels, features_only=True, **options)
        channels = list(self.encoder.feature_info.channels())
        self.attend = nn.ModuleList(
            nn.Sequential(ChannelAttention(c), SpatialAttention(), MultiScaleBlock(c)) for c in reversed(channels)
        )
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.ups = nn.ModuleList(Doubling(ins, outs) for ins, outs in pairs)
        self.gates = nn.ModuleList(AttentionGate(outs) for _, outs in pairs)
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        self.lower_heads = lower_heads(channels[1:], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W); H and W are multiples of 32."""
        return enlarged(self.head(self.decode(x)))

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """Logits of the decoder's four stages, each resized as the last is: full resolution first, then halves."""
        lower: list[Tensor] = []
        logits = self.head(self.decode(x, lower))
        return [enlarged(y) for y in (logits, *lower_logits(self.lower_heads, lower))]

    def training_only(self) -> set[str]:
        """The heads of the other stages."""
        return {f"{HEADS}.*"}

    def decode(self, x: Tensor, lower: list[Tensor] | None = None) -> Tensor:
        """The decoder's last map, a quarter of the side; `lower`, where given, takes those before it, largest first."""
        *skips, deep = self.encoder(x)
        deep = self.attend[0](deep)
        for up, gate, attend in zip(self.ups, self.gates, self.attend[1:], strict=True):
            if lower is not None:
                lower.insert(0, deep)
            deep = up(deep)
            deep = attend(deep + gate(deep, skips.pop()))
        return deep


def enlarged(logits: Tensor) -> Tensor:
    """Four times the side, linearly."""
    return interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)


@register_model(
    title="EMCAD-B0",
    deep_supervision=True,
    family="hybrid",
    citation=CITATION,
    lists=("paper",),
    year=2024,
    published=Published(3.92e6, 0.84e9, 3, 256, 1, SOURCE, attention=False),
)
def emcad_b0(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(3.92e6)
) -> nn.Module:
    """EMCAD on PVTv2-B0. Raises UserError for an image size that is no multiple of 32."""
    check_image_size("emcad_b0", image_size, 32, least=64)
    return EMCAD(in_channels, num_classes, "pvt_v2_b0", drop_path)


@register_model(
    title="EMCAD-B2",
    deep_supervision=True,
    family="hybrid",
    citation=CITATION,
    lists=("paper",),
    version=2,
    year=2024,
    published=Published(26.76e6, 5.6e9, 3, 256, 1, SOURCE, attention=False),
)
def emcad_b2(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(26.76e6)
) -> nn.Module:
    """EMCAD on PVTv2-B2. Raises UserError for an image size that is no multiple of 32."""
    check_image_size("emcad_b2", image_size, 32, least=64)
    return EMCAD(in_channels, num_classes, "pvt_v2_b2", drop_path)


@register_model(
    title="EMCAD-B0 (reduced)",
    deep_supervision=True,
    family="hybrid",
    citation=CITATION,
    lists=("cpu",),
    year=2024,
    reduced_from="emcad_b0",
    note="three quarters of PVTv2-B0's width",
)
def emcad_b0_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    widths: tuple[int, ...] = (24, 48, 120, 192),
    drop_path: float = 0.0,
) -> nn.Module:
    """EMCAD at three quarters of PVTv2-B0's width. Raises UserError for an image size that is no multiple of 32."""
    check_image_size("emcad_b0_s", image_size, 32, least=64)
    return EMCAD(in_channels, num_classes, "pvt_v2_b0", drop_path, widths)
