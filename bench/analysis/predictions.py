"""Label maps that any method made, scored against a folder of reference label maps: rows as in a record's cases.csv."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.readers.masks import Mask, list_masks, read_mask
from bench.datasets.readers.meanings import WHITE, check_palettes, class_table, even_levels
from bench.datasets.readers.metadata import read_table
from bench.datasets.readers.nifti import check_same_grid, is_nifti
from bench.datasets.readers.png_masks import Colours, listed
from bench.errors import UserError
from bench.metrics.cases import CONVENTIONS, kept_axes, score_case
from bench.records.filenames import file_name
from bench.records.store import CASE_COLUMNS, write_json, write_rows

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("pred", "versus")
WEIGHTS = "given"  # what stands in cases.csv for the weights, which nobody told


@dataclass(frozen=True, eq=False)
class Judged:
    """The scores of one method's predictions, or of two methods'.

    Attributes:
        rows: a row per method (`pred`, `versus`), seed (which of its folders), case and class, with the columns of
            cases.csv.
        folders: of each method, in order of the seeds.
        classes: the foreground ones.
        patients_known: whether cases were grouped to patients; else each case is its own.
        notes: what was counted or mapped, a line each.
        left_out: cases of the reference without a prediction, which nothing here counts (`missing="skip"`).
    """

    rows: pd.DataFrame
    folders: Mapping[str, tuple[Path, ...]]
    classes: tuple[str, ...]
    patients_known: bool
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Set:
    """A folder of label maps. `ids`: value -> the first file that has it. `colours`: of palettes of them, by file."""

    folder: Path
    files: Mapping[str, Path]
    ids: dict[int, Path]
    colours: dict[Path, Colours]


def score_predictions(
    pred: Sequence[Path],
    label: Path,
    versus: Sequence[Path] = (),
    classes: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    patient_regex: str | None = None,
    patients: Path | None = None,
    missing: str = "error",
    threads: int = 1,
    report: Callable[[int, int], object] = lambda done, total: None,
) -> Judged:
    """Scores folders of predictions, several as the seeds of one method; files pair by name without suffix.

    Args:
        pred, versus: folders of one method, and of a second one.
        label: the reference's folder.
        classes: names by label id, background first; None: the ids that the reference has.
        spacing: mm along (z, y, x) or (y, x), in place of the headers'; None: the label's header, none of a PNG.
        patient_regex: its first group, or all that it matches, in a case's name is the patient.
        patients: a CSV with the columns `case` and `patient`. With neither each case is its own patient.
        missing: `error`; `empty`: a prediction that is not there is all background; `skip`: a case that any folder
            lacks is left out of all.
        threads: over classes; no figure depends on it.
        report: called with cases done and all of them.

    Raises:
        UserError: files that are missing, too many, unreadable, or of another shape, affine or kind than the label's;
            labels that are no class ids.
    """
    folders = {name: tuple(given) for name, given in zip(METHODS, (pred, versus), strict=True) if given}
    everything = [label, *(folder for given in folders.values() for folder in given)]
    _check_distinct(everything)
    reference, *predicted = (_open(folder) for folder in everything)
    absent = [note for one in predicted for note in _check_names(one, reference, missing)]
    left_out = _left_out(reference, predicted) if missing == "skip" else ()
    reference, *predicted = (_without(one, left_out) for one in (reference, *predicted))
    owner = _owners(list(reference.files), patient_regex, patients)
    checked = _check_files(reference, predicted, spacing)
    palette = check_palettes(item for one in (reference, *predicted) for item in one.colours.items())
    maps = _to_ids((reference, *predicted), classes)
    names, kept = _classes(reference, predicted, maps, classes)
    rows: list[dict[str, Any]] = []
    methods = [(name, seed) for name, given in folders.items() for seed in range(len(given))]
    for done, (case, path) in enumerate(reference.files.items(), start=1):
        truth = read_mask(path, spacing)
        labels = maps[label][truth.labels]
        for (method, seed), one in zip(methods, predicted, strict=True):
            guess = np.zeros_like(labels)
            if case in one.files:
                guess = maps[one.folder][read_mask(one.files[case], spacing).labels]
            place = {"method": method, "seed": seed, "part": "test", "weights": WEIGHTS}
            place |= {"case": case, "patient": owner.get(case, case)}
            scores = score_case(guess, labels, names, _sizes(spacing, truth), threads)
            rows += [{**place, **row} for row in scores if row["class"] in kept]
        report(done, len(reference.files))
    import pandas as pd

    notes = (*_notes(reference, predicted, maps, spacing), *checked, *_palette_note(palette), *absent)
    return Judged(pd.DataFrame(rows), folders, kept, bool(owner), notes, left_out)


def check_output(output: Path) -> None:
    """Makes the folder of `write_scores`, before minutes are spent on what could not be kept.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: OSError) -> UserError:
    return UserError(f"Cannot write under {output}: {error.strerror}. Name another folder with --output.")


