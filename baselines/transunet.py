"""TransUNet: ResNet-50 and ViT-B/16 in a row, and a decoder with skips from the ResNet.

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

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from baselines.unet import check_image_size
from bench.registry import Published, register_model

_SKIPS, _DECODER = (512, 256, 64, 0), (256, 128, 64, 16)


def conv_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class TransUNet(nn.Module):
    """Encoder of convolutions and Transformer, decoder that doubles four times."""

    def __init__(self, in_channels: int, num_classes: int, image_size: int) -> None:
        import timm

        super().__init__()
        vit = timm.create_model(
            "vit_base_r50_s16_224",
            pretrained=False,
            in_chans=in_channels,
            img_size=image_size,
            num_classes=0,
            class_token=False,
            global_pool="",
        )
        self.resnet = vit.patch_embed.backbone
        for norm in (m for m in self.resnet.modules() if isinstance(m, nn.GroupNorm) and not m.weight.any()):
            nn.init.ones_(norm.weight)
        self.project = vit.patch_embed.proj
        self.position = vit.pos_embed
        self.blocks, self.norm = vit.blocks, vit.norm
        self.neck = conv_norm(768, 512)
        ins = (512, *_DECODER[:-1])
        self.decoder = nn.ModuleList(
            nn.Sequential(conv_norm(below + skip, width), conv_norm(width, width))
            for below, skip, width in zip(ins, _SKIPS, _DECODER, strict=True)
        )
        self.head = nn.Conv2d(_DECODER[-1], num_classes, 3, padding=1)

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
    year=2021,
    published=Published(
        105.32e6, 38.52e9, 3, 256, 1, "FengheTan9/Medical-Image-Segmentation-Benchmarks README (2c75eee)"
    ),
)
def transunet(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """TransUNet (R50 + ViT-B/16). Raises UserError for an image size that is no multiple of 16, or below 64."""
    check_image_size("transunet", image_size, 16, least=64)
    return TransUNet(in_channels, num_classes, image_size)
