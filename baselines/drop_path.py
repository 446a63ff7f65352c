"""One rule of stochastic depth for all networks that have it: the larger the network, the more of it.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. Papers set a rate for ImageNet, and libraries now none,
now the paper's, so that rates differ between networks for no reason of ours. Here a rate rises linearly with the
published parameters, from 0 at 5 M to 0.1 at 20 M and above; that of a reduced form is 0. Networks without residual
branches (U-Net and its kin, VGG-like stacks) have none, nor have those whose library's code offers none (DenseNet,
RepViT, EfficientViT; MONAI's MedNeXt, UNETR and SegResNet).
"""

from __future__ import annotations

LEAST, MOST, HIGHEST = 5e6, 20e6, 0.1  # parameters, and the rate from the latter on


def drop_path_rate(params: float) -> float:
    """The rate of the deepest block, to hundredths, for a number of parameters; rates rise to it from the first."""
    share = (params - LEAST) / (MOST - LEAST)
    return round(HIGHEST * min(1.0, max(0.0, share)), 2)
