"""SegFormer-B0 and -B1 on segmentation_models_pytorch: mix Transformer encoder, decoder of MLPs.

Paper: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", NeurIPS 2021.
Code: segmentation_models_pytorch (MIT), Segformer.
Differs from the paper: no pretraining; the logits are resized to the input's size, linearly.
Published (the paper's table 1): 3.8 M parameters and 8.4 GFLOPs (B0), 13.7 M and 15.9 (B1), at 3 x 512 x 512 and 150
classes; only counting multiply-accumulates reproduces the latter.
One channel stays one channel.
"""

from __future__ import annotations

from torch import nn

from baselines.unet import check_image_size
from bench.registry import Published, register_model

CITATION, SOURCE = "Xie et al., NeurIPS 2021", "the paper, table 1"


def segformer(name: str, encoder: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """smp's network with random weights. Raises UserError for an image size that is no multiple of 32, or below 64."""
    import segmentation_models_pytorch as smp

    check_image_size(name, image_size, 32, least=64)
    return smp.Segformer(encoder, encoder_weights=None, in_channels=in_channels, classes=num_classes)


@register_model(
    title="SegFormer-B0",
    family="transformer",
    citation=CITATION,
    lists=("paper",),
    year=2021,
    published=Published(3.8e6, 8.4e9, 3, 512, 150, SOURCE),
)
def segformer_b0(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """SegFormer-B0."""
    return segformer("segformer_b0", "mit_b0", in_channels, num_classes, image_size)


@register_model(
    title="SegFormer-B1",
    family="transformer",
    citation=CITATION,
    lists=("paper",),
    year=2021,
    published=Published(13.7e6, 15.9e9, 3, 512, 150, SOURCE),
)
def segformer_b1(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """SegFormer-B1."""
    return segformer("segformer_b1", "mit_b1", in_channels, num_classes, image_size)
