"""Folders of label maps that a method made: files paired with the reference's by name, checked, and whose they are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.datasets.own.description import patient_of
from bench.datasets.own.pairing import without_mask_word
from bench.datasets.readers.masks import Mask, list_masks, read_mask
from bench.datasets.readers.metadata import read_table, said
from bench.datasets.readers.nifti import check_same_grid, is_nifti
from bench.datasets.readers.png_masks import Colours
from bench.errors import UserError
from bench.metrics.cases import kept_axes


@dataclass(frozen=True, eq=False)
class LabelFolder:
    """A folder of label maps.

    Attributes:
        files: case -> its file.
        values: a value -> the first file that holds it, as far as files were read.
        colours: of palettes of them, by file.
        bare: whether words such as `_mask` were taken from the cases' names.
    """

    path: Path
    files: Mapping[str, Path]
    values: dict[int, Path]
    colours: dict[Path, Colours]
    bare: bool = False


def open_folders(folders: Sequence[Path]) -> list[LabelFolder]:
    """The folders with their files, the reference's first, by the names that they pair by.

    Raises:
        UserError: a folder that is given twice, or without label maps.
    """
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"Expected folders that differ, but {folder} is given twice: it would count twice.")
        seen.add(folder.resolve())
    return _paired([LabelFolder(folder, list_masks(folder)[0], {}, {}) for folder in folders])


def _paired(opened: list[LabelFolder]) -> list[LabelFolder]:
    """The folders by names without `_mask` or `_seg` where not their whole names, but these, pair all predictions."""
    if all(name in opened[0].files for folder in opened[1:] for name in folder.files):
        return opened
    bare = [
        replace(folder, files=dict(sorted((without_mask_word(name), path) for name, path in folder.files.items())))
        for folder in opened
    ]
    unique = all(len(new.files) == len(old.files) for new, old in zip(bare, opened, strict=True))
    if not unique or any(name not in bare[0].files for folder in bare[1:] for name in folder.files):
        return opened
    return [replace(folder, bare=True) for folder in bare]


def pair_names(predicted: LabelFolder, reference: LabelFolder, missing: str) -> list[str]:
    """Notes on how the files of a folder of predictions pair with the labels, and on the cases that it lacks.

    Raises:
        UserError: a case that only one of the two folders has, where `missing` does not forgive it.
    """
    lacking = [name for name in reference.files if name not in predicted.files]
    extra = [name for name in predicted.files if name not in reference.files]
    if extra:
        raise UserError(
            f"Expected a label in {reference.path} for each prediction, but {_some(extra)} of {predicted.path} has "
            "none: files pair by name without suffix, or that without _mask, _seg, _label or _gt."
        )
    if lacking and missing == "error":
        raise UserError(
            f"Expected a prediction for each of the {len(reference.files)} labels, but {predicted.path} has none of "
            f"{_some(lacking)}; --missing empty counts it as all background, --missing skip leaves the case out."
        )
    counted = "counted as all background" if missing == "empty" else "left out of every figure"
    notes = [f"{predicted.path} has no prediction of {_some(lacking)}: {counted}."] if lacking else []
    return [*_bare_names(predicted, reference), *notes]


def _bare_names(predicted: LabelFolder, reference: LabelFolder) -> list[str]:
    pairs = ((path.name, reference.files[case].name) for case, path in predicted.files.items() if predicted.bare)
    example = next((f"{ours} with {theirs}" for ours, theirs in pairs if ours != theirs), None)
    where = f"{predicted.path} pairs with {reference.path}"
    return [f"{where} by names without _mask, _seg, _label or _gt: {example}."] if example else []


def cases_left_out(reference: LabelFolder, predicted: Sequence[LabelFolder]) -> tuple[str, ...]:
    """The cases that any folder of predictions lacks. Raises UserError where none would be left."""
    lacking = tuple(name for name in reference.files if any(name not in folder.files for folder in predicted))
    if len(lacking) == len(reference.files):
        raise UserError(
            f"Expected predictions of a case in every folder, but no label of {reference.path} has one in "
            f"{', '.join(str(folder.path) for folder in predicted)}."
        )
    return lacking


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_files(reference: LabelFolder, predicted: Sequence[LabelFolder], spacing: Sequence[float] | None) -> list[str]:
    """Reads all files once: their geometry, and which values they hold. Returns what has to be said of the headers.

    Raises:
        UserError: files of two kinds, or of another shape or grid than the label's.
    """
    kinds = {path.suffix.lower() == ".png" for folder in (reference, *predicted) for path in folder.files.values()}
    if len(kinds) > 1:
        raise UserError("Expected all label maps to be NIfTI, or all to be PNG, but there are both.")
    planes, doubts, faulty = 0, {}, []
    for case, path in reference.files.items():
        truth = read_mask(path, spacing)
        axes, kept = truth.labels.ndim, kept_axes(truth.labels.shape)
        planes += len(kept) < 3 and is_nifti(path)
        if spacing is not None and len(spacing) not in (axes, len(kept)):
            raise UserError(f"Expected --spacing to be {'z,y,x'[-2 * axes + 1 :]} for {path}, but got {len(spacing)}.")
        for folder in (reference, *predicted):
            if case not in folder.files:
                continue
            file = folder.files[case]
            mask = truth if folder is reference else read_mask(file, spacing)
            _check_geometry(file, mask, path, truth)
            _note_values(folder, file, mask)
            if mask.doubt:
                doubts[file] = mask.doubt
            if is_nifti(file) and not mask.grids:
                faulty.append(file)
    return [
        *([f"{planes} of {len(reference.files)} volumes are a single slice: scored as planes."] if planes else []),
        *_header_notes(doubts if spacing is None else {}, faulty),
    ]


def _header_notes(doubts: Mapping[Path, str], faulty: Sequence[Path]) -> list[str]:
    notes = []
    if doubts:
        path, doubt = next(iter(doubts.items()))
        notes.append(
            f"{len(doubts)} headers contradict themselves (first {path}: {doubt}): mm by the label's voxel size; "
            "--spacing replaces it."
        )
    if faulty:
        notes.append(
            f"{len(faulty)} headers give no position (first {faulty[0]}): their voxels are taken to lie as the label's."
        )
    return notes


def voxel_sizes(spacing: Sequence[float] | None, mask: Mask) -> Sequence[float] | None:
    """mm along the axes of a label map: those given, which may be those of a plane alone, else the header's."""
    kept = kept_axes(mask.labels.shape)
    if spacing is None or len(spacing) == mask.labels.ndim:
        return spacing or mask.spacing
    of_axis = dict(zip(kept, spacing, strict=True))
    return [of_axis.get(axis, 1.0) for axis in range(mask.labels.ndim)]