def write_scores(judged: Judged, output: Path) -> list[Path]:
    """Writes `cases.csv` (of several folders one each, below `<method>-<seed>`) and `conventions.json`.

    Raises:
        UserError: the folder cannot be written to.
    """
    groups = list(judged.rows.groupby(["method", "seed"], sort=False))
    columns = CASE_COLUMNS["segmentation"]
    written = []
    try:
        for (method, seed), rows in groups:
            folder = output / file_name(f"{method}-{seed}") if len(groups) > 1 else output
            folder.mkdir(parents=True, exist_ok=True)
            known = rows[list(columns)].astype(object)
            lines = known.where(known.notna(), None).to_numpy().tolist()
            write_rows(folder / "cases.csv", columns, [dict(zip(columns, line, strict=True)) for line in lines])
            written.append(folder / "cases.csv")
        facts = {
            "conventions": CONVENTIONS,
            "classes": list(judged.classes),
            "folders": {name: [str(folder) for folder in given] for name, given in judged.folders.items()},
            "patients": "given" if judged.patients_known else "each case is its own",
            "left_out": list(judged.left_out),
            "notes": list(judged.notes),
        }
        write_json(output / "conventions.json", facts)
    except OSError as error:
        raise _unwritable(output, error) from None
    return [*written, output / "conventions.json"]


def _check_distinct(folders: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"Expected folders that differ, but {folder} is given twice: it would count twice.")
        seen.add(folder.resolve())


def _open(folder: Path) -> _Set:
    return _Set(folder, list_masks(folder)[0], {}, {})


def _check_names(one: _Set, reference: _Set, missing: str) -> list[str]:
    """Raises UserError for cases that only one of the two folders has; what is forgiven is a note."""
    lacking = [name for name in reference.files if name not in one.files]
    extra = [name for name in one.files if name not in reference.files]
    if extra:
        raise UserError(
            f"Expected a label in {reference.folder} for each prediction, but {_some(extra)} of {one.folder} has none: "
            "files pair by name without suffix."
        )
    if lacking and missing == "error":
        raise UserError(
            f"Expected a prediction for each of the {len(reference.files)} labels, but {one.folder} has none of "
            f"{_some(lacking)}; --missing empty counts it as all background, --missing skip leaves the case out."
        )
    done = "counted as all background" if missing == "empty" else "left out of every figure"
    return [f"{one.folder} has no prediction of {_some(lacking)}: {done}."] if lacking else []


def _left_out(reference: _Set, predicted: Sequence[_Set]) -> tuple[str, ...]:
    """The cases that any folder of predictions lacks; raises UserError where none would be left."""
    lacking = tuple(name for name in reference.files if any(name not in one.files for one in predicted))
    if len(lacking) == len(reference.files):
        raise UserError(
            f"Expected predictions of a case in every folder, but no label of {reference.folder} has one in "
            f"{', '.join(str(one.folder) for one in predicted)}."
        )
    return lacking


def _without(one: _Set, left_out: Sequence[str]) -> _Set:
    return replace(one, files={name: path for name, path in one.files.items() if name not in left_out})


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _owners(cases: Sequence[str], regex: str | None, table: Path | None) -> dict[str, str]:
    """Case -> patient; empty where nothing tells."""
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
        match = re.search(regex, case)
    except re.error as error:
        raise UserError(
            f"Expected --patient-regex to be a regular expression, but {regex!r} is none: {error}."
        ) from None
    patient = match and (match[1] if match.re.groups else match[0])
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
        case, patient = unicodedata.normalize("NFC", row["case"]), row["patient"]
        if not patient or owners.setdefault(case, patient) != patient:
            raise UserError(f"Expected one patient for each case in {table}, but {case!r} has none, or two.")
    return owners


def _check_files(reference: _Set, predicted: Sequence[_Set], spacing: Sequence[float] | None) -> list[str]:
    """Reads all files once: geometry, and which values there are. Returns what has to be said of the headers."""
    kinds = {path.suffix.lower() == ".png" for one in (reference, *predicted) for path in one.files.values()}
    if len(kinds) > 1:
        raise UserError("Expected all label maps to be NIfTI, or all to be PNG, but there are both.")
    planes, doubts, faulty = 0, {}, []
    for case, path in reference.files.items():
        truth = read_mask(path, spacing)
        axes, kept = truth.labels.ndim, kept_axes(truth.labels.shape)
        planes += len(kept) < 3 and is_nifti(path)
        if spacing is not None and len(spacing) not in (axes, len(kept)):
            raise UserError(f"Expected --spacing to be {'z,y,x'[-2 * axes + 1 :]} for {path}, but got {len(spacing)}.")
        guesses = [(one, one.files[case]) for one in predicted if case in one.files]
        for one, file, mask in ((reference, path, truth), *((o, f, read_mask(f, spacing)) for o, f in guesses)):
            _check_geometry(file, mask, path, truth)
            _note_values(one, file, mask)
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


