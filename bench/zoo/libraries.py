"""Networks of timm, segmentation_models_pytorch and MONAI by name alone: `timm:convnext_pico`, `monai:BasicUNet`.

Nothing of them is registered: the library is imported when one is named. A network is known by its name and a hash of
the versions of its library and of what that library takes networks from, so that an update makes another cell. It
starts from random weights. Its config is what the library's class takes beside channels, classes and image size; a
field that is None is left to the library.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from bench.errors import UserError, unknown
from bench.records.environment import installed_version
from bench.zoo.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Library:
    """Where networks come from.

    Attributes:
        packages: the distributions whose versions are part of a network's identity, the library's own first.
        task: that its networks do.
        find: the name without its prefix -> the whole name in one form, the config's fields with their defaults, and
            what builds the network from the contract's arguments and those fields that are not None.
    """

    packages: tuple[str, ...]
    task: str
    find: Callable[[str], tuple[str, dict[str, Any], Callable[..., nn.Module]]]


def is_of_library(name: str) -> bool:
    """Whether a model's name, without a config, is one of a library: `timm:...`."""
    return name.partition(":")[0] in LIBRARIES


@cache
def library_entry(name: str) -> ModelEntry:
    """The entry of `timm:NAME`, `smp:ARCHITECTURE:ENCODER` or `monai:CLASS`.

    Raises:
        UserError: no such network, or one that does not do the library's task.
    """
    prefix, _, rest = name.partition(":")
    library = LIBRARIES[prefix]
    whole, defaults, make = library.find(rest)
    versions = [f"{package} {installed_version(package)}" for package in library.packages]

    def build(task: str, in_channels: int, num_classes: int, image_size: int, **config: Any) -> nn.Module:
        given = {field: value for field, value in config.items() if value is not None}
        return make(in_channels, num_classes, image_size, **given)

    return ModelEntry(
        name=f"{prefix}:{whole}",
        build=build,
        title=f"{whole.replace(':', ', ')} ({prefix})",
        family="other",
        citation=versions[0],
        tasks=(library.task,),
        version=int(hashlib.sha256("\0".join(versions).encode()).hexdigest()[:7], 16),
        note=f"of {versions[0]}, from random weights",
        defaults=defaults,
    )


def _fields(parameters: Iterable[inspect.Parameter], apart: Iterable[str]) -> dict[str, Any]:
    """What a class takes beside `apart`, with defaults that a name in brackets can set; None for any others."""
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in apart]
    return {p.name: p.default if _is_written(p.default) else None for p in named}


def _is_written(value: Any) -> bool:
    """Whether a default is a text, a flag, a finite number or a tuple of numbers."""
    if isinstance(value, tuple):
        return bool(value) and all(type(item) in (int, float) for item in value)
    return type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _reject_parts(name: str, image_size: int, step: int) -> None:
    """Raises UserError for an image size that is no multiple of what a network divides it into."""
    if image_size % step:
        below = image_size // step * step
        sizes = " or ".join(str(size) for size in (below, below + step) if size)
        raise UserError(f"{name} takes images whose side is a multiple of {step}, but got {image_size}: try {sizes}.")


def _find_timm(name: str) -> tuple[str, dict[str, Any], Callable[..., nn.Module]]:
    import timm

    architecture, _, tag = name.partition(".")
    if tag:
        raise UserError(f"timm:{name} names pretrained weights ({tag}): name the network alone, timm:{architecture}.")
    if not timm.is_model(name):
        raise unknown("network of timm", name, timm.list_models())
    module = sys.modules[timm.model_entrypoint(name).__module__]
    classes = [kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__]
    signatures = [inspect.signature(kind).parameters for kind in classes]
    taken = [p for parameters in signatures if "num_classes" in parameters for p in parameters.values()]
    # Which class it is shows when it is built, and its variant sets other values than the class: all are left to timm.
    defaults = dict.fromkeys(_fields(taken, ("self", "num_classes", "in_chans", "img_size")))

    def make(channels: int, classes: int, size: int, /, **config: Any) -> nn.Module:
        arguments = {"pretrained": False, "in_chans": channels, "num_classes": classes, **config}
        fixed = bool(timm.models.get_pretrained_cfg(name).fixed_input_size)
        try:
            network = timm.create_model(name, **arguments, **({"img_size": size} if fixed else {}))
        except TypeError as error:
            if not fixed or "img_size" not in str(error):
                raise
            network = timm.create_model(name, **arguments)
            own = network.default_cfg["input_size"][-1]
            if size != own:
                raise UserError(f"timm:{name} takes images of {own} pixels alone, but got {size}.") from None
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", 1)
        _reject_parts(f"timm:{name}", size, patch[0] if isinstance(patch, tuple) else patch)
        return network

    return name, defaults, make


