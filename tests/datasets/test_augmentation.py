"""Augmentation: image and label alike, each change against an oracle, draws that depend on nothing but the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from bench.datasets.augmentation.batches import augment, mix
from bench.datasets.augmentation.geometry import affine_maps, sampling_grid
from bench.datasets.augmentation.intensity import (
    ERASED_AREAS,
    _blur,
    _contrast,
    _erase,
    _gamma,
    _jitter_colour,
    _low_resolution,
    change_intensities,
)
from bench.runs.protocol import PRESETS, Protocol
from bench.runs.seeding import generator

STILL = Protocol(flip=0.0, upside_down=0.0, rot90=0.0, rotate=0.0)


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
    still = Protocol(flip=0.0, upside_down=0.0, rot90=0.0, rotate=0.0)
    moved, maps = augment(images, labels, still, generator(0))
    assert torch.equal(moved, images)
    assert torch.equal(maps, labels)


def test_flips_and_quarter_turns_are_exact() -> None:
    images, labels = torch.rand(8, 1, 64, 64), torch.randint(0, 4, (8, 64, 64), dtype=torch.uint8)
    moved, maps = augment(images, labels, Protocol(rotate=0.0, flip=1.0, upside_down=1.0, rot90=1.0), generator(0))
    for i in range(8):
        turns = [torch.rot90(images[i, 0].flip((0, 1)), k) for k in (1, 2, 3)]
        k = next(k for k, turned in enumerate(turns, 1) if torch.equal(turned, moved[i, 0]))
        assert torch.equal(torch.rot90(labels[i].flip((0, 1)), k), maps[i])


def test_augmentation_leaves_classes_alone_and_draws_the_same() -> None:
    images, classes = torch.rand(8, 3, 64, 64), torch.arange(8)
    maps = torch.zeros(8, 64, 64, dtype=torch.uint8)
    moved, same = augment(images, classes, Protocol(), generator(0, "augment", 3))
    with_maps, _ = augment(images, maps, Protocol(), generator(0, "augment", 3))
    assert torch.equal(same, classes)
    assert torch.equal(moved, with_maps)
    assert not torch.equal(moved, images)


def test_a_batch_is_augmented_as_each_of_its_images_alone_would_be() -> None:
    """With the draws of the whole batch: grouping by flips and turns changes nothing."""
    protocol = Protocol(image_size=64, rotate=0.0)
    images, labels = torch.rand(16, 1, 64, 64), torch.randint(0, 4, (16, 64, 64), dtype=torch.uint8)
    moved, maps = augment(images, labels, protocol, generator(0, "augment", 1))
    draws = torch.rand(16, 6, generator=generator(0, "augment", 1))
    for i, (across, down, turn, how) in enumerate(draws[:, :4].tolist()):
        dims = [d for d, draw in ((-1, across), (-2, down)) if draw < 0.5]
        turns = 1 + int(how * 3) if turn < protocol.rot90 else 0
        assert torch.equal(moved[i], torch.rot90(images[i].flip(dims), turns, (-2, -1)))
        assert torch.equal(maps[i], torch.rot90(labels[i].flip(dims), turns, (-2, -1)))


def test_a_map_is_that_of_affine_grid() -> None:
    further = torch.rand(6, 8, generator=generator(0))
    matrices, resampled = affine_maps(
        torch.rand(6, 2, generator=generator(1)), further, Protocol(crop=0.4, zoom=0.5, shift=0.1)
    )
    assert resampled.all()
    for size in (64, 97, 224):
        expected = torch.nn.functional.affine_grid(matrices, [6, 1, size, size], align_corners=False)
        assert (sampling_grid(matrices, size) - expected).abs().max() < 5e-7


def test_a_crop_lies_in_the_image_and_has_its_share_of_the_area() -> None:
    protocol = Protocol(rotate=0.0, crop=0.4)
    matrices, _ = affine_maps(torch.rand(500, 2), torch.rand(500, 8, generator=generator(0)), protocol)
    width, height = matrices[:, 0, 0], matrices[:, 1, 1]
    assert (matrices[:, 0, 2].abs() + width).max() <= 1 + 1e-6
    assert (matrices[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    area = width * height
    assert 0.35 < area.min() < 0.45
    assert area.max() <= 1
    assert 0.6 < area.mean() < 0.72
    ratio = width / height
    assert ratio.min() >= 0.74
    assert ratio.max() <= 1.34
    assert ratio.std() > 0.1


def test_a_scaled_image_and_its_label_move_alike() -> None:
    labels = torch.zeros(16, 64, 64, dtype=torch.uint8)
    labels[:, 20:40, 24:44] = 1
    protocol = Protocol(flip=0.0, upside_down=0.0, rot90=0.0, rotate=0.0, zoom=1.0, shift=0.1)
    moved, maps = augment(labels[:, None].float(), labels, protocol, generator(0))
    assert ((moved[:, 0] > 0.5) == (maps > 0)).float().mean() > 0.99
    areas = maps.float().sum(dim=(1, 2)) / 400  # 1.4 ** 2 = 1.96, 0.7 ** 2 = 0.49
    assert 0.45 < areas.min() < 0.8
    assert 1.2 < areas.max() < 2.0


def test_what_is_not_asked_for_draws_as_much_as_what_is() -> None:
    """So that a geometry is the same with and without changes of intensity."""
    images, labels = torch.rand(8, 1, 64, 64), torch.randint(0, 4, (8, 64, 64), dtype=torch.uint8)
    _, plain = augment(images, labels, Protocol(zoom=0.5), generator(0))
    changed, same = augment(images, labels, Protocol(zoom=0.5, intensity=1.0, low_resolution=0.5), generator(0))
    assert torch.equal(plain, same)
    assert not torch.equal(changed, augment(images, labels, Protocol(zoom=0.5), generator(0))[0])


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_the_standard_recipe_changes_most_images_and_breaks_none(task: str) -> None:
    images = torch.randn(64, 3, 32, 32, generator=generator(1))
    labels = (
        torch.zeros(64, dtype=torch.int64) if task == "classification" else torch.zeros(64, 32, 32, dtype=torch.uint8)
    )
    before = images.clone()
    moved, _ = augment(images, labels, PRESETS["standard"].of(task), generator(0))
    assert torch.equal(images, before)
    assert moved.isfinite().all()
    assert moved.abs().max() < 12
    assert (moved != before).flatten(1).any(dim=1).float().mean() > 0.9


def test_blur_is_scipys() -> None:
    x, sigma = torch.rand(3, 2, 40, 40), torch.tensor([0.5, 0.8, 1.0])
    blurred = _blur(x, sigma)
    for i, s in enumerate(sigma.tolist()):
        for channel in range(2):
            expected = gaussian_filter(x[i, channel].double().numpy(), s, mode="mirror", radius=3)
            np.testing.assert_allclose(blurred[i, channel], expected, atol=1e-6)


def test_gamma_bends_the_curve_and_keeps_mean_and_deviation() -> None:
    x = torch.randn(4, 1, 32, 32, generator=generator(0)) * 3 + 5
    curved = _gamma(x, torch.tensor([0.7, 1.0, 1.2, 1.5]))
    torch.testing.assert_close(curved.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(curved.std((1, 2, 3)), x.std((1, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(curved[1], x[1], rtol=1e-4, atol=1e-4)
    order = x[3].flatten().argsort()
    assert (curved[3].flatten()[order].diff() >= -1e-5).all()
    assert (curved[3] - x[3]).abs().max() > 0.1


def test_contrast_stays_in_range_about_the_mean() -> None:
    x = torch.rand(2, 1, 32, 32)
    less, more = _contrast(x, torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(less - x[0].mean(), (x[0] - x[0].mean()) / 2)
    assert more.min() == x[1].min()
    assert more.max() == x[1].max()
    assert more.std() > x[1].std()


def test_low_resolution_keeps_size_and_loses_detail() -> None:
    x = torch.rand(2, 1, 32, 32)
    low = _low_resolution(x, torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(low[0], x[0])
    assert low[1].diff(dim=-1).abs().mean() < 0.7 * x[1].diff(dim=-1).abs().mean()


def test_colour_leaves_grey_and_luminance_alone() -> None:
    grey = torch.rand(4, 1, 8, 8).expand(-1, 3, -1, -1)
    torch.testing.assert_close(_jitter_colour(grey, 0.5, torch.rand(4, 2)), grey, rtol=1e-3, atol=2e-3)
    x, weights = torch.rand(4, 3, 8, 8), torch.tensor([0.299, 0.587, 0.114])
    changed = _jitter_colour(x, 0.5, torch.tensor([[1.0, 0.5], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5]]))
    luminance = [torch.einsum("c,nchw->nhw", weights, image) for image in (x, changed)]
    torch.testing.assert_close(*luminance, rtol=1e-4, atol=1e-4)
    spread = [image.std(dim=1).mean(dim=(1, 2)) for image in (x, changed)]
    torch.testing.assert_close(spread[1][:2], spread[0][:2] * torch.tensor([1.5, 0.5]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(changed[3], x[3], rtol=1e-4, atol=1e-4)


def test_a_rectangle_is_erased_to_the_mean() -> None:
    x = torch.rand(200, 1, 40, 40)
    erased = x.clone()
    _erase(erased, list(range(0, 200, 2)), generator(0))
    assert torch.equal(erased[1::2], x[1::2])
    changed = (erased != x)[::2, 0]
    shares = changed.float().mean(dim=(1, 2))
    assert ERASED_AREAS[0] * 0.8 < shares.min()
    assert shares.max() < ERASED_AREAS[1] * 1.1
    first = changed[0].nonzero()
    (top, left), (bottom, right) = first.min(0).values, first.max(0).values
    assert changed[0, top : bottom + 1, left : right + 1].all()
    torch.testing.assert_close(erased[0][0][changed[0]].unique(), x[0].mean()[None])


def test_mixup_mixes_half_of_the_batches_with_their_reverse() -> None:
    x = torch.rand(6, 1, 4, 4)
    mixed = [mix(x, 0.2, seed) for seed in range(400)]
    share = sum(mixture is not None for _, mixture in mixed) / 400
    assert 0.42 < share < 0.58
    images, mixture = next(pair for pair in mixed if pair[1] is not None and pair[1].weight < 0.9)
    assert mixture is not None
    assert mixture.weight >= 0.5
    torch.testing.assert_close(images, mixture.weight * x + (1 - mixture.weight) * x.flip(0))
    assert torch.equal(mix(x, 0.2, 3)[0], mix(x, 0.2, 3)[0])
    assert mix(x, 0.0, 3)[0] is x


def test_no_probability_is_no_change() -> None:
    x = torch.rand(4, 3, 16, 16)
    assert torch.equal(change_intensities(x.clone(), STILL, generator(0)), x)
