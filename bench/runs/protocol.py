"""How everything is run: the protocol and its presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, unknown

# 2: timm groups the parameters, so that what a network excepts by its `no_weight_decay()` (position embeddings, tables
# of position biases) is not decayed; what only chooses among stored figures is no field any more.
# 3: the fields from `schedule` to `rates` below, at first as nothing of them was; AdamW and the gradients of some
# depth-wise convolutions are computed by other kernels, which changes the last bits.
PROTOCOL_VERSION = 3
GONE = ("optimizer", "hd95", "policy", "selection")  # fields of version 1 with no part in training


@dataclass(frozen=True)
class Protocol:
    """Every setting that changes a result; one and the same for all models of a table.

    Attributes:
        image_size: side of the square network input, in pixels; slices are resized to it, whatever their shape.
        resize: `linear` (antialiased bilinear; labels by nearest neighbour) or `transunet` (scipy's zoom, order 3 and
            0, as the literature's loaders).
        normalise: `zscore` (per slice, or per image over all channels) or `minmax` (per volume or image, to [0, 1]).
        steps: optimiser steps; all are run, there is no early stopping.
        epochs: passes over the training part from which `steps` is computed when a cell is made, within `steps_min`
            and `steps_max`; 0: `steps` as it stands.
        steps_min, steps_max: bounds of the steps that `epochs` gives.
        batch_size: images, or slices, of a step.
        lr, weight_decay: AdamW's; biases, norms and what a network excepts are not decayed.
        warmup: fraction of the steps over which the rate rises linearly.
        schedule: how the rate then falls: `poly`, as (1 - step / steps) ** poly_power, or `cosine`, to 1 % of lr.
        poly_power: of `poly`.
        rates: `protocol`, lr for every network, or `grid`: each network's own of one grid for all, chosen on folds of
            training patients (`bench.runs.rates`).
        clip: upper bound of the gradient's norm; 0 is none.
        loss: `ce+dice` (segmentation alone), or `ce`, plain cross-entropy.
        ce_weight: of cross-entropy in `ce+dice`.
        dice_weight: of soft Dice in `ce+dice` (squares in the denominator, background included, sums over the batch).
        label_smoothing: share of the target that cross-entropy spreads over all classes.
        deep_supervision: `own`: a network whose own paper supervises lower resolutions too is trained so, `none`: none.
        average: largest decay of an exponential average of the weights, buffers too, min(average, 1 - (1 + step) **
            -0.75); scored beside the weights themselves. 0: there is none.
        flip: probability of an image flipped from left to right.
        upside_down: probability of one flipped upside down, drawn for itself.
        rot90: probability of an image turned by one, two or three quarters.
        rotate: probability of an image turned by any angle up to `rotate_degrees`.
        rotate_degrees: the largest angle of `rotate`, to both sides, in degrees; all angles are as likely.
        crop: smallest share of the area in a random resized crop (ratio 3/4 to 4/3), up to the whole; 1: no crop.
        zoom: probability of an image scaled by 0.7 to 1.4 and displaced.
        shift: largest displacement of a scaled image, along each side, as a share of it.
        intensity: factor of nnU-Net's probabilities of noise, blur, brightness, contrast and gamma; 0: none of them.
        low_resolution: probability of an image that is scaled down by up to a half and back up.
        colour: saturation changes by up to this share, hue by up to a quarter of it of the colour circle; images of
            three channels (photographs) alone.
        erasing: probability of a rectangle of 2 to 33 % of the area that becomes the image's mean.
        mixup: alpha of the Beta distribution by which half of the batches are mixed; 0: none.
        precision: Lightning Fabric's name of the arithmetic.
        tf32: products of 32-true on a GPU with 10 bits of mantissa (TF32); has no effect on the CPU.
        threads: torch's intra-op threads; results are bit-identical for equal threads, CPU type and torch version.
        evaluations: number of validation rounds, at equal fractions of the steps, the last one at the end.
        output: `logits` (resized linearly to the file's grid, then argmax) or `labels` (argmax, then nearest).

    The fields of `SEGMENTATION_ONLY` have no meaning in classification and stay at their defaults, as those of
    `CLASSIFICATION_ONLY` do in segmentation.
    """

    image_size: int = 128
    resize: str = "linear"
    normalise: str = "zscore"
    steps: int = 500
    epochs: int = 0
    steps_min: int = 1
    steps_max: int = 1_000_000
    batch_size: int = 8
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    schedule: str = "poly"
    poly_power: float = 0.9
    rates: str = "protocol"
    clip: float = 1.0
    loss: str = "ce+dice"
    ce_weight: float = 0.5
    dice_weight: float = 0.5
    label_smoothing: float = 0.0
    deep_supervision: str = "none"
    average: float = 0.0
    flip: float = 0.5
    upside_down: float = 0.5
    rot90: float = 0.5
    rotate: float = 0.5
    rotate_degrees: float = 20.0
    crop: float = 1.0
    zoom: float = 0.0
    shift: float = 0.0
    intensity: float = 0.0
    low_resolution: float = 0.0
    colour: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    precision: str = "32-true"
    tf32: bool = False
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
        if self.steps_min > self.steps_max:
            raise UserError(
                f"Expected protocol field steps_min to be at most steps_max, but got {self.steps_min} and "
                f"{self.steps_max}."
            )

    def for_budget(self, images: int | None) -> Protocol:
        """The protocol with a whole schedule over about so many images seen; None: as it stands."""
        if images is None:
            return self
        return dataclasses.replace(self, steps=max(1, round(images / self.batch_size)), epochs=0)

    def for_images(self, count: int) -> Protocol:
        """The protocol with the number of steps that its epochs are on a training part of so many images or slices."""
        if not self.epochs:
            return self
        steps = math.ceil(self.epochs * count / self.batch_size)
        return dataclasses.replace(self, steps=min(max(steps, self.steps_min), self.steps_max))


RANGES: dict[str, tuple[float, float]] = {
    "image_size": (32, 2048),
    "steps": (1, 10_000_000),
    "batch_size": (1, 4096),
    "threads": (1, 1024),
    "epochs": (0, 100_000),
    "steps_min": (1, 10_000_000),
    "steps_max": (1, 10_000_000),
    "evaluations": (1, 10_000),
    "lr": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "warmup": (0.0, 1.0),
    "poly_power": (0.0, 10.0),
    "clip": (0.0, 1e6),
    "ce_weight": (0.0, 1e3),
    "dice_weight": (0.0, 1e3),
    "flip": (0.0, 1.0),
    "upside_down": (0.0, 1.0),
    "rot90": (0.0, 1.0),
    "rotate": (0.0, 1.0),
    "rotate_degrees": (0.0, 180.0),
    "label_smoothing": (0.0, 0.5),
    "average": (0.0, 0.9999),
    "crop": (0.05, 1.0),
    "zoom": (0.0, 1.0),
    "shift": (0.0, 0.5),
    "intensity": (0.0, 3.0),
    "low_resolution": (0.0, 1.0),
    "colour": (0.0, 1.0),
    "erasing": (0.0, 1.0),
    "mixup": (0.0, 10.0),
}
CHOICES = {
    "resize": ("linear", "transunet"),
    "normalise": ("zscore", "minmax"),
    "loss": ("ce+dice", "ce"),
    "schedule": ("poly", "cosine"),
    "rates": ("protocol", "grid"),
    "deep_supervision": ("none", "own"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "output": ("logits", "labels"),
}
SEGMENTATION_ONLY = ("ce_weight", "dice_weight", "output", "deep_supervision")
CLASSIFICATION_ONLY = ("label_smoothing", "crop", "colour", "erasing", "mixup")


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

# The recipe meant for CNNs, hybrids and Transformers alike; docs/recipe.md says which of its choices are untested.
_STANDARD = Protocol(
    image_size=128,
    steps=6_000,
    batch_size=8,
    lr=1e-3,
    rates="grid",
    weight_decay=0.05,
    deep_supervision="own",
    average=0.998,
    zoom=0.2,
    shift=0.1,
    intensity=1.0,
    low_resolution=0.25,
    evaluations=20,
)
_STANDARD_IMAGES = Protocol(
    image_size=128,
    epochs=100,
    steps_min=3_000,
    steps_max=10_000,
    batch_size=16,
    lr=1e-3,
    rates="grid",
    weight_decay=0.05,
    schedule="cosine",
    loss="ce",
    label_smoothing=0.1,
    average=0.998,
    upside_down=0.0,
    rot90=0.0,
    crop=0.4,
    intensity=1.0,
    colour=0.2,
    erasing=0.25,
    mixup=0.2,
    evaluations=20,
)

PRESETS = {
    "smoke": Preset(
        Protocol(image_size=64, steps=60, evaluations=3),
        dataclasses.replace(_IMAGES, image_size=64, steps=60, evaluations=3),
        models="cpu",
        seeds=1,
    ),
    "quick": Preset(Protocol(), _IMAGES, models="cpu", seeds=3),
    "standard": Preset(_STANDARD, _STANDARD_IMAGES, models="cpu", seeds=3),
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
        dataclasses.replace(
            _IMAGES,
            image_size=224,
            steps=10_000,
            batch_size=32,
            lr=5e-4,
            crop=0.4,
            upside_down=0.0,
            evaluations=25,
        ),
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
        if name in (SEGMENTATION_ONLY if task == "classification" else CLASSIFICATION_ONLY):
            raise UserError(f"Protocol field {name} has no meaning for {task}: leave --set {setting} out.")
        try:
            value = _flag(text) if types[name] is bool else types[name](text)
        except ValueError:
            kind = types[name].__name__
            raise UserError(f"Expected protocol field {name} to be of type {kind}, but got {text!r}.") from None
        if name in changes and changes[name] != value:
            also = f"--set {name}={changes[name]}" if name != "threads" or threads is None else f"--threads {threads}"
            raise UserError(f"Expected protocol field {name} once, but got {also} and --set {setting}.")
        changes[name] = value
    if "steps" in changes and changes.get("epochs"):
        raise UserError(
            f"Expected --set steps or --set epochs, but got both: {changes['steps']} and {changes['epochs']}."
        )
    if "steps" not in changes and base.epochs and changes.get("epochs") == 0:
        raise UserError(f"Expected --set steps=N with epochs=0, since {preset} has no number of steps for {task}.")
    if "steps" in changes:  # so many steps, whatever the training part
        changes["epochs"] = 0
    if changes.get("epochs") and not {"steps_min", "steps_max"} & set(changes):  # they are meant, however few
        changes |= {"steps_min": 1, "steps_max": Protocol.steps_max}
    protocol = dataclasses.replace(base, **changes)
    if not protocol.epochs and (bounds := sorted({"steps_min", "steps_max"} & set(changes))):
        raise UserError(f"Expected --set {bounds[0]} with epochs, which alone it bounds, but training takes steps.")
    if task == "classification" and protocol.loss != "ce":
        raise UserError(f"Expected protocol field loss to be ce for {task}, but got {protocol.loss!r}.")
    return protocol


def _flag(text: str) -> bool:
    """`true` or `false`. Raises ValueError for anything else."""
    return ("false", "true").index(text.lower()) == 1


def preset_label(preset: str, protocol: Protocol, task: str = "segmentation") -> str:
    """`quick`, or `quick with steps=50` when fields were overridden; threads are no part of the label."""
    base = PRESETS[preset].of(task)
    apart = {"threads", "steps" if protocol.epochs else "epochs"}  # what the other of both says is not said
    fixed = {"steps"} if base.epochs and not protocol.epochs else set()  # in place of the preset's epochs
    changed = [
        f"{f.name}={getattr(protocol, f.name)}"
        for f in dataclasses.fields(Protocol)
        if f.name in fixed or (f.name not in apart and getattr(protocol, f.name) != getattr(base, f.name))
    ]
    return f"{preset} with {', '.join(changed)}" if changed else preset
