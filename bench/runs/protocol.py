"""How everything is run: the protocol and its presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, unknown

# 2: timm groups the parameters, so that what a network excepts by its `no_weight_decay()` (position embeddings, tables
# of position biases) is not decayed; what only chooses among stored figures is no field any more.
PROTOCOL_VERSION = 2
GONE = ("optimizer", "schedule", "hd95", "policy", "selection")  # fields of version 1 with no part in training


@dataclass(frozen=True)
class Protocol:
    """Every setting that changes a result; one and the same for all models of a table.

    Attributes:
        image_size: side of the square network input, in pixels; slices are resized to it, whatever their shape.
        resize: `linear` (antialiased bilinear; labels by nearest neighbour) or `transunet` (scipy's zoom, order 3 and
            0, as the literature's loaders).
        normalise: `zscore` (per slice, or per image over all channels) or `minmax` (per volume or image, to [0, 1]).
        steps: optimiser steps; all are run, there is no early stopping.
        batch_size: images, or slices, of a step.
        lr, weight_decay: AdamW's; biases, norms and what a network excepts are not decayed.
        warmup: fraction of the steps over which the rate rises linearly.
        poly_power: the rate then falls as (1 - step / steps) ** poly_power.
        rates: `protocol`, lr for every network, or `grid`: each network's own of one grid for all, chosen on folds of
            training patients (`bench.runs.rates`).
        clip: upper bound of the gradient's norm; 0 is none.
        loss: `ce+dice` (segmentation alone), or `ce`, plain cross-entropy.
        ce_weight: of cross-entropy in `ce+dice`.
        dice_weight: of soft Dice in `ce+dice` (squares in the denominator, background included, sums over the batch).
        flip: probability of an image flipped from left to right, and, drawn for itself, of one flipped upside down.
        rot90: probability of an image turned by one, two or three quarters.
        rotate: probability of an image turned by any angle up to `rotate_degrees`.
        rotate_degrees: the largest angle of `rotate`, to both sides, in degrees; all angles are as likely.
        precision: Lightning Fabric's name of the arithmetic.
        threads: torch's intra-op threads; results are bit-identical for equal threads, CPU type and torch version.
        evaluations: number of validation rounds, at equal fractions of the steps, the last one at the end.
        output: `logits` (resized linearly to the file's grid, then argmax) or `labels` (argmax, then nearest).

    In classification the fields of `SEGMENTATION_ONLY` have no meaning and stay at their defaults.
    """

    image_size: int = 128
    resize: str = "linear"
    normalise: str = "zscore"
    steps: int = 500
    batch_size: int = 8
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    poly_power: float = 0.9
    rates: str = "protocol"
    clip: float = 1.0
    loss: str = "ce+dice"
    ce_weight: float = 0.5
    dice_weight: float = 0.5
    flip: float = 0.5
    rot90: float = 0.5
    rotate: float = 0.5
    rotate_degrees: float = 20.0
    precision: str = "32-true"
    threads: int = 2
    evaluations: int = 5
    output: str = "logits"
    version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                got = getattr(self, name)
                raise UserError(f"Expected protocol field {name} to be one of {', '.join(allowed)}, but got {got!r}.")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                got = getattr(self, name)
                raise UserError(f"Expected protocol field {name} to be from {low} to {high}, but got {got}.")


RANGES: dict[str, tuple[float, float]] = {
    "image_size": (32, 2048),
    "steps": (1, 10_000_000),
    "batch_size": (1, 4096),
    "threads": (1, 1024),
    "evaluations": (1, 10_000),
    "lr": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "warmup": (0.0, 1.0),
    "poly_power": (0.0, 10.0),
    "clip": (0.0, 1e6),
    "ce_weight": (0.0, 1e3),
    "dice_weight": (0.0, 1e3),
    "flip": (0.0, 1.0),
    "rot90": (0.0, 1.0),
    "rotate": (0.0, 1.0),
    "rotate_degrees": (0.0, 180.0),
}
CHOICES = {
    "resize": ("linear", "transunet"),
    "normalise": ("zscore", "minmax"),
    "loss": ("ce+dice", "ce"),
    "rates": ("protocol", "grid"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "output": ("logits", "labels"),
}
SEGMENTATION_ONLY = ("ce_weight", "dice_weight", "output")


@dataclass(frozen=True)
class Preset:
    """A recipe per task, the list of models that `all` means, and how many seeds it takes when none are asked for.

    Attributes:
        protocol: of segmentation. classification: of classification.
    """

    protocol: Protocol
    classification: Protocol
    models: str
    seeds: int

    def of(self, task: str) -> Protocol:
        """The protocol of a task."""
        return self.classification if task == "classification" else self.protocol


# CT slices keep their orientation: no quarter turns.
_IMAGES = Protocol(image_size=128, steps=500, batch_size=8, lr=1e-3, rot90=0.0, loss="ce", evaluations=5)


PRESETS = {
    "smoke": Preset(
        Protocol(image_size=64, steps=60, evaluations=3),
        dataclasses.replace(_IMAGES, image_size=64, steps=60, evaluations=3),
        models="cpu",
        seeds=1,
    ),
    "quick": Preset(Protocol(), _IMAGES, models="cpu", seeds=3),
    "paper": Preset(
        Protocol(
            image_size=224,
            resize="transunet",
            normalise="minmax",
            steps=14_000,
            batch_size=24,
            lr=5e-4,
            evaluations=50,
            output="labels",
        ),
        dataclasses.replace(_IMAGES, image_size=224, steps=10_000, batch_size=32, lr=5e-4, evaluations=25),
        models="paper",
        seeds=3,
    ),
}


def preset_protocol(
    preset: str, settings: tuple[str, ...] = (), threads: int | None = None, task: str = "segmentation"
) -> Protocol:
    """A preset's protocol of a task with `field=value` overrides.

    Raises:
        UserError: unknown preset or field (with the near ones), a value of another type, or one that the task lacks.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    changes: dict[str, Any] = {} if threads is None else {"threads": threads}
    base = PRESETS[preset].of(task)
    types = {f.name: type(getattr(base, f.name)) for f in dataclasses.fields(Protocol) if f.name != "version"}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"Expected --set FIELD=VALUE, but got {setting!r}.")
        if name not in types:
            raise unknown("protocol field", name, types)
        if task == "classification" and name in SEGMENTATION_ONLY:
            raise UserError(f"Protocol field {name} has no meaning for {task}: leave --set {setting} out.")
        try:
            changes[name] = types[name](text)
        except ValueError:
            kind = types[name].__name__
            raise UserError(f"Expected protocol field {name} to be of type {kind}, but got {text!r}.") from None
    protocol = dataclasses.replace(base, **changes)
    if task == "classification" and protocol.loss != "ce":
        raise UserError(f"Expected protocol field loss to be ce for {task}, but got {protocol.loss!r}.")
    return protocol


def preset_label(preset: str, protocol: Protocol, task: str = "segmentation") -> str:
    """`quick`, or `quick with steps=50` when fields were overridden; threads are no part of the label."""
    base = PRESETS[preset].of(task)
    changed = [
        f"{f.name}={getattr(protocol, f.name)}"
        for f in dataclasses.fields(Protocol)
        if f.name != "threads" and getattr(protocol, f.name) != getattr(base, f.name)
    ]
    return f"{preset} with {', '.join(changed)}" if changed else preset
