"""What may stand in the proposed model's slots for comparison, beside `none` and the readings of the abstract.

Each answers a question about a module: is it the module, or would anything of the kind do? Self-attention is here to be
compared with: it breaks the rule that the model is made of convolutions and MLPs alone, and says so. A new one is a
function of (channels, BlockConfig) and one line, `@filling("laffn", "mine")`, in a module that an entry point of the
group `medbench.fillings` names. The residual, LayerScale and DropPath around a filling are the block's, not its own.

Shapes: N images, C channels, H x W pixels; r is the stage's expansion ratio.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from bench.models.layers import NormFirst, conv_norm_act, depthwise, depthwise_norm
from bench.models.slots import BlockConfig, activation, filling

HEAD_CHANNELS = 32
WINDOW = 7


def head_count(channels: int) -> int:
    """Heads of about 32 channels: the divisor of C whose quotient is nearest to 32 in ratio."""
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    return min(divisors, key=lambda n: abs(math.log(channels / n / HEAD_CHANNELS)))


class _Attention(NormFirst):
    """Multi-head attention over pixels; which of them see which is `attend`'s.

    x -> W (softmax(Q K^T / sqrt(d)) V), (Q, K, V) = W_qkv BN(x), heads of about 32 channels.
    (N, C, H, W) -> (N, C, H, W).
    """

    readers = ("qkv",)

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.heads = head_count(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def attend(self, qkv: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values (N, H, W, 3 C) -> (N, H, W, C)."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        return self.project(self.attend(qkv).permute(0, 3, 1, 2))


@filling("laffn", "mhsa", attention=True)
class SelfAttention(_Attention):
    """Multi-head self-attention: every pixel attends to every other, at a cost quadratic in their number.

    x -> W (softmax(Q K^T / sqrt(d)) V), (Q, K, V) = W_qkv BN(x), heads of about 32 channels. After ViT (Dosovitskiy et
    al., ICLR 2021). Without position embeddings (our choice): the convolutions around it tell where a pixel is, as in
    CvT (Wu et al., ICCV 2021), and it works at any size.
    (N, C, H, W) -> (N, C, H, W); MACs: 4 H W C^2 + 2 (H W)^2 C.
    """

    def attend(self, qkv: torch.Tensor) -> torch.Tensor:
        n, h, w, _ = qkv.shape
        q, k, v = qkv.reshape(n, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h, w, -1)


def _cut(side: int) -> tuple[int, int]:
    """Number and size of the windows along a side: as few as 7 pixels allow, of equal size."""
    number = -(-side // WINDOW)
    return number, -(-side // number)


@filling("laffn", "window", attention=True)
class WindowAttention(_Attention):
    """Window attention: pixels attend to those of their own window, of at most 7x7, with relative positions.

    softmax(Q K^T / sqrt(d) + B) V inside each window, B a learned bias per head and offset. After Swin (Liu et al.,
    ICCV 2021). Our choices: no shift, since the block's other modules carry information across the borders; equal
    windows, as few as 7 pixels a side allow (8 pixels are two of 4, not 7 and 1); the map is padded at its lower and
    right border to whole windows, and padding is never attended to.
    (N, C, H, W) -> (N, C, H, W); MACs: 4 H W C^2 + 2 H' W' h w C, where h = ceil(H / ceil(H / 7)) is a window's height,
    H' = h ceil(H / 7) the padded map's, w and W' likewise.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__(channels, config)
        self.position = nn.Parameter(torch.empty(self.heads, 2 * WINDOW - 1, 2 * WINDOW - 1))
        nn.init.trunc_normal_(self.position, std=0.02)

    def no_weight_decay(self) -> set[str]:
        """The bias of relative positions."""
        return {"position"}

    def attend(self, qkv: torch.Tensor) -> torch.Tensor:
        n, height, width, _ = qkv.shape
        (rows, h), (columns, w) = _cut(height), _cut(width)
        below, right = rows * h - height, columns * w - width
        windows = F.pad(qkv, (0, 0, 0, right, 0, below)).reshape(n, rows, h, columns, w, 3, self.heads, -1)
        q, k, v = windows.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(1, 3)
        out = F.scaled_dot_product_attention(q, k, v, self._mask(n, height, width))
        out = out.reshape(n, rows, columns, self.heads, h, w, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return out.reshape(n, rows * h, columns * w, -1)[:, :height, :width]

    def _mask(self, n: int, height: int, width: int) -> torch.Tensor:
        """The bias of each window's pairs, minus infinity where the key is padding: (N windows, heads, h w, h w)."""
        (rows, h), (columns, w) = _cut(height), _cut(width)
        device = self.position.device
        y = torch.arange(h, device=device).repeat_interleave(w)
        x = torch.arange(w, device=device).repeat(h)
        bias = self.position[:, y[:, None] - y + WINDOW - 1, x[:, None] - x + WINDOW - 1]
        inside_y = y + h * torch.arange(rows, device=device)[:, None] < height
        inside_x = x + w * torch.arange(columns, device=device)[:, None] < width
        inside = (inside_y[:, None] & inside_x).reshape(rows * columns, 1, 1, h * w)
        return bias.masked_fill(~inside, -torch.inf).repeat(n, 1, 1, 1)


@filling("laffn", "mlp")
@filling("sdffn", "mlp")
class MLP(NormFirst):
    """A plain MLP: channels alone, every pixel for itself.

    x -> W2 act(W1 BN(x)), W1 expands r times. The FFN of Transformers (Vaswani et al., NeurIPS 2017), as 1x1
    convolutions.
    (N, C, H, W) -> (N, C, H, W); MACs: 2 H W r C^2.
    """

    readers = ("expand",)

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = channels * config.expansion
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = activation(config.activation)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(self.act(self.expand(self.norm(x))))


@filling("laffn", "se")
class SqueezeExcitation(nn.Module):
    """Squeeze-excitation: the whole map's mean per channel decides how much of each channel passes.

    x -> y * sigmoid(W2 act(W1 mean(y))), y = BN(x), W1 to max(8, floor(C / 16)) channels. After SENet (Hu et al., CVPR
    2018), whose reduction is 16; the norm before it and the least of 8 channels are our choice.
    (N, C, H, W) -> (N, C, H, W); MACs: 2 C max(8, floor(C / 16)), whatever the size.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = max(8, channels // 16)
        self.norm = nn.BatchNorm2d(channels)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.act = activation(config.activation)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return x * self.excite(self.act(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))).sigmoid()


@filling("laffn", "pool")
class Pooling(nn.Module):
    """Pooling: each pixel is drawn to the mean of its 3x3 neighbourhood, without a weight of its own.

    x -> mean_3x3(y) - y, y = BN(x), the mean over pixels inside the map. PoolFormer's token mixer (Yu et al., CVPR
    2022). The norm has no shift: the difference would cancel it.
    (N, C, H, W) -> (N, C, H, W); MACs: 0, pooling is not counted.
    """

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.norm.register_parameter("bias", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) - x


@filling("sem", "dw7")
def depthwise7(channels: int, config: BlockConfig) -> nn.Module:
    """One large kernel alone: x -> BN(DW_7(x)).

    The folded default module has this form too, with three 3x3 kernels behind it. The plain large kernel is
    ConvNeXt's (Liu et al., CVPR 2022).
    (N, C, H, W) -> (N, C, H, W); MACs: 49 H W C.
    """
    return depthwise_norm(channels, 7)


@filling("sem", "dw3d2")
def depthwise3_dilated(channels: int, config: BlockConfig) -> nn.Module:
    """One dilated scale alone, the default module's middle branch: x -> BN(DW_3,2(x)), dilation 2.

    After the dilated convolutions of Yu and Koltun (ICLR 2016).
    (N, C, H, W) -> (N, C, H, W); MACs: 9 H W C.
    """
    return depthwise_norm(channels, 3, 2)


@filling("sdffn", "inverted")
def inverted_bottleneck(channels: int, config: BlockConfig) -> nn.Module:
    """An inverted bottleneck: 1x1 expand, 3x3 depth-wise, 1x1 project, each with its norm.

    x -> BN(W2 act(BN(DW_3(act(BN(W1 x)))))), W1 expands r times. MobileNetV2's block (Sandler et al., CVPR 2018), with
    the stage's activation instead of ReLU6.
    (N, C, H, W) -> (N, C, H, W); MACs: H W (2 r C^2 + 9 r C).
    """
    hidden = channels * config.expansion
    return nn.Sequential(
        *conv_norm_act(channels, hidden, config.activation, size=1),
        *depthwise_norm(hidden, 3),
        activation(config.activation),
        *conv_norm_act(hidden, channels, None, size=1),
    )


@filling("sdffn", "glu")
class GatedFFN(NormFirst):
    """A gated linear unit: one half of the hidden map, smoothed and activated, multiplies the other.

    x -> W3 (act(DW_3(W1 BN(x))) * W2 BN(x)), W1 and W2 to h = floor(2 r C / 3) channels. The convolutional GLU of
    TransNeXt (Shi, CVPR 2024); two thirds of the width for equal parameters after Shazeer (arXiv 2002.05202, 2020).
    (N, C, H, W) -> (N, C, H, W); MACs: H W (3 C + 9) floor(2 r C / 3).
    """

    readers = ("gate", "value")
    depthwise_convolutions = ("depthwise",)

    def __init__(self, channels: int, config: BlockConfig) -> None:
        super().__init__()
        hidden = max(1, 2 * channels * config.expansion // 3)
        self.norm = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, hidden, 1)
        self.depthwise = depthwise(hidden, 3, config)
        self.act = activation(config.activation)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        return self.project(self.act(self.depthwise(self.gate(x))) * self.value(x))
