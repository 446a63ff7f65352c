"""MedNeXt, the proposed lightweight model: a reconstruction from the abstract of PLoS ONE 21(1): e0340108 (2026).

Xue, Pi, Liu, Zeng, Sun. Not the MIC-DKFZ MedNeXt of MICCAI 2023. What the abstract fixes: a transformer-style
convolutional network of lightweight convolutions and MLPs alone, without self-attention, a backbone for classification
and for segmentation, with three modules: the Linear Attention FFN "for enhancing lesion features", the Spatial Encoding
Module "integrating multi-scale lesion information" and the Smooth DwConv FFN "efficient interaction of channel
features". Everything else is our choice: the inner form of the modules, their order, norms, widths, depths, kernels,
activation, stem, decoder and initialisation. Params and MACs of the original are not known to us.

Shapes: N images, C channels, H x W pixels, K classes. Four stages at strides 4, 8, 16, 32; NCHW.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import nn

import bench.models.readings  # noqa: F401  registers its fillings
from bench.errors import UserError, unknown
from bench.models.fuse import add_identity, affine, fold_before, fused_form, in_place, merge_depthwise
from bench.models.layers import NormFirst, conv_norm_act, depthwise, depthwise_norm, resize
from bench.models.residual import Residual
from bench.models.slots import BlockConfig, activation, fill, filling
from bench.zoo.entry import register_model

CITATION = "Xue et al., PLoS ONE 21(1): e0340108, 2026 (reconstructed from the abstract)"


@filling("laffn", "convmod")
class LinearAttentionFFN(NormFirst):
    """Attention without the N x N matrix: a large-kernel depth-wise convolution makes the map, a product applies it.

    x -> W3 (DW_k(act(W1 BN(x))) * W2 BN(x)), with W1, W2, W3 1x1 convolutions. The abstract fixes the name and the
    purpose. The reading is ours, after the convolutional modulation of Conv2Former (Hou et al., TPAMI 2024).
    (N, C, H, W) -> (N, C, H, W); MACs: H W (3 C^2 + k^2 C), linear in the number of pixels.
    """

    readers = ("query", "value")
    depthwise_convolutions = ("attend",)

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.act = activation(config.activation)
        self.attend = depthwise(channels, config.kernel, config)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return self.project(self.attend(self.act(self.query(x))) * self.value(x))


@filling("laffn", "gated", note="made after the freeze")
class GatedAttentionFFN(LinearAttentionFFN):
    """As `convmod`, with a map between 0 and 1: what an image has too large grows no faster than it comes in.

    x -> W3 (sigmoid(DW_k(act(W1 BN(x)))) * W2 BN(x)). In evaluation norms are fixed scales, so that the product of
    `convmod` squares what they do not fit, block by block (docs/findings.md, outputs that overflow). Our choice.
    (N, C, H, W) -> (N, C, H, W); MACs: H W (3 C^2 + k^2 C), linear in the number of pixels.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return self.project(self.attend(self.act(self.query(x))).sigmoid() * self.value(x))


