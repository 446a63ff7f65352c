"""Network input and back: oracles for both resizes, and augmentation that treats image and label alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from bench.datasets.loading import augment, label_map, nearest, network_input, network_label
from bench.plan import Protocol
from bench.seeding import generator

RNG = np.random.default_rng(0)
TRANSUNET = Protocol(image_size=56, resize="transunet", normalise="minmax", output="labels")


@pytest.mark.parametrize("shape", [(2, 128, 128), (1, 97, 140)])
def test_transunet_resize_is_scipy_s_zoom(shape: tuple[int, int, int]) -> None:
    image = RNG.random(shape).astype(np.float32)
    image = (image - image.min()) / (image.max() - image.min())
    label = RNG.integers(0, 4, shape, dtype=np.uint8)
    factors = (56 / shape[1], 56 / shape[2])
    expected = np.stack([zoom(slice_, factors, order=3) for slice_ in image])
    assert np.abs(network_input(image, TRANSUNET)[:, 0].numpy() - expected).max() < 2e-6
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


def test_augmentation_moves_image_and_label_alike() -> None:
    labels = torch.zeros(16, 64, 64, dtype=torch.uint8)
    labels[:, 10:30, 20:50] = 1
    images = labels[:, None].float()
    moved, maps = augment(images, labels, Protocol(image_size=64), generator(0, "augment", 1))
    assert not torch.equal(maps, labels)
    agreement = ((moved[:, 0] > 0.5) == (maps > 0)).float().mean()
    assert agreement > 0.99


def test_augmentation_is_a_function_of_its_generator() -> None:
    images, labels = torch.rand(4, 1, 64, 64), torch.zeros(4, 64, 64, dtype=torch.uint8)
    first, second, other = (augment(images, labels, Protocol(), generator(0, "augment", s))[0] for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_probabilities_of_zero_change_nothing() -> None:
    images, labels = torch.rand(4, 1, 64, 64), torch.randint(0, 4, (4, 64, 64), dtype=torch.uint8)
    still = Protocol(flip=0.0, rot90=0.0, rotate=0.0)
    moved, maps = augment(images, labels, still, generator(0))
    assert torch.equal(moved, images)
    assert torch.equal(maps, labels)


def test_flips_and_quarter_turns_are_exact() -> None:
    images, labels = torch.rand(8, 1, 64, 64), torch.randint(0, 4, (8, 64, 64), dtype=torch.uint8)
    moved, maps = augment(images, labels, Protocol(rotate=0.0, flip=1.0, rot90=1.0), generator(0))
    for i in range(8):
        turns = [torch.rot90(images[i, 0].flip((0, 1)), k) for k in (1, 2, 3)]
        k = next(k for k, turned in enumerate(turns, 1) if torch.equal(turned, moved[i, 0]))
        assert torch.equal(torch.rot90(labels[i].flip((0, 1)), k), maps[i])
