"""What may happen to an image between the scanner and the network, in five severities: plain arrays, fixed seeds.

Corruptions and severities are MedMNIST-C's (Di Salvo, Doerrich, Ledig, arXiv:2406.17536; its registry's values for
chest X-rays, pixelation for abdominal CT), whose lengths, given for images of 224 pixels, go with the image's side
here. Those of an MR scanner are TorchIO's (Perez-Garcia, Sparks, Ourselin, CMPB 208, 2021), their severities our
choice, as are the shifts of a CT window.

Images are (H, W), or (H, W, 3), with values from 0 to 1; so are those that come back.
"""

from __future__ import annotations

import copy
import io
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from bench.errors import UserError

SEVERITIES = (1, 2, 3, 4, 5)
SEED = 20261126
SIDE = 224  # pixels of the images that MedMNIST-C's lengths are for
SPREAD = (0.5, 99.5)  # percentiles of a volume that become 0 and 1: what lies beyond is clipped
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]  # image, severity from 0, what is drawn


def corrupted(array: np.ndarray, name: str, severity: int, case: str) -> np.ndarray:
    """A volume (D, H, W) slice by slice, pictures in colour (D, 3, H, W) uint8, or an image (C, H, W) uint8.

    The result has the range and type that it had.

    The same case, name and severity give the same array on every machine.

    Args:
        name: of `CORRUPTIONS`. severity: 1 to 5.
    """
    rng = np.random.default_rng([SEED, zlib.crc32(f"{case}/{name}".encode())])  # severities of one and the same draw
    apply = CORRUPTIONS[name]
    if array.dtype == np.uint8:
        images = array if array.ndim == 4 else array[None]
        changed = np.stack([_eight_bits(image, lambda part: apply(part, severity - 1, rng)) for image in images])
        return changed if array.ndim == 4 else changed[0]
    low, high = np.percentile(array, SPREAD)
    spread = max(float(high - low), 1e-6)
    slices = ((np.asarray(array, np.float64) - low) / spread).clip(0, 1)
    changed = np.stack([apply(part, severity - 1, rng).clip(0, 1) for part in slices])
    return (changed * spread + low).astype(np.float32)


