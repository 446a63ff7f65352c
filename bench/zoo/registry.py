"""Models and datasets by name: lazy `module:attr` targets from entry points, wildcards, did-you-mean.

Names are known without importing anything; a target is imported when it is first used.
"""

from __future__ import annotations

import ast
import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from bench.errors import UserError, unknown
from bench.zoo.catalogue import known_entry
from bench.zoo.entry import MODELS, Family, ModelEntry
from bench.zoo.libraries import is_of_library, library_entry
from bench.zoo.third_party import load_third_party, loaded, without_network

if TYPE_CHECKING:
    from torch import nn

    from bench.datasets.base import DatasetSpec

_SPACE = re.compile(r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|\s""")  # outside of quotes, or a quoted text


@cache
def _targets(group: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=group)}


def model_names() -> list[str]:
    """All names that `build_model` takes, in alphabetical order; imports nothing."""
    return sorted({*_targets("medbench.models"), *MODELS})


def dataset_names() -> list[str]:
    """The names of all datasets that packages bring, in alphabetical order; imports nothing."""
    return sorted(_targets("medbench.datasets"))


def model_entry(name: str) -> ModelEntry:
    """The entry of a plain name (`unet_s`), of a place (`my_pkg.nets:MyNet`, `net.py:MyNet`) or `timm:convnext_pico`.

    A plain name's module is imported only where the catalogue does not know it, and when the network is built.

    Raises:
        UserError: an unknown name, or a place where no network is.
    """
    if is_of_library(name):
        return library_entry(name)
    if ":" in name:
        return load_third_party(name)
    if name.endswith(".py"):
        raise without_network(name)
    if name not in MODELS:
        if name not in _targets("medbench.models"):
            raise _unknown_model(name)
        known = known_entry(name, _targets("medbench.models")[name].module, partial(imported_entry, name))
        return known or imported_entry(name)
    return MODELS[name]


def _unknown_model(name: str) -> UserError:
    """The error for a name that no network has; those that tables call so, or nearly so, are near too."""
    titles = {}
    for known in reversed(model_names()):
        with suppress(Exception):  # of another package that cannot be imported: its name stands in the list
            titles[model_entry(known).title] = known
    return unknown("model", name, model_names(), titles)


def imported_entry(name: str) -> ModelEntry:
    """The entry of an entry point's network, by its module. Raises UserError where that registers none."""
    if name not in MODELS:
        point = _targets("medbench.models")[name]
        point.load()
        if name not in MODELS:
            raise UserError(f"Entry point {name!r} names {point.value!r}, which registers no model of that name.")
    return MODELS[name]


def own_names(data_root: str | Path | None = None) -> list[str]:
    """The names of the datasets that `medbench data add` described under a data root, in alphabetical order."""
    from bench.datasets.cache.prepared import resolve_root
    from bench.datasets.own.description import described

    return [name for name in described(resolve_root(data_root, must_exist=False)[0]) if name not in dataset_names()]


def dataset_spec(name: str, data_root: str | Path | None = None) -> DatasetSpec:
    """The description of a dataset: a package's, or one of the user's own, which lies under the data root.

    Args:
        data_root: as `bench.datasets.cache.prepared.resolve_root` takes it.

    Raises:
        UserError: an unknown name, or a damaged description.
    """
    from bench.datasets.base import DatasetSpec

    if name not in _targets("medbench.datasets"):
        from bench.datasets.cache.prepared import resolve_root
        from bench.datasets.own.specs import own_spec

        if name not in own_names(data_root):
            stem = name.removesuffix("-phantom")
            if stem != name and stem in dataset_names():
                raise UserError(
                    f"{name} is what results call drawn images of {stem}, and no dataset of its own: give --dataset "
                    f"{stem} --data phantom."
                )
            line = unknown("dataset", name, [*dataset_names(), *own_names(data_root)])
            if "Did you mean" in str(line):
                raise line
            named = name if _can_be_added(name) else "NAME"
            raise UserError(f"{line} Your own becomes one by `medbench data add {named} --from DIR`.")
        return own_spec(resolve_root(data_root, must_exist=False)[0], name)
    spec = _targets("medbench.datasets")[name].load()
    if not isinstance(spec, DatasetSpec):
        raise UserError(f"Expected entry point {name!r} to name a DatasetSpec, but it names a {type(spec).__name__}.")
    return spec


def _can_be_added(name: str) -> bool:
    """Whether `medbench data add` takes a name."""
    from bench.datasets.own.description import check_name

    try:
        check_name(name, dataset_names())
    except UserError:
        return False
    return True


def resolved_entry(model: Mapping[str, Any], place: str = "") -> ModelEntry:
    """The entry of a model that was resolved before (`name`, `config`, `version`), maybe in another process.

    Args:
        place: the place of its entry, for a third party's model.

    Raises:
        UserError: a third party's code is no longer what it was.
    """
    entry = loaded(model) or model_entry(place or model["name"])
    if place and entry.version != model["version"]:
        raise UserError(
            f"The code of {model['name']} changed while running (version {entry.version}, expected "
            f"{model['version']}). Give the same command again for the new code."
        )
    return entry


def parse_model(text: str) -> tuple[ModelEntry, dict[str, Any]]:
    """`mednext_tiny[sem=none]` -> its entry and its fully resolved config.

    Raises:
        UserError: unknown model or config field, a text that is not of the form `name[field=value,...]`, or a default
            that a record cannot hold.
    """
    start = text.find("[", text.rfind(".py:") + 1)  # a file's folder may have brackets in its name
    name, rest = (text, "") if start < 0 else (text[:start], text[start + 1 :])
    if start >= 0 and not rest.endswith("]"):
        raise UserError(f"Expected a model as name[field=value,...], but got {text!r}: the closing ] is missing.")
    entry = model_entry(name)
    config = with_values(entry, entry.defaults, split_outside_brackets(rest[:-1]))
    for key, value in config.items():
        if not _is_plain(value):
            raise UserError(
                f"Expected the defaults of {entry.name} to be numbers, texts, True, False, None, or lists of them "
                f"(what a record can hold), but {key} is {repr(value)[:80]}: take a name and look it up inside."
            )
        if _value(value_text(value, entry.defaults[key]), entry.defaults[key], f"{key} of {entry.name}") != value:
            raise UserError(f"Expected {key} of {entry.name} as a name can hold it, but got {value!r}.")
    return entry, config


def with_values(entry: ModelEntry, config: Mapping[str, Any], items: Sequence[str]) -> dict[str, Any]:
    """A config with `field=value` of each item in place of what it has.

    Raises:
        UserError: an item of another form, an unknown field, or a value of another type than the field's default.
    """
    changed = dict(config)
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"Expected field=value for {entry.name}, but got {item!r}.")
        if key not in changed:
            raise unknown(f"config field of {entry.name}", key, changed)
        changed[key] = _value(value, entry.defaults[key], f"{key} of {entry.name}")
    return changed


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value, and always writes it in the same way."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def canonical_name(entry: ModelEntry, config: dict[str, Any]) -> str:
    """The one name of a resolved config: only what differs from the defaults stands in the brackets."""
    differing = [f"{k}={value_text(v, entry.defaults[k])}" for k, v in sorted(config.items()) if v != entry.defaults[k]]
    return f"{entry.name}[{','.join(differing)}]" if differing else entry.name


