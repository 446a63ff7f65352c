"""MSLD v1: photographs of skin lesions, monkeypox or others (chickenpox, measles), by subject, and augmented copies.

`M01_02.jpg` is the second photograph of subject M01, `NM...` of one without monkeypox; `M01_02_05.jpg` is one of its
14 augmented copies. Published accuracies near 98 % fit random splits of the 3,192 copies, where copies of one
photograph stand on both sides; of the authors' 45 test photographs by subject, their best network had 83 % right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.base import DatasetSpec, RawImage, Row, Split
from bench.datasets.phantoms import skin
from bench.datasets.readers.folders import class_places, find_table, image_files, plain, read_image_case, single_place
from bench.datasets.readers.metadata import read_table
from bench.datasets.splits.dealing import by_part, deal, group_sizes, random_split
from bench.datasets.splits.duplicates import join
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Case, Prepared

CLASSES = ("Others", "Monkeypox")
COPIES = 14
_STEM = ("NM", "M")
_FOLDERS = {"others": 0, "monkeypox": 1}
_AUGMENTED = {"othersaugmented": 0, "monkeypoxaugmented": 1}
_PARTS = {"train": "train", "val": "val", "test": "test"}
_ROWS = {"Monkeypox": 1, "Non Monkeypox": 0}
_TABLE = "Monkeypox_Dataset_metadata.csv"
_LOOK = "Original Images/{Monkey Pox,Others}/M01_01.jpg, with or without copies"
_NAME = re.compile(r"(?P<stem>NM|M)(?P<subject>[0-9]{2,3})_(?P<view>[0-9]{2})(?P<copy>_[0-9]{2})?", re.IGNORECASE)
_OFFICIAL = {"originals": 228, "originals+augmented": 228 * (1 + COPIES)}
_SPLITS = {
    "subject": (
        "ours: the 228 photographs by subject, subjects of near-duplicate photographs as one, dealt about 60/15/25 % "
        "by a constant seed; augmented copies are left out"
    ),
    "augmented-subject": (
        "ours: the 3,192 augmented copies, each in the part that `subject` gives its subject: beside augmented-random "
        "it shows what the leak alone is worth"
    ),
    "fold1": (
        "the authors' Fold1, 70/10/20 % by subject: augmented copies train and validate, photographs test "
        "(github.com/mHealthBuet/Monkeypox-Skin-Lesion-Dataset); needs its folder"
    ),
    "augmented-random": (
        "ours: 80/20 % of each class's 3,192 augmented copies at random by a constant seed, which figures near 98 % "
        "need; validation is a fixed tenth of train"
    ),
}
# The same photograph under two subjects, as audits with all copies find; with the photographs alone one is missed.
_ONE_PHOTOGRAPH = (("NM60", "NM107"), ("NM68", "NM110"))
_LEAK = "augmented copies of one photograph stand in training and test"


def find_layout(folder: Path) -> str:
    """`originals`, or `originals+augmented` where the copies are there as well.

    Raises:
        UserError: no photographs, or twice; only one of the two classes.
    """
    _photographs(folder)
    return "originals+augmented" if _copies(folder) else "originals"


def list_cases(folder: Path, layout: str) -> list[Callable[[], RawImage]]:
    """Photographs, then augmented copies, class by class in order of their names.

    The facts tell a copy from a photograph, the part of Fold1, and whether the table has a row.

    Raises:
        UserError: an empty class, a name of another class, a copy of a photograph that is not there, a name twice, or a
            row of the table that contradicts a folder. A row without a file is a photograph that is not present.
    """
    files: dict[str, tuple[int, Path]] = {}
    for places in (_photographs(folder), _copies(folder)):
        for label, place in sorted(places.items()):
            of_class: dict[str, Path] = {}
            for path in image_files(place, CLASSES[label]):
                if (twin := of_class.setdefault(_case(path, label), path)) != path:
                    raise UserError(f"Expected each image once, but both {twin} and {path} exist.")
            files |= {name: (label, of_class[name]) for name in sorted(of_class)}
    for name, (_, path) in files.items():
        if (photograph := photograph_of(name)) not in files:
            raise UserError(f"Expected the photograph {photograph} of the augmented copy {path}, but it is missing.")
    folds, rows = _fold_parts(folder), _rows(folder, files)
    cases: list[Callable[[], RawImage]] = []
    for name, (label, path) in files.items():
        facts: dict[str, str | int] = {"kind": "photograph" if name == photograph_of(name) else "augmented copy"}
        if folds:
            facts["fold1"] = folds.get(name, "none")
        if rows:
            facts["row"] = "yes" if photograph_of(name) in rows else "no"
        cases.append(partial(read_image_case, path, 3, Row(name, _subject(name), label, facts)))
    return cases


def _subject(case: str) -> str:
    return case.split("_")[0]


def photograph_of(case: str) -> str:
    """The photograph of which a case is a copy; itself where it is none."""
    return "_".join(case.split("_")[:2])


# -- files ---------------------------------------------------------------------------------------------------


def _photographs(folder: Path) -> dict[int, Path]:
    """Label -> folder of the original photographs."""
    places = [(place, folders) for place, folders in class_places(folder, _FOLDERS, 6) if _part(place) is None]
    return single_place(folder, places, CLASSES, "MSLD photographs", _LOOK)


def _copies(folder: Path) -> dict[int, Path]:
    """Label -> folder of the augmented copies; {} without any."""
    places = class_places(folder, _AUGMENTED, 6)
    return single_place(folder, places, CLASSES, "augmented copies", _LOOK) if places else {}


def _part(place: Path) -> str | None:
    """The part of Fold1 whose class folders a place holds."""
    return _PARTS.get(plain(place.name))


def _fold_parts(folder: Path) -> dict[str, str]:
    """Case -> its part in the authors' Fold1; {} where the folder is not there. Its images are not read again."""
    parts: dict[str, str] = {}
    for place, folders in class_places(folder, _FOLDERS, 6):
        part = _part(place)
        for label, class_folder in folders.items() if part else ():
            for path in image_files(class_folder, CLASSES[label]):
                case = _case(path, label)
                if parts.setdefault(case, part or "") != part:
                    raise UserError(f"Expected {case} in one part of Fold1, but it is in {parts[case]} and {part}.")
    return parts


