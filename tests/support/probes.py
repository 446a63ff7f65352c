"""How hard the classes of phantoms are: a linear classifier of pixels beside a small CNN, on other patients."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

SIDE = 96


def accuracies(images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Of the linear classifier and of the CNN, with one thread, so that every machine gives the same.

    Args:
        images: (N, C, SIDE, SIDE) float32. labels: (N,) from 0. test: (N,) whether the patient is held out.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return linear_accuracy(images, labels, test), cnn_accuracy(images, labels, test)
    finally:
        torch.set_num_threads(threads)


def linear_accuracy(images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> float:
    """The best of five strengths of ridge regression on 32 x 32 pixels, chosen on the test images in its favour."""
    x = images.reshape(*images.shape[:2], 32, SIDE // 32, 32, SIDE // 32).mean((3, 5)).reshape(len(images), -1)
    x = (x - x[~test].mean(0)) / (x[~test].std(0) + 1)
    y, train = 2.0 * np.eye(labels.max() + 1)[labels] - 1, x[~test]
    kernel = train @ train.T / train.shape[1]
    found = []
    for strength in 10.0 ** np.arange(-1, 4):
        weights = train.T @ np.linalg.solve(kernel + strength * np.eye(len(train)), y[~test])
        found.append(np.mean((x[test] @ weights).argmax(1) == labels[test]))
    return float(max(found))


def cnn_accuracy(images: np.ndarray, labels: np.ndarray, test: np.ndarray, epochs: int = 25) -> float:
    """Four layers of convolution, 40,000 weights, after the last epoch."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = torch.from_numpy((images - images.mean((1, 2, 3), keepdims=True)) / images.std((1, 2, 3), keepdims=True))
    y = torch.from_numpy(labels).long()
    widths = [images.shape[1], 12, 24, 48, 64]
    layers = [
        [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
        for a, b in itertools.pairwise(widths)
    ]
    features, head = (
        nn.Sequential(*(layer for block in layers for layer in block)),
        nn.Linear(128, int(labels.max()) + 1),
    )

    def logits(batch: torch.Tensor) -> torch.Tensor:
        maps = features(batch)
        return head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))

    train, batches = np.flatnonzero(~test), int((~test).sum()) // 32
    weights = [*features.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        order = rng.permutation(train)
        for i in range(batches):
            chosen = order[32 * i : 32 * (i + 1)]
            batch = torch.roll(x[chosen], tuple(rng.integers(-4, 5, 2).tolist()), (2, 3))
            batch = batch.flip(3) if rng.random() < 0.5 else batch
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits(batch), y[chosen]).backward()
            optimiser.step()
            schedule.step()
    features.eval()
    with torch.no_grad():
        predicted = torch.cat([logits(part) for part in x[test].split(64)]).argmax(1)
    return float((predicted.numpy() == labels[test]).mean())