def _note_values(folder: LabelFolder, path: Path, mask: Mask) -> None:
    for value in np.flatnonzero(np.bincount(mask.labels.ravel(), minlength=1)):
        folder.values.setdefault(int(value), path)
    if mask.colours:
        folder.colours[path] = mask.colours


def _check_geometry(path: Path, guess: Mask, of: Path, truth: Mask) -> None:
    if guess.labels.shape != truth.labels.shape:
        raise UserError(
            f"Expected {path} to have the shape of {of}, {truth.labels.shape}, but got {guess.labels.shape}."
        )
    check_same_grid(path, guess.grids, of, truth.grids, "prediction")


def patients_of(cases: Sequence[str], regex: str | None, table: Path | None) -> dict[str, str]:
    """Case -> patient; empty where nothing tells.

    Raises:
        UserError: both ways are given, a regular expression that is none, or a case without a patient, or with two.
    """
    if regex is not None and table is not None:
        raise UserError("Expected --patient-regex or --patients, not both.")
    if regex is not None:
        return {case: _matched(regex, case) for case in cases}
    if table is None:
        return {}
    owners = _read_owners(table)
    lacking = [case for case in cases if case not in owners]
    if lacking:
        raise UserError(f"Expected a row in {table} for each case, but there is none of {_some(lacking)}.")
    return owners


def _matched(regex: str, case: str) -> str:
    try:
        patient = patient_of(re.compile(regex), case)
    except re.error as error:
        raise UserError(
            f"Expected --patient-regex to be a regular expression, but {regex!r} is none: {error}."
        ) from None
    if not patient:
        raise UserError(
            f"Expected --patient-regex {regex!r} to find a patient in each case's name, not so in {case!r}."
        )
    return patient


def _read_owners(table: Path) -> dict[str, str]:
    if not table.exists():
        raise UserError(f"Cannot read {table}: there is no such file.")
    owners: dict[str, str] = {}
    for row in read_table(table, ("case", "patient")):
        case, patient = unicodedata.normalize("NFC", row["case"]), said(row["patient"])
        if not patient or owners.setdefault(case, patient) != patient:
            raise UserError(f"Expected one patient for each case in {table}, but {case!r} has none, or two.")
    return owners
