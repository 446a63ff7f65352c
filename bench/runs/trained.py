"""Trained networks in use: a record's weights in its network again, with the preprocessing that they were trained with.

Shapes: D slices of H x W in a file's own grid; C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.errors import UserError
from bench.records import store
from bench.records.keys import dataset_of, has_known_fields
from bench.records.rows import task_of
from bench.runs.cell import Cell
from bench.runs.protocol import Protocol
from bench.zoo.rebuilt import rebuilt_config, rebuilt_entry
from bench.zoo.registry import dataset_names, dataset_spec

if TYPE_CHECKING:
    from torch import nn

    from bench.datasets.base import DatasetSpec

# Whose weights a cell keeps, and where; the first that is there is what tables show.
FILES = {"average-best-val": "average.safetensors", "best-val": "weights.safetensors"}
Image = np.ndarray | str | Path


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, ready to predict.

    Attributes:
        name, title: of the network, as tables have them.
        key: of its cell.
        task: `segmentation` or `classification`.
        classes: by label id; in segmentation the first is the background.
        channels: of an image, 1 grey, 3 RGB.
        dataset: what it was trained on, as results call it.
        cell: its training run. weights: which of that, as cases.csv names them.
        protocol: decides size, normalisation and how labels come back to the file's grid.
        model: in eval mode, as `Fabric` set it up: logits (N, K) or (N, K, S, S) of inputs (N, C, S, S).
        folder: of its record.
    """

    name: str
    title: str
    key: str
    task: str
    classes: tuple[str, ...]
    channels: int
    dataset: str
    weights: str
    cell: Cell
    protocol: Protocol
    model: nn.Module = field(repr=False)
    folder: Path = field(repr=False)

    def predict(self, images: Image | Sequence[Image]) -> Any:
        """Label maps uint8 of a segmentation, (D, H, W) or (H, W) as the image; of a classification probabilities (K,).

        Args:
            images: an array with the values that the data set's cache holds: (D, H, W) or (H, W), of pictures in colour
                (D, 3, H, W) or (3, H, W), of a classification (C, H, W), or (H, W) of one channel; a file
                that `medbench data add` reads, whose intensities are prepared as the data set's; a folder of files; or
                a sequence of arrays and files.

        Returns:
            An array; of a folder name -> array; of a sequence a list. Images of a sequence or a folder go through the
            network in batches, as the test part did: alone an image may differ in its last digits.

        Raises:
            UserError: a file that cannot be read, or an array of another shape. FloatingPointError: logits that are
                not finite.
        """
        return predict_together([self], images)

    def probabilities(self, image: Image) -> np.ndarray:
        """Of a segmentation's image the probabilities of each class, (K, D, H, W) or (K, H, W), on its own grid."""
        if self.task == "classification":
            return cast(np.ndarray, self.predict(image))
        array = self.read(image)
        volume = _volume(array, self)
        with using_threads(self.protocol.threads):
            parts = np.concatenate(list(_mean_probabilities([self], volume))).swapaxes(0, 1)
        return parts if array.ndim == volume.ndim else parts[:, 0]

    def read(self, image: Image) -> np.ndarray:
        """The array itself, or a file as the data set's cache would hold it."""
        from bench.runs.inputs import read_input

        if isinstance(image, np.ndarray):
            return image
        array = read_input(Path(image), self.task, self.channels)
        spec = known_spec(self.dataset)
        prepare = spec.intensities if spec and self.task == "segmentation" else None
        return array if prepare is None else prepare(array)


