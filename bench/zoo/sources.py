"""What a third party's network is made of: its own file and every file of its own that this one imports, however deep.

Imports are read off the source, those inside functions too, so that the answer does not depend on what a process has
imported before. A file's own are those below the folder that its package lies in (of an installed package: that package
alone) and, where it lies below the current folder, what is imported from there. A file that imports by a computed name
counts all Python files beside it; files that are no Python are not looked at.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SHOWN = {"title", "family", "citation"}  # attributes that tables show, and training does not know
DECORATOR = "titled"  # `bench.titled`, which sets them
OURS = {"bench", "baselines", "ablations"}


@dataclass(frozen=True)
class Roots:
    """Where a file's own imports are looked for.

    Attributes:
        folders: in order; the first is the one that the file's package lies in, or the file itself.
        only: the one top-level name that counts, in a folder of installed packages; None: all that lie there.
    """

    folders: tuple[Path, ...]
    only: str | None = None

    def home(self, name: str) -> Path | None:
        """The folder that has a top-level module or package of this name, or None where it is not the network's own."""
        if name in sys.stdlib_module_names or name in OURS or (self.only is not None and name != self.only):
            return None
        for folder in self.folders:
            if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
                return folder
        bare = next((folder for folder in self.folders if any((folder / name).glob("*.py"))), None)  # no __init__.py
        return None if bare is None or importlib.util.find_spec(name) is not None else bare


def roots_of(path: Path) -> Roots:
    """The roots of a file, its path resolved."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    if {"site-packages", "dist-packages"} & set(folder.parts):
        return Roots((folder,), path.relative_to(folder).parts[0].removesuffix(".py"))
    here = Path.cwd().resolve()
    return Roots((folder, here) if here in folder.parents else (folder,))


def own_sources(path: Path, roots: Roots) -> dict[str, bytes]:
    """Content of a file and of all files of its own that it imports, by their path below the folder that all share."""
    contents: dict[Path, bytes] = {}
    waiting = [path, *_packages(path, roots.folders[0])]
    while waiting:
        file = waiting.pop()
        if file not in contents and file.is_file():
            contents[file] = file.read_bytes()
            waiting += _imported(contents[file], file, roots)
    top = Path(os.path.commonpath([str(roots.folders[0]), *(str(file.parent) for file in contents)]))
    return {file.relative_to(top).as_posix(): contents[file] for file in sorted(contents)}


def sources_hash(sources: Mapping[str, bytes]) -> str:
    """sha256 of sources as they stand, path -> content."""
    parts = (name.encode(errors="replace") + b"\0" + content for name, content in sorted(sources.items()))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def version_of(sources: dict[str, bytes], attribute: str) -> int:
    """28 bits of a hash of sources; comments, docstrings, layout and what only tables show are no part of it.

    Args:
        attribute: the network's class or function, whose title, family and citation are left out.
    """
    text = "\0".join(f"{name}\0{_essence(content, attribute)}" for name, content in sorted(sources.items()))
    return int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:7], 16)


@lru_cache(maxsize=4096)
def _essence(content: bytes, attribute: str) -> str:
    """A file's code without comments, docstrings and titles; one that does not parse counts as it stands."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return content.decode("latin-1")
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            in_class = isinstance(node, ast.ClassDef) and node.name == attribute
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
                node.decorator_list = [d for d in node.decorator_list if not _is_title(d)]
            node.body = [s for s in body if not _is_shown_only(s, attribute, in_class)]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_title(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and _called(decorator.func) == DECORATOR


def _is_shown_only(statement: ast.stmt, attribute: str, in_class: bool) -> bool:
    """Whether a statement, maybe in the network's class, is a bare text or sets title, family or citation to one."""
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "bench" and [alias.name for alias in statement.names] == [DECORATOR]
    value = getattr(statement, "value", None)
    if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
        return False
    if isinstance(statement, ast.Expr):
        return True
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    shown = {f"{attribute}.{name}" for name in SHOWN} | (SHOWN if in_class else set())
    return all(isinstance(target, ast.Name | ast.Attribute) and ast.unparse(target) in shown for target in targets)


def _packages(path: Path, top: Path) -> list[Path]:
    """The `__init__.py` of the packages that a file lies in, which are run before it."""
    between = path.relative_to(top).parents if top in path.parents else []
    return [top / folder / "__init__.py" for folder in between if folder != Path()]


def _imported(content: bytes, file: Path, roots: Roots) -> Iterator[Path]:
    """The files of a network's own that a source imports, with the `__init__.py` of the packages on the way."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(alias.name.split("."), roots)
        elif isinstance(node, ast.ImportFrom):
            stem = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _named(node.level, [*stem, alias.name], file, roots)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            yield from _by_text(node, file, roots)
        elif isinstance(node, ast.Call) and _called(node.func) in ("iter_modules", "walk_packages"):
            yield from _beside(file)


def _called(function: ast.expr) -> str | None:
    return getattr(function, "attr", getattr(function, "id", None))


def _by_text(call: ast.Call, file: Path, roots: Roots) -> Iterator[Path]:
    name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if not isinstance(name, str):
        yield from _beside(file)
        return
    bare = name.lstrip(".")
    yield from _named(len(name) - len(bare), bare.split("."), file, roots)


def _beside(file: Path) -> Iterator[Path]:
    """All Python files in a file's package, or in its folder where it is in no package."""
    return file.parent.rglob("*.py") if (file.parent / "__init__.py").is_file() else file.parent.glob("*.py")


def _named(level: int, names: Sequence[str], file: Path, roots: Roots) -> Iterator[Path]:
    if level == 0:
        yield from _absolute(names, roots)
    elif level <= len(file.parents):
        yield from _descend(file.parents[level - 1], names)


def _absolute(names: Sequence[str], roots: Roots) -> Iterator[Path]:
    folder = roots.home(names[0])
    if folder is not None:
        yield from _descend(folder, names)


def _descend(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files that importing `a.b.c` from a folder runs, as far as there are any."""
    for name in names:
        package, module = folder / name, folder / f"{name}.py"
        if (package / "__init__.py").is_file():
            yield package / "__init__.py"
        elif module.is_file():
            yield module
            return
        folder = package
