"""From a cached volume or image to the network's input and back.

Shapes: D slices of H x W in the file's own grid, or an image of C channels; S is the protocol's image size; N images
in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from bench.datasets.base import Prepared, Selected, count_images

IN_MEMORY = 2**30  # bytes of inputs beyond which they are made batch by batch; no result depends on it


class LoadingSettings(Protocol):
    """The fields of a protocol that decide what a network is given; `bench.runs.protocol` says what each means."""

    @property
    def image_size(self) -> int: ...

    @property
    def resize(self) -> str: ...

    @property
    def normalise(self) -> str: ...

    @property
    def output(self) -> str: ...


def network_input(image: np.ndarray, protocol: LoadingSettings) -> torch.Tensor:
    """Normalises and resizes a volume's slices: (D, H, W) intensities -> (D, 1, S, S) float32.

    Pictures in colour, (D, 3, H, W), become (D, 3, S, S), their channels normalised together.

    `zscore` is per slice, before resizing; `minmax` is per volume, to [0, 1], as the literature prepares ACDC.
    """
    slices = _with_channels(image)
    zero, one = _levels(slices, protocol)
    return _resized((slices - zero) / one, protocol)


def _with_channels(image: np.ndarray) -> torch.Tensor:
    """Slices (D, H, W), or pictures in colour (D, 3, H, W), as (D, C, H, W) float32."""
    slices = torch.from_numpy(np.array(image, dtype=np.float32))
    return slices[:, None] if slices.ndim == 3 else slices


def _levels(slices: torch.Tensor, protocol: LoadingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """What becomes 0 of each slice (D, C, H, W), and what becomes 1 more than that: (D, 1, 1, 1) each."""
    if protocol.normalise == "zscore":
        sd, mean = torch.std_mean(slices, dim=(1, 2, 3), keepdim=True, correction=0)
        return mean, sd + 1e-6
    low, high = slices.min(), slices.max()
    shape = (len(slices), 1, 1, 1)
    return low.expand(shape), (high - low).clamp_min(1e-6).expand(shape)


def images_input(data: Prepared, cases: Sequence[int], protocol: LoadingSettings) -> torch.Tensor:
    """Images of a classification dataset, of any sizes, as one batch: (N, C, S, S) float32.

    Each is normalised over all its channels together and then resized, its sides to S whatever their ratio; both
    `zscore` and `minmax` (to [0, 1]) are per image. A constant image is 0.
    """
    return _joined((_image_input(data.image(i), protocol) for i in cases), len(cases))


def batch_input(images: Sequence[np.ndarray], protocol: LoadingSettings) -> torch.Tensor:
    """As `images_input`, of images (C, H, W) uint8 that no data set has."""
    return torch.cat([_image_input(image, protocol) for image in images])


def _image_input(image: np.ndarray, protocol: LoadingSettings) -> torch.Tensor:
    """(C, H, W) uint8 -> (1, C, S, S) float32."""
    x = torch.from_numpy(np.array(image, dtype=np.float32))[None]
    if protocol.normalise == "zscore":
        sd, mean = torch.std_mean(x, correction=0)
        x = (x - mean) / (sd + 1e-6)
    else:
        x = (x - x.min()) / (x.max() - x.min()).clamp_min(1e-6)
    return _resized(x, protocol)


def network_label(label: np.ndarray, protocol: LoadingSettings) -> torch.Tensor:
    """Resizes label maps by nearest neighbour: (D, H, W) uint8 -> (D, S, S) uint8."""
    return torch.from_numpy(nearest(np.asarray(label), (protocol.image_size, protocol.image_size), protocol.resize))


def label_map(logits: torch.Tensor, shape: tuple[int, int], protocol: LoadingSettings) -> np.ndarray:
    """Logits (D, K, S, S) -> label maps (D, H, W) uint8 in the file's own grid.

    `logits`: resized linearly, then argmax. `labels`: argmax, then nearest neighbour, as the literature.
    """
    if protocol.output == "logits":
        return _linear(logits.float(), shape).argmax(dim=1).to(torch.uint8).cpu().numpy()
    return nearest(logits.argmax(dim=1).to(torch.uint8).cpu().numpy(), shape, protocol.resize)


def probability_map(logits: torch.Tensor, shape: tuple[int, int], protocol: LoadingSettings) -> np.ndarray:
    """Logits (D, K, S, S) -> probabilities (D, K, H, W) float32 in the file's own grid; their argmax is `label_map`."""
    if protocol.output == "logits":
        return _linear(logits.float(), shape).softmax(dim=1).cpu().numpy()
    probabilities = logits.float().softmax(dim=1).cpu().numpy()
    n, classes, *size = probabilities.shape
    return nearest(probabilities.reshape(-1, *size), shape, protocol.resize).reshape(n, classes, *shape)


def training_arrays(data: Prepared, cases: Sequence[int], protocol: LoadingSettings) -> tuple[Selected, Selected]:
    """What training sees: images (N, C, S, S) float32 and labels; in memory, unless that takes more than `IN_MEMORY`.

    Segmentation: all slices of the cases, labels (N, S, S) uint8. Classification: an image a case, labels (N,) int64.
    """
    if is_large(data, cases, protocol):
        if data.spec.task == "classification":
            return StoredImages(data, cases, protocol), class_labels(data, cases)
        slices = StoredSlices(data, cases, protocol)
        return slices, StoredMaps(slices)
    if data.spec.task == "classification":
        return images_input(data, cases, protocol), class_labels(data, cases)
    count = count_images(data.cases, cases)
    images = _joined((network_input(data.image(i), protocol) for i in cases), count)
    return images, _joined((network_label(data.label(i), protocol) for i in cases), count)