def load_trained(
    folder: str | Path, weights: str | None = None, device: str = "cpu", trust: str | Path | None = None
) -> Trained:
    """The trained network of a record's folder, `results/runs/<dataset>/<model>/<seed>-<key>`.

    Nothing of the folder is executed: weights are read from safetensors, the rest is JSON.

    Args:
        weights: `best-val` or `average-best-val`; None: the average's where weights were averaged.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        trust: the file of a third party's network, which is run only where it is what the record was made with.

    Raises:
        UserError: no finished record there, no weights, a network that this version does not have, or code that was
            not named or is another.
    """
    folder = Path(folder)
    record = _complete_record(folder)
    cell, task = _cell_of(record, folder), task_of(record)
    path, whose = _weights_file(folder, weights)
    entry = rebuilt_entry(cell.model, folder, None if trust is None else Path(trust))
    protocol, names = cell.settings(), tuple(record["dataset"]["classes"])
    channels = record["dataset"].get("channels", 1)
    config = rebuilt_config(cell.model, entry)
    model = _network(lambda: entry.build(task, channels, len(names), protocol.image_size, **config), entry.name)
    _load(model, path)
    return Trained(
        name=record["model"]["name"],
        title=record["model"]["title"],
        key=record["key"],
        task=task,
        classes=names,
        channels=channels,
        dataset=record["dataset"]["name"],
        weights=whose,
        cell=cell,
        protocol=protocol,
        model=_set_up(model, device, protocol),
        folder=folder,
    )


def _complete_record(folder: Path) -> dict[str, Any]:
    record = store.read_record(folder) if folder.is_dir() else None
    if record is None:
        inside = sorted(path.parent for path in folder.rglob("record.json"))[:3] if folder.is_dir() else []
        hint = f" Did you mean: {', '.join(map(str, inside))}?" if inside else ""
        raise UserError(f"Expected the folder of a finished run (it holds record.json), but got {folder}.{hint}")
    if record["status"] != "complete" or record["metrics"] is None:
        raise UserError(f"The run in {folder} is {record['status']} and has no weights: run its cell anew.")
    return record


def _cell_of(record: dict[str, Any], folder: Path) -> Cell:
    if not has_known_fields(record["cell"]):
        raise UserError(f"The record in {folder} has another version's form: use the medbench that made it.")
    try:
        cell = Cell(**record["cell"])
        cell.settings()
    except TypeError as error:
        raise UserError(f"The protocol in {folder} has fields that this version lacks ({error}).") from None
    return cell


def _weights_file(folder: Path, weights: str | None) -> tuple[Path, str]:
    if weights is not None and weights not in FILES:
        raise UserError(f"Expected weights that a run keeps, {' or '.join(FILES)}, but got {weights!r}.")
    for whose in FILES if weights is None else (weights,):
        if (folder / FILES[whose]).is_file():
            return folder / FILES[whose], whose
    wanted = FILES[weights or "best-val"]
    raise UserError(
        f"{folder} has no {wanted}: its weights were not copied with the record. Copy them, or run it anew."
    )


def _network(build: Any, name: str) -> nn.Module:
    try:
        return cast("nn.Module", build())
    except UserError:
        raise
    except Exception as error:  # any network's own code, with any config
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{name} cannot be built with the record's config: {line}") from error


def _load(model: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path} cannot be loaded ({line}): copy it again from where the cell was run.") from None


def _set_up(model: nn.Module, device: str, protocol: Protocol) -> nn.Module:
    """The network as scoring had it: by Fabric, under the protocol's precision, in the device's order of memory."""
    from bench.runs.devices import found_device, make_fabric, set_gpu_arithmetic, set_up

    device = found_device(device)
    if device != "cpu":
        set_gpu_arithmetic(protocol)
    half = protocol.precision == "16-mixed" and device == "cpu"  # which the CPU does not have
    fabric = make_fabric(device, replace(protocol, precision="32-true") if half else protocol)
    return set_up(model.eval().requires_grad_(False), fabric).eval()


def known_spec(dataset: str) -> DatasetSpec | None:
    """The description of a record's data set, `acdc-phantom` too; None where it is not known here."""
    name = dataset_of(dataset)
    return dataset_spec(name) if name in dataset_names() else None


# -- several runs as one -------------------------------------------------------------------------------------


