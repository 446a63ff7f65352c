"""Large COVID-19 CT scan slice: chest CT slices of seven published collections, normal, COVID-19 or CAP.

`curated_data/{1NonCOVID,2COVID,3CAP}/*.png` and `meta_data_{normal,covid,cap}.csv`, which name each slice's patient.
All of CAP is of one collection and three quarters of normal of another, so that the source predicts the class; most of
the literature splits the slices at random, which puts nearly every test slice's patient into training as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.base import DatasetSpec, RawImage, Row, Split
from bench.datasets.phantoms import chest
from bench.datasets.readers.folders import class_places, find_table, image_files, read_image_case, single_place
from bench.datasets.readers.metadata import read_table
from bench.datasets.splits.dealing import by_part, deal, group_sizes, random_split
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

CLASSES = ("normal", "COVID", "CAP")
_LAYOUT = "curated"
_LOOK = "curated_data/{1NonCOVID,2COVID,3CAP}/*.png with meta_data_{normal,covid,cap}.csv"
_FOLDERS = {"1noncovid": 0, "noncovid": 0, "2covid": 1, "covid": 1, "3cap": 2, "cap": 2}
_TABLES = ("meta_data_normal.csv", "meta_data_covid.csv", "meta_data_cap.csv")
_COLUMNS = ("File name", "Patient ID")
_KEPT = ("Institution", "Country", "Gender", "Age", "KVP", "Slice Thickness", "Rows", "Columns")
_COLLECTION = re.compile(r"(?:[0-9]+_)?(?P<name>[A-Za-z]+)")
# One collection names its slices by class. The table has one centre for the first three, and their country for CAP.
_NAMED_BY_CLASS = dict.fromkeys(("P", "N", "normal", "cap", "cp"), "COVID-CT-MD")
_PUBLISHED = (6893, 7593, 2618)
_SPLITS = {
    "patient": (
        "ours: by patient as the metadata name them, dealt about 60/15/25 % of each class's slices by a constant seed; "
        "slices without a patient are left out"
    ),
    "random-80-20": (
        "ours: 80/20 % of each class's slices at random by a constant seed, as in most of the literature, whose lists "
        "are not published; validation is a fixed tenth of train"
    ),
}
_LEAK = "slices of one patient stand in training and test"


def find_layout(folder: Path) -> str:
    """`curated`, where the folder, or one inside it, has the folders of the classes.

    Raises:
        UserError: no folder, no class folder in it, or several sets of them.
    """
    _class_folders(folder, len(CLASSES))
    return _LAYOUT


def list_cases(folder: Path, layout: str, classes: int = len(CLASSES)) -> list[Callable[[], RawImage]]:
    """The slices, class by class in order of their names.

    One without a row in the metadata is its own patient, and named with its class (`CAP/img1`): only the published
    names are unique.

    Args:
        classes: 2 leaves CAP out.

    Raises:
        UserError: an empty class, a file that is no image, a name twice, or a row that contradicts a folder.
    """
    rows = {row.case: row for row in list_rows(folder, layout)}
    files: dict[str, Path] = {}
    cases: list[Callable[[], RawImage]] = []
    for label, place in sorted(_class_folders(folder, classes).items()):
        for path in image_files(place, CLASSES[label]):
            row = rows.get(path.stem)
            case = path.stem if row else f"{CLASSES[label]}/{path.stem}"
            if case in files:
                raise UserError(f"Expected each slice once, but both {files[case]} and {path} exist.")
            if row and row.label != label:
                raise UserError(f"The metadata have {path.name} as {CLASSES[row.label]}, but it lies in {path.parent}.")
            files[case] = path
            facts = {**_collection(path.stem), **(row.facts if row else {}), "row": "yes" if row else "no"}
            patient_id = row.patient if row else case
            cases.append(partial(read_image_case, path, 1, Row(case, patient_id, label, facts)))
    return cases


def list_rows(folder: Path, layout: str, classes: int = len(CLASSES)) -> list[Row]:
    """The published metadata, slice by slice, of whatever of its three tables is there; [] without any.

    A slice without a patient's id is its own patient.

    Raises:
        UserError: an unreadable table, one without the columns `File name` and `Patient ID`, or a name twice.
    """
    rows: dict[str, Row] = {}
    for label, name in enumerate(_TABLES[:classes]):
        table = find_table(folder, name)
        for line in read_table(table, _COLUMNS) if table else ():
            case = Path(line["File name"].strip()).stem
            if case in rows:
                raise UserError(f"Expected each slice once in the metadata, but {table} has {case} a second time.")
            facts = {key.lower(): line[key].strip() for key in _KEPT if line.get(key) is not None}
            rows[case] = Row(case, line["Patient ID"].strip() or case, label, {**_collection(case), **facts})
    return list(rows.values())


def _class_folders(folder: Path, classes: int) -> dict[int, Path]:
    """Label -> folder of that class; CAP may be missing where two classes are asked for."""
    places = class_places(folder, _FOLDERS)
    return single_place(folder, places, CLASSES[:classes], "Large COVID-19 CT files", _LOOK)


def _collection(case: str) -> dict[str, str | int]:
    """The collection a slice comes from, as its name begins: `16_Morozov_study_0002_17` -> Morozov, `cap006_10` ->
    COVID-CT-MD, whose slices' names would tell the class."""
    match = _COLLECTION.match(case)
    return {"collection": _NAMED_BY_CLASS.get(match["name"], match["name"]) if match else "none"}


