"""From a user's description to an ordinary data set: with the same cache, splits, audit and tables as the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from bench.datasets.base import BY_PATIENT, GIVEN, DatasetSpec, RawCase, RawImage, Task
from bench.datasets.own.description import SUFFIX, Description, moved, read_description, written
from bench.datasets.own.items import Item
from bench.datasets.own.mask_files import check_palette_files
from bench.datasets.own.reading import read_own_image, read_own_volume
from bench.datasets.own.recognising import recognise
from bench.datasets.splits.by_patient import NOTES

FILES_OF_ALL = (".npz", ".csv", ".tsv")  # a source that is one such file: the data set's folder is the file's


def own_spec(root: Path, name: str) -> DatasetSpec:
    """The data set that is described under a root. Raises UserError for a damaged description."""
    return spec_of(moved(read_description(root / f"{name}{SUFFIX}", name), root))


def spec_of(description: Description) -> DatasetSpec:
    """The data set of a description whose classes, channels and layout are known."""
    parts = (GIVEN, BY_PATIENT) if description.split or description.has_parts else (BY_PATIENT,)
    return DatasetSpec(
        name=description.name,
        task=cast(Task, description.task),
        channels=description.channels or 1,
        classes=description.classes,
        list_cases=partial(_list_cases, description),
        title=description.title,
        citation=description.citation or "not given",
        licence=description.licence or "not given",
        homepage=description.homepage or "not given",
        how_to_get=(
            f"It was added from {description.source}",
            f"Then: medbench data prepare {description.name} --from DIR",
        ),
        splits=parts,
        default_split={description.layout: parts[0]},
        find_layout=partial(_find_layout, description),
        split_notes={part: NOTES[part] for part in parts},
        reading=partial(_reading, description),
        modality=description.modality,
        note="; ".join(filter(None, (description.modality and f"modality {description.modality}", description.note))),
    )


def _reading(description: Description) -> str:
    """The description but for what is only told of the data set, its tables by their content."""
    told: dict[str, Any] = dict.fromkeys(("title", "modality", "citation", "licence", "homepage", "note"), "")
    tables: dict[str, Any] = {
        key: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for key in ("patients", "split")
        if (path := getattr(description, key))
    }
    return written(replace(description, **told, **tables, source=Path(description.source).name))


def folder_of(source: Path) -> Path:
    """The folder of a source that is one file which holds or names everything (.npz, .csv); else the source itself."""
    return source.parent if source.suffix.lower() in FILES_OF_ALL and source.is_file() else source


def place_of(folder: Path, description: Description) -> Path:
    """The folder itself, or the one file in it that holds or names everything."""
    name = Path(description.source).name
    return folder / name if name.lower().endswith(FILES_OF_ALL) and (folder / name).is_file() else folder


def _find_layout(description: Description, folder: Path) -> str:
    """The description's layout, where the folder has it; raises UserError where not."""
    recognise(place_of(folder, description), description)
    return description.layout


def _list_cases(
    description: Description, folder: Path, layout: str
) -> Sequence[Callable[[], RawCase]] | Sequence[Callable[[], RawImage]]:
    found = recognise(place_of(folder, description), description)
    items = sorted(found.items, key=_in_order)
    if found.task == "classification":
        return [partial(read_own_image, item, description.channels or 1) for item in items]
    check_palette_files(items)
    rest = (description.channels or 1, description.classes, description.values or {})
    return [partial(read_own_volume, item, *rest) for item in items]


def _in_order(item: Item) -> tuple[int, str, int]:
    """By class, and by name; images of an archive by their number."""
    return (item.label or 0, item.row[0] if item.row else item.case, item.row[1] if item.row else 0)
