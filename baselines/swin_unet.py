"""Swin-Unet: a U-shaped network of Swin Transformer blocks alone, and a form of reduced width.

Paper: Cao et al., "Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation", ECCV Workshops
2022.
Code: written for this project on timm (Apache-2.0): SwinTransformerBlock and PatchMerging.
Differs from the paper: random initialisation, where the paper starts both halves from ImageNet weights,
without which it must be expected to score lower; one channel stays one channel, where the paper repeats
it to three for those weights; a map that the window does not divide is padded inside the attention and
cropped, and a map that is smaller than the window is one window. As in the released code, a skip is what
a stage is given, before its blocks.
Published: 27.17 M parameters, 6.16 GMACs at 3 x 224 x 224 and 9 classes. Another list (FengheTan9) has
27.14 M and 5.91 GMACs for one class, and 256 pixels in its heading, though windows of 7 fit 224.
`swin_unet_s` has windows of 8, which divide all its maps at 128 pixels, and no stochastic depth.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.errors import UserError
from bench.zoo.entry import Published, register_model

CITATION = "Cao et al., ECCV Workshops 2022"


class Expand(nn.Module):
    """Doubles or quadruples the side of a channels-last map: one linear layer, spread over pixels."""

    def __init__(self, channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(channels, scale * scale * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, scale H, scale W, out)."""
        n, height, width, _ = x.shape
        s = self.scale
        x = self.linear(x).view(n, height, width, s, s, -1).transpose(2, 3)
        return self.norm(x.reshape(n, s * height, s * width, -1))


def stage(channels: int, side: int, heads: int, window: int, drop_path: list[float]) -> nn.Sequential:
    """Swin blocks, one for each rate of `drop_path`, every second one shifted; keeps (N, side, side, C)."""
    from timm.models.swin_transformer import SwinTransformerBlock

    return nn.Sequential(
        *(
            SwinTransformerBlock(
                channels,
                input_resolution=(side, side),
                num_heads=heads,
                window_size=window,
                shift_size=window // 2 if i % 2 else 0,
                drop_path=rate,
            )
            for i, rate in enumerate(drop_path)
        )
    )


class SwinUNet(nn.Module):
    """Encoder and decoder of Swin stages; maps are channels-last between the patches and the head.

    Args:
        embed: channels of the first stage; each further stage has twice as many at half the side.
        drop_path: stochastic depth of the deepest block; it rises linearly from 0. The decoder mirrors it.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: int,
        embed: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        window: int,
        drop_path: float,
    ) -> None:
        from timm.models.swin_transformer import PatchMerging

        super().__init__()
        levels = len(depths)
        channels = [embed * 2**i for i in range(levels)]
        rates = [drop_path * i / max(1, sum(depths) - 1) for i in range(sum(depths))]

        def level_stage(i: int) -> nn.Sequential:
            own = rates[sum(depths[:i]) : sum(depths[: i + 1])]
            return stage(channels[i], image_size // 4 // 2**i, heads[i], window, own)

        self.patches = nn.Conv2d(in_channels, embed, kernel_size=4, stride=4)
        self.patch_norm = nn.LayerNorm(embed)
        self.encoder = nn.ModuleList(level_stage(i) for i in range(levels))
        self.merges = nn.ModuleList(PatchMerging(c) for c in channels[:-1])
        self.norm = nn.LayerNorm(channels[-1])
        self.expands = nn.ModuleList(Expand(c, c // 2, 2) for c in reversed(channels[1:]))
        self.joins = nn.ModuleList(nn.Linear(2 * c, c) for c in reversed(channels[:-1]))
        self.decoder = nn.ModuleList(level_stage(i) for i in reversed(range(levels - 1)))
        self.norm_up = nn.LayerNorm(embed)
        self.expand_x4 = Expand(embed, embed, 4)
        self.head = nn.Conv2d(embed, num_classes, 1, bias=False)
        self.apply(initialise)

    def no_weight_decay(self) -> set[str]:
        """The tables of relative positions."""
        return {"*.relative_position_bias_table"}

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, C, H, W) -> the deepest map (N, H/32, W/32, 8 embed) and the skips, shallowest first."""
        x = self.patch_norm(self.patches(x).permute(0, 2, 3, 1))
        skips = []
        for blocks, merge in zip(self.encoder[:-1], self.merges, strict=True):
            skips.append(x)
            x = merge(blocks(x))
        return self.norm(self.encoder[-1](x)), skips

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W); H and W are the image size that the network was built for."""
        x, skips = self.encode(x)
        for expand, join, blocks in zip(self.expands, self.joins, self.decoder, strict=True):
            x = blocks(join(torch.cat((expand(x), skips.pop()), dim=-1)))
        x = self.expand_x4(self.norm_up(x))
        return self.head(x.permute(0, 3, 1, 2))


def initialise(module: nn.Module) -> None:
    """The paper's: linear weights from a normal distribution of sd 0.02, cut at +-2; biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check(name: str, image_size: int, embed: int, depths: tuple[int, ...], heads: tuple[int, ...]) -> None:
    """Raises UserError for an image size or widths that the stages cannot have."""
    check_image_size(name, image_size, 4 * 2 ** (len(depths) - 1))
    if len(heads) != len(depths):
        raise UserError(f"Expected as many heads as depths for {name}, but got {heads} and {depths}.")
    if any(embed * 2**i % count for i, count in enumerate(heads)):
        raise UserError(f"Expected heads that divide the stages' channels, but got {heads} for embed {embed}.")


@register_model(
    title="Swin-Unet",
    family="transformer",
    citation=CITATION,
    lists=("paper",),
    year=2022,
    published=Published(27.17e6, 6.16e9, 3, 224, 9, "EW-ViT review; RAID-Net README"),
    note="from random weights; the paper starts from ImageNet weights",
)
def swin_unet(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    embed: int = 96,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    heads: tuple[int, ...] = (3, 6, 12, 24),
    window: int = 7,
    drop_path: float = drop_path_rate(27.17e6),
) -> nn.Module:
    """Swin-Unet at the published size."""
    check("swin_unet", image_size, embed, depths, heads)
    return SwinUNet(in_channels, num_classes, image_size, embed, depths, heads, window, drop_path)


@register_model(
    title="Swin-Unet (reduced)",
    family="transformer",
    citation=CITATION,
    lists=("cpu",),
    year=2022,
    reduced_from="swin_unet",
    note="under a third of the width, windows of 8; from random weights",
)
def swin_unet_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    embed: int = 28,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    heads: tuple[int, ...] = (1, 2, 4, 8),
    window: int = 8,
    drop_path: float = 0.0,
) -> nn.Module:
    """Swin-Unet at under a third of the width."""
    check("swin_unet_s", image_size, embed, depths, heads)
    return SwinUNet(in_channels, num_classes, image_size, embed, depths, heads, window, drop_path)
