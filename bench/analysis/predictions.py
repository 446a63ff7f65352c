"""Label maps that any method made, scored against a folder of reference label maps: rows as in a record's cases.csv."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.analysis.label_classes import class_ids, class_names, value_notes
from bench.analysis.label_folders import (
    cases_left_out,
    check_files,
    open_folders,
    pair_names,
    patients_of,
    voxel_sizes,
)
from bench.datasets.readers.masks import read_mask
from bench.datasets.readers.meanings import check_palettes
from bench.errors import UserError
from bench.metrics.cases import CONVENTIONS, score_case
from bench.records.damage import read_json
from bench.records.filenames import file_name
from bench.records.spreadsheets import guarded
from bench.records.store import CASE_COLUMNS, write_json, write_rows

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("pred", "versus")
FACTS = "conventions.json"
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


@dataclass(frozen=True)
class Predictions:
    """Folders of label maps, and how they are scored.

    Attributes:
        pred, versus: folders of one method, and of a second one; several are the seeds of a method.
        label: the reference's folder.
        classes: names by label id, background first; None: the ids that the reference has.
        spacing: mm along (z, y, x) or (y, x), in place of the headers'; None: the label's header, none of a PNG.
        patient_regex: its first group that took part, or all that it matches, in a case's name is the patient.
        patients: a CSV with the columns `case` and `patient`. With neither each case is its own patient.
        missing: `error`; `empty`: a prediction that is not there is all background; `skip`: a case that any folder
            lacks is left out of all.
        threads: over classes; no figure depends on it.
    """

    pred: Sequence[Path]
    label: Path
    versus: Sequence[Path] = ()
    classes: Sequence[str] | None = None
    spacing: Sequence[float] | None = None
    patient_regex: str | None = None
    patients: Path | None = None
    missing: str = "error"
    threads: int = 1

    @property
    def folders(self) -> dict[str, tuple[Path, ...]]:
        """Method -> its folders, in order of the seeds."""
        of_method = zip(METHODS, (self.pred, self.versus), strict=True)
        return {method: tuple(folders) for method, folders in of_method if folders}


def score_predictions(request: Predictions, report: Callable[[int, int], object] = lambda done, total: None) -> Judged:
    """Scores folders of predictions; files pair by name without suffix, else without the words of masks too.

    Args:
        report: called with cases done and all of them.

    Raises:
        UserError: files that are missing, too many, unreadable, or of another shape, affine or kind than the label's;
            labels that are no class ids.
    """
    import pandas as pd

    methods = [(method, seed, path) for method, paths in request.folders.items() for seed, path in enumerate(paths)]
    reference, *predicted = open_folders([request.label, *(path for *_, path in methods)])
    absent = [note for folder in predicted for note in pair_names(folder, reference, request.missing)]
    left_out = cases_left_out(reference, predicted) if request.missing == "skip" else ()
    reference, *predicted = (
        replace(folder, files={case: path for case, path in folder.files.items() if case not in left_out})
        for folder in (reference, *predicted)
    )
    patients = patients_of(list(reference.files), request.patient_regex, request.patients)
    header_notes = check_files(reference, predicted, request.spacing)
    palette = check_palettes(item for folder in (reference, *predicted) for item in folder.colours.items())
    ids = class_ids((reference, *predicted), request.classes)
    names, foreground = class_names(reference, predicted, ids, request.classes)
    rows: list[dict[str, Any]] = []
    for done, (case, path) in enumerate(reference.files.items(), start=1):
        truth = read_mask(path, request.spacing)
        labels = ids[request.label][truth.labels]
        for (method, seed, _), folder in zip(methods, predicted, strict=True):
            guess = np.zeros_like(labels)
            if case in folder.files:
                guess = ids[folder.path][read_mask(folder.files[case], request.spacing).labels]
            row = {"method": method, "seed": seed, "part": "test", "weights": WEIGHTS}
            row |= {"case": case, "patient": patients.get(case, case)}
            scores = score_case(guess, labels, names, voxel_sizes(request.spacing, truth), request.threads)
            rows += [{**row, **of_class} for of_class in scores if of_class["class"] in foreground]
        report(done, len(reference.files))
    notes = (*value_notes(reference, predicted, ids, request.spacing, palette), *header_notes, *absent)
    return Judged(pd.DataFrame(rows), request.folders, foreground, bool(patients), notes, left_out)


def check_output(output: Path, scored: Mapping[str, Any]) -> None:
    """Makes the folder of `write_scores`, before minutes are spent on what could not be kept.

    Args:
        scored: what is scored, as plain values, which `conventions.json` keeps. Scores of the same are written anew.

    Raises:
        UserError: it cannot be written to, or holds scores of something else.
    """
    facts = output / FACTS
    if facts.is_file():
        known = read_json(facts)
        same = isinstance(known, dict) and all(known.get(name) == value for name, value in scored.items())
    else:
        same = not any(output.glob("cases.csv")) and not any(output.glob("*/cases.csv"))
    if not same:
        raise UserError(f"{output} holds scores of something else (see {FACTS}): name another folder with --output.")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise _unwritable(output, error) from None


def scored_folders(folders: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Method -> its folders, as `check_output` and `conventions.json` have them."""
    return {"folders": {method: [str(folder) for folder in of_method] for method, of_method in folders.items()}}


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
            known = known.map(lambda value: guarded(value) if isinstance(value, str) else value)
            lines = known.where(known.notna(), None).to_numpy().tolist()
            write_rows(folder / "cases.csv", columns, [dict(zip(columns, line, strict=True)) for line in lines])
            written.append(folder / "cases.csv")
        facts = {
            "conventions": CONVENTIONS,
            "classes": list(judged.classes),
            **scored_folders(judged.folders),
            "patients": "given" if judged.patients_known else "each case is its own",
            "left_out": list(judged.left_out),
            "notes": list(judged.notes),
        }
        write_json(output / FACTS, facts)
    except OSError as error:
        raise _unwritable(output, error) from None
    return [*written, output / FACTS]
