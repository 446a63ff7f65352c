"""SegFormer-B0, -B1 and a narrower one on segmentation_models_pytorch: mix Transformer encoder, decoder of MLPs.

Paper: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers", NeurIPS 2021.
Code: segmentation_models_pytorch (MIT), Segformer.
Differs from the paper: no pretraining; stochastic depth by size, where the paper has 0.1; the logits are resized to the
input's size, linearly.
Published (the paper's table 1): 3.8 M parameters and 8.4 GFLOPs (B0), 13.7 M and 15.9 (B1), at 3 x 512 x 512 and 150
classes; only counting multiply-accumulates reproduces the latter.
One channel stays one channel.
"""

from __future__ import annotations

from torch import nn

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model

NARROW = "medbench_mit_narrow"
CITATION, SOURCE = "Xie et al., NeurIPS 2021", "the paper, table 1"


def segformer(
    name: str,
    encoder: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    drop_path: float,
    decoder: int = 256,
) -> nn.Module:
    """smp's network with random weights. Raises UserError for an image size that is no multiple of 32, or below 64."""
    import segmentation_models_pytorch as smp

    check_image_size(name, image_size, 32, least=64)
    network = smp.Segformer(
        encoder,
        encoder_weights=None,
        decoder_segmentation_channels=decoder,
        in_channels=in_channels,
        classes=num_classes,
    )
    network.encoder.reset_drop_path(drop_path)
    return network


@register_model(
    title="SegFormer-B0",
    family="transformer",
    citation=CITATION,
    lists=("paper",),
    version=2,
    year=2021,
    published=Published(3.8e6, 8.4e9, 3, 512, 150, SOURCE),
)
def segformer_b0(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(3.8e6)
) -> nn.Module:
    """SegFormer-B0."""
    return segformer("segformer_b0", "mit_b0", in_channels, num_classes, image_size, drop_path)


@register_model(
    title="SegFormer-B1",
    family="transformer",
    citation=CITATION,
    lists=("paper",),
    version=2,
    year=2021,
    published=Published(13.7e6, 15.9e9, 3, 512, 150, SOURCE),
)
def segformer_b1(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(13.7e6)
) -> nn.Module:
    """SegFormer-B1."""
    return segformer("segformer_b1", "mit_b1", in_channels, num_classes, image_size, drop_path)


@register_model(
    title="SegFormer-B0 (reduced)",
    family="transformer",
    citation=CITATION,
    lists=("cpu",),
    version=2,
    year=2021,
    reduced_from="segformer_b0",
    note="three quarters of B0's encoder width, half its decoder's",
)
def segformer_b0_s(task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = 0.0) -> nn.Module:
    """SegFormer at three quarters of B0's width, by an encoder that smp is told of under a name of our own."""
    from segmentation_models_pytorch.encoders import encoders

    b0 = encoders["mit_b0"]
    widths = [24, 48, 120, 192]
    params = {**b0["params"], "embed_dims": widths, "out_channels": [3, 0, *widths]}
    encoders[NARROW] = {"encoder": b0["encoder"], "pretrained_settings": {}, "params": params}
    return segformer("segformer_b0_s", NARROW, in_channels, num_classes, image_size, drop_path, decoder=128)
