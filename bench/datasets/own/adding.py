"""Adding a user's own data: understand it, say what was understood, prepare it, write its description beside it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.datasets.base import PARTS, Prepared
from bench.datasets.cache.archives import opened
from bench.datasets.cache.prepared import prepare
from bench.datasets.cache.writing import Report
from bench.datasets.own.axes import check_axes
from bench.datasets.own.description import (
    SUFFIX,
    Description,
    check_name,
    check_stands,
    check_values,
    moved,
    read_description,
    written,
)
from bench.datasets.own.items import Found, Item
from bench.datasets.own.mask_values import resolved
from bench.datasets.own.reading import seen_channels
from bench.datasets.own.recognising import recognise
from bench.datasets.own.specs import FILES_OF_ALL, folder_of, spec_of
from bench.datasets.splits.by_patient import CARVED
from bench.errors import UserError, printable

FEWEST_OF_CLASS = 3  # one to train, one to validate and one to test on


@dataclass(frozen=True)
class Addition:
    """What the user says of the data; everything but where they are is optional.

    Attributes:
        name: of the data set; empty: the name in the TOML file `spec`.
        source: the folder, .zip, .npz or .csv; empty: the one in `spec`.
        classes: names by commas, in order; NAME=VALUE names a folder, a level or a colour of label maps.
        spec: a description to begin with; the other fields replace its own.
        dry_run: only say what was understood.
        replace: replace what was prepared under this name from other content.
    """

    name: str = ""
    source: Path | None = None
    task: str | None = None
    title: str | None = None
    patients: Path | None = None
    patient_pattern: str | None = None
    split: Path | None = None
    classes: str | None = None
    modality: str | None = None
    allow_leak: bool = False
    spec: Path | None = None
    dry_run: bool = False
    replace: bool = False


@dataclass(frozen=True)
class Understood:
    """A description with all that was recognised, and the cases as they were found."""

    description: Description
    found: Found


def understand(addition: Addition, root: Path, published: Sequence[str]) -> Understood:
    """What the data are, by the user's words and by their structure; reads label maps, and no other pixels but a few.

    Args:
        root: where archives are unpacked. published: names of data sets that packages bring.

    Raises:
        UserError: a name that cannot be had, data that are not understood, or that cannot be trained and tested on.
    """
    description = _described(addition)
    check_name(description.name, list(published))
    with _opened(Path(description.source), root) as place:
        found = recognise(place, description)
        classes, values = description.classes or found.classes, dict(description.values or {})
        notes, holding = found.notes, found.holding
        if found.task == "segmentation":
            check_stands(values)
            turned = check_axes(found.items)
            classes, values, holding, seen = resolved(found.items, classes, values)
            notes = (*notes, *seen, *turned)
        channels = description.channels or seen_channels(found.items)
    found = replace(found, classes=classes, notes=notes, holding=holding)
    _check(found, description)
    description = replace(
        description,
        task=found.task,
        layout=found.layout,
        classes=classes,
        values=values or None,
        channels=channels,
        has_parts=any(item.part for item in found.items) and not description.split,
    )
    lacking = [part for part in PARTS if all(item.part != part for item in found.items)]
    origin = "the table" if description.split else "the files' own division"
    if description.split and set(lacking) - {"val"}:
        raise UserError(
            f"Expected train, val and test in {description.split}, but it has no {' and no '.join(lacking)}."
        )
    if (description.has_parts or description.split) and lacking == ["val"]:
        found = replace(found, notes=(*found.notes, f"nothing validates in {origin}: {CARVED} does"))
    elif description.has_parts and lacking:
        note = f"the files' own division has no {' and no '.join(lacking)}: it is not used, --split gives another"
        found, description = replace(found, notes=(*found.notes, note)), replace(description, has_parts=False)
    return Understood(check_values(description, f"what was understood of {description.source}"), found)


def add(understood: Understood, root: Path, replace_old: bool, report: Report | None = None) -> Prepared:
    """Prepares what was understood, and writes its description and its tables beside the cache.

    Raises:
        UserError: as `cache.prepared.prepare`.
    """
    description = understood.description
    source = folder_of(Path(description.source))
    try:
        prepared = prepare(spec_of(description), source, root, replace=replace_old, report=report)
        tables = {key: getattr(description, key) for key in ("patients", "split") if getattr(description, key)}
        for key, path in tables.items():
            kept = root / f"{description.name}.{key}{Path(path).suffix}"
            if kept.resolve() != Path(path).resolve():
                _write_beside(kept, Path(path).read_bytes())
            tables[key] = kept.name
        text = written(replace(description, **tables))
        _write_beside(root / f"{description.name}{SUFFIX}", text.encode())
    except OSError as error:
        raise UserError(f"Cannot write the description under {root}: {error}.") from error
    return prepared


def _write_beside(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it into place: on a full disk the one that is there stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _described(addition: Addition) -> Description:
    """The user's words as a description, paths absolute."""
    if addition.spec is None and (not addition.name or addition.source is None):
        raise UserError("Expected a name and --from DIR, or --spec FILE.toml: `medbench data add NAME --from DIR`.")
    if addition.spec is not None:
        description = moved(read_description(addition.spec, addition.name), addition.spec.absolute().parent)
    else:
        description = Description(addition.name, "", "")
    said = {key: getattr(addition, key) for key in ("task", "title", "patient_pattern", "modality")}
    paths = {key: getattr(addition, key) for key in ("source", "patients", "split")}
    said |= {key: str(path.absolute()) for key, path in paths.items() if path}
    said = {key: value for key, value in said.items() if value}
    if addition.patients and description.patient_pattern:
        said["patient_pattern"] = ""
    if addition.patient_pattern and description.patients:
        said["patients"] = ""
    if addition.classes:
        said["classes"], said["values"] = _classes(addition.classes)
    description = replace(description, **said, allow_leak=addition.allow_leak or description.allow_leak)
    for path in (description.source, description.patients, description.split):
        if printable(path) != path:
            raise UserError(f"Expected names of printable UTF-8, but found {path}: rename it.")
    if description.patients and description.patient_pattern:
        raise UserError("Expected the patients by a table or by a pattern, but got both.")
    return check_values(description, "the command")


