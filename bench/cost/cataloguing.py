"""Writes the catalogue: facts of every registered network, and its costs at the inputs that commands ask for.

    python -m bench.cost.cataloguing [--all]

What was counted before is kept where neither the network's files nor the rules of counting changed; `--all` counts
everything anew. Tests say when it has to be written again.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from bench.cost.published import check_shape, count_three
from bench.models.slots import SLOTS, filling_note, filling_summary
from bench.records.environment import installed_version
from bench.records.store import write_text
from bench.runs.protocol import PRESETS
from bench.zoo import catalogue as stored
from bench.zoo.complexity import complexity
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import (
    canonical_name,
    dataset_names,
    dataset_spec,
    imported_entry,
    model_entry,
    model_names,
    parse_model,
)

LISTED = "mednext_tiny"  # whose fillings' costs `medbench ablate list` shows
DEFAULT = "quick"  # under which preset, where none is named
LIBRARIES = {"monai": "monai", "timm": "timm", "segmentation_models_pytorch": "segmentation-models-pytorch"}
LIBRARIES |= {"torchvision": "torchvision"}
Shape = tuple[str, int, int, int]  # task, channels, classes, image size


def make_catalogue(anew: bool = False, report: Callable[[str], None] = print) -> dict[str, Any]:
    """The catalogue of the code as it is now.

    Args:
        anew: counts also what is stored and unchanged.
    """
    ours = (p for p in entry_points(group="medbench.models") if p.module.partition(".")[0] in ("bench", "baselines"))
    entries = {point.name: imported_entry(point.name) for point in ours}
    modules = {name: entry.build.__module__ for name, entry in entries.items()}
    sources = {module: _source(module) for module in sorted({*modules.values()})}
    sources |= {rule: _rule(*files) for rule, files in RULES.items()}
    costs, checks = {}, {}
    for name, shape in asked_costs():
        entry, config = parse_model(name)
        key = stored.shape_key(canonical_name(entry, config), *shape)
        unchanged = None if anew else stored.known_cost(entry, key)
        costs[key] = unchanged or _counted(entry, config, shape, report)
    for entry, task in asked_checks():
        channels, size, classes = check_shape(entry)
        key = stored.shape_key(entry.name, task, channels, classes, size)
        unchanged = None if anew else stored.known_check(entry, key)
        checks[key] = unchanged or _checked(entry, task, report)
    return {
        "sources": sources,
        "entries": {name: {"module": modules[name], **facts(entry)} for name, entry in sorted(entries.items())},
        "filling modules": sorted(point.value for point in entry_points(group="medbench.fillings")),
        "fillings": {slot: _fillings(slot) for slot in SLOTS},
        "costs": costs,
        "checks": checks,
    }


RULES = {
    stored.ENTRY: ("bench/zoo/entry.py",),
    stored.COUNTING: ("bench/zoo/complexity.py", "bench/zoo/operators.py"),
    stored.COUNTERS: ("bench/cost/counters.py",),
}


def facts(entry: ModelEntry) -> dict[str, Any]:
    """What the catalogue says of a network, as JSON-ready values."""
    apart = ("name", "build", "published", "pretrained", "place", "sources")
    plain = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name not in apart}
    published = asdict(entry.published) if entry.published else None
    return {**plain, "published": published, "pretrained": entry.pretrained is not None}


def asked_costs() -> Iterator[tuple[str, Shape]]:
    """Each model and input that a preset's list has on a data set, once; under the default preset each filling too."""
    seen: set[tuple[str, Shape]] = set()
    for label, preset in PRESETS.items():
        for spec in map(dataset_spec, dataset_names()):
            shape = (spec.task, spec.channels, len(spec.classes), preset.of(spec.task).image_size)
            entries = [entry for entry in map(model_entry, model_names()) if spec.task in entry.tasks]
            names = [entry.name for entry in entries if preset.models in entry.lists]
            for name in (*names, *(_one_slot_changed() if label == DEFAULT else ())):
                if (name, shape) not in seen:
                    seen.add((name, shape))
                    yield name, shape


def asked_checks() -> Iterator[tuple[ModelEntry, str]]:
    """Each network that `medbench models --check` has a row of, and the tasks that it may be asked for."""
    for entry in map(model_entry, model_names()):
        if entry.family != "chance":
            yield from ((entry, task) for task in entry.tasks)


def _one_slot_changed() -> Iterator[str]:
    defaults = model_entry(LISTED).defaults
    for slot in SLOTS:
        yield from (f"{LISTED}[{slot}={name}]" for name in _fillings(slot) if name != defaults[slot])


def _fillings(slot: str) -> dict[str, dict[str, str]]:
    """Name -> summary and note of a slot's fillings, all modules imported."""
    from bench.models import slots

    for module in stored.PROPOSED, *(point.value for point in entry_points(group="medbench.fillings")):
        __import__(module)
    names = ("none", *sorted(slots._FILLINGS[slot]))
    return {name: {"summary": filling_summary(slot, name), "note": filling_note(slot, name)} for name in names}


def _counted(entry: ModelEntry, config: dict[str, Any], shape: Shape, report: Callable[[str], None]) -> dict[str, Any]:
    task, channels, classes, size = shape
    report(f"counting {canonical_name(entry, config)}, {task}, {channels}x{size}x{size}, {classes} classes")
    network = entry.build(task, channels, classes, size, **config)
    return complexity(network, (1, channels, size, size)).stored()


def _checked(entry: ModelEntry, task: str, report: Callable[[str], None]) -> dict[str, Any]:
    report(f"counting {entry.name}, {task}, by three counters")
    return asdict(count_three(entry, task, *check_shape(entry)))


def _rule(*files: str) -> dict[str, Any]:
    return {"files": list(files), "libraries": {}, "sha256": stored.content_hash(files)}


def _source(module: str) -> dict[str, Any]:
    """A module's file, those of our networks' that it imports, and the versions of the libraries that it builds on.

    The proposed model's are those of all fillings too.
    """
    waiting, imports_of, libraries = [module], {}, set()
    if module == stored.PROPOSED:
        waiting += [point.value for point in entry_points(group="medbench.fillings")]
    while waiting:
        file = f"{waiting.pop().replace('.', '/')}.py"
        if file in imports_of or not (stored.ROOT / file).is_file():
            continue
        imports_of[file] = names = _imports(stored.ROOT / file)
        waiting += [name for name in names if name.startswith(("baselines.", "bench.models.", "ablations."))]
        libraries |= {LIBRARIES[top] for top in (name.partition(".")[0] for name in names) if top in LIBRARIES}
    versions = {name: installed_version(name) for name in sorted(libraries)}
    return _rule(*sorted(imports_of)) | {"libraries": versions}


def _imports(path: Path) -> set[str]:
    """Every module that a file names in an import, anywhere in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


def as_text(catalogue: dict[str, Any]) -> str:
    """The catalogue's file: a line for each entry, so that a change shows as one."""
    parts = []
    for name, value in catalogue.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
            parts.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    write_text(stored.PATH, as_text(make_catalogue("--all" in sys.argv[1:])))
