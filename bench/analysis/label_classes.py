"""What the values in folders of label maps mean: class ids, evenly spaced greys, or the indices of a palette."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.analysis.label_folders import LabelFolder
from bench.datasets.readers.meanings import WHITE, class_table, even_levels
from bench.datasets.readers.png_masks import Colours, listed
from bench.errors import UserError


def class_ids(folders: Sequence[LabelFolder], classes: Sequence[str] | None) -> dict[Path, np.ndarray]:
    """Of each folder (256,) uint8, which class id each value is; an index of a palette of colours is one already."""
    count = None if classes is None else len(classes)
    levels = even_levels([folder.values for folder in folders], count)
    ids = np.arange(256, dtype=np.uint8)
    return {folder.path: ids if folder.colours else class_table(folder.values, count, levels) for folder in folders}


def class_names(
    reference: LabelFolder,
    predicted: Sequence[LabelFolder],
    ids: Mapping[Path, np.ndarray],
    classes: Sequence[str] | None,
) -> tuple[list[str], tuple[str, ...]]:
    """All names by id, and those of the foreground that are scored.

    Args:
        ids: as `class_ids` gives them. classes: names by id, or None: the ids that the reference has.

    Raises:
        UserError: names that are none, or values that are no class ids.
    """
    in_reference = {int(ids[reference.path][value]) for value in reference.values}
    if classes is not None:
        if len(classes) < 2 or len(classes) > 256 or len(set(classes)) < len(classes) or not all(classes):
            raise UserError("Expected --classes to be 2 to 256 names that differ, background first.")
        if {"mean", "all"} & set(classes):
            raise UserError("Expected --classes other than mean and all, which stand for figures over classes.")
        _check_ids(reference, predicted, ids, set(range(len(classes))), f"ids below {len(classes)} (--classes)")
        return list(classes), tuple(classes[1:])
    if 255 in in_reference:
        raise UserError(
            f"Expected class ids in {reference.values[255]}, but 255 stands beside {sorted(in_reference - {255})[:5]}: "
            "write ids 1, 2, ..., make what is not annotated background, or name the classes of evenly spaced greys by "
            "--classes."
        )
    if not in_reference - {0}:
        raise UserError(f"Expected structures in {reference.path}, but all labels are background; or give --classes.")
    _check_ids(reference, predicted, ids, in_reference | {0}, "ids that the reference has, or else all of --classes")
    names = ["background", *(f"label {k}" for k in range(1, max(in_reference) + 1))]
    return names, tuple(names[k] for k in sorted(in_reference - {0}))


def _check_ids(
    reference: LabelFolder, predicted: Sequence[LabelFolder], ids: Mapping[Path, np.ndarray], known: set[int], what: str
) -> None:
    for folder in (reference, *predicted):
        for value, path in sorted(folder.values.items()):
            if int(ids[folder.path][value]) not in known:
                hint = ": 0 and 255 alone are two classes, with others beside them nothing tells which" * (
                    value == WHITE
                )
                raise UserError(f"Expected {what} in {folder.path}, but {path.name} has {value}{hint}.")


def value_notes(
    reference: LabelFolder,
    predicted: Sequence[LabelFolder],
    ids: Mapping[Path, np.ndarray],
    spacing: Sequence[float] | None,
    palette: Colours,
) -> list[str]:
    """How values were read, where they are no ids, and which spacing holds, a line each."""
    notes = []
    for folder in (reference, *predicted):
        table = ids[folder.path]
        mapped = [f"{value} is {table[value]}" for value in sorted(folder.values) if table[value] != value]
        if mapped == [f"{WHITE} is 1"]:
            notes.append(f"{folder.path} holds 0 and {WHITE} alone: {WHITE} is read as class 1.")
        elif mapped:
            notes.append(f"{folder.path} holds evenly spaced greys, read as classes: {', '.join(mapped)}.")
    notes += [
        f"{folder.path} has a folder of each case, with its label map."
        for folder in (reference, *predicted)
        if len({path.parent for path in folder.files.values()} - {folder.path}) > 1
    ]
    if spacing is not None:
        notes.append(f"mm by --spacing {', '.join(f'{s:g}' for s in spacing)}, whatever headers say.")
    if palette:
        notes.append(f"PNGs with a palette of colours are read by its index: {listed(palette)}.")
    return notes
