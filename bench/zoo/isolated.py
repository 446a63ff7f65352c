"""Imports a network's file so that what lies beside it can be imported, and two files' `blocks` stay two modules.

A file and its own modules (`bench.zoo.sources`) live below a package of their own in `sys.modules`. Their import
statements, those inside functions too, look there first: each such module has its own `__import__` among its builtins.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from bench.zoo.sources import Roots

SPACE = "medbench_files_"
_ROOTS: dict[str, Roots] = {}


def import_file(path: Path, roots: Roots, content: str) -> ModuleType:
    """The module of a file, imported under a name that only this file with this content has.

    Args:
        content: a hash of it and of what it imports.

    Whatever the file raises is raised; nothing of it is left in `sys.modules` then.
    """
    digest = hashlib.sha256(f"{path}\0{content}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
    space = f"{SPACE}{digest}"
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    package = ModuleType(space)
    package.__path__ = [str(folder) for folder in roots.folders]
    sys.modules[space], _ROOTS[space] = package, roots
    try:
        return _execute(path, space, roots)
    except BaseException:
        for name in [name for name in sys.modules if name.partition(".")[0] == space]:
            del sys.modules[name]
        raise


def _execute(path: Path, space: str, roots: Roots) -> ModuleType:
    folders = path.parent.relative_to(roots.folders[0]).parts
    parent = ".".join((space, *folders))
    if folders:
        importlib.import_module(parent)
    if path.name == "__init__.py":
        return sys.modules[parent]
    name = f"{parent}.{path.stem.replace('.', '_')}"
    if name in sys.modules:  # its package has imported it
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules below our packages, as Python does, and gives them our loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _ROOTS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Runs a source as it stands on disk now, with our `__import__`."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Compiles the source, never takes stored bytecode: an edit within the same second does not make that stale."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        space = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": partial(_import, space)}
        super().exec_module(module)


def _import(
    space: str,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """`__import__` for a file and its own modules: a name that is their own is looked for below the file's package."""
    top = name.partition(".")[0]
    if level or _ROOTS[space].home(top) is None:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    module = builtins.__import__(f"{space}.{name}", globals, locals, fromlist or (), 0)
    return module if fromlist else sys.modules[f"{space}.{top}"]
