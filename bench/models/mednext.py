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

from itertools import pairwise
from typing import cast

import torch
from torch import nn

import bench.models.readings  # noqa: F401  registers its fillings
from bench.errors import UserError
from bench.models.fuse import add_identity, affine, fold_before, fused_form, is_depthwise, merge_depthwise, scaled
from bench.models.layers import conv_norm_act, depthwise_norm, resize
from bench.models.slots import BlockConfig, activation, fill, filling
from bench.registry import register_model

CITATION = "Xue et al., PLoS ONE 21(1): e0340108, 2026 (reconstructed from the abstract)"


@filling("laffn", "convmod")
class LinearAttentionFFN(nn.Module):
    """Attention without the N x N matrix: a large-kernel depth-wise convolution makes the map, a product applies it.

    x -> W3 (DW_k(act(W1 BN(x))) * W2 BN(x)), with W1, W2, W3 1x1 convolutions. The abstract fixes the name and the
    purpose. The reading is ours, after the convolutional modulation of Conv2Former (Hou et al., TPAMI 2024).
    (N, C, H, W) -> (N, C, H, W); MACs: H W (3 C^2 + k^2 C), linear in the number of pixels.
    """

    last = "project"

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.act = activation(config.activation)
        self.attend = nn.Conv2d(channels, channels, config.kernel, padding=config.kernel // 2, groups=channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return self.project(self.attend(self.act(self.query(x))) * self.value(x))

    def fused(self) -> nn.Module:
        """The norm goes into the two 1x1 convolutions that follow it."""
        norm = cast(nn.BatchNorm2d, self.norm)
        self.query, self.value = fold_before(norm, self.query), fold_before(norm, self.value)
        self.norm = nn.Identity()
        return self


@filling("sem", "multiscale")
class SpatialEncodingModule(nn.Module):
    """Several scales at once: parallel depth-wise convolutions of several sizes and dilations, with norms, summed.

    x -> BN(x) + sum_i BN_i(DW_i(x)), kernels k, 3, 3 dilated by (k - 1) / 2, and 5 where k > 5: linear, so that all of
    it folds into one k x k depth-wise convolution at inference. The abstract fixes the name and the purpose; the form
    is our choice, after the re-parameterised branches of RepLKNet (Ding et al., CVPR 2022) and UniRepLKNet (Ding et
    al., CVPR 2024).
    (N, C, H, W) -> (N, C, H, W); MACs: H W C (k^2 + 18), and 25 H W C more where k > 5; H W C k^2 when folded.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        k = config.kernel
        shapes = [(k, 1), (3, 1), (3, (k - 1) // 2)] + ([(5, 1)] if k > 5 else [])
        self.branches = nn.ModuleList(depthwise_norm(channels, size, dilation) for size, dilation in shapes)
        self.identity = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.identity(x)
        for branch in self.branches:
            out = out + branch(x)
        return out

    def fused(self) -> nn.Module:
        """One depth-wise convolution."""
        return merge_depthwise([(branch[0], branch[1]) for branch in self.branches], self.identity)  # type: ignore[index]


@filling("sdffn", "smooth")
class SmoothDwConvFFN(nn.Module):
    """Channels interact in an MLP whose hidden map is smoothed by a 3x3 depth-wise convolution with its own residual.

    x -> W2 (h + DW_3(h)), h = act(W1 BN(x)), W1 expands r times. The kernel starts as the binomial
    [1 2 1] x [1 2 1] / 16, a smoothing. The abstract fixes the name and the purpose; the form is our choice, after the
    skip-connected depth-wise FFNs of SMT (Lin et al., ICCV 2023) and CMT (Guo et al., CVPR 2022).
    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """

    last = "project"

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = channels * config.expansion
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = activation(config.activation)
        self.smooth = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.project = nn.Conv2d(hidden, channels, 1)
        line = torch.tensor([0.25, 0.5, 0.25])
        with torch.no_grad():
            self.smooth.weight.copy_(torch.outer(line, line).expand_as(self.smooth.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.expand(self.norm(x)))
        return self.project(hidden + self.smooth(hidden))

    def fused(self) -> nn.Module:
        """The norm goes into the first 1x1 convolution, the inner residual into the 3x3 kernel."""
        expand = fold_before(cast(nn.BatchNorm2d, self.norm), self.expand)
        return nn.Sequential(expand, self.act, add_identity(self.smooth), self.project)


class Residual(nn.Module):
    """x + DropPath(LayerScale(module(x))); DropPath drops whole images' branches, in training alone."""

    def __init__(self, module: nn.Module, channels: int, scale: float, drop: float) -> None:
        super().__init__()
        self.module, self.drop = module, drop
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.scale * self.module(x)
        if self.training and self.drop > 0:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            branch = branch * keep / (1 - self.drop)
        return x + branch

    def fused(self) -> nn.Module:
        """LayerScale goes into the branch's last convolution; a branch that is depth-wise takes the shortcut in too."""
        module = fused_form(self.module)
        if isinstance(module, nn.Conv2d):
            conv = scaled(module, self.scale)
            return add_identity(conv) if is_depthwise(conv) else Shortcut(conv)
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Conv2d):
            module[-1] = scaled(module[-1], self.scale)
            return Shortcut(module)
        if isinstance(last := getattr(module, getattr(module, "last", ""), None), nn.Conv2d):
            setattr(module, module.last, scaled(last, self.scale))  # type: ignore[arg-type]
            return Shortcut(module)
        self.module = module
        return self


