"""CCT-7: a Transformer on tokens that convolutions make, for small data sets and random weights.

Paper: Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers", arXiv:2104.05704, 2021.
Code: timm (Apache-2.0) for the Transformer blocks; tokens and pooling were written for this project from the paper.
Tokens are the paper's: CCT-7/3x1 below 64 pixels (one 3x3 convolution, its form for CIFAR), CCT-7/7x2 from 64 on (two
7x7 convolutions of stride 2, its form for 224 pixels); each is followed by ReLU and 3x3 max pooling of stride 2. With
one 3x3 convolution an image of 128 pixels would have 4,096 tokens, and attention 256 times the pairs of CIFAR's.
Differs from the paper's code: its blocks normalise the sum after attention too, here (timm's) branches alone are; no
dropout inside attention.
Published (the authors' table): 3.760 M parameters and 0.947 GMACs, CCT-7/3x1 at 3 x 32 x 32 and 10 classes; only
multiply-accumulates without the products of attention reproduce the latter.
One channel stays one channel.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from baselines.drop_path import drop_path_rate
from baselines.unet import check_image_size
from bench.zoo.entry import Published, register_model

WIDTH, DEPTH, HEADS, RATIO = 256, 7, 4, 2.0  # channels, blocks, heads, hidden over channels in the MLPs
LARGE = 64  # pixels from which on tokens are made as for 224
PARAMS = 3.76e6


def tokenizer(in_channels: int, image_size: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, 256, h, w): half the side below 64 pixels, a sixteenth from there on."""
    size, stride, widths = (7, 2, (in_channels, 64, WIDTH)) if image_size >= LARGE else (3, 1, (in_channels, WIDTH))
    layers: list[nn.Module] = []
    for ins, outs in pairwise(widths):
        layers += [nn.Conv2d(ins, outs, size, stride, size // 2, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*layers)


class CCT(nn.Module):
    """Tokens of convolutions, Transformer blocks, and a pooling that weighs tokens by a score of their own."""

    def __init__(self, in_channels: int, num_classes: int, image_size: int, drop_path: float) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.tokens = tokenizer(in_channels, image_size)
        side = image_size // (16 if image_size >= LARGE else 2)
        self.position = nn.Parameter(torch.empty(1, side**2, WIDTH))
        rates = [drop_path * i / (DEPTH - 1) for i in range(DEPTH)]
        self.blocks = nn.Sequential(*(Block(WIDTH, HEADS, RATIO, drop_path=rate) for rate in rates))
        self.norm = nn.LayerNorm(WIDTH)
        self.score = nn.Linear(WIDTH, 1)
        self.head = nn.Linear(WIDTH, num_classes)
        self.apply(initialise)
        nn.init.trunc_normal_(self.position, std=0.2)

    def no_weight_decay(self) -> set[str]:
        """The position embedding."""
        return {"position"}

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K); H and W are the image size that the network was built for."""
        tokens = self.tokens(x).flatten(2).transpose(1, 2) + self.position
        tokens = self.norm(self.blocks(tokens))
        weights = self.score(tokens).softmax(dim=1)
        return self.head((weights * tokens).sum(dim=1))


def initialise(module: nn.Module) -> None:
    """The paper's: linear weights from a normal distribution of sd 0.02, cut at +-2, biases 0; convolutions by He."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)


@register_model(
    title="CCT-7",
    family="transformer",
    citation="Hassani et al., arXiv:2104.05704, 2021",
    tasks=("classification",),
    lists=("cpu",),
    year=2021,
    published=Published(PARAMS, 0.947e9, 3, 32, 10, "SHI-Labs/Compact-Transformers README (0d60cdd)", attention=False),
    note="tokens of two 7x7 convolutions (CCT-7/7x2) from 64 pixels on",
)
def cct7(
    task: str, in_channels: int, num_classes: int, image_size: int, drop_path: float = drop_path_rate(PARAMS)
) -> nn.Module:
    """CCT-7. Raises UserError for an image size below 32, or from 64 on for one that is no multiple of 16."""
    check_image_size("cct7", image_size, 16 if image_size >= LARGE else 2, least=32)
    return CCT(in_channels, num_classes, image_size, drop_path)
