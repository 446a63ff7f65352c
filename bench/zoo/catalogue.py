"""What is known of the registered networks without importing them: facts, fillings and costs, stored with the package.

`make catalogue` writes the file (`bench.cost.cataloguing`). An answer counts only while the files that it was made from
have the content that they had then, and what they build on (timm, MONAI, ...) the version: of an edited network nothing
is known here, and its module is imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from bench.records.environment import installed_version
from bench.zoo.entry import ModelEntry, Pretrained, Published

PATH = Path(__file__).with_name("catalogue.json")
ROOT = Path(__file__).resolve().parents[2]
ENTRY, COUNTING, COUNTERS = "facts", "counting", "counters"  # what entries, costs and checks rest on beside the network
PROPOSED = "bench.models.mednext"


@cache
def catalogue() -> dict[str, Any]:
    """The stored catalogue; an empty one where the file is missing or damaged."""
    parts = ("sources", "entries", "filling modules", "fillings", "costs", "checks")
    empty: dict[str, Any] = {part: {} for part in parts}
    try:
        return empty | json.loads(PATH.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return empty


def content_hash(files: Iterable[str]) -> str:
    """sha256 of files, named below the packages' folder; line ends do not count, and a missing file has a hash too."""
    digest = hashlib.sha256()
    for name in sorted(files):
        path = ROOT / name
        content = path.read_bytes().replace(b"\r\n", b"\n") if path.is_file() else b"missing"
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@cache
def is_unchanged(source: str) -> bool:
    """Whether the files of a module, or of one of the rules of counting, are those that the catalogue was made from."""
    stored = catalogue()["sources"].get(source)
    return stored is not None and content_hash(stored["files"]) == stored["sha256"]


@cache
def identity(source: str) -> str | None:
    """A hash of a module's files and of the versions that it builds on, or None where it differs from the stored."""
    if not is_unchanged(source):
        return None
    stored = catalogue()["sources"][source]
    same = all(installed_version(name) == made_with for name, made_with in stored["libraries"].items())
    return stored["sha256"] if same else None


def known_entry(name: str, module: str, load: Callable[[], ModelEntry]) -> ModelEntry | None:
    """A network's entry as the catalogue has it, or None where its module has to be imported.

    Args:
        module: the one that its entry point names.
        load: imports that module and gives the entry that it registers; called when the network is built.
    """
    stored = catalogue()["entries"].get(name)
    if stored is None or stored["module"] != module or not (is_unchanged(module) and is_unchanged(ENTRY)):
        return None
    facts = {key: _tuples(value) for key, value in stored.items() if key != "module"}
    facts["published"] = Published(**stored["published"]) if stored["published"] else None
    facts["pretrained"] = _loaded_weights(load) if stored["pretrained"] else None
    return ModelEntry(name=name, build=lambda *shape, **config: load().build(*shape, **config), **facts)


def _loaded_weights(load: Callable[[], ModelEntry]) -> Pretrained:
    def weights() -> Pretrained:
        return cast(Pretrained, load().pretrained)

    return Pretrained(lambda: weights().repository(), lambda *a: weights().adapt(*a), lambda: weights().heads())


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def module_of(entry: ModelEntry) -> str | None:
    """The module of the catalogue that an entry comes from; None for another network, even one of the same name."""
    stored = catalogue()["entries"].get(entry.name)
    defined_in = getattr(entry.build, "__module__", "")
    return stored["module"] if stored and not entry.place and defined_in in (stored["module"], __name__) else None


def known_fillings() -> Mapping[str, Mapping[str, Mapping[str, str]]] | None:
    """Slot -> filling -> `summary` and `note`; None where those that are installed are others, or may be."""
    points = sorted(point.value for point in entry_points(group="medbench.fillings"))
    if not is_unchanged(PROPOSED) or points != catalogue()["filling modules"]:
        return None
    return catalogue()["fillings"]


def shape_key(canonical: str, task: str, channels: int, classes: int, size: int) -> str:
    """How the catalogue names a network at an input: `unet_s segmentation 1x64x64 4`."""
    return f"{canonical} {task} {channels}x{size}x{size} {classes}"


def known_cost(entry: ModelEntry, key: str) -> dict[str, Any] | None:
    """The stored cost under a `shape_key`, or None where it has to be counted."""
    return _known(entry, "costs", key, COUNTING)


def known_check(entry: ModelEntry, key: str) -> dict[str, Any] | None:
    """The stored counts of all three counters under a `shape_key`, or None where they have to be counted."""
    return _known(entry, "checks", key, COUNTING, COUNTERS)


def _known(entry: ModelEntry, kind: str, key: str, *rules: str) -> dict[str, Any] | None:
    module = module_of(entry)
    is_current = module is not None and identity(module) is not None and all(map(is_unchanged, rules))
    return catalogue()[kind].get(key) if is_current else None
