"""Network input and back: oracles for both resizes, and augmentation that treats image and label alike."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from bench.datasets import loading
from bench.datasets.augmentation.batches import augment
from bench.datasets.cache.prepared import prepare
from bench.datasets.loading import (
    images_input,
    label_map,
    nearest,
    network_input,
    network_label,
    training_arrays,
)
from bench.datasets.readers.acdc import SPEC
from bench.runs.protocol import Protocol

RNG = np.random.default_rng(0)
TRANSUNET = Protocol(image_size=56, resize="transunet", normalise="minmax", output="labels")


@pytest.mark.parametrize("shape", [(2, 128, 128), (1, 97, 140), (1, 512, 512)])
def test_transunet_resize_is_scipy_s_zoom(shape: tuple[int, int, int]) -> None:
    image = RNG.random(shape).astype(np.float32)
    image = (image - image.min()) / (image.max() - image.min())
    label = RNG.integers(0, 4, shape, dtype=np.uint8)
    factors = (56 / shape[1], 56 / shape[2])
    expected = np.stack([zoom(slice_, factors, order=3) for slice_ in image])
    assert np.abs(network_input(image, TRANSUNET)[:, 0].numpy() - expected).max() < 1e-6
    expected_label = np.stack([zoom(slice_, factors, order=0) for slice_ in label])
    assert np.array_equal(network_label(label, TRANSUNET).numpy(), expected_label)


def test_transunet_output_is_argmax_then_zoom_of_order_0() -> None:
    logits = torch.from_numpy(RNG.standard_normal((2, 4, 56, 56)).astype(np.float32))
    expected = np.stack([zoom(m, (97 / 56, 140 / 56), order=0) for m in logits.argmax(1).numpy().astype(np.uint8)])
    assert np.array_equal(label_map(logits, (97, 140), TRANSUNET), expected)


def test_zscore_is_per_slice_and_survives_a_constant_one() -> None:
    image = np.stack([RNG.normal(5, 3, (64, 64)), RNG.normal(-100, 20, (64, 64)), np.full((64, 64), 7.0)])
    out = network_input(image.astype(np.float32), Protocol(image_size=64))
    assert out.shape == (3, 1, 64, 64)
    assert out[:2].mean(dim=(1, 2, 3)).abs().max() < 1e-4
    assert (out[:2].std(dim=(1, 2, 3)) - 1).abs().max() < 1e-2
    assert torch.isfinite(out).all()
    assert out[2].abs().max() < 1e-3


def test_linear_resize_keeps_a_label_s_place() -> None:
    """An object's centre of mass stays where it is, relative to the grid: no half-pixel shift."""
    label = np.zeros((1, 200, 150), np.uint8)
    label[0, 40:120, 30:90] = 1
    small = nearest(label, (50, 50), "linear")[0]
    rows, columns = np.nonzero(small)
    assert (rows.mean() + 0.5) / 50 == pytest.approx(80 / 200, abs=0.01)
    assert (columns.mean() + 0.5) / 50 == pytest.approx(60 / 150, abs=0.01)


def test_there_and_back_keeps_the_label() -> None:
    label = np.zeros((1, 180, 220), np.uint8)
    label[0, 50:110, 60:160] = 2
    protocol = Protocol(image_size=128)
    small = network_label(label, protocol)
    logits = torch.nn.functional.one_hot(small.long(), 4).permute(0, 3, 1, 2).float()
    back = label_map(logits, (180, 220), protocol)
    assert 2 * ((back == 2) & (label == 2)).sum() / ((back == 2).sum() + (label == 2).sum()) > 0.98


def photographs(*images: np.ndarray, labels: tuple[int, ...] = ()) -> Any:
    """A classification dataset in memory: (C, H, W) uint8 each."""
    cases = [SimpleNamespace(label=label) for label in labels]
    spec = SimpleNamespace(task="classification", channels=images[0].shape[0])
    return SimpleNamespace(spec=spec, cases=cases, image=lambda i: images[i])


