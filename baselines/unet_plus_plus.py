"""U-Net++ on MONAI's network: nested skips between encoder and decoder; and a form of reduced width.

Paper: Zhou, Siddiquee, Tajbakhsh, Liang, "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", DLMIA
(MICCAI workshop) 2018.
Code: MONAI (Apache-2.0), BasicUNetPlusPlus with batch normalisation and ReLU.
Differs from the paper: its last node is used, and is the first of those that deep supervision weighs
(`training_logits`), where the paper averages all four, or prunes.
Published: 9.04 M parameters (the paper's table of results; no MACs there). The 26.90 M that also circulate are of
another form, which the list that has them does not name.
One channel stays one channel.
"""

from __future__ import annotations

from torch import Tensor, nn

from baselines.deep_supervision import HEADS, lower_heads, lower_logits
from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model


class LastNode(nn.Module):
    """MONAI's BasicUNetPlusPlus, its last node's logits; those of the other nodes at full resolution for training.

    Args:
        network: MONAI's with deep supervision; its heads of the other nodes are taken out.
        channels: of these nodes.
    """

    def __init__(self, network: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.network = network
        for name in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):  # `forward` would run them
            setattr(network, name, nn.Identity())
        self.lower_heads = lower_heads([channels] * 3, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W)."""
        return self.network(x)[-1]

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """Logits of all four nodes at full resolution, the last first."""
        *nodes, logits = self.network(x)
        return [logits, *lower_logits(self.lower_heads, reversed(nodes))]

    def training_only(self) -> set[str]:
        """The heads of the other nodes."""
        return {f"{HEADS}.*"}


@register_model(
    title="U-Net++",
    deep_supervision=True,
    family="cnn",
    citation="Zhou et al., DLMIA 2018",
    lists=("paper",),
    year=2018,
    published=Published(9.04e6, None, 3, 256, 1, "the paper's table of results"),
)
def unet_plus_plus(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (32, 64, 128, 256, 512),
) -> nn.Module:
    """U-Net++ at the published size. Raises UserError for an image size that is no multiple of 16."""
    return nested_unet("unet_plus_plus", in_channels, num_classes, image_size, features)


@register_model(
    title="U-Net++ (reduced)",
    deep_supervision=True,
    family="cnn",
    citation="Zhou et al., DLMIA 2018",
    year=2018,
    reduced_from="unet_plus_plus",
    note="half the published width; not in `all`: a cell of quick is planned at 14 minutes, its limit is 10",
)
def unet_plus_plus_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: tuple[int, ...] = (16, 32, 64, 128, 256),
) -> nn.Module:
    """U-Net++ at half the width. Raises UserError for an image size that is no multiple of 16."""
    return nested_unet("unet_plus_plus_s", in_channels, num_classes, image_size, features)


def nested_unet(name: str, in_channels: int, num_classes: int, image_size: int, features: tuple[int, ...]) -> nn.Module:
    """MONAI's network. Raises UserError for an image size that is no multiple of 16."""
    from monai.networks.nets import BasicUNetPlusPlus

    check_image_size(name, image_size, 16, least=32)
    network = BasicUNetPlusPlus(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=num_classes,
        features=(*features, features[0]),
        act="relu",
        norm="batch",
        deep_supervision=True,
    )
    return LastNode(network, features[0], num_classes)
