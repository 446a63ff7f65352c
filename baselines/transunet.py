"""TransUNet: ResNet-50 and ViT-B/16 in a row, and a decoder with skips from the ResNet; and a smaller form.

Paper: Chen et al., "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation", arXiv:2102.04306,
2021.
Code: timm (Apache-2.0) for the encoder (its `vit_base_r50_s16_224`: ResNetV2 with weight standardisation and group
norms, three stages, then twelve Transformer blocks); the decoder was written for this project.
Differs from the paper: no ImageNet-21k weights, which its figures rest on; so no residual branch starts at zero, as
they do in timm.
Published (FengheTan9 Medical-Image-Segmentation-Benchmarks): 105.32 M parameters, 38.52 GMACs at 3 x 256 x 256, one
class. The 24.73 GMACs at 224 that also circulate are a sixth below the same network by the count that gives 38.52.
One channel stays one channel.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model


def conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class TransUNet(nn.Module):
    """Encoder of convolutions and Transformer, decoder that doubles four times.

    Args:
        vit: timm's VisionTransformer on the maps of a ResNetV2 of three stages, at 1/16 of the side.
        skips: channels of the ResNet's maps at 1/8, 1/4 and 1/2 of the side.
        neck, decoder: channels between the two, and of the decoder's four stages.
    """

    def __init__(self, vit: Any, num_classes: int, skips: tuple[int, ...], neck: int, decoder: tuple[int, ...]) -> None:
        super().__init__()
        self.resnet = vit.patch_embed.backbone
        for norm in (m for m in self.resnet.modules() if isinstance(m, nn.GroupNorm) and not m.weight.any()):
            nn.init.ones_(norm.weight)
        self.project = vit.patch_embed.proj
        self.position = vit.pos_embed
        self.blocks, self.norm = vit.blocks, vit.norm
        self.neck = conv_norm(vit.embed_dim, neck)
        ins = (neck, *decoder[:-1])
        self.decoder = nn.ModuleList(
            nn.Sequential(conv_norm(below + skip, width), conv_norm(width, width))
            for below, skip, width in zip(ins, (*skips, 0), decoder, strict=True)
        )
        self.head = nn.Conv2d(decoder[-1], num_classes, 3, padding=1)

    def no_weight_decay(self) -> set[str]:
        """The position embedding."""
        return {"position"}

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W)."""
        size = x.shape[-2:]
        x = self.resnet.stem.norm(self.resnet.stem.conv(x))
        skips = [x]
        x = self.resnet.stem.pool(x)
        for stage in self.resnet.stages:
            x = stage(x)
            skips.append(x)
        x = self.project(self.resnet.norm(skips.pop()))
        n, c, h, w = x.shape
        x = self.norm(self.blocks(x.flatten(2).transpose(1, 2) + self.position))
        x = self.neck(x.transpose(1, 2).reshape(n, c, h, w))
        for stage in self.decoder:
            x = interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
            x = stage(x)
        assert x.shape[-2:] == size
        return self.head(x)


@register_model(
    title="TransUNet",
    family="hybrid",
    citation="Chen et al., arXiv:2102.04306, 2021",
    lists=("paper",),
    version=2,
    year=2021,
    published=Published(
        105.32e6, 38.52e9, 3, 256, 1, "FengheTan9/Medical-Image-Segmentation-Benchmarks README (2c75eee)"
    ),
)
def transunet(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(105.32e6)
) -> nn.Module:
    """TransUNet (R50 + ViT-B/16). Raises UserError for an image size that is no multiple of 16, or below 64."""
    import timm

    check_image_size("transunet", image_size, 16, least=64)
    vit = timm.create_model(
        "vit_base_r50_s16_224",
        pretrained=False,
        in_chans=in_channels,
        img_size=image_size,
        num_classes=0,
        class_token=False,
        global_pool="",
        drop_path_rate=drop_path,
    )
    return TransUNet(vit, num_classes, skips=(512, 256, 64), neck=512, decoder=(256, 128, 64, 16))


@register_model(
    title="TransUNet (reduced)",
    family="hybrid",
    citation="Chen et al., arXiv:2102.04306, 2021",
    lists=("cpu",),
    year=2021,
    reduced_from="transunet",
    note="a ResNet of two blocks a stage at a quarter of the width, six Transformer blocks at a sixth",
)
def transunet_s(task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = 0.0) -> nn.Module:
    """TransUNet of reduced width and depth; image sizes as `transunet`."""
    from timm.layers import GroupNormAct, HybridEmbed, StdConv2dSame
    from timm.models.resnetv2 import ResNetV2
    from timm.models.vision_transformer import VisionTransformer

    check_image_size("transunet_s", image_size, 16, least=64)
    resnet = ResNetV2(
        layers=[2, 2, 2],
        channels=(64, 128, 256),
        stem_chs=16,
        num_classes=0,
        in_chans=in_channels,
        global_pool="",
        preact=False,
        stem_type="same",
        conv_layer=partial(StdConv2dSame, eps=1e-8),
        norm_layer=partial(GroupNormAct, num_groups=8),
    )
    vit = VisionTransformer(
        img_size=image_size,
        patch_size=1,
        in_chans=in_channels,
        num_classes=0,
        global_pool="",
        class_token=False,
        embed_dim=128,
        depth=6,
        num_heads=4,
        drop_path_rate=drop_path,
        embed_layer=partial(HybridEmbed, backbone=resnet),
    )
    return TransUNet(vit, num_classes, skips=(128, 64, 16), neck=128, decoder=(64, 32, 16, 16))