def _sizes(spacing: Sequence[float] | None, mask: Mask) -> Sequence[float] | None:
    """mm along the axes of a label map: those given, which may be those of a plane alone, else the header's."""
    kept = kept_axes(mask.labels.shape)
    if spacing is None or len(spacing) == mask.labels.ndim:
        return spacing or mask.spacing
    of_axis = dict(zip(kept, spacing, strict=True))
    return [of_axis.get(axis, 1.0) for axis in range(mask.labels.ndim)]


def _note_values(one: _Set, path: Path, mask: Mask) -> None:
    for label in np.flatnonzero(np.bincount(mask.labels.ravel(), minlength=1)):
        one.ids.setdefault(int(label), path)
    if mask.colours:
        one.colours[path] = mask.colours


def _check_geometry(path: Path, guess: Mask, of: Path, truth: Mask) -> None:
    if guess.labels.shape != truth.labels.shape:
        raise UserError(
            f"Expected {path} to have the shape of {of}, {truth.labels.shape}, but got {guess.labels.shape}."
        )
    check_same_grid(path, guess.grids, of, truth.grids, "prediction")


def _to_ids(sets: Sequence[_Set], classes: Sequence[str] | None) -> dict[Path, np.ndarray]:
    """Of each folder (256,) uint8, which class id each value is; an index of a palette of colours is one already."""
    count = None if classes is None else len(classes)
    levels = even_levels([one.ids for one in sets], count)
    ids = np.arange(256, dtype=np.uint8)
    return {one.folder: ids if one.colours else class_table(one.ids, count, levels) for one in sets}


def _classes(
    reference: _Set, predicted: Sequence[_Set], maps: Mapping[Path, np.ndarray], given: Sequence[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """All names by id, and those of the foreground that are scored."""
    found = {int(maps[reference.folder][value]) for value in reference.ids}
    if given is not None:
        if len(given) < 2 or len(given) > 256 or len(set(given)) < len(given) or not all(given):
            raise UserError("Expected --classes to be 2 to 256 names that differ, background first.")
        if {"mean", "all"} & set(given):
            raise UserError("Expected --classes other than mean and all, which stand for figures over classes.")
        _check_ids(reference, predicted, maps, set(range(len(given))), f"ids below {len(given)} (--classes)")
        return list(given), tuple(given[1:])
    if 255 in found:
        raise UserError(
            f"Expected class ids in {reference.ids[255]}, but 255 stands beside {sorted(found - {255})[:5]}: write ids "
            "1, 2, ..., make what is not annotated background, or name the classes of evenly spaced greys by --classes."
        )
    if not found - {0}:
        raise UserError(f"Expected structures in {reference.folder}, but all labels are background; or give --classes.")
    _check_ids(reference, predicted, maps, found | {0}, "ids that the reference has, or else all of --classes")
    names = ["background", *(f"label {k}" for k in range(1, max(found) + 1))]
    return names, tuple(names[k] for k in sorted(found - {0}))


def _check_ids(
    reference: _Set, predicted: Sequence[_Set], maps: Mapping[Path, np.ndarray], known: set[int], what: str
) -> None:
    for one in (reference, *predicted):
        for value, path in sorted(one.ids.items()):
            if int(maps[one.folder][value]) not in known:
                hint = ": 0 and 255 alone are two classes, with others beside them nothing tells which" * (
                    value == WHITE
                )
                raise UserError(f"Expected {what} in {one.folder}, but {path.name} has {value}{hint}.")


def _notes(
    reference: _Set,
    predicted: Sequence[_Set],
    maps: Mapping[Path, np.ndarray],
    spacing: Sequence[float] | None,
) -> list[str]:
    notes = []
    for one in (reference, *predicted):
        table = maps[one.folder]
        told = [f"{value} is {table[value]}" for value in sorted(one.ids) if table[value] != value]
        if told == [f"{WHITE} is 1"]:
            notes.append(f"{one.folder} holds 0 and {WHITE} alone: {WHITE} is read as class 1.")
        elif told:
            notes.append(f"{one.folder} holds evenly spaced greys, read as classes: {', '.join(told)}.")
    notes += [
        f"{one.folder} has a folder of each case, with its label map."
        for one in (reference, *predicted)
        if len({path.parent for path in one.files.values()} - {one.folder}) > 1
    ]
    if spacing is not None:
        notes.append(f"mm by --spacing {', '.join(f'{s:g}' for s in spacing)}, whatever headers say.")
    return notes


def _palette_note(palette: Colours) -> list[str]:
    return [f"PNGs with a palette of colours are read by its index: {listed(palette)}."] if palette else []
