"""Transformers whose attention is replaced by identity, to be trained anew: what their attention is worth.

Paper: the question is that of Wald et al., "Primus: Enforcing Attention Usage for 3D Medical Image Segmentation", 2025,
arXiv:2503.01835, who put identity in the place of whole Transformers.
Code: the networks of `baselines.segformer` and `baselines.swin_unet`.
Differs from the paper: attention alone goes, with its projections; norms, residual sums, MLPs (with SegFormer's
depth-wise convolutions) and all that is no block of a Transformer stay. A token meets another there no longer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from baselines.segformer import segformer_b0_s
from baselines.swin_unet import swin_unet_s
from bench.zoo.entry import register_model

CITATION = "Wald et al., 2025, arXiv:2503.01835"


class Identity(nn.Module):
    """In the place of attention: every token stays as it is given, whatever else (grid, mask) is given beside."""

    def forward(self, tokens: Tensor, *_: Any, **__: Any) -> Tensor:
        """(N, tokens, C) -> the same."""
        return tokens


def without_attention(network: nn.Module) -> nn.Module:
    """The network itself, each module that its blocks call `attn` replaced by identity.

    Raises:
        ValueError: it has none.
    """
    blocks = [module for module in network.modules() if isinstance(getattr(module, "attn", None), nn.Module)]
    if not blocks:
        raise ValueError("Expected a network with modules named attn, but got none.")
    for block in blocks:
        block.attn = Identity()
    return network


@register_model(
    title="SegFormer-B0 without attention (reduced)",
    family="other",
    citation=CITATION,
    year=2025,
    reduced_from="segformer_b0",
    note="segformer_b0_s with identity in the place of attention",
)
def segformer_b0_s_identity(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = 0.0
) -> nn.Module:
    """`segformer_b0_s` with identity in the place of attention."""
    return without_attention(segformer_b0_s(task, in_channels, num_classes, image_size, drop_path))


@register_model(
    title="Swin-Unet without attention (reduced)",
    family="other",
    citation=CITATION,
    year=2025,
    reduced_from="swin_unet",
    note="swin_unet_s with identity in the place of attention",
)
def swin_unet_s_identity(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = 0.0
) -> nn.Module:
    """`swin_unet_s` with identity in the place of attention; windows and their shifts move nothing then."""
    return without_attention(swin_unet_s(task, in_channels, num_classes, image_size, drop_path=drop_path))