def _case(path: Path, label: int) -> str:
    """`NM01_02` or `NM01_02_05`; a name of the other class is refused."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match["stem"].upper() != _STEM[label]:
        raise UserError(
            f"Expected a name like `{_STEM[label]}01_01{path.suffix}` for {CLASSES[label]}, but found {path}."
        )
    return path.stem.upper()


def _rows(folder: Path, files: dict[str, tuple[int, Path]]) -> dict[str, int]:
    """Photograph -> class as the table has it; {} without a table."""
    table = find_table(folder, _TABLE)
    rows: dict[str, int] = {}
    for row in read_table(table, ("ImageID", "Label")) if table else ():
        case = Path(row["ImageID"]).stem.upper()
        if row["Label"] not in _ROWS:
            raise UserError(f"Expected {' or '.join(_ROWS)} for {case} in {table}, but got {row['Label']!r}.")
        rows[case] = _ROWS[row["Label"]]
        if case in files and files[case][0] != rows[case]:
            raise UserError(f"Row {case} of {table} says {row['Label']}, but the file is {CLASSES[files[case][0]]}.")
    return rows


# -- splits --------------------------------------------------------------------------------------------------


def subject(prepared: Prepared) -> Split:
    """The photographs by subject; the copies belong to no part."""
    return _by_subject(prepared, "subject", _OFFICIAL["originals"], [c for c in prepared.cases if not _is_copy(c)])


def augmented_subject(prepared: Prepared) -> Split:
    """The copies by subject, in the parts of `subject`."""
    return _by_subject(prepared, "augmented-subject", 228 * COPIES, _require_copies(prepared))


def augmented_random(prepared: Prepared) -> Split:
    """80/20 % of the augmented copies at random, as in most of the literature."""
    name, seed = "augmented-random", "msld augmented-random 1"
    official = 228 * COPIES
    copies, together = _require_copies(prepared), _subject_groups(prepared)
    groups = {case.case: together[case.patient] for case in copies}  # which folds keep together
    return random_split(copies, name, _SPLITS[name], _LEAK, seed, official_cases=official, groups=groups)


def fold1(prepared: Prepared) -> Split:
    """The authors' own first fold, as its folders have it.

    Raises:
        UserError: the folder was not there when the data set was prepared.
    """
    facts = prepared.facts()
    if not any(part.get("fold1", "none") != "none" for part in facts.values()):
        raise UserError("Split 'fold1' of msld needs the folder Fold1 beside the others: add it and prepare again.")
    names = [name for name, part in facts.items() if part["fold1"] != "none"]
    return Split(
        name="fold1",
        source=_SPLITS["fold1"],
        parts=by_part(names, lambda name: str(facts[name]["fold1"])),
        official_cases=980 + 1162 + 168 + 252 + 45,
        groups=units(prepared),
        by_case=True,
    )


def _by_subject(prepared: Prepared, name: str, official: int, cases: list[Case]) -> Split:
    groups = _subject_groups(prepared)
    photographs = [case for case in prepared.cases if not _is_copy(case)]
    parts = deal(group_sizes(photographs, lambda case: groups[case.patient]), "msld subject 1", slack=2)
    return Split(
        name=name,
        source=_SPLITS[name],
        parts=by_part([case.case for case in cases], lambda case: parts[groups[_subject(case)]]),
        official_cases=official,
        groups={case.case: groups[case.patient] for case in cases},
        by_case=True,
    )


def units(prepared: Prepared) -> dict[str, str]:
    """Case -> its subject, or the first of those that the split `subject` keeps together."""
    groups = _subject_groups(prepared)
    return {case.case: groups[case.patient] for case in prepared.cases}


def _subject_groups(prepared: Prepared) -> dict[str, str]:
    """Subject -> the first of those whose photographs are near-duplicates of its own, or known to be the same."""
    subjects = sorted({case.patient for case in prepared.cases})
    position = {name: i for i, name in enumerate(subjects)}
    photographs = [[case for case in group if case == photograph_of(case)] for group in prepared.manifest["groups"]]
    alike = [[position[_subject(case)] for case in group] for group in photographs if group]
    alike += [[position[name] for name in pair] for pair in _ONE_PHOTOGRAPH if set(pair) <= position.keys()]
    return {subjects[i]: subjects[members[0]] for members in join(len(subjects), alike) for i in members}


def _is_copy(case: Case) -> bool:
    return case.case != photograph_of(case.case)


def _require_copies(prepared: Prepared) -> list[Case]:
    copies = [case for case in prepared.cases if _is_copy(case)]
    if not copies:
        raise UserError("The augmented copies are not there: add the folder `Augmented Images` and prepare again.")
    return copies


SPEC = DatasetSpec(
    name="msld",
    title="MSLD",
    task="classification",
    channels=3,
    classes=CLASSES,
    has_published_classes=True,
    citation=(
        "S. N. Ali, M. T. Ahmed, J. Paul, T. Jahan, S. M. Sakeef Sani, N. Noor, T. Hasan. Monkeypox Skin Lesion "
        "Detection Using Deep Learning Models: A Feasibility Study. arXiv:2207.03342, 2022."
    ),
    licence="CC BY-NC",
    homepage="https://www.kaggle.com/datasets/nafin59/monkeypox-skin-lesion-dataset",
    how_to_get=(
        "Sign in at https://www.kaggle.com and download nafin59/monkeypox-skin-lesion-dataset",
        "Keep the .zip or unpack it: Original Images/, Augmented Images/, Fold1/ and the metadata's .csv",
        "Then: medbench data prepare msld --from DIR_OR_ZIP",
    ),
    splits=tuple(_SPLITS),
    default_split={"originals": "subject", "originals+augmented": "subject"},
    find_layout=find_layout,
    list_cases=list_cases,
    draw_phantom=skin.draw,
    phantom_version=skin.VERSION,
    split_functions={
        "subject": subject,
        "augmented-subject": augmented_subject,
        "fold1": fold1,
        "augmented-random": augmented_random,
    },
    photograph_of=photograph_of,
    split_notes={**_SPLITS, "augmented-random": f"{_SPLITS['augmented-random']}; {_LEAK}"},
    official_cases=_OFFICIAL,
    units=units,
    unit="subjects (those of near-duplicate photographs as one)",
    note="102 Monkeypox and 126 other photographs of 55 and 107 subjects, and 14 augmented copies of each",
)
