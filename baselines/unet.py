"""U-Net: the double 3x3 convolution form whose cost figures circulate, and a form of reduced width.

Paper: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015.
Code: written for this project; no library beyond torch (BSD-3-Clause).
Differs from the paper: padded convolutions, so that the output has the input's size; batch normalisation
after each convolution; no dropout. `unet` doubles by nearest resizing and a 3x3 convolution, as the
widely copied implementation does that the published figures were counted on; `unet_s` keeps the paper's
2x2 up-convolution, which costs a quarter less time.
Published (FengheTan9 Medical-Image-Segmentation-Benchmarks): 34.52 M parameters, 65.52 GMACs at 3 x 256 x
256 and one class. The list calls them FLOPs; only counting multiply-accumulates reproduces the figure.
One channel stays one channel.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from bench.errors import UserError, unknown
from bench.zoo.entry import Published, register_model

CITATION = "Ronneberger et al., MICCAI 2015"


def check_image_size(model: str, image_size: int, multiple: int, least: int | None = None) -> None:
    """Raises UserError unless the side length in pixels is a multiple of `multiple` and not below `least`."""
    least = least or multiple
    if image_size < least or image_size % multiple:
        near = max(least, round(image_size / multiple) * multiple)
        raise UserError(
            f"Expected an image size for {model} that is a multiple of {multiple} and at least {least}, "
            f"but got {image_size}; try {near}."
        )


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: 3x3 convolution, batch normalisation, ReLU; (N, in, H, W) -> (N, out, H, W)."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def doubling(up: str, in_channels: int, out_channels: int) -> nn.Sequential:
    """Doubles the side, (N, in, H, W) -> (N, out, 2H, 2W): `resize` (then 3x3) or `transpose` (2x2).

    Raises:
        UserError: another word for `up`.
    """
    if up == "transpose":
        return nn.Sequential(nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2))
    if up != "resize":
        raise unknown("up", up, ("resize", "transpose"))
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Encoder and decoder of double convolutions; the skips are concatenated.

    Args:
        features: channels of the stages, from full resolution to the bottleneck; each stage halves the side.
        up: how the decoder doubles the side, `resize` or `transpose`.
    """

    def __init__(self, in_channels: int, num_classes: int, features: tuple[int, ...], up: str) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(features))
        self.stem = double_conv(in_channels, features[0])
        self.encoder = nn.ModuleList(double_conv(shallow, deep) for shallow, deep in pairs)
        self.ups = nn.ModuleList(doubling(up, deep, shallow) for shallow, deep in reversed(pairs))
        self.decoder = nn.ModuleList(double_conv(2 * shallow, shallow) for shallow, _ in reversed(pairs))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(features[0], num_classes, 1)

    def merge(self, level: int, up: Tensor, skip: Tensor) -> Tensor:
        """Two maps (N, C, H, W) -> (N, 2C, H, W); `level` counts the decoder's stages, the deepest is 0."""
        return torch.cat((skip, up), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W); H and W are multiples of 2 ** (number of stages - 1)."""
        return self.head(self.decode(x))

    def decode(self, x: Tensor, lower: list[Tensor] | None = None) -> Tensor:
        """The decoder's last map; `lower`, where given, takes those before it, half the side first."""
        x = self.stem(x)
        skips = []
        for stage in self.encoder:
            skips.append(x)
            x = stage(self.pool(x))
        for level, (up, stage) in enumerate(zip(self.ups, self.decoder, strict=True)):
            x = stage(self.merge(level, up(x), skips.pop()))
            if lower is not None and skips:
                lower.insert(0, x)
        return x


@register_model(
    title="U-Net",
    family="cnn",
    citation=CITATION,
    lists=("paper",),
    year=2015,
    published=Published(
        34.52e6, 65.52e9, 3, 256, 1, "FengheTan9/Medical-Image-Segmentation-Benchmarks README (2c75eee)"
    ),
)
def unet(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (64, 128, 256, 512, 1024),
    up: str = "resize",
) -> nn.Module:
    """U-Net at the published size. Raises UserError for an image size the stages do not divide."""
    check_image_size("unet", image_size, 2 ** (len(features) - 1))
    return UNet(in_channels, num_classes, features, up)


@register_model(
    title="U-Net (reduced)",
    family="cnn",
    citation=CITATION,
    lists=("cpu",),
    year=2015,
    reduced_from="unet",
    note="a quarter of the published width; 2x2 up-convolutions",
)
def unet_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (16, 32, 64, 128, 256),
    up: str = "transpose",
) -> nn.Module:
    """U-Net at a quarter of the width; the project's reference network for speed."""
    check_image_size("unet_s", image_size, 2 ** (len(features) - 1))
    return UNet(in_channels, num_classes, features, up)