def _joined(parts: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """`torch.cat` of parts that have `count` rows together, each copied as it comes: a list of them would double it."""
    joined, row = torch.empty(0), 0
    for part in parts:
        if row == 0:
            last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last) and not part.is_contiguous()
            order = torch.channels_last if last else torch.contiguous_format
            joined = torch.empty((count, *part.shape[1:]), dtype=part.dtype, memory_format=order)
        joined[row : row + len(part)] = part
        row += len(part)
    return joined


def is_large(data: Prepared, cases: Sequence[int], protocol: LoadingSettings) -> bool:
    """Whether the inputs of these cases would take more memory than `IN_MEMORY`."""
    numbers = count_images(data.cases, cases) * data.spec.channels * protocol.image_size**2
    return 4 * numbers > IN_MEMORY


class StoredImages:
    """The inputs of images of a classification dataset, made from the cache when a batch asks for them.

    The cache has 8 bits a pixel, a quarter of a network's input, and lies on the disk: a dataset may be larger than the
    memory. The inputs are those of `images_input`, bit for bit.
    """

    dtype, ndim = torch.float32, 4

    def __init__(self, data: Prepared, cases: Sequence[int], protocol: LoadingSettings) -> None:
        self.data, self.cases, self.protocol = data, cases, protocol

    @property
    def shape(self) -> torch.Size:
        size = self.protocol.image_size
        return torch.Size((len(self.cases), self.data.spec.channels, size, size))

    def __len__(self) -> int:
        return len(self.cases)

    def index_select(self, dim: int, index: torch.Tensor, /) -> torch.Tensor:
        return images_input(self.data, [self.cases[i] for i in index.tolist()], self.protocol)


class StoredSlices:
    """The inputs of all slices of volumes, made from the cache when a batch asks, as `network_input` makes them.

    Each volume is read once at the start, for the levels of its slices.
    """

    dtype, ndim = torch.float32, 4

    def __init__(self, data: Prepared, cases: Sequence[int], protocol: LoadingSettings) -> None:
        self.data, self.protocol = data, protocol
        self.places = [(i, k) for i in cases for k in range(data.cases[i].shape[0])]
        levels = [_levels(_with_channels(data.image(i)), protocol) for i in cases]
        self.zeros, self.ones = (torch.cat(of_cases) for of_cases in zip(*levels, strict=True))

    @property
    def shape(self) -> torch.Size:
        size = self.protocol.image_size
        return torch.Size((len(self.places), self.data.spec.channels, size, size))

    def __len__(self) -> int:
        return len(self.places)

    def index_select(self, dim: int, index: torch.Tensor, /) -> torch.Tensor:
        return torch.cat([self._slice(n) for n in index.tolist()])

    def _slice(self, n: int) -> torch.Tensor:
        i, k = self.places[n]
        image = _with_channels(self.data.image_slice(i, k))
        return _resized((image - self.zeros[n]) / self.ones[n], self.protocol)


class StoredMaps:
    """The label maps of the same slices."""

    dtype, ndim = torch.uint8, 3

    def __init__(self, slices: StoredSlices) -> None:
        self.slices = slices

    @property
    def shape(self) -> torch.Size:
        n, _, *sides = self.slices.shape
        return torch.Size((n, *sides))

    def __len__(self) -> int:
        return len(self.slices)

    def index_select(self, dim: int, index: torch.Tensor, /) -> torch.Tensor:
        data, places = self.slices.data, [self.slices.places[n] for n in index.tolist()]
        maps = [data.label_slice(i, k) for i, k in places]
        return torch.cat([network_label(one, self.slices.protocol) for one in maps])


def class_labels(data: Prepared, cases: Sequence[int]) -> torch.Tensor:
    """Each case's class index: (N,) int64."""
    return torch.tensor([data.cases[i].label for i in cases], dtype=torch.int64)


def nearest(label: np.ndarray, shape: tuple[int, int], resize: str) -> np.ndarray:
    """Label maps (D, H, W) on another grid by nearest neighbour; `transunet` as scipy's zoom of order 0 does it."""
    rows, columns = (_nearest_index(n, m, resize) for n, m in zip(label.shape[-2:], shape, strict=True))
    out = label[:, rows.clip(0)][:, :, columns.clip(0)]
    out[:, rows < 0] = 0
    out[:, :, columns < 0] = 0
    return out


def _resized(x: torch.Tensor, protocol: LoadingSettings) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, S, S)."""
    if protocol.resize == "linear":
        return _linear(x, (protocol.image_size, protocol.image_size))
    rows, columns = (_cubic_matrix(n, protocol.image_size) for n in x.shape[-2:])
    return rows @ x @ columns.T


def _linear(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(x, size=shape, mode="bilinear", align_corners=False, antialias=True)


@lru_cache(maxsize=64)  # sizes: pictures of one's own may all have another
def _cubic_matrix(n: int, size: int) -> torch.Tensor:
    """(size, n): scipy's zoom of order 3 along one axis; it is linear, so that zoom(x) = W @ x @ V.T."""
    from scipy.ndimage import zoom

    return torch.from_numpy(zoom(np.eye(n), (size / n, 1), order=3).astype(np.float32))


@lru_cache(maxsize=64)  # sizes: pictures of one's own may all have another
def _nearest_index(n: int, size: int, resize: str) -> np.ndarray:
    """Source index of each output sample; -1 where scipy's zoom of order 0 puts 0 by a rounding error at the end."""
    if resize == "transunet":
        from scipy.ndimage import zoom

        return zoom(np.arange(1.0, n + 1), size / n, order=0).astype(int) - 1
    return ((np.arange(size) + 0.5) * n / size).astype(int)