class Shortcut(nn.Module):
    """x + module(x): a residual branch of the inference form."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x).add_(x)


class Block(nn.Sequential):
    """SEM -> LinearAttentionFFN -> SmoothDwConvFFN, each residual; an empty slot leaves nothing behind."""

    def __init__(self, channels: int, slots: dict[str, str], config: BlockConfig, scale: float, drop: float) -> None:
        super().__init__()
        for slot in ("sem", "laffn", "sdffn"):
            module = fill(slot, slots[slot], channels, config)
            if module is not None:
                self.add_module(slot, Residual(module, channels, scale, drop))


class Encoder(nn.Module):
    """Stem of two stride-2 convolutions, then four stages: (N, C, H, W) -> five maps, at strides 2, 4, 8, 16, 32."""

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        configs: list[BlockConfig],
        slots: dict[str, str],
        scale: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        act = configs[0].activation
        self.stem = conv_norm_act(in_channels, widths[0] // 2, act, stride=2)
        drops = torch.linspace(0, drop_path, sum(depths)).tolist()
        self.down, self.stages = nn.ModuleList(), nn.ModuleList()
        for before, width, depth, config in zip((widths[0] // 2, *widths), widths, depths, configs, strict=False):
            self.down.append(conv_norm_act(before, width, act if before < widths[0] else None, stride=2))
            blocks = [Block(width, slots, config, scale, drops.pop(0)) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.stem(x)]
        for down, stage in zip(self.down, self.stages, strict=True):
            maps.append(stage(down(maps[-1])))
        return maps


class Classifier(nn.Module):
    """Encoder, norm, global average pooling, linear: (N, C, H, W) -> logits (N, K)."""

    def __init__(self, encoder: Encoder, width: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm: nn.Module = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.encoder(x)[-1]).mean(dim=(2, 3)))

    def fused(self) -> nn.Module:
        """The norm goes through the mean into the linear layer."""
        scale, shift = affine(cast(nn.BatchNorm2d, self.norm))
        self.head.bias = nn.Parameter(self.head.bias + self.head.weight @ shift)
        self.head.weight = nn.Parameter(self.head.weight * scale)
        self.encoder, self.norm = cast(Encoder, fused_form(self.encoder)), nn.Identity()
        return self


class Segmenter(nn.Module):
    """U-shape: (N, C, H, W) -> logits (N, K, H, W).

    Each decoder level: 1x1 to the skip's width, bilinear upsampling, concatenation with the skip, 1x1 fusion, one block
    of the encoder's kind. The last level is light: the stem's half-resolution map joins through plain 3x3 convolutions
    (our choice: fine borders at little cost).
    """

    def __init__(
        self,
        encoder: Encoder,
        widths: tuple[int, ...],
        configs: list[BlockConfig],
        slots: dict[str, str],
        scale: float,
        k: int,
        in_channels: int,
        detail: int,
        decoder_depth: int,
        fusion: int,
        shallow: int,
        detail_depth: int,
        stem: str,
    ) -> None:
        super().__init__()
        act = configs[0].activation
        self.encoder = encoder
        self.reduce, self.fuse, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for (skip, deep), config in zip(list(pairwise(widths))[::-1], configs[-2::-1], strict=True):
            self.reduce.append(nn.Conv2d(deep, skip, 1))
            self.fuse.append(conv_norm_act(2 * skip, skip, act, size=fusion))
            self.blocks.append(nn.Sequential(*(Block(skip, slots, config, scale, 0.0) for _ in range(decoder_depth))))
        self.fine = None
        if stem == "full":
            self.fine = nn.Sequential(conv_norm_act(in_channels, detail, act), conv_norm_act(detail, detail, act))
            encoder.stem = nn.Sequential(
                conv_norm_act(detail, shallow, act, stride=2), conv_norm_act(shallow, shallow, act)
            )
            encoder.down[0] = conv_norm_act(shallow, widths[0], None, stride=2)
            self.last = conv_norm_act(widths[0] + shallow, shallow, act)
            self.narrow = nn.Conv2d(shallow, detail, 1)
            self.full = nn.Sequential(conv_norm_act(2 * detail, detail, act), conv_norm_act(detail, detail, act))
            self.head = nn.Conv2d(detail, k, 1)
            return
        half = shallow or widths[0] // 2
        self.shallow = conv_norm_act(widths[0] // 2, half, act)
        self.last = conv_norm_act(widths[0] + half, max(widths[0], half), act)
        self.detail = self.full = None
        if detail:
            before = [conv_norm_act(in_channels, detail, act)]
            before += [conv_norm_act(detail, detail, act) for _ in range(detail_depth - 1)]
            self.detail = nn.Sequential(*before)
            self.narrow = nn.Conv2d(max(widths[0], half), detail, 1)
            after = [conv_norm_act(2 * detail, detail, act)]
            after += [conv_norm_act(detail, detail, act) for _ in range(detail_depth - 1)]
            self.full = nn.Sequential(*after)
        self.head = nn.Conv2d(detail or max(widths[0], half), k, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fine is not None:
            full = self.fine(x)
            half, *skips, y = self.encoder(full)
        else:
            half, *skips, y = self.encoder(x)
        for reduce, fuse, block, skip in zip(self.reduce, self.fuse, self.blocks, skips[::-1], strict=True):
            y = block(fuse(torch.cat((resize(reduce(y), skip), skip), dim=1)))
        if self.fine is not None:
            y = self.last(torch.cat((resize(y, half), half), dim=1))
            return self.head(self.full(torch.cat((resize(self.narrow(y), full), full), dim=1)))
        y = self.last(torch.cat((resize(y, half), self.shallow(half)), dim=1))
        if self.detail is None or self.full is None:
            return resize(self.head(y), x)
        return self.head(self.full(torch.cat((resize(self.narrow(y), x), self.detail(x)), dim=1)))


def _check_stages(**fields: tuple[int, ...]) -> None:
    for name, values in fields.items():
        if len(values) != 4 or not all(isinstance(v, int) and v > 0 for v in values):
            raise UserError(f"Expected {name} to be four positive integers, one a stage, but got {values}.")
    if not all(kernel % 2 and kernel > 2 for kernel in fields["kernels"]):
        raise UserError(f"Expected kernels to be odd and at least 3, but got {fields['kernels']}.")


@register_model(
    title="MedNeXt-T (reconstr.)",
    family="proposed",
    citation=CITATION,
    tasks=("segmentation", "classification"),
    lists=("cpu", "paper"),
    version=2,
    year=2026,
)
def mednext_tiny(
    task: str,
    in_channels: int,
    num_classes: int,
    image_size: int,
    widths: tuple[int, ...] = (24, 56, 144, 256),
    depths: tuple[int, ...] = (1, 1, 5, 2),
    kernels: tuple[int, ...] = (5, 7, 7, 7),
    expansions: tuple[int, ...] = (2, 2, 3, 3),
    act: str = "relu",
    sem: str = "multiscale",
    laffn: str = "convmod",
    sdffn: str = "smooth",
    layer_scale: float = 0.5,
    drop_path: float = 0.0,
    detail: int = 0,
    decoder_depth: int = 1,
    fusion: int = 1,
    shallow: int = 0,
    detail_depth: int = 1,
    stem: str = "stride",
) -> nn.Module:
    """The smallest variant. Widths, depths, kernels, expansions, activation and LayerScale's start are our choice."""
    _check_stages(widths=widths, depths=depths, kernels=kernels, expansions=expansions)
    slots = {"sem": sem, "laffn": laffn, "sdffn": sdffn}
    configs = [BlockConfig(kernel, expansion, act) for kernel, expansion in zip(kernels, expansions, strict=True)]
    encoder = Encoder(in_channels, widths, depths, configs, slots, layer_scale, drop_path)
    if task == "classification":
        return Classifier(encoder, widths[-1], num_classes)
    return Segmenter(
        encoder,
        widths,
        configs,
        slots,
        layer_scale,
        num_classes,
        in_channels,
        detail,
        decoder_depth,
        fusion,
        shallow,
        detail_depth,
        stem,
    )
