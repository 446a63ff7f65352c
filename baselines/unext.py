"""UNeXt: three convolutional stages, two of tokenised MLPs over shifted channels, and a decoder like them.

Paper: Valanarasu and Patel, "UNeXt: MLP-based Rapid Medical Image Segmentation Network", MICCAI 2022.
Code: written for this project from the paper's description; no library beyond torch.
Differs from the paper: none known.
Published (FengheTan9 Medical-Image-Segmentation-Benchmarks): 1.47 M parameters, 0.58 GMACs at 3 x 256 x 256, one class.
One channel stays one channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model


class ShiftedMLP(nn.Module):
    """Tokens through an MLP across rows, a depth-wise 3x3 convolution, and an MLP across columns; (N, C, H, W)."""

    def __init__(self, channels: int, groups: int = 5) -> None:
        super().__init__()
        self.groups = groups
        self.norm = nn.LayerNorm(channels)
        self.across, self.down = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        tokens = self._mlp(self.across, self._shift(tokens, 2))
        tokens = nn.functional.gelu(self.mix(tokens))
        return x + self._mlp(self.down, self._shift(tokens, 3))

    def _mlp(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _shift(self, x: Tensor, axis: int) -> Tensor:
        """The channels in groups, moved by -2 to 2 pixels along an axis; zeros come in."""
        reach = self.groups // 2
        pad = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
        padded = nn.functional.pad(x, pad)
        size, moves = x.shape[axis], range(-reach, reach + 1)
        parts = zip(padded.chunk(self.groups, 1), moves, strict=True)
        return torch.cat([part.narrow(axis, reach - by, size) for part, by in parts], 1)


class UNeXt(nn.Module):
    """Args: features: channels of the five stages, each of which halves the side."""

    def __init__(self, in_channels: int, num_classes: int, features: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d, e = features
        self.encoder = nn.ModuleList(_conv(i, o) for i, o in ((in_channels, a), (a, b), (b, c)))
        self.embed = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in ((c, d), (d, e)))
        self.embed_norm = nn.ModuleList(nn.LayerNorm(o) for o in (d, e))
        self.tokens = nn.ModuleList(ShiftedMLP(o) for o in (d, e))
        self.tokens_norm = nn.ModuleList(nn.LayerNorm(o) for o in (d, e))
        self.decoder = nn.ModuleList(_conv(i, o) for i, o in ((e, d), (d, c), (c, b), (b, a), (a, a)))
        self.back = nn.ModuleList(ShiftedMLP(o) for o in (d, c))
        self.back_norm = nn.ModuleList(nn.LayerNorm(o) for o in (d, c))
        self.head = nn.Conv2d(a, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W)."""
        skips = []
        for stage in self.encoder:
            x = relu(max_pool2d(stage(x), 2))
            skips.append(x)
        for embed, before, tokens, after in zip(
            self.embed, self.embed_norm, self.tokens, self.tokens_norm, strict=True
        ):
            x = _normalised(tokens(_normalised(embed(x), before)), after)
            skips.append(x)
        skips.pop()
        for i, stage in enumerate(self.decoder):
            x = relu(interpolate(stage(x), scale_factor=2, mode="bilinear", align_corners=False))
            if skips:
                x = x + skips.pop()
            if i < len(self.back):
                x = _normalised(self.back[i](x), self.back_norm[i])
        return self.head(x)


def _conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels))


def _normalised(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@register_model(
    title="UNeXt",
    family="hybrid",
    citation="Valanarasu and Patel, MICCAI 2022",
    lists=("cpu", "paper"),
    year=2022,
    published=Published(1.47e6, 0.58e9, 3, 256, 1, "FengheTan9/Medical-Image-Segmentation-Benchmarks README (2c75eee)"),
)
def unext(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (16, 32, 128, 160, 256),
) -> nn.Module:
    """UNeXt at the published size. Raises UserError for an image size that is no multiple of 32."""
    check_image_size("unext", image_size, 32)
    return UNeXt(in_channels, num_classes, features)
