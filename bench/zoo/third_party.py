"""Models that a user names by where they are: `my_pkg.nets:MyNet`, `path/to/net.py:MyNet`.

Naming one runs its code, as importing any package does; nothing is ever picked up that was not named. A file is run
once in a process, and again where it or what it imports was changed since.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast, get_args

from bench.errors import UserError, unknown
from bench.zoo.entry import Family, ModelEntry, registered
from bench.zoo.isolated import SPACE, import_file
from bench.zoo.sources import own_sources, roots_of, sources_hash, version_of

Built = TypeVar("Built", bound=Callable[..., Any])
_CONTRACT = ("task", "in_channels", "num_classes", "image_size")
SHOWN = 6  # of what a file defines, where none of it is named
_TASKS = ("segmentation", "classification")
_MODULES: dict[tuple[str, str], ModuleType] = {}  # a file's path and a hash of what was run
_SOURCES: dict[str, dict[str, bytes]] = {}  # of modules by name, which Python imports once
_ENTRIES: dict[tuple[str, int], ModelEntry] = {}  # place and the builder's id -> what was loaded in this process


def load_third_party(name: str) -> ModelEntry:
    """The entry of `module:attribute` or `file.py:attribute`: a function or a class that builds a network.

    It is called with those of task, in_channels, num_classes and image_size that it takes, by name; its other arguments
    are its config and have defaults. Attributes `title`, `family`, `citation` and `tasks` are shown in tables. Its
    version is a hash of its code and of all own code that this imports (`zoo.sources`): an edited network is another
    cell. A file's model is called by the file's name, wherever it lies: `net.py:MyNet`.

    Raises:
        UserError: no such module, file or attribute, an error while it is imported, or an argument without a default.
    """
    place, _, attribute = name.rpartition(":")
    if not place.endswith(".py"):
        return _entry(name, name, *_from_package(place))
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        return _loaded_before(name, place)
    return _entry(f"{path.name}:{attribute}", f"{path}:{attribute}", *_from_file(path))


def without_network(place: str) -> UserError:
    """The error for a file that no network of is named, with what it defines; nothing of it is run."""
    path = Path(place).expanduser()
    if not path.is_file():
        return UserError(f"Expected a file with a network, as {place}:MyNet, but {place} does not exist.")
    defined: list[ast.stmt] = []
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        defined = ast.parse(path.read_bytes()).body
    found = [node for node in defined if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_"]
    found.sort(key=lambda node: "forward" not in {getattr(part, "name", "") for part in node.body})
    names = [f"{place}:{node.name}" for node in found[:SHOWN]]
    rest = f" or {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    listed = f"{' or '.join(names)}{rest}" if names else f"{place}:MyNet"
    return UserError(f"Expected the name of a network behind the file {place}, but got the file alone: give {listed}.")


def titled(title: str, family: Family = "other", citation: str = "") -> Callable[[Built], Built]:
    """A decorator that says how tables show a function or a class of one's own; its version does not depend on it."""

    def decorate(target: Built) -> Built:
        shown = {"title": title, "family": family, "citation": citation}
        for name, value in shown.items():
            if value:
                setattr(target, name, value)
        return target

    return decorate


def loaded(model: Mapping[str, Any]) -> ModelEntry | None:
    """The entry that this process has loaded under a resolved model's name and version, or None."""
    for entry in reversed(_ENTRIES.values()):
        if (entry.name, entry.version) == (model["name"], model["version"]):
            return entry
    return None


def load_copy(model: Mapping[str, Any], folder: Path) -> ModelEntry:
    """The entry of a resolved model from a copy of its sources, under the name that it had where it was written.

    Raises:
        UserError: the copy lacks its file, or is not the code of that version.
    """
    place, _, attribute = model["name"].rpartition(":")
    name = place if place.endswith(".py") else f"{place.replace('.', '/')}.py"
    wanted = {name, f"{name.removesuffix('.py')}/__init__.py"}
    found = [p for p in sorted(folder.rglob("*.py")) if any(p.as_posix().endswith(f"/{end}") for end in wanted)]
    if not found:
        raise UserError(f"{folder} has no {name}, in which {model['name']} was written.")
    with contextlib.chdir(folder):  # what lay beside its package is imported from where the copy lies
        entry = load_third_party(f"{min(found, key=lambda path: len(path.parts)).resolve()}:{attribute}")
    if entry.version != model["version"]:
        raise UserError(f"The sources in {folder} are not those of {model['name']}, version {model['version']}.")
    named = dataclasses.replace(entry, name=model["name"])
    _ENTRIES[f"{folder}:{attribute}", id(entry.build)] = named
    return named