@filling("sem", "dilated")
class SpatialEncodingModule(nn.Module):
    """Several scales at once: depth-wise 3x3 convolutions at dilations 1, 2 and 3, with norms, averaged at the start.

    x -> sum_d BN_d(DW_3,d(x)), d = 1, 2, 3: linear, so that all of it folds into one 7x7 depth-wise convolution at
    inference. The abstract fixes the name and "multi-scale"; the form is our choice, a depth-wise relative of atrous
    spatial pyramids (Chen et al., TPAMI 2018), folded as UniRepLKNet (Ding et al., CVPR 2024) folds dilated branches.
    (N, C, H, W) -> (N, C, H, W); MACs: 27 H W C; 49 H W C when folded.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.branches = nn.ModuleList(depthwise_norm(channels, 3, dilation) for dilation in (1, 2, 3))
        for branch in self.branches:
            nn.init.constant_(branch[1].weight, 1 / 3)  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, third = self.branches
        return first(x) + second(x) + third(x)

    def fused(self) -> nn.Module:
        """One depth-wise convolution."""
        return merge_depthwise([(branch[0], branch[1]) for branch in self.branches])  # type: ignore[index]


@filling("sdffn", "smooth")
class SmoothDwConvFFN(nn.Module):
    """Channels interact in an MLP whose hidden map is smoothed by a 3x3 depth-wise convolution with its own residual.

    x -> W2 (h + DW_3(h)), h = act(W1 BN(x)), W1 expands r times. The kernel starts as the binomial
    [1 2 1] x [1 2 1] / 16, a smoothing. The abstract fixes the name and the purpose; the form is our choice, after the
    skip-connected depth-wise FFNs of SMT (Lin et al., ICCV 2023) and CMT (Guo et al., CVPR 2022).
    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = channels * config.expansion
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = activation(config.activation)
        self.smooth = depthwise(hidden, 3, config)
        self.project = nn.Conv2d(hidden, channels, 1)
        line = torch.tensor([0.25, 0.5, 0.25])
        with torch.no_grad():
            kernel = next(self.smooth.parameters())
            kernel.copy_(torch.outer(line, line).expand_as(kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.expand(self.norm(x)))
        return self.project(hidden + self.smooth(hidden))

    def fused(self) -> nn.Module:
        """The norm goes into the first 1x1 convolution, the inner residual into the 3x3 kernel."""
        expand = fold_before(self.norm, self.expand)
        smooth = cast(nn.Conv2d, fused_form(self.smooth))
        return nn.Sequential(expand, in_place(self.act), add_identity(smooth), self.project)


STEMS = ("plain", "dense_full", "dense_half")


@dataclass(frozen=True)
class Design:
    """What makes one variant; every field is our choice, and part of a cell's key.

    Attributes:
        widths, depths, kernels, expansions: channels, blocks, kernel size and FFN ratio of the four stages.
        fine: channels of plain convolutions at full and at half resolution: the segmenter's, and the dense stem's.
        act: activation, by name. laffn, sem, sdffn: the slots' fillings.
        layer_scale: start of LayerScale. drop_path: rate at the last block, rising linearly from 0 at the first.
        stem: the classifier's (`make_stem`): `plain`, `dense_full` or `dense_half`; the segmenter has both always.
        dw_norm: whether the depth-wise convolutions of fillings that have no norm of their own get one.
        deep_supervision: whether the segmenter has heads at lower resolutions too, for training alone.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    fine: tuple[int, ...]
    act: str
    laffn: str
    sem: str
    sdffn: str
    layer_scale: float
    drop_path: float
    stem: str
    dw_norm: bool
    deep_supervision: bool

    def __post_init__(self) -> None:
        for name, length in (("widths", 4), ("depths", 4), ("kernels", 4), ("expansions", 4), ("fine", 2)):
            values = getattr(self, name)
            whole = isinstance(values, tuple) and all(isinstance(v, int) and v > 0 for v in values)
            if not whole or len(values) != length:
                raise UserError(f"Expected {name} to be {length} positive integers, but got {values}.")
        if not all(kernel % 2 and kernel > 2 for kernel in self.kernels):
            raise UserError(f"Expected kernels to be odd and at least 3, but got {self.kernels}.")
        if not 0 <= self.drop_path < 1:
            raise UserError(f"Expected drop_path to be at least 0 and below 1, but got {self.drop_path}.")
        if self.stem not in STEMS:
            raise unknown("stem", self.stem, STEMS)


class Block(nn.Sequential):
    """SEM -> LinearAttentionFFN -> SmoothDwConvFFN, each residual; an empty slot leaves nothing behind.

    The order is our choice. (N, C, H, W) -> (N, C, H, W), C and the rest as the stage has them; its MACs are the sum of
    its modules'.
    """

    def __init__(self, design: Design, stage: int, drop: float = 0.0) -> None:
        super().__init__()
        channels = design.widths[stage]
        config = BlockConfig(design.kernels[stage], design.expansions[stage], design.act, design.dw_norm)
        for slot in ("sem", "laffn", "sdffn"):
            module = fill(slot, getattr(design, slot), channels, config)
            if module is not None:
                self.add_module(slot, Residual(module, channels, design.layer_scale, drop))


class Encoder(nn.Module):
    """A stem of stride 2, then four stages of blocks, each after a stride-2 3x3 convolution with its norm.

    (N, C, H, W) -> five maps, at strides 2, 4, 8, 16 and 32, sizes rounded up: (N, s, H/2, W/2), (N, w_1, H/4, W/4),
    ... The hierarchy and the norm (BatchNorm2d) are our choice. MACs beside the stem's and the blocks', of H W pixels:
    9 H W (s w_1 / 16 + w_1 w_2 / 64 + w_2 w_3 / 256 + w_3 w_4 / 1024).

    Args:
        stem: maps the input to `channels` (s) at half the side.
    """

    def __init__(self, stem: nn.Module, channels: int, design: Design) -> None:
        super().__init__()
        self.stem = stem
        drops = torch.linspace(0, design.drop_path, sum(design.depths)).tolist()
        self.down, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, (before, width) in enumerate(pairwise((channels, *design.widths))):
            self.down.append(conv_norm_act(before, width, None, stride=2))
            blocks = (Block(design, stage, drops.pop(0)) for _ in range(design.depths[stage]))
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.stem(x)]
        for down, stage in zip(self.down, self.stages, strict=True):
            maps.append(stage(down(maps[-1])))
        return maps


def make_stem(in_channels: int, design: Design) -> tuple[nn.Module, int]:
    """The classifier's first layers, (N, C, H, W) -> (N, s, H/2, W/2), and s.

    `plain`: one stride-2 3x3 convolution to s = w_1 / 2 channels, 9 C s H W / 4 MACs. Two keep texture longer:
    `dense_full` has a 3x3 convolution to f channels at full resolution before it, H W (9 C f + 9 f s / 4) MACs;
    `dense_half` one of s = h channels at half resolution after it, H W / 4 (9 C h + 9 h^2). f, h: the fine channels.
    """
    (full, half), least, act = design.fine, max(1, design.widths[0] // 2), design.act
    if design.stem == "dense_full":
        dense = conv_norm_act(in_channels, full, act)
        return nn.Sequential(dense, conv_norm_act(full, least, act, stride=2)), least
    if design.stem == "dense_half":
        return nn.Sequential(conv_norm_act(in_channels, half, act, stride=2), conv_norm_act(half, half, act)), half
    return conv_norm_act(in_channels, least, act, stride=2), least


class Classifier(nn.Module):
    """Encoder, norm, global average pooling, linear: (N, C, H, W) -> logits (N, K).

    MACs beside the encoder's and the stem's (`make_stem`): w_4 K.
    """

    def __init__(self, in_channels: int, num_classes: int, design: Design) -> None:
        super().__init__()
        deepest = design.widths[-1]
        self.encoder: nn.Module = Encoder(*make_stem(in_channels, design), design)
        self.norm: nn.Module = nn.BatchNorm2d(deepest)
        self.head = nn.Linear(deepest, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.encoder(x)[-1]).mean(dim=(2, 3)))

    def fused(self) -> nn.Module:
        """The norm goes through the mean into the linear layer."""
        scale, shift = affine(cast(nn.BatchNorm2d, self.norm))
        self.head.bias = nn.Parameter(self.head.bias + self.head.weight @ shift)
        self.head.weight = nn.Parameter(self.head.weight * scale)
        self.encoder, self.norm = fused_form(self.encoder), nn.Identity()
        return self


class Segmenter(nn.Module):
    """U-shape: (N, C, H, W) -> logits (N, K, H, W); skips by concatenation.

    At full and at half resolution two plain 3x3 convolutions each, before and after, carry the fine borders: blocks
    are dear there, and without these levels patients that were not trained on were segmented far worse
    (results/design/table.md). From a quarter of the side on, each decoder level is: 1x1 to the skip's width, bilinear
    upsampling, concatenation, 1x1 fusion, one block of the encoder's kind without DropPath. All of it is our choice.
    MACs beside the encoder's and the blocks', of H W pixels, f and h the fine channels:
    H W (9 (C f + 4 f^2) + K f) + H W / 4 (9 (f h + h^2 + (w_1 + h) h) + f h)
    + sum over levels i = 1, 2, 3 of H W / 4^(i + 1) (w_i w_(i+1) / 4 + 2 w_i^2).
    """

    def __init__(self, in_channels: int, num_classes: int, design: Design) -> None:
        super().__init__()
        (full, half), widths, act = design.fine, design.widths, design.act
        self.fine = nn.Sequential(conv_norm_act(in_channels, full, act), conv_norm_act(full, full, act))
        stem = nn.Sequential(conv_norm_act(full, half, act, stride=2), conv_norm_act(half, half, act))
        self.encoder = Encoder(stem, half, design)
        self.reduce, self.join, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage in (2, 1, 0):
            self.reduce.append(nn.Conv2d(widths[stage + 1], widths[stage], 1))
            self.join.append(conv_norm_act(2 * widths[stage], widths[stage], act, size=1))
            self.blocks.append(Block(design, stage))
        self.at_half = conv_norm_act(widths[0] + half, half, act)
        self.narrow = nn.Conv2d(half, full, 1)
        self.at_full = nn.Sequential(conv_norm_act(2 * full, full, act), conv_norm_act(full, full, act))
        self.head = nn.Conv2d(full, num_classes, 1)
        lower = (half, widths[0], widths[1]) if design.deep_supervision else ()
        self.lower_heads = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in lower)

    def decode(self, x: torch.Tensor, lower: list[torch.Tensor] | None = None) -> torch.Tensor:
        """The decoder's last map; `lower`, where given, takes those before it, half the side first."""
        fine = self.fine(x)
        half, *skips, y = self.encoder(fine)
        for reduce, join, block, skip in zip(self.reduce, self.join, self.blocks, skips[::-1], strict=True):
            y = block(join(torch.cat((resize(reduce(y), skip), skip), dim=1)))
            if lower is not None:
                lower.insert(0, y)
        y = self.at_half(torch.cat((resize(y, half), half), dim=1))
        if lower is not None:
            lower.insert(0, y)
        return self.at_full(torch.cat((resize(self.narrow(y), fine), fine), dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.decode(x))

    def training_logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Logits for deep supervision, full resolution first, then halves; the first alone without lower heads."""
        lower: list[torch.Tensor] = []
        logits = self.head(self.decode(x, lower))
        return [logits, *(head(y) for head, y in zip(self.lower_heads, lower, strict=False))]

    def training_only(self) -> set[str]:
        """Parameters that inference does not use: the heads at lower resolutions."""
        return {"lower_heads.*"}

    def fused(self) -> nn.Module:
        """The inference form has one head."""
        self.lower_heads = nn.ModuleList()
        for name, child in self.named_children():
            setattr(self, name, fused_form(child))
        return self


TINY = Design(
    widths=(24, 56, 144, 256),
    depths=(1, 1, 5, 2),
    kernels=(5, 7, 7, 7),
    expansions=(2, 2, 3, 3),
    fine=(16, 32),
    act="relu",
    laffn="convmod",
    sem="dilated",
    sdffn="smooth",
    layer_scale=1.0,
    drop_path=0.0,
    stem="plain",
    dw_norm=False,
    deep_supervision=False,
)
SMALL = replace(TINY, widths=(32, 72, 192, 368), depths=(1, 2, 8, 2), drop_path=0.01)
BASE = replace(TINY, widths=(48, 104, 272, 512), depths=(2, 3, 10, 3), fine=(24, 48), drop_path=0.08)


def register(name: str, title: str, design: Design, lists: tuple[str, ...]) -> None:
    """Registers one variant; its config is the fields of `Design`."""

    def build(task: str, in_channels: int, num_classes: int, image_size: int, **config: Any) -> nn.Module:
        """Classifier or segmenter. Raises UserError for a config that makes no network."""
        kind = Classifier if task == "classification" else Segmenter
        return kind(in_channels, num_classes, Design(**config))

    build.__name__ = build.__qualname__ = name
    register_model(
        title=title,
        family="proposed",
        citation=CITATION,
        tasks=("segmentation", "classification"),
        lists=lists,
        version=5,
        year=2026,
        defaults=vars(design).copy(),
    )(build)


# The tiny one's design was chosen by cross-validation (results/design/table.md); the others are wider and deeper.
register("mednext_tiny", "MedNeXt-T (reconstr.)", TINY, ("cpu", "paper"))
register("mednext_small", "MedNeXt-S (reconstr.)", SMALL, ("paper",))
register("mednext_base", "MedNeXt-B (reconstr.)", BASE, ("paper",))
