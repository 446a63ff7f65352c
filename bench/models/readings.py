"""Other readings of the abstract's three modules, each a filling after a published block.

Only convolutions, MLPs and global pooling; none forms an N x N matrix. The residual, LayerScale and DropPath around a
filling are the block's, not its own.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench.models.fuse import merge_depthwise
from bench.models.layers import NormFirst, depthwise, depthwise_norm
from bench.models.slots import BlockConfig, activation, filling


@filling("laffn", "separable")
class SeparableAttention(NormFirst):
    """Separable linear attention: one softmax over the pixels gives one context vector, which gates the values.

    With s = softmax over pixels of w BN(x), c = sum_p s_p (W1 BN(x))_p: x -> W3 (act(W2 BN(x)) * c). After
    MobileViTv2 (Mehta and Rastegari, TMLR 2023), whose `LinearAttnFFN` is the established use of the words; without
    its unfolding into patches: the softmax runs over the whole map.
    (N, C, H, W) -> (N, C, H, W); MACs: H W (3 C^2 + C), linear in the number of pixels; the weighted sum is a product
    and a sum, not counted.
    """

    readers = ("score", "key", "value")

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.score = nn.Conv2d(channels, 1, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.act = activation(config.activation)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        score = self.score(x)
        weight = score.flatten(2).softmax(dim=2).view_as(score)
        context = (weight * self.key(x)).sum(dim=(2, 3), keepdim=True)
        return self.project(self.act(self.value(x)) * context)


@filling("sem", "dw3")
def depthwise3(channels: int, config: BlockConfig) -> nn.Module:
    """One scale alone, the plainest reading: x -> BN(DW_3(x)). MACs: 9 H W C."""
    return depthwise_norm(channels, 3)


@filling("sem", "multiscale")
class BranchedEncoding(nn.Module):
    """Scales by kernel size and dilation: parallel depth-wise convolutions of several of each, with norms, summed.

    x -> BN(x) + sum_i BN_i(DW_i(x)), kernels k, 3, 3 dilated by (k - 1) / 2, and 5 where k > 5: linear, so that all of
    it folds into one k x k depth-wise convolution at inference. The form is our choice, after the re-parameterised
    branches of RepLKNet (Ding et al., CVPR 2022) and UniRepLKNet (Ding et al., CVPR 2024).
    (N, C, H, W) -> (N, C, H, W); MACs: H W C (k^2 + 18), and 25 H W C more where k > 5; H W C k^2 when folded.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        k = config.kernel
        shapes = [(k, 1), (3, 1), (3, (k - 1) // 2)] + ([(5, 1)] if k > 5 else [])
        self.branches = nn.ModuleList(depthwise_norm(channels, size, dilation) for size, dilation in shapes)
        self.identity = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.identity.weight)
        for branch, shape in zip(self.branches, shapes, strict=True):
            nn.init.constant_(branch[1].weight, float(shape == (3, 1)))  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.identity(x)
        for branch in self.branches:
            out = out + branch(x)
        return out

    def fused(self) -> nn.Module:
        """One depth-wise convolution."""
        return merge_depthwise([(branch[0], branch[1]) for branch in self.branches], self.identity)  # type: ignore[index]


@filling("sem", "multiscale5")
def near_encoding(channels: int, config: BlockConfig) -> nn.Module:
    """The branches of `multiscale` with k = 5 whatever the stage's kernel: identity, 3, 3 dilated by 2, and 5."""
    return BranchedEncoding(channels, replace(config, kernel=5))


@filling("sem", "inception")
class InceptionEncoding(nn.Module):
    """Scales on groups of channels: an eighth each sees 3x3, 1x11 and 11x1, the rest passes; a norm over all.

    After InceptionNeXt's token mixer (Yu et al., CVPR 2024).
    (N, C, H, W) -> (N, C, H, W); MACs: 31 H W floor(C / 8).
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        part = max(1, channels // 8)
        self.sizes = [part, part, part, channels - 3 * part]
        self.branches = nn.ModuleList(
            nn.Conv2d(part, part, size, padding=(size[0] // 2, size[1] // 2), groups=part)
            for size in ((3, 3), (1, 11), (11, 1))
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *parts, rest = x.split(self.sizes, dim=1)
        return self.norm(torch.cat([*(b(p) for b, p in zip(self.branches, parts, strict=True)), rest], dim=1))


@filling("sem", "strip")
class StripEncoding(nn.Module):
    """Scales as pairs of strips, applied as a map: 5x5 first, then 1xk and kx1 for k = 7, 11, 21, summed.

    x -> x * W (d + sum_k DW_kx1(DW_1xk(d))), d = DW_5(BN(x)). After SegNeXt's multi-scale convolutional attention (Guo
    et al., NeurIPS 2022); without its 1x1 convolutions and activation around it, which the other two modules have.
    (N, C, H, W) -> (N, C, H, W); MACs: H W (C^2 + (25 + 2 (7 + 11 + 21)) C).
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.near = depthwise(channels, 5, config)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2), groups=channels),
                nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0), groups=channels),
            )
            for k in (7, 11, 21)
        )
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        near = self.near(x)
        scales = near
        for strip in self.strips:
            scales = scales + strip(near)
        return self.mix(scales) * x


class _DepthwiseFFN(NormFirst):
    """W2 inner(W1 BN(x)), with a 3x3 depth-wise convolution of the r-fold hidden map in `inner`.

    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    readers = ("expand",)
    depthwise_convolutions = ("depthwise",)

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = channels * config.expansion
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = depthwise(hidden, 3, config)
        self.act = activation(config.activation)
        self.project = nn.Conv2d(hidden, channels, 1)

    def inner(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden map (N, r C, H, W) -> the same shape."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(self.inner(self.expand(self.norm(x))))


@filling("sdffn", "smt")
class AggregatingFFN(_DepthwiseFFN):
    """act(h + DW_3(h)): the activation after the inner residual, as in SMT (Lin et al., ICCV 2023).

    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    def inner(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.act(hidden + self.depthwise(hidden))


@filling("sdffn", "cmt")
class InvertedResidualFFN(_DepthwiseFFN):
    """h + act(DW_3(h)), h = act(W1 x): as in CMT (Guo et al., CVPR 2022) and Conv2Former's MLP, without their norms.

    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    def inner(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = self.act(hidden)
        return hidden + self.act(self.depthwise(hidden))


@filling("sdffn", "mix")
class MixFFN(_DepthwiseFFN):
    """act(DW_3(h)), no inner residual: the Mix-FFN of SegFormer (Xie et al., NeurIPS 2021) and PVTv2.

    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    def inner(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.act(self.depthwise(hidden))