def check_alike(members: Sequence[Trained]) -> None:
    """Raises UserError for runs whose predictions cannot be averaged: of other classes, tasks or channels."""
    first = members[0]
    for other in members[1:]:
        for what in ("task", "classes", "channels"):
            if getattr(first, what) != getattr(other, what):
                raise UserError(
                    f"Expected runs of one {what}, but {first.folder} has {getattr(first, what)} and {other.folder} "
                    f"{getattr(other, what)}."
                )


def predict_together(members: Sequence[Trained], images: Image | Sequence[Image]) -> Any:
    """As `Trained.predict`, of several runs: the argmax of their mean probabilities, or these probabilities."""
    from bench.runs.inputs import list_inputs

    first = members[0]
    if isinstance(images, str | Path) and Path(images).is_dir():
        files = list_inputs(Path(images), first.task)
        return dict(zip(files, predict_together(members, list(files.values())), strict=True))
    if isinstance(images, np.ndarray | str | Path):
        return predict_together(members, [images])[0]
    arrays = [first.read(image) for image in images]
    with using_threads(first.protocol.threads):
        if first.task == "classification":
            return _class_probabilities(members, arrays)
        return [_labels(members, array) for array in arrays]


def _labels(members: Sequence[Trained], array: np.ndarray) -> np.ndarray:
    from bench.runs.evaluate import predict_volume

    volume = _volume(array, members[0])
    if len(members) == 1:
        labels = predict_volume(members[0].model, volume, members[0].protocol)
    else:
        parts = _mean_probabilities(members, volume)
        labels = np.concatenate([part.argmax(axis=1).astype(np.uint8) for part in parts])
    return labels if array.ndim == volume.ndim else labels[0]


def _mean_probabilities(members: Sequence[Trained], volume: np.ndarray) -> Iterator[np.ndarray]:
    """Probabilities (n, K, H, W) of a volume's slices, a batch at a time: of all at once they fill a memory."""
    import torch

    from bench.datasets.loading import network_input, probability_map
    from bench.runs.devices import laid_out
    from bench.runs.evaluate import BATCH, finite

    inputs = [network_input(volume, member.protocol) for member in members]
    shape = (volume.shape[-2], volume.shape[-1])
    for start in range(0, len(volume), BATCH):
        total: Any = 0.0
        for member, slices in zip(members, inputs, strict=True):
            device = device_of(member.model)
            batch = laid_out(slices[start : start + BATCH], device)
            with torch.inference_mode():
                logits = finite(member.model(batch.to(device)))
            total = total + probability_map(logits, shape, member.protocol)
        yield total / len(members)


def _class_probabilities(members: Sequence[Trained], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    from bench.datasets.loading import batch_input
    from bench.runs.evaluate import IMAGES, as_stored, finite, predict_logits

    images = [_image(array, members[0]) for array in arrays]
    rows: list[np.ndarray] = []
    for start in range(0, len(images), IMAGES):
        chunk = images[start : start + IMAGES]
        logits = (finite(predict_logits(m.model, batch_input(chunk, m.protocol))) for m in members)
        means = np.mean([part.softmax(dim=1).numpy() for part in logits], axis=0)
        rows += [np.array(as_stored(mean)) for mean in means]
    return rows


def _volume(array: np.ndarray, of: Trained) -> np.ndarray:
    colours = () if of.channels == 1 else (of.channels,)
    single = len(colours) + 2
    if array.ndim not in (single, single + 1) or 0 in array.shape or array.shape[-single:-2] != colours:
        one = ", ".join([*map(str, colours), "H, W"])
        raise UserError(f"Expected an image (D, {one}) or ({one}) for {of.name}, but got shape {array.shape}.")
    return np.ascontiguousarray(array[None] if array.ndim == single else array, dtype=np.float32)


def _image(array: np.ndarray, of: Trained) -> np.ndarray:
    image = array[None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[0] != of.channels or 0 in image.shape:
        raise UserError(f"Expected an image ({of.channels}, H, W) for {of.name}, but got shape {array.shape}.")
    return image


def device_of(model: nn.Module) -> Any:
    """Where a network's parameters lie; of one without any the CPU."""
    import torch

    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """torch computes with so many threads inside: with others the last digits of a logit may differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
