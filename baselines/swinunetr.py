"""SwinUNETR in two dimensions on MONAI's network, and a form of reduced width.

Paper: Hatamizadeh et al., "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI
Images", BrainLes (MICCAI workshop) 2021.
Code: MONAI (Apache-2.0), SwinUNETR with spatial_dims=2.
Differs from the paper: 2-D; no self-supervised pretraining; the reduced form has 12 features and windows
of 8, which divide its maps at 128 pixels, in place of 48 and 7.
Published: none is checked. The paper's figures hold for 3-D patches; no figure is known to us for the 2-D
form that names its width and its input.
One channel stays one channel.
"""

from __future__ import annotations

from torch import nn

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.errors import UserError
from bench.zoo.entry import register_model

CITATION = "Hatamizadeh et al., BrainLes 2021"


def swin_unetr_2d(
    name: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: int,
    heads: tuple[int, ...],
    window: int,
    depths: tuple[int, ...],
    drop_path: float,
) -> nn.Module:
    """MONAI's SwinUNETR for square images, whose tables of relative positions are not decayed.

    Raises:
        UserError: an image size that is no multiple of 32 or below 64 (the deepest map's normalisation
            needs more than one pixel), features that are no multiple of 12, or heads that do not fit.
    """
    from monai.networks import nets

    class SwinUNETR(nets.SwinUNETR):
        """MONAI's, which excepts nothing from weight decay."""

        def no_weight_decay(self) -> set[str]:
            return {"*.relative_position_bias_table"}

    check_image_size(name, image_size, 32, least=64)
    if features % 12:
        raise UserError(f"Expected features of {name} to be a multiple of 12, but got {features}.")
    if len(heads) != 4 or len(depths) != 4:
        raise UserError(f"Expected four heads and four depths for {name}, but got {heads} and {depths}.")
    if any(features * 2**i % count for i, count in enumerate(heads)):
        raise UserError(f"Expected heads that divide the stages' channels, but got {heads} for {features}.")
    return SwinUNETR(
        in_channels=in_channels,
        out_channels=num_classes,
        feature_size=features,
        num_heads=heads,
        window_size=window,
        depths=depths,
        dropout_path_rate=drop_path,
        spatial_dims=2,
    )


@register_model(
    title="SwinUNETR",
    family="hybrid",
    citation=CITATION,
    version=2,
    year=2021,
    note="2-D form of a 3-D network: no published figure to check, so not in `all`",
)
def swinunetr(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: int = 48,
    heads: tuple[int, ...] = (3, 6, 12, 24),
    window: int = 7,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    drop_path: float = drop_path_rate(25.1e6),
) -> nn.Module:
    """SwinUNETR with the paper's widths and depths, in 2-D."""
    return swin_unetr_2d("swinunetr", in_channels, num_classes, image_size, features, heads, window, depths, drop_path)


@register_model(
    title="SwinUNETR (reduced)",
    family="hybrid",
    citation=CITATION,
    lists=("cpu",),
    version=2,
    year=2021,
    reduced_from="swinunetr",
    note="a quarter of the width, windows of 8",
)
def swinunetr_s(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    features: int = 12,
    heads: tuple[int, ...] = (1, 2, 4, 8),
    window: int = 8,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    drop_path: float = 0.0,
) -> nn.Module:
    """SwinUNETR at a quarter of the width, in 2-D."""
    return swin_unetr_2d(
        "swinunetr_s", in_channels, num_classes, image_size, features, heads, window, depths, drop_path
    )
