"""What is measured, as one value, and the settings that it comes to: a model in one form beside a reference."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from bench.errors import UserError, unknown
from bench.records.profiles import Setting
from bench.runs.arguments import DEVICE, FLAG, MODELS, argument, check_fields, or_none, text, whole
from bench.runs.devices import found_device
from bench.runs.protocol import PRESETS
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import listed_names, parse_model, select_models

REFERENCES = {"classification": "resnet18", "segmentation": "unet_s"}
REFERENCE_STEPS = {"reference": "cell", "plain": "plain"}
# Where passes are timed, the C library keeps what is freed (`bench.cost.speed.KEPT`).
ALLOCATOR = "kept" if platform.libc_ver()[0] == "glibc" else "default"
# Fields of a request that stand in its settings as they are.
SHARED = ("task", "channels", "image_size", "classes", "batch", "threads", "device", "precision", "compiled")


@dataclass(frozen=True)
class Measurement:
    """Which networks are measured, on what input and how. Raises UserError for a value of another kind or out of range.

    Attributes:
        models: names by commas or in a list, as `bench.zoo.registry.select_models` takes them.
        task: `classification` or `segmentation`: the networks' outputs.
        image_size: side of the square input, in pixels. channels: of the input. classes: of the output.
        batch: images a pass.
        threads: torch's.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`.
        precision: `fp32`, or autocast to `bf16` or `fp16`.
        reference: any model's name; None: `resnet18`, or `unet_s` for segmentation.
        fused: measure the proposed model's inference form as well; other families have none here.
        step: time training steps in place of inference, as cells take them, without loading and augmentation.
        baseline: of training steps what they are timed against: `reference`, the reference's; `plain`, the same
            network's by torch's own gradients and unfused AdamW.
        compiled: the candidates, not the reference, through torch.compile.
        preset: whose list `all` means; chance, which does no work, is left out of it.
    """

    models: str | Sequence[str] = argument("all", MODELS)
    task: str = argument("classification", text("", *REFERENCES))
    image_size: int = argument(224, whole(8))
    channels: int = argument(3, whole())
    classes: int = argument(2, whole(2))
    batch: int = argument(8, whole())
    threads: int = argument(2, whole())
    device: str = argument("cpu", DEVICE)
    precision: str = argument("fp32", text("", "fp32", "bf16", "fp16"))
    reference: str | None = argument(None, or_none(text()))
    fused: bool = argument(False, FLAG)
    step: bool = argument(False, FLAG)
    baseline: str = argument("reference", text("", *REFERENCE_STEPS))
    compiled: bool = argument(False, FLAG)
    preset: str = argument("quick", text())

    def __post_init__(self) -> None:
        check_fields(self)
        if self.preset not in PRESETS:
            raise unknown("preset", self.preset, PRESETS)
        if self.fused and self.step:
            raise UserError(
                "A fused form is for inference alone: ask for fused forms or for training steps, not for both."
            )
        if self.baseline == "plain" and not self.step:
            raise UserError("The baseline 'plain' is of training steps: add --step, or leave out --baseline.")
        if self.baseline == "plain" and self.reference is not None:
            raise UserError(
                f"With the baseline 'plain' each network is its own reference, but got the reference "
                f"{self.reference!r}: leave out one of the two."
            )


def make_settings(request: Measurement) -> list[Setting]:
    """What a request measures, in order: each model in its training form, then fused where asked for and offered.

    Raises:
        UserError: an unknown name, a device that is not there, or `fused` where no model has that form.
    """
    device = found_device(request.device, request.precision)
    reference = _resolved(*_only_model(request.reference or REFERENCES[request.task], request.task))
    shared: dict[str, Any] = {name: getattr(request, name) for name in SHARED}
    shared["device"] = device
    shared |= {"work": "training-step" if request.step else "inference"}
    shared |= {"torch": version("torch"), "allocator": ALLOCATOR}
    if request.step:
        shared |= {"step": "cell", "reference_step": REFERENCE_STEPS[request.baseline]}
    return [
        Setting(
            model=_resolved(entry, config),
            reference=_resolved(entry, config) if request.baseline == "plain" else reference,
            form=form,
            **shared,
        )
        for entry, config in _models(request)
        for form in (("training", "fused") if request.fused and entry.family == "proposed" else ("training",))
    ]


def _models(request: Measurement) -> list[tuple[ModelEntry, dict[str, Any]]]:
    """The networks to measure; chance only where it is named."""
    named = listed_names(request.models)
    chosen = [parse_model(name) for name in select_models(request.models, PRESETS[request.preset].models, request.task)]
    chosen = [(entry, config) for entry, config in chosen if entry.family != "chance" or entry.name in named]
    if not chosen:
        raise UserError(f"Expected a model to time, but {request.models!r} is chance alone, which does no work.")
    if request.fused and not any(entry.family == "proposed" for entry, _ in chosen):
        names = ", ".join(entry.name for entry, _ in chosen)
        raise UserError(f"Fused forms are offered for the proposed model alone, but got {names}: leave out --fused.")
    return chosen


def _only_model(name: str, task: str) -> tuple[ModelEntry, dict[str, Any]]:
    names = select_models(name, "", task)
    if len(names) != 1:
        raise UserError(f"Expected one model as the reference, but {name!r} names {len(names)}: {', '.join(names)}.")
    return parse_model(names[0])


def _resolved(entry: ModelEntry, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": entry.name, "config": config, "version": entry.version}
