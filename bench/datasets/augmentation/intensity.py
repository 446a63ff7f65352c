"""What augmentation does to the intensities of a training batch: nnU-Net's set, colour jitter, random erasing.

Probabilities and ranges are nnU-Net's (its trainer's transforms), each image's own draws; photographs get colour jitter
besides. No solarising or posterising: it has no meaning on CT or MRI.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from bench.datasets.augmentation.geometry import replaced, sent
from bench.datasets.augmentation.settings import AugmentationSettings

NOISE, BLUR, BRIGHTNESS, CONTRAST, GAMMA, INVERTED_GAMMA = 0.1, 0.2, 0.15, 0.15, 0.3, 0.1
ERASED_AREAS, ERASED_RATIOS = (0.02, 1 / 3), (0.3, 1 / 0.3)  # Random Erasing, Zhong et al. 2020
_BLUR_RADIUS = 3  # pixels: three times the largest standard deviation


def change_intensities(
    images: torch.Tensor, protocol: AugmentationSettings, generator: torch.Generator
) -> torch.Tensor:
    """The images (N, C, S, S) with changed intensities, each drawn for itself from the generator; changes in place.

    The draws are made on the CPU, wherever the images are; on a GPU other images are returned than those given. In
    nnU-Net's order: noise, blur, brightness, contrast, low resolution, inverted gamma, gamma; then colour and erasing.
    `intensity` multiplies nnU-Net's probabilities.
    """
    n, strength = len(images), protocol.intensity
    whether, amount = torch.rand(n, 10, generator=generator), torch.rand(n, 10, generator=generator)
    changes = (
        (strength * NOISE, lambda x, u: _add_noise(x, 0.1 * u, generator)),
        (strength * BLUR, lambda x, u: _blur(x, 0.5 + 0.5 * u)),
        (strength * BRIGHTNESS, lambda x, u: x * _shaped(0.75 + 0.5 * u, x)),
        (strength * CONTRAST, lambda x, u: _contrast(x, 0.75 + 0.5 * u)),
        (protocol.low_resolution, lambda x, u: _low_resolution(x, 0.5 + 0.5 * u)),
        (strength * INVERTED_GAMMA, lambda x, u: -_gamma(-x, 0.7 + 0.8 * u)),
        (strength * GAMMA, lambda x, u: _gamma(x, 0.7 + 0.8 * u)),
    )
    for k, (probability, change) in enumerate(changes):
        places = (whether[:, k] < probability).nonzero().flatten()
        if len(places):
            chosen = images.index_select(0, sent(places, images.device))
            images = replaced(images, places, change(chosen, amount[places, k]))
    if protocol.colour and images.shape[1] == 3:
        images = _jitter_colour(images, protocol.colour, amount[:, 7:9])
    places = (whether[:, 9] < protocol.erasing).nonzero().flatten()
    if len(places):
        _erase(images, places.tolist(), generator)
    return images


def _shaped(values: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """A number for each image, where the images are."""
    return sent(values, images.device)[:, None, None, None]


def _add_noise(x: torch.Tensor, sd: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise; its standard deviation is in units of each image's own."""
    own = x.std(dim=(1, 2, 3), correction=0)
    noise = sent(torch.randn(x.shape, generator=generator), x.device)
    return x + noise * (sent(sd, x.device) * own)[:, None, None, None]


def _blur(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """A Gaussian of each image's own sigma, in pixels, along rows and then columns; borders are reflected."""
    n, channels, side, _ = x.shape
    sigma = sent(sigma, x.device)
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=x.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = x.reshape(1, n * channels, side, side)
    for shape, padding in (
        ((1, -1), (_BLUR_RADIUS, _BLUR_RADIUS, 0, 0)),
        ((-1, 1), (0, 0, _BLUR_RADIUS, _BLUR_RADIUS)),
    ):
        flat = F.conv2d(
            F.pad(flat, padding, mode="reflect"), kernel.reshape(n * channels, 1, *shape), groups=n * channels
        )
    return flat.reshape(x.shape)


def _contrast(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Away from or towards each channel's mean, within the channel's own range."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return ((x - mean) * _shaped(factor, x) + mean).clamp(low, high)


def _low_resolution(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Down to a share of the side by nearest neighbour and linearly back up, image by image: sizes differ."""
    side = x.shape[-1]
    shrunk = [F.interpolate(image[None], size=max(1, round(side * s)), mode="nearest-exact")
              for image, s in zip(x, scale.tolist(), strict=True)]  # fmt: skip
    return torch.cat([F.interpolate(image, size=side, mode="bilinear", align_corners=False) for image in shrunk])


def _gamma(x: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """A power of the intensities, scaled to [0, 1] by each image's range; its mean and standard deviation are kept."""
    low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
    sd, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True, correction=0)
    curved = ((x - low) / (high - low).clamp_min(1e-7)).clamp(0, 1) ** _shaped(gamma, x)
    curved_sd, curved_mean = torch.std_mean(curved, dim=(1, 2, 3), keepdim=True, correction=0)
    return (curved - curved_mean) / curved_sd.clamp_min(1e-7) * sd + mean


def _jitter_colour(x: torch.Tensor, strength: float, draws: torch.Tensor) -> torch.Tensor:
    """Saturation times 1 +- strength and hue turned by up to strength / 4 of the circle, linearly in YIQ.

    Linear maps of the three channels, so that they do to normalised images what they do to photographs.

    Args:
        draws: (N, 2) uniform, on the CPU.
    """
    yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    saturation = 1 + (2 * draws[:, 0] - 1) * strength
    angle = (2 * draws[:, 1] - 1) * strength * math.pi / 2
    cos, sin = saturation * angle.cos(), saturation * angle.sin()
    turn = torch.zeros(len(x), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    return torch.einsum("nij,njhw->nihw", sent(torch.linalg.inv(yiq) @ turn @ yiq, x.device), x)


def _erase(images: torch.Tensor, places: list[int], generator: torch.Generator) -> None:
    """A rectangle of each of these images becomes the image's mean, channel by channel."""
    side = images.shape[-1]
    draws = torch.rand(len(places), 4, generator=generator).tolist()
    for i, (area, ratio, across, down) in zip(places, draws, strict=True):
        area = (ERASED_AREAS[0] + area * (ERASED_AREAS[1] - ERASED_AREAS[0])) * side * side
        low, high = (math.log(bound) for bound in ERASED_RATIOS)
        ratio = math.exp(low + ratio * (high - low))
        height, width = (min(side, max(1, round(math.sqrt(edge)))) for edge in (area * ratio, area / ratio))
        top, left = int(down * (side - height + 1)), int(across * (side - width + 1))
        images[i, :, top : top + height, left : left + width] = images[i].mean(dim=(1, 2), keepdim=True)
