"""What a registered network is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Family = Literal["proposed", "cnn", "transformer", "hybrid", "chance", "other"]


@dataclass(frozen=True)
class Published:
    """What a paper or a list says that a network costs, with the input it says it for.

    Attributes:
        params: parameters, as a count (34.52e6).
        macs: multiply-accumulates, as a count, for one image.
        channels, image_size, classes: the input and output that the figures hold for.
        source: where they stand.
        attention: whether the MACs count the products of attention, of two computed matrices each.
    """

    params: float
    macs: float | None
    channels: int
    image_size: int
    classes: int
    source: str
    attention: bool = True


@dataclass(frozen=True)
class Pretrained:
    """Weights of a network that others trained, on the hub.

    Attributes:
        repository: () -> the hub's name of them.
        adapt: (state, in_channels, num_classes, image_size) -> the state dict for such a network, without its head.
        heads: () -> the beginnings of the head's keys.
    """

    repository: Callable[[], str]
    adapt: Callable[..., dict[str, Any]]
    heads: Callable[[], tuple[str, ...]]


@dataclass(frozen=True)
class ModelEntry:
    """A registered model: how it is built and what a table says of it.

    `build` takes (task, in_channels, num_classes, image_size, **config) and returns a module whose forward maps
    (N, C, H, W) float32 to logits, (N, K) or (N, K, H, W).

    Attributes:
        lists: the presets' lists that `all` means: `cpu` (smoke, quick), `paper`.
        version: raise it when the same config builds another function; it is part of a cell's key.
        reduced_from: name of the published network that this one is a smaller form of.
        defaults: the model's config, a field each.
        titles: task -> title, where it is not `title`.
        pretrained: weights that `--pretrained` starts from.
        place: of a third party's: the name under which any process finds it; `name` does not say in which folder.
        sources: of a third party's: path -> content of its own files.
    """

    name: str
    build: Callable[..., nn.Module]
    title: str
    family: Family
    citation: str
    tasks: tuple[str, ...] = ("segmentation",)
    lists: tuple[str, ...] = ()
    version: int = 1
    year: int | None = None
    published: Published | None = None
    reduced_from: str | None = None
    note: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    pretrained: Pretrained | None = None
    place: str = ""
    sources: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def title_of(self, task: str) -> str:
        """The title under a task: `titles` has it where it is not `title`."""
        return self.titles.get(task, self.title)


MODELS: dict[str, ModelEntry] = {}  # what was registered so far, by name


def register_model(
    *, title: str, family: Family, citation: str, **fields: Any
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Registers a builder under its function's own name; its keyword defaults are the model's config.

    Args:
        fields: others of `ModelEntry`; `defaults` where the builder takes its config as a whole (`**config`).
    """

    def decorate(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        parameters = list(inspect.signature(build).parameters.values())[4:]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        facts = {"title": title, "family": family, "citation": citation, "defaults": defaults, **fields}
        MODELS[build.__name__] = ModelEntry(build.__name__, build, **facts)
        return build

    return decorate


def registered(build: Callable[..., Any]) -> ModelEntry | None:
    """The entry of a builder that was registered, or None."""
    return next((entry for entry in MODELS.values() if entry.build is build), None)
