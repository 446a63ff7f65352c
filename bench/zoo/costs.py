"""What a network costs at an input: from the catalogue, from a file of what was counted before, or counted now.

The file is the user's own (`MEDBENCH_CACHE`, else the platform's cache folder) and may be deleted at any time. A cost
is found again only for the same code (of ours and of a third party's all files, by hash), config, input, rule of
counting and versions of what networks are made of; a network whose code is not known by files is counted each time.
A cost is kept only of a network whose logits have the expected shape.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records.environment import installed_version
from bench.records.store import write_text
from bench.zoo.catalogue import (
    COUNTING,
    catalogue,
    content_hash,
    identity,
    known_cost,
    known_fillings,
    module_of,
    shape_key,
)
from bench.zoo.complexity import Complexity, complexity
from bench.zoo.entry import ModelEntry
from bench.zoo.libraries import is_of_library
from bench.zoo.registry import canonical_name
from bench.zoo.sources import sources_hash

if TYPE_CHECKING:
    from torch import nn

ENVIRONMENT = "MEDBENCH_CACHE"
LIBRARIES = ("torch", "torchvision", "timm", "monai", "segmentation-models-pytorch")
KEPT = 2000  # costs in the file, the newest
CHECKED = "shape of logits"  # part of a kept cost's name: costs of before this was checked are counted again


def cost_at(
    entry: ModelEntry, config: Mapping[str, Any], task: str, channels: int, classes: int, size: int
) -> Complexity:
    """Parameters and MACs of one image; a network is built only where they are not known, and may then raise.

    Raises:
        UserError: the network's output in eval mode is no tensor of logits (1, K) or (1, K, H, W).
    """
    key = shape_key(canonical_name(entry, dict(config)), task, channels, classes, size)
    known = known_cost(entry, key)
    name = None if known else _name_in_file(entry, config, key)
    if name is not None:
        known = _read().get(name)
    if known is not None:
        return Complexity(**known)
    network = entry.build(task, channels, classes, size, **config)
    outputs = _kept_outputs(network)
    counted = complexity(network, (1, channels, size, size))
    plain = task == "classification"
    form = "(N, num_classes)" if plain else "(N, num_classes, H, W)"
    expected = (1, classes) if plain else (1, classes, size, size)
    if outputs and outputs[-1] != str(expected):
        raise UserError(
            f"Expected logits {expected} of {canonical_name(entry, dict(config))} for an input "
            f"{(1, channels, size, size)}, but got {outputs[-1]}: have its forward return {form}. `medbench models "
            f"--doctor {entry.place or entry.name}` checks the rest."
        )
    if name is not None:
        _remember(name, counted)
    return counted


def _kept_outputs(network: nn.Module) -> list[str]:
    """A list that gets the shape, or the type, of what the network and copies of it put out."""
    outputs: list[str] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        shape = getattr(output, "shape", None)
        outputs.append(f"a {type(output).__name__}" if shape is None else str(tuple(shape)))

    network.register_forward_hook(keep)
    return outputs


def _name_in_file(entry: ModelEntry, config: Mapping[str, Any], key: str) -> str | None:
    """The name of a cost in the file; None for a network whose code is known by no hash of files."""
    if entry.sources:
        code: str | None = f"{entry.version} {sources_hash(entry.sources)}"
    elif is_of_library(entry.name):
        code = str(entry.version)
    else:
        module = module_of(entry)
        code = identity(module) if module and _are_known(config) else None
    if code is None:
        return None
    rule = content_hash(catalogue()["sources"][COUNTING]["files"]) if catalogue()["sources"] else ""
    versions = [installed_version(name) for name in LIBRARIES]
    return hashlib.sha256(json.dumps([key, code, rule, versions, CHECKED]).encode()).hexdigest()[:32]


def _are_known(config: Mapping[str, Any]) -> bool:
    """Whether each slot of a config has a filling that the catalogue's hash of the model covers, not a user's own."""
    slots = [slot for slot in catalogue()["fillings"] if slot in config]
    known = known_fillings() if slots else {}
    return known is not None and all(config[slot] in known[slot] for slot in slots)


def cache_file() -> Path:
    """Where counted costs are kept."""
    import platformdirs

    return Path(os.environ.get(ENVIRONMENT) or platformdirs.user_cache_dir("medbench")) / "costs.json"


def _read() -> dict[str, dict[str, Any]]:
    """The costs in the file; a missing or damaged one has none, and they are counted again."""
    try:
        costs = json.loads(cache_file().read_text(encoding="utf-8"))
        return {name: cost for name, cost in costs.items() if Complexity(**cost).stored() == cost}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(name: str, cost: Complexity) -> None:
    """Adds a cost to the file; a folder that cannot be written to keeps none."""
    costs = {**_read(), name: cost.stored()}
    with contextlib.suppress(OSError):
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_text(cache_file(), json.dumps(dict(list(costs.items())[-KEPT:]), indent=0))