def _loaded_before(name: str, place: str) -> ModelEntry:
    """A model by its file's name alone, where that is not the current folder but was loaded from another one."""
    by_place = {entry.place: entry for entry in _ENTRIES.values() if entry.name == name}
    if len(by_place) > 1:
        raise UserError(f"{name} was loaded from several files: name one of {', '.join(sorted(by_place))}.")
    if not by_place:
        raise UserError(f"Expected a file with a network, but {place} does not exist.")
    return next(iter(by_place.values()))


def _entry(name: str, place: str, module: ModuleType, sources: dict[str, bytes]) -> ModelEntry:
    location, _, attribute = place.rpartition(":")
    target = getattr(module, attribute, None)
    if not callable(target):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown(f"network in {location}", attribute, names)
    if (place, id(target)) not in _ENTRIES:
        entry = registered(target) or _described(name, attribute, target, version_of(sources, attribute))
        _ENTRIES[place, id(target)] = dataclasses.replace(entry, place=place, sources=sources)
    return _ENTRIES[place, id(target)]


def _described(name: str, attribute: str, target: Callable[..., Any], version: int) -> ModelEntry:
    """The entry of a builder that was not registered, from its arguments and attributes."""
    accepted, defaults = _arguments(name, target)

    def build(task: str, in_channels: int, num_classes: int, image_size: int, **config: Any) -> Any:
        shape = dict(zip(_CONTRACT, (task, in_channels, num_classes, image_size), strict=True))
        return target(**{key: shape[key] for key in accepted}, **config)

    family, tasks = getattr(target, "family", "other"), getattr(target, "tasks", _TASKS)
    if family not in get_args(Family):
        raise unknown(f"family of {name}", str(family), get_args(Family))
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    for task in tasks:
        if task not in _TASKS:
            raise unknown(f"task of {name}", str(task), _TASKS)
    return ModelEntry(
        name=name,
        build=build,
        title=str(getattr(target, "title", attribute)),
        family=cast(Family, family),
        citation=str(getattr(target, "citation", f"named by the user: {name}")),
        tasks=tasks,
        lists=(),
        version=version,
        note="a third party's",
        defaults=defaults,
    )


def _from_file(path: Path) -> tuple[ModuleType, dict[str, bytes]]:
    roots = roots_of(path)
    sources = own_sources(path, roots)
    key = (str(path), sources_hash(sources))
    if key not in _MODULES:
        try:
            _MODULES[key] = _run(lambda: import_file(path, roots, key[1]), str(path))
        except ModuleNotFoundError as error:
            line = re.sub(rf"{SPACE}[0-9a-f]+\.?", "", str(error))
            places = " or ".join(map(str, roots.folders))
            raise UserError(
                f"Importing {path} ended in {line}: install what it imports, or put it into {places}."
            ) from error
    return _MODULES[key], sources


def _from_package(name: str) -> tuple[ModuleType, dict[str, bytes]]:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = _run(lambda: importlib.import_module(name), name)
    except ModuleNotFoundError as error:
        raise UserError(f"Module {name!r} is not found ({error}). Install it, or run where it lies.") from error
    if name not in _SOURCES:
        path = Path(str(module.__file__)).resolve()
        _SOURCES[name] = own_sources(path, roots_of(path)) if path.is_file() else {}
    return module, _SOURCES[name]


def _run(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except ModuleNotFoundError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"Importing {what} ended in {line[:200]}.") from error


def _arguments(name: str, target: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """Which of the contract's arguments a builder takes, and the defaults of the others."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        raise UserError(
            f"Expected {name} to be a class or a function in Python, but its arguments cannot be read."
        ) from None
    named = {key: p.default for key, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    defaults = {key: default for key, default in named.items() if key not in _CONTRACT}
    for key, default in defaults.items():
        if default is inspect.Parameter.empty:
            raise UserError(
                f"Expected {name} to take {', '.join(_CONTRACT)} or some of them, and others with defaults, but "
                f"{key!r} has none."
            )
    return [key for key in named if key in _CONTRACT], defaults
