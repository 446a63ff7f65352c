"""DeepLabV3+ on segmentation_models_pytorch: ResNet-50, atrous spatial pyramid pooling, a light decoder; and
a form of reduced width.

Paper: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018.
Code: segmentation_models_pytorch (MIT), DeepLabV3Plus with output stride 16.
Atrous rates 6, 12, 18 (DeepLabv3, arXiv:1706.05587, for output stride 16), not the library's 12, 24, 36; dropout 0.1,
not its 0.5 (our choice). On a map of 8 x 8, as images of 128 px have, taps 12 and 18 apart still lie outside it.
Differs from the paper: no pretraining; ResNet-50, as most that compare with it take, not Xception or ResNet-101.
Published: none for this encoder in the paper, so that it is not in `all`.
One channel stays one channel.
"""

from __future__ import annotations

from torch import nn

from baselines.unet import check_image_size
from bench.zoo.entry import register_model

_PYRAMID = {"encoder_output_stride": 16, "decoder_atrous_rates": (6, 12, 18), "decoder_aspp_dropout": 0.1}


@register_model(
    title="DeepLabV3+ (R50)",
    family="cnn",
    citation="Chen et al., ECCV 2018",
    version=2,
    year=2018,
    note="the paper has no figure for ResNet-50 to check, so not in `all`",
)
def deeplabv3plus(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """DeepLabV3+ with random weights. Raises UserError for an image size that is no multiple of 16, or below 64."""
    import segmentation_models_pytorch as smp

    check_image_size("deeplabv3plus", image_size, 16, least=64)
    channels = {"in_channels": in_channels, "classes": num_classes}
    return smp.DeepLabV3Plus("resnet50", encoder_weights=None, **channels, **_PYRAMID)


@register_model(
    title="DeepLabV3+ (R50) (reduced)",
    family="cnn",
    citation="Chen et al., ECCV 2018",
    lists=("cpu",),
    version=2,
    year=2018,
    reduced_from="deeplabv3plus",
    note="a quarter of ResNet-50's width behind its stem, and of the decoder's",
)
def deeplabv3plus_s(
    task: str, in_channels: int, num_classes: int, image_size: int, features: tuple[int, ...] = (16, 32, 64, 128)
) -> nn.Module:
    """DeepLabV3+ at a quarter of the width, on timm's ResNet-50; image sizes as `deeplabv3plus`."""
    import segmentation_models_pytorch as smp

    check_image_size("deeplabv3plus_s", image_size, 16, least=64)
    return smp.DeepLabV3Plus(
        "tu-resnet50",
        encoder_weights=None,
        decoder_channels=4 * features[0],
        in_channels=in_channels,
        classes=num_classes,
        channels=features,
        zero_init_last=False,
        **_PYRAMID,
    )
