"""Models that a user names by where they are: `my_pkg.nets:MyNet`, `path/to/net.py:MyNet`.

Naming one runs its code, as importing any package does; nothing is ever picked up that was not named.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args

from bench.errors import UserError, unknown
from bench.zoo.registry import Family, ModelEntry, registered

_CONTRACT = ("task", "in_channels", "num_classes", "image_size")


def is_third_party(name: str) -> bool:
    """Whether a model's name says where it is."""
    return ":" in name


def load_third_party(name: str) -> ModelEntry:
    """The entry of `module:attribute` or `file.py:attribute`: a function or a class that builds a network.

    It is called with those of task, in_channels, num_classes and image_size that it takes, by name; its other arguments
    are its config and have defaults. Attributes `title`, `family`, `citation` and `tasks` are shown in tables. Its
    version is a hash of the file that defines it, so that an edited network is another cell.

    Raises:
        UserError: no such module, file or attribute, an error while it is imported, or an argument without a default.
    """
    place, _, attribute = name.partition(":")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    target = getattr(module, attribute, None)
    if not callable(target):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown(f"network in {place}", attribute, names)
    entry = registered(target)
    if entry is not None:
        return entry
    accepted, defaults = _arguments(name, target)

    def build(task: str, in_channels: int, num_classes: int, image_size: int, **config: Any) -> Any:
        given = dict(zip(_CONTRACT, (task, in_channels, num_classes, image_size), strict=True))
        return target(**{key: given[key] for key in accepted}, **config)

    family = getattr(target, "family", "other")
    if family not in get_args(Family):
        raise unknown(f"family of {name}", str(family), get_args(Family))
    return ModelEntry(
        name=name,
        build=build,
        title=str(getattr(target, "title", attribute)),
        family=cast(Family, family),
        citation=str(getattr(target, "citation", f"named by the user: {name}")),
        tasks=tuple(getattr(target, "tasks", ("segmentation", "classification"))),
        lists=(),
        version=_version(target, module),
        note="a third party's",
        defaults=defaults,
    )


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"Expected a file with a network, but {path} does not exist.")
    spec = importlib.util.spec_from_file_location(f"medbench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        _run(lambda: spec.loader.exec_module(module), str(path))  # type: ignore[union-attr]
    except ModuleNotFoundError as error:
        raise UserError(f"Importing {path} ended in {error}: install what it imports.") from error
    return module


def _from_package(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return _run(lambda: importlib.import_module(name), name)
    except ModuleNotFoundError as error:
        raise UserError(f"Module {name!r} is not found ({error}). Install it, or run where it lies.") from error


def _run(call: Callable[[], Any], what: str) -> Any:
    try:
        return call()
    except ModuleNotFoundError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"Importing {what} ended in {line[:200]}.") from error


def _arguments(name: str, target: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """Which of the contract's arguments a builder takes, and the defaults of the others."""
    accepted, defaults = [], {}
    for key, parameter in inspect.signature(target).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if key in _CONTRACT:
            accepted.append(key)
        elif parameter.default is parameter.empty:
            raise UserError(
                f"Expected {name} to take {', '.join(_CONTRACT)} or some of them, and others with defaults, but "
                f"{key!r} has none."
            )
        else:
            defaults[key] = parameter.default
    return accepted, defaults


def _version(target: Callable[..., Any], module: ModuleType) -> int:
    """28 bits of a hash of the source file."""
    try:
        content = Path(inspect.getfile(target)).read_bytes()
    except (TypeError, OSError):
        content = Path(str(module.__file__)).read_bytes()
    return int(hashlib.sha256(content).hexdigest()[:7], 16)
