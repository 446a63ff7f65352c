"""One .npz with all images, as MedMNIST (class labels) and MedSegBench (label maps) are handed around."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS, Task
from bench.datasets.own.items import Found, Item
from bench.datasets.readers.files import read_npz, readable
from bench.errors import UserError

_LABEL_KEYS = ("labels", "label", "masks", "mask")
_LOOK = "train_images and train_labels (val_, test_ likewise)"


def find_archive_cases(path: Path, names: Sequence[str]) -> Found:
    """The images of an archive, in their parts and order; named `train/0`.

    Args:
        names: of the classes; empty: `class 0` and so on, in segmentation the label maps tell.

    Raises:
        UserError: other keys, shapes that do not fit, several labels an image, or volumes.
    """
    items: list[Item] = []
    labels_seen: set[int] = set()
    task: Task | None = None
    for part in _parts(path):
        images, labels = part_arrays(path, part)
        of_part: Task = "segmentation" if labels.ndim == 3 else "classification"
        if task not in (None, of_part):
            raise UserError(f"Expected classes or label maps in all parts of {path}, but {part} differs.")
        task = of_part
        labels_seen |= set(np.unique(labels).tolist())
        for i in range(len(images)):
            name, row = f"{part}/{i}", (part, i)
            if task == "segmentation":
                items.append(Item(name, path, mask=path, row=row, part=part))
            else:
                items.append(Item(name, path, int(labels[i]), row=row, part=part))
    assert task is not None
    if task == "segmentation":
        return Found("npz", task, tuple(names), tuple(items))
    count = max(labels_seen) + 1
    if count > max(len(items), len(names)):
        raise UserError(f"Expected classes from 0 on in {path}, but it has {count - 1}, and {len(items)} images.")
    if names and len(names) != count:
        raise UserError(f"Expected {count} classes in --classes, as {path} has them, but got {len(names)}.")
    classes = tuple(names) or tuple(f"class {k}" for k in range(count))
    notes = () if names else (f"classes are numbers in the file: name all {count} with --classes A,B,...",)
    return Found("npz", task, classes, tuple(items), notes)


def is_archive(path: Path) -> bool:
    """Whether a file is an .npz with images of parts."""
    try:
        return path.suffix.lower() == ".npz" and any(f"{part}_images" in _keys(path) for part in PARTS)
    except UserError:
        return False


def _parts(path: Path) -> list[str]:
    parts = [part for part in PARTS if f"{part}_images" in _keys(path)]
    if not parts:
        listed = ", ".join(_keys(path)[:6])
        raise UserError(f"Expected {path} to have the keys {_LOOK}, but it has {listed or 'none'}.")
    return parts


def _keys(path: Path) -> list[str]:
    with readable(path, "npz", "npy"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        return list(getattr(archive, "files", []))


def part_arrays(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W) or (N, H, W, 3) uint8 of a part, and its labels: (N,) of classes, or label maps (N, H, W).

    Raises:
        UserError: as `find_archive_cases`.
    """
    facts = path.stat()
    return _part_arrays(path, part, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=3)
def _part_arrays(path: Path, part: str, size: int, changed: int) -> tuple[np.ndarray, np.ndarray]:
    key = next((f"{part}_{key}" for key in _LABEL_KEYS if f"{part}_{key}" in _keys(path)), f"{part}_labels")
    images, labels = read_npz(path, (f"{part}_images", key))
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(
            f"Expected {part}_images in {path} as 8 bits (N, H, W) or (N, H, W, 3), but got {_shown(images)}."
        )
    if images.ndim == 4 and images.shape[-1] != 3:
        what = "volumes" if images.shape[-1] > 4 else f"{images.shape[-1]} channels"
        raise UserError(f"Expected pictures in {path}, but {part}_images are {what} ({_shown(images)}): not read here.")
    if len(labels) != len(images) or labels.dtype.kind not in "biuf":
        raise UserError(f"Expected a label for each image of {part} in {path}, but got {_shown(labels)}.")
    if labels.ndim == 4 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 3 and labels.shape != images.shape[:3]:
        raise UserError(f"Expected label maps of the images' size in {path}, but got {_shown(labels)} in {part}.")
    if labels.ndim not in (1, 3):
        raise UserError(f"Expected one label an image in {path}, but {part} has several ({_shown(labels)}).")
    if labels.min() < 0 or (labels.dtype.kind == "f" and (labels % 1).any()):
        raise UserError(f"Expected whole labels from 0 on in {path}, but {part} has others.")
    return images, labels


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
