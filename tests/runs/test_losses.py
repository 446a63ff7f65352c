"""Losses by their formulas: of both tasks, of mixed batches, of several resolutions, of a batch in parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from bench.datasets.augmentation.batches import Mixture
from bench.runs.losses import batch_loss, make_loss
from bench.runs.protocol import Protocol
from bench.runs.train import (
    Loop,
    closed_parts,
)

PROTOCOL = Protocol(image_size=64, steps=12, batch_size=4, evaluations=3, lr=1e-3)
IMAGES = Protocol(image_size=64, batch_size=8, rot90=0.0, rotate=0.0, loss="ce")


def test_plain_cross_entropy_takes_classes_and_label_maps() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = -logits.log_softmax(1)[range(5), labels].mean().item()
    assert make_loss(IMAGES)(logits, labels).item() == pytest.approx(expected)
    maps = make_loss(IMAGES)(logits[..., None, None].expand(5, 3, 4, 4), labels[:, None, None].expand(5, 4, 4))
    assert maps.item() == pytest.approx(expected)


def test_the_loss_is_the_stated_formula() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 1, 8, 8))
    p, t = logits.softmax(1), nn.functional.one_hot(labels[:, 0], 4).permute(0, 3, 1, 2).float()
    overlap = (2 * (p * t).sum((0, 2, 3)) + 1e-5) / ((p**2).sum((0, 2, 3)) + (t**2).sum((0, 2, 3)) + 1e-5)
    expected = 0.5 * nn.functional.cross_entropy(logits, labels[:, 0]) + 0.5 * (1 - overlap).mean()
    assert make_loss(PROTOCOL)(logits, labels).item() == pytest.approx(expected.item(), abs=1e-5)


def test_losses_of_mixed_batches_and_of_several_resolutions() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    mixture = Mixture(torch.tensor([3, 2, 1, 0]), 0.7, 0.3)
    targets = 0.7 * nn.functional.one_hot(labels, 3) + 0.3 * nn.functional.one_hot(labels.flip(0), 3)
    expected = nn.functional.cross_entropy(logits, targets.float())
    torch.testing.assert_close(batch_loss(nn.CrossEntropyLoss(), logits, labels, mixture), expected)
    maps = torch.randint(0, 3, (2, 1, 8, 8))
    outputs = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    loss = make_loss(PROTOCOL)
    shrunk = nn.functional.interpolate(maps.float(), size=(4, 4), mode="nearest-exact").long()
    expected = (loss(outputs[0], maps) + loss(outputs[1], shrunk) / 2) / 1.5
    torch.testing.assert_close(batch_loss(loss, outputs, maps, None), expected)


def test_label_smoothing_is_cross_entropys() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    smoothed = make_loss(replace(IMAGES, label_smoothing=0.1))(logits, labels)
    targets = 0.9 * nn.functional.one_hot(labels, 3) + 0.1 / 3
    torch.testing.assert_close(smoothed, nn.functional.cross_entropy(logits, targets))


@pytest.mark.parametrize(("count", "pieces"), [(8, 2), (8, 4), (5, 2), (7, 64), (1, 2)])
def test_parts_of_a_batch_hold_each_image_once_with_its_partner(count: int, pieces: int) -> None:
    parts = closed_parts(count, pieces)
    assert sorted(i for part in parts for i in part) == list(range(count))
    for part in parts:
        assert [count - 1 - i for i in part] == part[::-1]
    assert len(parts) <= pieces


@pytest.mark.parametrize("weight", [None, 0.7])
def test_gradients_of_parts_sum_to_those_of_the_batch(weight: float | None) -> None:
    from bench.datasets.augmentation.batches import Mixture

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 2))
    fabric = Fabric(accelerator="cpu", devices=1)
    x, y = torch.randn(6, 3, 4, 4), torch.randint(0, 2, (6,))
    mixture = None if weight is None else Mixture(torch.arange(5, -1, -1), weight, 1 - weight)
    gradients = []
    for pieces in (1, 3):
        loop = Loop(network, None, torch.nn.CrossEntropyLoss(), None, IMAGES, 0, fabric, pieces)  # type: ignore[arg-type]
        network.zero_grad()
        loss = loop._in_pieces(x, y, mixture)
        gradients.append([p.grad.clone() for p in network.parameters()] + [loss])  # type: ignore[union-attr]
    for whole, summed in zip(*gradients, strict=True):
        torch.testing.assert_close(summed, whole)
    whole_loss = batch_loss(torch.nn.CrossEntropyLoss(), network(x), y, mixture)
    torch.testing.assert_close(gradients[1][-1], whole_loss.detach())