def _eight_bits(image: np.ndarray, apply: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A corruption of an image (C, H, W) uint8, which sees it as (H, W) or (H, W, C) in [0, 1]."""
    seen = np.asarray(image, np.float64).transpose(1, 2, 0) / 255
    changed = apply(seen[..., 0] if seen.shape[2] == 1 else seen).clip(0, 1)
    changed = np.rint(255 * changed).astype(np.uint8)
    return changed[None] if changed.ndim == 2 else changed.transpose(2, 0, 1)


def _noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, (0.04, 0.08, 0.12, 0.18, 0.26)[level], image.shape)


def _blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """OpenCV's standard deviations of kernels of 3 to 11 pixels."""
    from scipy.ndimage import gaussian_filter

    sd = (0.8, 1.1, 1.4, 1.7, 2.0)[level] * max(image.shape[:2]) / SIDE
    return gaussian_filter(image, (sd, sd, 0)[: image.ndim])


def _brightness(image: np.ndarray, level: int, rng: np.random.Generator, factors: tuple[float, ...]) -> np.ndarray:
    return image * factors[level]


def _contrast(image: np.ndarray, level: int, rng: np.random.Generator, factors: tuple[float, ...]) -> np.ndarray:
    return image.mean() + (image - image.mean()) * factors[level]


def _gamma(image: np.ndarray, level: int, rng: np.random.Generator, exponents: tuple[float, ...]) -> np.ndarray:
    return image.clip(0, 1) ** exponents[level]


def _jpeg(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(np.rint(255 * image).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=(50, 30, 15, 10, 7)[level])
    return np.asarray(Image.open(buffer), np.float64) / 255


def _pixelate(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Reduced by area, and brought back with square pixels."""
    from PIL import Image

    share = (0.7, 0.6, 0.5, 0.4, 0.35)[level]
    height, width = image.shape[:2]
    small = max(1, round(width * share)), max(1, round(height * share))
    planes = np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32)
    reduced = (Image.fromarray(plane).resize(small, Image.Resampling.BOX) for plane in planes)
    out = np.stack([np.asarray(plane.resize((width, height), Image.Resampling.NEAREST)) for plane in reduced], axis=-1)
    return out.reshape(image.shape).astype(np.float64)


def _motion_blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """The camera moves along a line of any direction while the shutter is open."""
    from scipy.ndimage import shift

    length = (5, 10, 12, 15, 20)[level] * max(image.shape[:2]) / SIDE
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, max(3, int(np.ceil(length)) | 1))
    moves = [(step * np.sin(angle), step * np.cos(angle), 0)[: image.ndim] for step in steps]
    return np.mean([shift(image, move, order=1, mode="nearest") for move in moves], axis=0)


def _window(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A CT window whose centre is off by a share of its width, to either side."""
    return image + rng.choice((-1, 1)) * (0.05, 0.1, 0.15, 0.2, 0.25)[level]


def _bias_field(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """exp of a polynomial of third order over the image, about 1 at its mean (TorchIO's RandomBiasField)."""
    most = (0.15, 0.3, 0.45, 0.6, 0.75)[level]
    y, x = (np.linspace(-1, 1, n) for n in image.shape)
    terms = [np.outer(y**i, x**j) for i in range(4) for j in range(4 - i)]
    field = np.exp(np.tensordot(rng.uniform(-most, most, len(terms)), terms, axes=1))
    return image * field / field.mean()


def _ghosting(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Every n-th line of k-space is weaker but for its centre, so that ghosts lie beside the body (RandomGhosting)."""
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    ghosts, axis = int(rng.integers(4, 11)), int(rng.integers(2))
    lines = np.arange(image.shape[axis])
    centre = np.abs(lines - image.shape[axis] // 2) <= 0.02 * image.shape[axis] / 2
    weaker = (lines % ghosts == 0) & ~centre
    factors = np.where(weaker, 1 - (0.3, 0.5, 0.7, 0.85, 1.0)[level], 1.0)
    return np.real(np.fft.ifft2(np.fft.ifftshift(spectrum * (factors[:, None] if axis == 0 else factors))))


def _motion(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """The patient moves twice while lines of k-space are read: each line is of the pose at its time (RandomMotion)."""
    from scipy.ndimage import rotate, shift

    degrees, share = (1, 2, 3, 4, 5)[level], (0.01, 0.02, 0.03, 0.04, 0.05)[level]
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    times = np.sort(rng.uniform(0.1, 0.9, 2)) * image.shape[0]
    for start in times:
        turned = rotate(image, rng.uniform(-degrees, degrees), reshape=False, order=1, mode="nearest")
        pose = shift(turned, rng.uniform(-share, share, 2) * image.shape, order=1, mode="nearest")
        spectrum[int(start) :] = np.fft.fftshift(np.fft.fft2(pose))[int(start) :]
    return np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))


def _by_plane(image: np.ndarray, level: int, rng: np.random.Generator, apply: Corruption) -> np.ndarray:
    """What happens in k-space, to each plane of a picture in colour alike."""
    if image.ndim == 2:
        return apply(image, level, rng)
    drawn = [*(copy.deepcopy(rng) for _ in range(image.shape[2] - 1)), rng]
    return np.stack([apply(image[..., k], level, of_plane) for k, of_plane in enumerate(drawn)], axis=-1)


UP, DOWN = (1.1, 1.2, 1.3, 1.4, 1.6), (0.9, 0.8, 0.7, 0.6, 0.4)
CORRUPTIONS: dict[str, Corruption] = {
    "noise": _noise,
    "blur": _blur,
    "brightness up": partial(_brightness, factors=(1.1, 1.2, 1.3, 1.4, 1.5)),
    "brightness down": partial(_brightness, factors=(0.9, 0.8, 0.7, 0.6, 0.5)),
    "contrast up": partial(_contrast, factors=UP),
    "contrast down": partial(_contrast, factors=DOWN),
    "gamma up": partial(_gamma, exponents=UP),
    "gamma down": partial(_gamma, exponents=DOWN),
    "JPEG": _jpeg,
    "pixelation": _pixelate,
    "motion blur": _motion_blur,
    "window shift": _window,
    "bias field": partial(_by_plane, apply=_bias_field),
    "ghosting": partial(_by_plane, apply=_ghosting),
    "motion": partial(_by_plane, apply=_motion),
}
OF_MODALITY = {
    "mri": ("bias field", "ghosting", "motion"),
    "ct": ("window shift",),
    "photo": ("motion blur",),
}
_OWN = {name for names in OF_MODALITY.values() for name in names}
# Of the data sets that come with the package.
MODALITIES = {
    "acdc": "mri",
    "synapse": "ct",
    "sars-cov2-ct": "ct",
    "large-covid-ct": "ct",
    "large-covid-ct-2class": "ct",
    "msld": "photo",
}


def corruptions_of(modality: str | None) -> tuple[str, ...]:
    """The names of the corruptions of a modality: those of all images, and its own; None: those of all alone."""
    if modality is not None and not isinstance(modality, str):
        raise UserError(f"Expected a modality as a text, but got {modality!r}.")
    own = OF_MODALITY.get((modality or "").lower(), ())
    return tuple(name for name in CORRUPTIONS if name not in _OWN or name in own)