def _find_smp(name: str) -> tuple[str, dict[str, Any], Callable[..., nn.Module]]:
    import segmentation_models_pytorch as smp
    import timm

    architecture, _, encoder = name.partition(":")
    architectures = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture.lower() not in architectures:
        raise unknown("architecture of smp", architecture, [kind.__name__ for kind in architectures.values()])
    kind = architectures[architecture.lower()]
    parameters = inspect.signature(kind).parameters
    encoder = encoder or str(parameters["encoder_name"].default)
    known = timm.is_model(encoder[3:]) if encoder.startswith("tu-") else encoder in smp.encoders.encoders
    if not known:
        raise unknown("encoder of smp", encoder, smp.encoders.encoders)
    apart = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
    whole = f"{kind.__name__}:{encoder}"

    def make(channels: int, classes: int, size: int, /, **config: Any) -> nn.Module:
        network = kind(encoder, encoder_weights=None, in_channels=channels, classes=classes, **config)
        if getattr(network, "requires_divisible_input_shape", True):
            _reject_parts(f"smp:{whole}", size, network.encoder.output_stride)
        return network

    return whole, _fields(parameters.values(), apart), make


# Networks of MONAI whose output is a map of logits; others generate, register or classify.
_SEGMENTERS = (
    *("AHNet", "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "FlexibleUNet", "HighResNet", "MedNeXt"),
    *("SegResNet", "SwinUNETR", "UNETR", "UNet", "VNet"),
)
# What MONAI's networks take without a default, as its own tutorials have it.
_MONAI: dict[str, dict[str, Any]] = {
    "UNet": {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)},
    "AttentionUnet": {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)},
    "DynUNet": {
        "kernel_size": (3, 3, 3, 3, 3),
        "strides": (1, 2, 2, 2, 2),
        "upsample_kernel_size": (2, 2, 2, 2),
    },
    "FlexibleUNet": {"backbone": "efficientnet-b0"},
    "VNet": {"dropout_dim": 2},
}


def _find_monai(name: str) -> tuple[str, dict[str, Any], Callable[..., nn.Module]]:
    from monai.networks import nets

    kind = getattr(nets, name, None)
    if not inspect.isclass(kind) or kind.__name__ not in _SEGMENTERS:  # MONAI has several names for one class
        raise unknown("segmenter of MONAI", name, [known for known in _SEGMENTERS if hasattr(nets, known)])
    name = kind.__name__
    parameters, started = inspect.signature(kind).parameters, _MONAI.get(name, {})
    apart = {"self", "spatial_dims", "in_channels", "out_channels", "img_size", "pretrained", "deep_supervision"}
    defaults = _fields(parameters.values(), apart) | started
    lacking = [key for key, p in parameters.items() if p.default is p.empty and key in defaults and key not in started]
    if lacking:
        raise UserError(
            f"monai:{name} takes {', '.join(lacking)} without a default: build it in a file of your own, with "
            "defaults, and name net.py:FUNCTION."
        )

    def make(channels: int, classes: int, size: int, /, **config: Any) -> nn.Module:
        shape = {"spatial_dims": 2, "in_channels": channels, "out_channels": classes}
        of_size = {"img_size": size} if "img_size" in parameters else {}
        network = cast("nn.Module", kind(**shape, **of_size, **config))
        network.register_forward_hook(_single)
        return network

    return name, defaults, make


def _single(network: nn.Module, inputs: Any, output: Any) -> Tensor:
    """The logits of a network that lists them, with one entry where there is no deep supervision."""
    single: Tensor = output[0] if isinstance(output, list | tuple) and len(output) == 1 else output
    return single


LIBRARIES: Mapping[str, Library] = {
    "timm": Library(("timm",), "classification", _find_timm),
    "smp": Library(("segmentation-models-pytorch", "timm", "torchvision"), "segmentation", _find_smp),
    "monai": Library(("monai",), "segmentation", _find_monai),
}
