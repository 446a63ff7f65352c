"""What augmentation does to a data set's own training images, and how the learning rate falls: computed, not drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.datasets.augmentation.batches import augment, mix
from bench.datasets.base import Prepared
from bench.datasets.loading import training_arrays
from bench.runs.job import Job, training_part
from bench.runs.protocol import Protocol
from bench.runs.seeding import derive, generator
from bench.runs.train import learning_rate
from bench.zoo.registry import dataset_spec

IMAGES, DRAWS = 6, 5
POINTS = 400  # of a curve


@dataclass(frozen=True)
class Augmented:
    """Training images as they are loaded and as steps would see them.

    Attributes:
        images: (1 + DRAWS, N, C, S, S) as the network gets them, the first unchanged.
        labels: (1 + DRAWS, N, S, S) label maps that moved along, or (N,) class indices.
        names: of the images: case, and in classification class.
        mixed: for each draw the weight of the image itself where it is mixed with another, else None.
        rates: learning rate -> its value at `steps`; one line for each rate that networks of the request take.
    """

    job: Job
    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    mixed: tuple[float | None, ...]
    steps: np.ndarray
    rates: dict[float, np.ndarray]


def augmented_images(jobs: Sequence[Job]) -> list[Augmented]:
    """A preview for each data set and recipe among jobs, of the seed of the first."""
    found: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if not job.cell.is_trial:
            found.setdefault((job.cell.dataset_label, job.preset), []).append(job)
    return [_augmented(of_recipe) for of_recipe in found.values()]


def _augmented(jobs: list[Job]) -> Augmented:
    job, protocol = jobs[0], jobs[0].cell.settings()
    images, labels, names = _chosen(job, protocol)
    shown, moved, mixed = [images], [labels], []
    for step in range(DRAWS):
        x, y = augment(images, labels, protocol, generator(job.cell.seed, "augment", step))
        x, mixture = mix(x, protocol.mixup, derive(job.cell.seed, "mixup", step))
        shown.append(x)
        moved.append(y)
        mixed.append(None if mixture is None else float(mixture.weight))
    steps = np.unique(np.linspace(0, protocol.steps - 1, POINTS).round().astype(int))
    rates: dict[float, np.ndarray] = {}
    for settings in (own.cell.settings() for own in jobs):
        rates.setdefault(settings.lr, np.array([learning_rate(int(step), settings) for step in steps]))
    maps = torch.stack(moved).numpy() if labels.ndim > 1 else labels.numpy()
    return Augmented(job, torch.stack(shown).numpy(), maps, names, tuple(mixed), steps, rates)


def _chosen(job: Job, protocol: Protocol) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Images (N, C, S, S), labels and names: of each case the slice with most foreground, or images class by class."""
    data, cases = training_part(job)
    spec = dataset_spec(job.cell.dataset, job.data_root)
    if spec.task == "classification":
        chosen = _class_by_class(cases, [data.cases[i].label for i in cases])
        images, labels = _arrays(data, chosen, protocol)
        return images, labels, tuple(f"{data.cases[i].case} ({spec.classes[data.cases[i].label or 0]})" for i in chosen)
    spread = [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, IMAGES).round().astype(int))]
    arrays = [_arrays(data, [i], protocol) for i in spread]
    best = [int((labels > 0).flatten(1).sum(1).argmax()) for _, labels in arrays]
    images = torch.stack([own[k] for (own, _), k in zip(arrays, best, strict=True)])
    labels = torch.stack([own[k] for (_, own), k in zip(arrays, best, strict=True)])
    names = (f"{data.cases[i].case}, slice {k + 1}" for i, k in zip(spread, best, strict=True))
    return images, labels, tuple(names)


def _arrays(data: Prepared, cases: Sequence[int], protocol: Protocol) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a few cases as training sees them, in memory."""
    images, labels = training_arrays(data, cases, protocol)
    every = torch.arange(len(images))
    return images.index_select(0, every), labels.index_select(0, every)


def _class_by_class(cases: Sequence[int], classes: Sequence[int | None]) -> list[int]:
    """The first cases of each class in turn."""
    of_class: dict[int | None, list[int]] = {}
    for case, label in zip(cases, classes, strict=True):
        of_class.setdefault(label, []).append(case)
    rounds = max(map(len, of_class.values()))
    turns = [own[k] for k in range(rounds) for own in of_class.values() if k < len(own)]
    return turns[:IMAGES]