# -- splits --------------------------------------------------------------------------------------------------


def patient(prepared: Prepared) -> Split:
    """By patient; a slice whose patient is unknown belongs to no part.

    Raises:
        UserError: the metadata were not there.
    """
    sizes = group_sizes([case for case in prepared.cases if case.patient != case.case], lambda case: case.patient)
    if not sizes:
        raise UserError(
            f"Split 'patient' of {prepared.spec.name} needs the metadata: put meta_data_*.csv beside the folders and "
            "prepare again, or choose another split."
        )
    parts = deal(sizes, "large-covid-ct patient 1")
    return Split("patient", _SPLITS["patient"], by_part(list(sizes), parts.__getitem__))


def random_80_20(prepared: Prepared) -> Split:
    """80/20 % of the slices at random, whoever's they are."""
    seed = "large-covid-ct random-80-20 1"
    return random_split(prepared.cases, "random-80-20", _SPLITS["random-80-20"], _LEAK, seed)


SPEC = DatasetSpec(
    name="large-covid-ct",
    title="Large COVID-19 CT",
    task="classification",
    channels=1,
    classes=CLASSES,
    has_published_classes=True,
    citation=(
        "M. Maftouni, A. C. C. Law, B. Shen, Z. J. Kong Grado, Y. Zhou, N. A. Yazdi. A Robust Ensemble-Deep Learning "
        "Model for COVID-19 Diagnosis based on an Integrated CT Scan Images Database. IISE Annual Conference, 2021."
    ),
    licence="not stated for the whole; those of its seven sources differ",
    homepage="https://www.kaggle.com/datasets/maedemaftouni/large-covid19-ct-slice-dataset",
    how_to_get=(
        "Sign in at https://www.kaggle.com and download maedemaftouni/large-covid19-ct-slice-dataset",
        "Keep the .zip or unpack it: curated_data/{1NonCOVID,2COVID,3CAP}/ and meta_data_{normal,covid,cap}.csv",
        "Then: medbench data prepare large-covid-ct --from DIR_OR_ZIP",
    ),
    splits=tuple(_SPLITS),
    default_split={_LAYOUT: "patient"},
    find_layout=find_layout,
    list_cases=list_cases,
    list_rows=list_rows,
    draw_phantom=chest.draw,
    phantom_version=chest.VERSION,
    split_functions={"patient": patient, "random-80-20": random_80_20},
    split_notes={**_SPLITS, "random-80-20": f"{_SPLITS['random-80-20']}; {_LEAK}"},
    official_cases={_LAYOUT: sum(_PUBLISHED)},
    note=(
        "6,893 normal + 7,593 COVID + 2,618 CAP slices of 604, 464 and 54 patients in the metadata; the source is "
        "confounded with the class: all of CAP is of one collection"
    ),
)

TWO_CLASS = replace(
    SPEC,
    name="large-covid-ct-2class",
    title="Large COVID-19 CT, two classes",
    classes=CLASSES[:2],
    how_to_get=(*SPEC.how_to_get[:2], "Then: medbench data prepare large-covid-ct-2class --from DIR_OR_ZIP"),
    list_cases=partial(list_cases, classes=2),
    list_rows=partial(list_rows, classes=2),
    official_cases={_LAYOUT: sum(_PUBLISHED[:2])},
    variant_of=SPEC.name,
    note="COVID and normal alone, as much of the literature takes them: CAP is left out",
)