def _classes(text: str) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """`benign,malignant` or `background=0,lesion=#ff0000` -> names, and what stands for each."""
    pairs = [item.partition("=") for item in (part.strip() for part in text.split(",")) if item]
    names = tuple(name.strip() for name, _, _ in pairs)
    values = {name.strip(): stands.strip() for name, equals, stands in pairs if equals}
    if values and len(values) < len(names):
        raise UserError(f"Expected NAME=VALUE for every class or for none in --classes, but got {text!r}.")
    return names, values or None


@contextmanager
def _opened(source: Path, root: Path) -> Iterator[Path]:
    """The folder that a source is or unpacks to, or the .npz or .csv itself."""
    if source.suffix.lower() in FILES_OF_ALL and source.is_file():
        yield source
        return
    try:
        with opened(source, root) as folder:
            yield folder
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(source)
        raise UserError(f"Cannot read {name}: {error.strerror or error}.") from error


# -- what cannot be trained and tested on --------------------------------------------------------------------


def _check(found: Found, description: Description) -> None:
    if found.task == "classification":
        _check_classes(found)
    _check_parts(found.items, description)


def _check_classes(found: Found) -> None:
    counts = Counter(item.label for item in found.items)
    if len(found.classes) < 2:
        only = found.classes[0] if found.classes else "none"
        raise UserError(f"Expected two classes or more, but there is only {only}: nothing is to be told apart.")
    few = [name for label, name in enumerate(found.classes) if counts[label] < FEWEST_OF_CLASS]
    if few:
        label = found.classes.index(few[0])
        kept = [name for name in found.classes if name not in few]
        way_out = f", or leave the class out with --classes {','.join(kept)}" if len(kept) > 1 else ""
        raise UserError(
            f"Expected {FEWEST_OF_CLASS} images or more of each class, one for each part, but {few[0]} has "
            f"{counts[label]}: add images{way_out}."
        )


def _check_parts(items: Sequence[Item], description: Description) -> None:
    """Refuses a division that tests on patients that were trained on, unless the user allows it."""
    parts: dict[str, set[str]] = {}
    for item in items:
        if item.patient and item.part:
            parts.setdefault(item.patient, set()).add(item.part)
    if description.allow_leak and not any(item.part for item in items):
        raise UserError("Expected --allow-leak with --split, or data divided into parts: nothing else leaks.")
    leaking = [patient for patient, of_patient in parts.items() if len(of_patient) > 1]
    if leaking and not description.allow_leak:
        first, parts_of_first = leaking[0], [part for part in PARTS if part in parts[leaking[0]]]
        raise UserError(
            f"Expected each patient in one part, but {len(leaking)} of {len(parts)} stand in several, such as "
            f"{first!r} in {' and '.join(parts_of_first)}: mend the division, or pass --allow-leak, "
            "which flags every result."
        )
