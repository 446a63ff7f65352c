"""Networks that were published for volumes, in their 2-D form on MONAI: MIC-DKFZ's MedNeXt, UNETR, SegResNet; and
forms of reduced width.

Papers: Roy et al., "MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image Segmentation", MICCAI 2023 (no
kin of the proposed model, which shares its name); Hatamizadeh et al., "UNETR: Transformers for 3D Medical Image
Segmentation", WACV 2022; Myronenko, "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization", BrainLes 2018.
Code: MONAI (Apache-2.0) with spatial_dims=2.
Differs from the papers: 2-D, no autoencoder branch, one recipe for all.
Published: figures of the 3-D forms alone, which MONAI's code meets (MedNeXt 5.6, 10.5, 17.6 and 61.8 M with kernels of
3; UNETR 92.58 M at 96 x 96 x 96 and 14 classes: `tests/baselines/test_published_costs.py`). The 2-D forms have none
that could be checked, so that none of them is in `all`.
One channel stays one channel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from baselines.unet import check_image_size
from bench.zoo.entry import register_model

UNCHECKED = "2-D form of a 3-D network: no published figure to check, so not in `all`"
MEDNEXT = "Roy et al., MICCAI 2023"
DKFZ: dict[str, Any] = {"family": "cnn", "citation": MEDNEXT, "version": 2, "year": 2023, "note": UNCHECKED}
DKFZ |= {"deep_supervision": True}


def mednext_2d(size: str, name: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """MONAI's MedNeXt of a size (S, B, M, L). Raises UserError for an image size that is no multiple of 16."""
    from monai.networks import nets

    check_image_size(name, image_size, 16, least=32)
    build = getattr(nets, f"MedNeXt{size}")
    return Supervised(build(spatial_dims=2, in_channels=in_channels, out_channels=num_classes, deep_supervision=True))


class Supervised(nn.Module):
    """MONAI's MedNeXt with deep supervision: `forward` gives the last map's logits, in training too."""

    network: Any

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.network.do_ds = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W)."""
        return self.network(x)

    def training_logits(self, x: Tensor) -> list[Tensor]:
        """Logits of each decoder map and of the bottleneck, full resolution first, then halves; in training mode."""
        self.network.do_ds = True
        try:
            return list(self.network(x))
        finally:
            self.network.do_ds = False

    def training_only(self) -> set[str]:
        """The heads at lower resolutions."""
        return {"network.out_blocks.*"}


@register_model(title="DKFZ MedNeXt-S", **DKFZ)
def dkfz_mednext_small(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """MIC-DKFZ's MedNeXt-S in 2-D."""
    return mednext_2d("S", "dkfz_mednext_small", in_channels, num_classes, image_size)


@register_model(title="DKFZ MedNeXt-B", **DKFZ)
def dkfz_mednext_base(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """MIC-DKFZ's MedNeXt-B in 2-D."""
    return mednext_2d("B", "dkfz_mednext_base", in_channels, num_classes, image_size)


@register_model(title="DKFZ MedNeXt-M", **DKFZ)
def dkfz_mednext_medium(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """MIC-DKFZ's MedNeXt-M in 2-D."""
    return mednext_2d("M", "dkfz_mednext_medium", in_channels, num_classes, image_size)


@register_model(title="DKFZ MedNeXt-L", **DKFZ)
def dkfz_mednext_large(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """MIC-DKFZ's MedNeXt-L in 2-D."""
    return mednext_2d("L", "dkfz_mednext_large", in_channels, num_classes, image_size)


@register_model(
    title="UNETR", family="hybrid", citation="Hatamizadeh et al., WACV 2022", version=2, year=2022, note=UNCHECKED
)
def unetr(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """UNETR in 2-D: ViT-B/16 and a convolutional decoder. Raises UserError for no multiple of 16."""
    return unetr_2d("unetr", in_channels, num_classes, image_size, features=16, hidden=768, heads=12)


@register_model(title="SegResNet", family="cnn", citation="Myronenko, BrainLes 2018", year=2018, note=UNCHECKED)
def segresnet(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """SegResNet in 2-D with the paper's blocks and width. Raises UserError for no multiple of 8."""
    return segresnet_2d("segresnet", in_channels, num_classes, image_size, features=32)


@register_model(
    title="DKFZ MedNeXt-S (reduced)",
    family="cnn",
    citation=MEDNEXT,
    year=2023,
    reduced_from="dkfz_mednext_small",
    deep_supervision=True,
    version=2,
    note="half the published width",
)
def dkfz_mednext_small_s(
    task: str, in_channels: int, num_classes: int, image_size: int, features: int = 16
) -> nn.Module:
    """MIC-DKFZ's MedNeXt-S in 2-D at half the width."""
    from monai.networks.nets import MedNeXt

    check_image_size("dkfz_mednext_small_s", image_size, 16, least=32)
    return Supervised(
        MedNeXt(
            spatial_dims=2,
            init_filters=features,
            in_channels=in_channels,
            out_channels=num_classes,
            kernel_size=3,
            deep_supervision=True,
            use_residual_connection=True,
        )
    )


@register_model(
    title="UNETR (reduced)",
    family="hybrid",
    citation="Hatamizadeh et al., WACV 2022",
    lists=("cpu",),
    version=2,
    year=2022,
    reduced_from="unetr",
    note="a seventh of the Transformer's width, half of the decoder's",
)
def unetr_s(
    task: str, in_channels: int, num_classes: int, image_size: int, features: int = 8, hidden: int = 112
) -> nn.Module:
    """UNETR in 2-D at a seventh of ViT-B's width. Raises UserError for no multiple of 16."""
    return unetr_2d("unetr_s", in_channels, num_classes, image_size, features, hidden, heads=4)


@register_model(
    title="SegResNet (reduced)",
    family="cnn",
    citation="Myronenko, BrainLes 2018",
    lists=("cpu",),
    year=2018,
    reduced_from="segresnet",
    note="half the published width",
)
def segresnet_s(task: str, in_channels: int, num_classes: int, image_size: int, features: int = 16) -> nn.Module:
    """SegResNet in 2-D at half the width. Raises UserError for no multiple of 8."""
    return segresnet_2d("segresnet_s", in_channels, num_classes, image_size, features)


def unetr_2d(
    name: str, in_channels: int, num_classes: int, image_size: int, features: int, hidden: int, heads: int
) -> nn.Module:
    """MONAI's UNETR for square images, its position embedding not decayed; twelve blocks, MLPs 4 times as wide."""
    from monai.networks import nets

    class UNETR(nets.UNETR):
        """MONAI's, which excepts nothing from weight decay."""

        def no_weight_decay(self) -> set[str]:
            return {"vit.patch_embedding.position_embeddings"}

    check_image_size(name, image_size, 16, least=32)
    network = UNETR(
        in_channels=in_channels,
        out_channels=num_classes,
        img_size=image_size,
        feature_size=features,
        hidden_size=hidden,
        mlp_dim=4 * hidden,
        num_heads=heads,
        spatial_dims=2,
    )
    for block in network.vit.blocks:  # made for text beside the image, and unused
        block.norm_cross_attn = block.cross_attn = nn.Identity()
    return network


def segresnet_2d(name: str, in_channels: int, num_classes: int, image_size: int, features: int) -> nn.Module:
    """MONAI's SegResNet for square images, with the paper's blocks."""
    from monai.networks.nets import SegResNet

    check_image_size(name, image_size, 8, least=32)
    return SegResNet(
        spatial_dims=2,
        init_filters=features,
        in_channels=in_channels,
        out_channels=num_classes,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
    )
