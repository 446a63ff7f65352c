"""The network of a stored record, built again: nothing is run that the user did not install or name.

A record says which network it is of, and a record may come from anywhere. Networks that are registered by name, or a
library's (`timm:...`), are installed code. A third party's is built only from a file that the user names, and only
where that file, with all of its own that it imports, is what the record was made with: compared before any of it is
run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.zoo.entry import ModelEntry
from bench.zoo.libraries import is_of_library
from bench.zoo.registry import model_entry
from bench.zoo.sources import own_sources, roots_of, version_of
from bench.zoo.third_party import load_third_party

SOURCES = "sources"  # the folder beside a record


def rebuilt_entry(model: Mapping[str, Any], folder: Path, trust: Path | None = None) -> ModelEntry:
    """The entry of a record's model (`name`, `config`, `version`).

    Args:
        folder: of the record, where a third party's sources lie.
        trust: the file of a third party's network that the user allows to be run.

    Raises:
        UserError: an unknown network, one of another version, or a third party's without a file, or with another file.
    """
    name, version = str(model["name"]), model["version"]
    if (":" in name and not is_of_library(name)) or (folder / SOURCES).is_dir():
        return _third_party(name, version, folder, trust)
    entry = model_entry(name)
    if entry.version != version:
        raise UserError(
            f"The record in {folder} is of {name} version {version}, and this version of medbench has "
            f"{entry.version}: its weights are another network's. Use the medbench that made it, or run its cell anew."
        )
    return entry


def rebuilt_config(model: Mapping[str, Any], entry: ModelEntry) -> dict[str, Any]:
    """The record's config with tuples where JSON has lists. Raises UserError for fields that the network lacks."""
    config: dict[str, Any] = dict(model["config"])
    if odd := sorted(set(config) ^ set(entry.defaults)):
        raise UserError(f"Expected the config of {entry.name} to have other fields: {', '.join(odd)[:200]} differ.")
    return {key: _like(value, entry.defaults[key]) for key, value in config.items()}


def _like(value: Any, default: Any) -> Any:
    return tuple(value) if isinstance(value, list) and isinstance(default, tuple) else value


def _third_party(name: str, version: Any, folder: Path, trust: Path | None) -> ModelEntry:
    """Of a network that its file registers, whose version says nothing of its code, the kept sources are compared."""
    attribute = name.rpartition(":")[2]
    if trust is None:
        kept = f" It was made with the code in {folder / SOURCES}." if (folder / SOURCES).is_dir() else ""
        raise UserError(
            f"The record in {folder} is of a network of somebody's own, {name}, and building it runs its code: read "
            f"it, and name its file with --trust FILE.{kept}"
        )
    path = trust.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"Expected --trust to name the file of {name}, but {trust} is no file.")
    expected = version if ":" in name else _kept_version(folder, attribute)
    if version_of(own_sources(path, roots_of(path)), attribute) != expected:
        raise UserError(
            f"Expected {trust}, with what it imports, to be the code that the record in {folder} was made with, but "
            f"it is another: name the file in {folder / SOURCES}, if it is there. Nothing of it was run."
        )
    entry = load_third_party(f"{path}:{attribute}")
    if entry.version != version:
        raise UserError(f"Expected {name} to be of version {version}, but {trust} registers version {entry.version}.")
    return entry


def _kept_version(folder: Path, attribute: str) -> int:
    """The version of the sources beside a record."""
    kept = sorted(path for path in (folder / SOURCES).rglob("*") if path.is_file())
    contents = {path.relative_to(folder / SOURCES).as_posix(): path.read_bytes() for path in kept}
    return version_of(contents, attribute)