def placed_name(entry: ModelEntry, config: dict[str, Any]) -> str:
    """The canonical name with the model's place in it: what `parse_model` takes in any process."""
    return (entry.place or entry.name) + canonical_name(entry, config).removeprefix(entry.name)


def select_models(text: str | Sequence[str], preset_list: str, task: str) -> list[str]:
    """`all`, `zoo`, families, names, globs, bracketed names and places -> canonical names, each once.

    `all` is the preset's list (`cpu` or `paper`), a family (`cnn`) the members of that list that are of the family,
    `zoo` every network; each of them only as far as it does the task. `-name` or `-glob` leaves models out, of `all`
    where nothing else is named. Names of files' models begin with the file's place (`placed_name`).

    Raises:
        UserError: a name or glob that nothing matches or that was not chosen, or a model that does not do the task.
    """
    chosen: list[str] = []
    items = listed_names(text)
    dropped = [item[1:] for item in items if item.startswith("-")]
    wanted = [item for item in items if not item.startswith("-")]
    for item in wanted or (["all"] if dropped else []):
        if item in ("all", "zoo", *get_args(Family)):
            entries = [entry for entry in map(model_entry, model_names()) if task in entry.tasks]
            if item != "zoo":
                entries = [entry for entry in entries if preset_list in entry.lists and item in ("all", entry.family)]
            chosen += [entry.name for entry in entries]
        elif "[" not in item and any(c in item for c in "*?"):
            matches = fnmatch.filter(model_names(), item)
            if not matches:
                raise _unknown_model(item)
            chosen += [name for name in matches if task in model_entry(name).tasks]
        else:
            entry, config = parse_model(item)
            if task not in entry.tasks:
                raise UserError(f"Model {entry.name!r} does {', '.join(entry.tasks)}, but the dataset needs {task}.")
            chosen.append(placed_name(entry, config))
    for pattern in dropped:
        kept = [name for name in chosen if not _is_meant(name, pattern)]
        if len(kept) == len(chosen):
            raise unknown("model to leave out", pattern, chosen)
        chosen = kept
    if not chosen:
        raise UserError(f"Expected at least one model, but {text!r} selects none for {task}.")
    unique: dict[tuple[str, int], str] = {}
    for name in chosen:
        unique.setdefault(_identity(name), name)
    return list(unique.values())


