"""nnU-Net's 2-D network on MONAI's DynUNet, and a form of reduced width; the network, not the framework.

Paper: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021.
Code: MONAI (Apache-2.0), DynUNet.
Differs from the paper: of nnU-Net's planning only the rule for the number of stages is kept (halve while
the map stays at least 4 pixels wide, so the network depends on the image size), and none of its
preprocessing, augmentation, loss, schedule, ensembling or postprocessing, because all models here share
one protocol; convolutions before a normalisation have no bias.
Published: none is checked. nnU-Net is planned anew for each dataset, so that the figures in lists hold
for a plan that they do not name, most of them 3-D.
One channel stays one channel.
"""

from __future__ import annotations

from functools import cache

from torch import Tensor, nn

from baselines.deep_supervision import HEADS, lower_heads, lower_logits
from baselines.unet import check_image_size
from bench.errors import UserError
from bench.zoo.entry import register_model

CITATION = "Isensee et al., Nature Methods 2021"


def planned_stages(image_size: int, most: int) -> int:
    """Number of stages for a square image: nnU-Net halves while the result is at least 4 pixels wide."""
    stages = 1
    while stages < most and image_size // 2**stages >= 4:
        stages += 1
    return stages


def dynunet(name: str, in_channels: int, num_classes: int, image_size: int, features: tuple[int, ...]) -> nn.Module:
    """A DynUNet of as many of the features as the image size allows.

    Raises:
        UserError: fewer than three features, or an image size that the stages do not divide.
    """
    if len(features) < 3:
        raise UserError(f"Expected at least 3 features for {name}, but got {len(features)}: {features}.")
    stages = planned_stages(image_size, len(features))
    check_image_size(name, image_size, 2 ** (stages - 1), least=16)
    net = _supervised_class()(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=num_classes,
        kernel_size=[3] * stages,
        strides=[1] + [2] * (stages - 1),
        upsample_kernel_size=[2] * (stages - 1),
        filters=list(features[:stages]),
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
        deep_supervision=False,
    )
    # `forward` calls these blocks through `skip_layers` alone, where they are registered a second time;
    # a safetensors file wants one name for each tensor.
    del net.input_block, net.downsamples, net.bottleneck, net.upsamples
    net.lower_heads = lower_heads(features[1 : stages - 2], num_classes)
    return net


@cache
def _supervised_class() -> type[nn.Module]:
    """MONAI's DynUNet with lower heads of our own: MONAI's leave logits in the network, and give them one size."""
    from monai.networks.nets import DynUNet

    class SupervisedDynUNet(DynUNet):
        """`lower_heads` are set once it is built."""

        def training_logits(self, x: Tensor) -> list[Tensor]:
            """Logits of all decoder maps but the lowest, full resolution first, then halves."""
            lower: list[Tensor] = []
            logits = self.output_block(_descend(self.skip_layers, x, lower))
            return [logits, *lower_logits(self.lower_heads, reversed(lower[:-1]))]

        def training_only(self) -> set[str]:
            """The heads at lower resolutions."""
            return {f"{HEADS}.*"}

    return SupervisedDynUNet


def _descend(layer: nn.Module, x: Tensor, maps: list[Tensor]) -> Tensor:
    """What MONAI's nested skip layers compute; `maps` takes every decoder map, the deepest first."""
    if not hasattr(layer, "next_layer"):
        return layer(x)
    down = layer.downsample(x)  # type: ignore[operator]
    up = layer.upsample(_descend(layer.next_layer, down, maps), down)  # type: ignore[operator,arg-type]
    maps.append(up)
    return up


@register_model(
    title="nnU-Net",
    deep_supervision=True,
    family="cnn",
    citation=CITATION,
    year=2021,
    note="network only; no published figure for this plan to check, so not in `all`",
)
def nnunet(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (32, 64, 128, 256, 512, 512, 512),
) -> nn.Module:
    """nnU-Net's 2-D network with its own widths: 32 channels, doubled at each stage, at most 512."""
    return dynunet("nnunet", in_channels, num_classes, image_size, features)


@register_model(
    title="nnU-Net (reduced)",
    deep_supervision=True,
    family="cnn",
    citation=CITATION,
    lists=("cpu",),
    year=2021,
    reduced_from="nnunet",
    note="half the width, at most 128 channels; network only",
)
def nnunet_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (16, 32, 64, 128, 128, 128),
) -> nn.Module:
    """nnU-Net's 2-D network with half the channels, at most 128."""
    return dynunet("nnunet_s", in_channels, num_classes, image_size, features)
