"""MSLD: photographs, augmented copies and Fold1, what is refused, and the four splits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_folders import picture, save
from PIL import Image

from bench.datasets.base import PARTS, Prepared
from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import skin
from bench.datasets.readers.msld import CLASSES, SPEC, find_layout, photograph_of
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.folds import fold_split
from bench.datasets.splits.overlap import leak_figures
from bench.errors import UserError

TABLE = "Monkeypox_Dataset_metadata.csv"
ORIGINALS = "Original Images/Original Images"
OTHERS = f"{ORIGINALS}/Others"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("msld")
    skin.draw(folder, 3, subjects=12, copies=2)
    return folder


@pytest.fixture(scope="module")
def data(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(SPEC, drawn, tmp_path_factory.mktemp("root"))


@pytest.fixture
def source(drawn: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn, tmp_path / "source")


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(SPEC.read_cases(folder, find_layout(folder)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parts_of(data: Prepared, name: str) -> dict[str, str]:
    """Case -> part."""
    assigned = assign(data.cases, make_split(SPEC, data, name))
    return {data.cases[i].case: part for part in PARTS for i in assigned.indices[part]}


def test_photographs_and_copies_have_their_subject_and_class(data: Prepared) -> None:
    assert data.layout == "originals+augmented"
    for case in data.cases:
        assert case.patient == case.case.split("_")[0]
        assert CLASSES[case.label or 0] == ("Others" if case.case.startswith("NM") else "Monkeypox")
    facts = data.facts()
    kinds = {name: facts[name]["kind"] for name in facts}
    assert {kinds[c.case] for c in data.cases if c.case.count("_") == 1} == {"photograph"}
    assert {kinds[c.case] for c in data.cases if c.case.count("_") == 2} == {"augmented copy"}
    assert all(fact["row"] == "yes" for fact in facts.values())


@pytest.mark.parametrize("keep", [1, 2])
def test_originals_alone_are_a_layout_of_their_own_doubled_or_not(keep: int, source: Path) -> None:
    shutil.rmtree(source / "Augmented Images")
    if keep == 1:
        (source / ORIGINALS).rename(source / "x")
        shutil.rmtree(source / "Original Images")
        (source / "x").rename(source / "Original Images")
    assert find_layout(source) == "originals"
    assert all(case.case == photograph_of(case.case) for case in SPEC.read_cases(source, "originals"))


@pytest.mark.parametrize("name", ["subject", "augmented-subject", "fold1"])
def test_no_subject_is_in_two_parts(name: str, data: Prepared) -> None:
    parts = parts_of(data, name)
    found: dict[str, set[str]] = {}
    for case, part in parts.items():
        found.setdefault(case.split("_")[0], set()).add(part)
    assert all(len(of_subject) == 1 for of_subject in found.values())
    copies = {case.count("_") == 2 for case in parts}
    assert copies == {"subject": {False}, "augmented-subject": {True}, "fold1": {False, True}}[name]
    assert make_split(SPEC, data, name).flag is None


def test_the_copies_by_subject_follow_their_photographs(data: Prepared) -> None:
    photographs, copies = parts_of(data, "subject"), parts_of(data, "augmented-subject")
    assert all(photographs[photograph_of(case)] == part for case, part in copies.items())


def test_fold1_is_as_its_folders_have_it(data: Prepared, drawn: Path) -> None:
    parts = parts_of(data, "fold1")
    for folder, part in (("Train", "train"), ("Val", "val"), ("Test", "test")):
        stems = {path.stem for path in (drawn / "Fold1" / "Fold1" / "Fold1" / folder).rglob("*.jpg")}
        assert stems == {case for case, of_case in parts.items() if of_case == part}


def test_augmented_random_leaks_and_says_so(data: Prepared) -> None:
    split = make_split(SPEC, data, "augmented-random")
    assert split.flag == "augmented copies of one photograph stand in training and test"
    leak = leak_figures(data, assign(data.cases, split))
    assert (leak["patient"] or 0) > 0.9
    assert {case.count("_") for case in parts_of(data, "augmented-random")} == {2}


def test_splits_count_against_what_they_need_of_the_published_files(data: Prepared) -> None:
    official = {name: make_split(SPEC, data, name).official_cases for name in SPEC.splits}
    assert official == {"subject": 228, "augmented-subject": 3192, "fold1": 2607, "augmented-random": 3192}


def test_without_fold1_or_copies_their_splits_are_refused(source: Path, tmp_path: Path) -> None:
    for folder in ("Fold1", "Augmented Images"):
        shutil.rmtree(source / folder)
    data = prepare(SPEC, source, tmp_path / "root")
    for name, said in (("fold1", "needs the folder Fold1"), ("augmented-random", "augmented copies are not there")):
        with pytest.raises(UserError, match=said):
            make_split(SPEC, data, name)


def test_photographs_that_resemble_tie_their_subjects(source: Path, tmp_path: Path) -> None:
    """The same photograph under two subjects, as the published files have it twice."""
    place = source / OTHERS
    shutil.copy(place / "NM01_01.jpg", place / "NM60_01.jpg")
    data = prepare(SPEC, source, tmp_path / "root")
    parts = parts_of(data, "subject")
    assert parts["NM60_01"] == parts["NM01_01"]
    assert make_split(SPEC, data, "subject").groups["NM60_01"] == "NM01"


def test_a_photograph_that_is_known_to_be_there_twice_ties_its_subjects(source: Path, tmp_path: Path) -> None:
    """NM60 and NM107 are one photograph, which the pictures alone do not tell."""
    copies = source / "Augmented Images" / "Augmented Images" / "Others_augmented"
    for seed, name in enumerate(("NM60_01", "NM107_01")):
        save(source / OTHERS / f"{name}.jpg", picture(seed, (96, 96, 3)))
        save(copies / f"{name}_00.jpg", picture(10 + seed, (96, 96, 3)))
    data = prepare(SPEC, source, tmp_path / "root")
    assert not any({"NM60_01", "NM107_01"} & set(group) for group in data.manifest["groups"])
    for name in ("subject", "augmented-subject"):
        parts = parts_of(data, name)
        assert (
            parts[next(case for case in parts if case.startswith("NM60"))]
            == parts[next(case for case in parts if case.startswith("NM107"))]
        )
    random = make_split(SPEC, data, "augmented-random")
    for fold in range(4):
        split = fold_split(data.cases, random, 4, fold)
        assert split.flag is None
        part_of = {name: part for part in PARTS for name in split.parts[part]}
        assert part_of["NM60_01_00"] == part_of["NM107_01_00"]


def write_table(encoding: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / TABLE).write_text("ImageID,Label,Note\nM01_01,Monkeypox,é\n", encoding=encoding)

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_tables_are_read_in_any_encoding_and_a_photograph_without_a_row_says_so(encoding: str, source: Path) -> None:
    write_table(encoding)(source)
    rows = {case.case: case.facts["row"] for case in SPEC.read_cases(source, find_layout(source))}
    assert {case for case, row in rows.items() if row == "yes"} == {"M01_01", "M01_01_00", "M01_01_01"}


def test_a_row_without_a_file_is_a_photograph_that_is_not_present(source: Path) -> None:
    with (source / TABLE).open("a") as file:
        file.write("M99_01,Monkeypox\n")
    assert "M99_01" not in {case.case for case in SPEC.read_cases(source, find_layout(source))}


def emptied(folder: Path) -> None:
    for path in (folder / OTHERS).iterdir():
        path.unlink()


def contradicted(folder: Path) -> None:
    (folder / TABLE).write_text("ImageID,Label\nM01_01,Non Monkeypox\n")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda f: [shutil.rmtree(p) for p in f.iterdir() if p.is_dir()], "Found no MSLD photographs"),
    "one class": (lambda f: shutil.rmtree(f / OTHERS), "but Others is missing"),
    "empty class": (emptied, "Expected images of the class Others"),
    "other name": (
        lambda f: (f / OTHERS / "NM01_01.jpg").rename(f / ORIGINALS / "Others/M9_1.jpg"),
        "NM01",
    ),
    "a text": (lambda f: (f / OTHERS / "notes.txt").touch(), "move it away"),
    "copy alone": (lambda f: (f / ORIGINALS / "Monkey Pox" / "M01_01.jpg").unlink(), "Expected the photograph M01_01"),
    "truncated": (lambda f: cut(f / ORIGINALS / "Monkey Pox" / "M01_01.jpg"), "it may be truncated"),
    "contradiction": (contradicted, "says Non Monkeypox, but the file is Monkeypox"),
    "no column": (lambda f: (f / TABLE).write_text("Image,Label\na,b\n"), "but ImageID is missing"),
    "no rows": (lambda f: (f / TABLE).write_text("ImageID,Label\n"), "only its header"),
    "other label": (lambda f: (f / TABLE).write_text("ImageID,Label\nM01_01,Pox\n"), "but got 'Pox'"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize("case", REFUSED)
def test_bad_folders_end_in_one_line(case: str, source: Path) -> None:
    REFUSED[case][0](source)
    assert REFUSED[case][1] in refused(source)


@pytest.mark.slow
def test_the_real_photographs(real_data: Path, tmp_path: Path) -> None:
    data = prepare(SPEC, real_data / "msld", tmp_path)
    assert data.manifest["counts"]["classes"] == [1890, 1530]
    assert len({case.patient for case in data.cases}) == 162
    groups = make_split(SPEC, data, "subject").groups
    # Two photographs are in the published files twice, under two subjects each.
    assert groups["NM60_01"] == groups["NM107_01"]
    assert groups["NM68_01"] == groups["NM110_01"]
    assert len(set(groups.values())) == 160
    assert np.asarray(data.image(0)).shape == (3, 224, 224)
    assert Image.open(real_data / "msld" / "Original Images" / "Others" / "NM01_01.jpg").size == (224, 224)


def test_subjects_of_near_duplicate_photographs_are_one_unit(data: Prepared) -> None:
    from dataclasses import replace

    one, other = sorted({case.patient for case in data.cases})[:2]
    alike = [[f"{one}_01", f"{other}_01"]]
    assert SPEC.units is not None
    found = SPEC.units(replace(data, manifest={**data.manifest, "groups": alike}))
    assert {found[case.case] for case in data.cases if case.patient in (one, other)} == {one}
    rest = [case for case in data.cases if case.patient not in (one, other)]
    assert all(found[case.case] == case.patient for case in rest)