def _identity(name: str) -> tuple[str, int]:
    """Canonical name and version, by which names are one model: a copy of its file in another folder is no other."""
    entry, config = parse_model(name)
    return canonical_name(entry, config), entry.version


def _is_meant(name: str, pattern: str) -> bool:
    """Whether a chosen name equals a pattern or matches it; the name of a file's model also in its canonical form."""
    plain = canonical_name(*parse_model(name)) if ":" in name else name
    return pattern in (name, plain) or fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(plain, pattern)


def build_model(name: str, task: str, in_channels: int, num_classes: int, image_size: int, **config: Any) -> nn.Module:
    """Builds a model by name: input (N, C, H, W) float32, output logits (N, K) or (N, K, H, W).

    Raises:
        UserError: unknown name or config field, or a task the model does not do.
    """
    entry, resolved = parse_model(name)
    for key, value in config.items():
        if key not in resolved:
            raise unknown(f"config field of {entry.name}", key, resolved)
        resolved[key] = value
    if task not in entry.tasks:
        raise UserError(f"Model {entry.name!r} does {', '.join(entry.tasks)}, but got task {task!r}.")
    return entry.build(task, in_channels, num_classes, image_size, **resolved)


def listed_names(names: str | Sequence[str]) -> list[str]:
    """Names in a text, by commas that are outside of brackets, or in a list, where each is one."""
    return split_outside_brackets(names) if isinstance(names, str) else list(names)


def split_outside_brackets(text: str) -> list[str]:
    """Splits at commas that are outside all brackets; empty parts are dropped."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text + ","):
        depth += (c in "[({") - (c in "])}")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [part for part in parts if part] if depth == 0 else [text]


def _value(text: str, default: Any, where: str) -> Any:
    """Reads a config value, which must have the type of its default; tuples may be written (1,2) or 1-2, flags true."""
    if isinstance(default, str):
        return text
    if default is None or isinstance(default, bool):
        text = text.capitalize() if text in ("true", "false", "none") else text
    if isinstance(default, tuple) and "(" not in text:
        text = f"({text.replace('-', ',')},)"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise UserError(f"Expected {where} to be a {type(default).__name__} such as {default!r}, but got {text!r}.")
    return value


def value_text(value: Any, default: Any) -> str:
    """A config's value as `_value` reads it back: 1-2 where that can be told from negative numbers, else (1,2)."""
    if isinstance(value, tuple) and isinstance(default, tuple) and value and all(map(_is_short, value)):
        return "-".join(map(str, value))
    return _SPACE.sub(lambda found: found["text"] or "", repr(value)) if isinstance(value, tuple | list) else str(value)


def _is_short(item: Any) -> bool:
    """Whether an item of a tuple can stand between hyphens: numbers without a sign, True, False and None."""
    return (item is None or type(item) in (bool, int, float)) and "-" not in str(item)