def test_images_of_any_size_are_one_batch_normalised_over_their_channels() -> None:
    colour = RNG.integers(0, 256, (3, 90, 130), dtype=np.uint8)
    dark = np.stack([colour[0], colour[1] // 2, colour[2] // 4])[:, :70]
    data = photographs(colour, dark, np.full((3, 40, 40), 9, np.uint8))
    out = images_input(data, [1, 0, 2], Protocol(image_size=64))
    assert out.shape == (3, 3, 64, 64)
    assert out.dtype == torch.float32
    x = torch.from_numpy(dark.astype(np.float32))
    x = ((x - x.mean()) / x.std(correction=0))[None]
    expected = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear", align_corners=False, antialias=True)
    torch.testing.assert_close(out[:1], expected, rtol=1e-4, atol=1e-4)
    assert out[0, 0].mean() > out[0, 1].mean() > out[0, 2].mean(), "the channels keep their difference"
    assert out[2].abs().max() == 0
    low = images_input(data, [0, 2], Protocol(image_size=64, normalise="minmax"))
    assert 0 <= low.min() < low[0].max() <= 1


def test_brightness_and_contrast_of_an_image_do_not_matter() -> None:
    image = RNG.integers(0, 100, (1, 64, 64), dtype=np.uint8)
    data = photographs(image, 2 * image + 40)
    for normalise in ("zscore", "minmax"):
        one, two = images_input(data, [0, 1], Protocol(image_size=64, normalise=normalise))
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_transunet_resize_of_an_image_is_scipy_s_zoom() -> None:
    image = RNG.integers(0, 256, (1, 97, 140), dtype=np.uint8)
    scaled = (image[0] - image.min()) / (image.max() - image.min())
    expected = zoom(scaled, (56 / 97, 56 / 140), order=3)
    assert np.abs(images_input(photographs(image), [0], TRANSUNET)[0, 0].numpy() - expected).max() < 1e-6


def test_classification_trains_on_images_and_their_classes() -> None:
    data = photographs(*RNG.integers(0, 256, (3, 1, 50, 60), dtype=np.uint8), labels=(0, 2, 1))
    images, labels = training_arrays(data, [2, 1], Protocol(image_size=64))
    assert images.shape == (2, 1, 64, 64)
    assert labels.tolist() == [1, 2]
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("settings", [{}, {"normalise": "minmax"}, {"resize": "transunet", "normalise": "minmax"}])
def test_slices_made_batch_by_batch_are_those_in_memory_bit_for_bit(
    settings: dict[str, str], source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare(SPEC, source, root)
    protocol = Protocol(image_size=48, **settings)
    images, labels = training_arrays(data, [2, 0, 1], protocol)
    monkeypatch.setattr(loading, "IN_MEMORY", 0)
    stored, maps = training_arrays(data, [2, 0, 1], protocol)
    assert isinstance(images, torch.Tensor)
    assert not isinstance(stored, torch.Tensor)
    assert (stored.shape, maps.shape) == (images.shape, labels.shape)
    assert (stored.dtype, maps.dtype, stored.ndim, maps.ndim) == (images.dtype, labels.dtype, images.ndim, labels.ndim)
    chosen = torch.tensor([3, 0, len(images) - 1, 3])
    assert torch.equal(stored.index_select(0, chosen), images.index_select(0, chosen))
    assert torch.equal(maps.index_select(0, chosen), labels.index_select(0, chosen))
    pairs = ((images, labels), (stored, maps))
    drawn = [augment(*pair, protocol, torch.Generator().manual_seed(1), chosen) for pair in pairs]
    assert all(torch.equal(*both) for both in zip(*drawn, strict=True))


def test_images_made_batch_by_batch_are_those_in_memory_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = photographs(*RNG.integers(0, 256, (5, 3, 50, 60), dtype=np.uint8), labels=(0, 2, 1, 0, 1))
    protocol = Protocol(image_size=32, loss="ce")
    images, labels = training_arrays(data, [4, 2, 1], protocol)
    monkeypatch.setattr(loading, "IN_MEMORY", 0)
    stored, same_labels = training_arrays(data, [4, 2, 1], protocol)
    assert not isinstance(stored, torch.Tensor)
    assert (stored.shape, len(stored)) == (images.shape, 3)
    chosen = torch.tensor([2, 0])
    assert torch.equal(stored.index_select(0, chosen), images.index_select(0, chosen))
    assert torch.equal(same_labels.index_select(0, chosen), labels.index_select(0, chosen))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_parts_are_joined_as_torch_does_it_in_the_same_order_of_memory(order: torch.memory_format) -> None:
    parts = [torch.randn(n, 3, 5, 4).contiguous(memory_format=order) for n in (2, 1, 4)]
    whole, joined = torch.cat(parts), loading._joined(iter(parts), 7)
    assert torch.equal(joined, whole)
    assert (joined.stride(), joined.dtype) == (whole.stride(), whole.dtype)
    maps = [torch.ones(n, 5, 4, dtype=torch.uint8) for n in (2, 1)]
    assert torch.equal(loading._joined(iter(maps), 3), torch.cat(maps))
