"""Large COVID-19 CT: folders and metadata, what is refused, two and three classes, and the splits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from probes import SIDE, accuracies

from bench.datasets.base import PARTS, Prepared
from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import chest
from bench.datasets.readers.large_covid import CLASSES, SPEC, TWO_CLASS, find_layout, list_rows
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.overlap import leak_figures
from bench.errors import UserError

PLACE = "curated_data/curated_data"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("covid")
    chest.draw(folder, 0, patients=8, slices=3)
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


def test_slices_have_their_patient_class_and_facts(data: Prepared) -> None:
    assert data.manifest["counts"]["classes"] == [24, 24, 24]
    assert len({case.patient for case in data.cases}) == 24
    facts = data.facts()
    assert {fact["institution"] for fact in facts.values()} == {
        "Clínica Ashgrove",
        "Clínica Birchwood",
        "Clínica Cedarfield",
    }
    assert {fact["format"] for fact in facts.values()} == {"PNG", "JPEG"}
    assert {fact["collection"] for fact in facts.values()} == {"Ashgrove", "Birchwood", "Cedarfield"}


def test_a_collection_is_no_class_by_another_name(tmp_path: Path) -> None:
    """COVID-CT-MD names its slices by their class, and its own table has one centre for them."""
    names = {
        "normal": "normal037_112 N016_112 6_Rahimzadeh_normal1_1",
        "covid": "P033_112",
        "cap": "cap006_10 cp001_10",
    }
    for name, cases in names.items():
        lines = [f"{case}.png,{case}" for case in cases.split()]
        (tmp_path / f"meta_data_{name}.csv").write_text("\n".join(["File name,Patient ID", *lines]) + "\n")
    collections = {row.case.split("_")[0]: row.facts["collection"] for row in list_rows(tmp_path, "curated")}
    assert collections.pop("6") == "Rahimzadeh"
    assert collections == dict.fromkeys(("normal037", "N016", "P033", "cap006", "cp001"), "COVID-CT-MD")


def test_two_classes_leave_cap_out(drawn: Path, tmp_path: Path) -> None:
    data = prepare(TWO_CLASS, drawn, tmp_path)
    assert data.manifest["counts"]["classes"] == [24, 24]
    assert data.spec.classes == ("normal", "COVID")
    assert {row.label for row in data.rows()} == {0, 1}
    assert make_split(TWO_CLASS, data, "patient").official_cases == 14486


def test_patients_stay_together_and_random_slices_do_not(data: Prepared) -> None:
    by_patient, random = (assign(data.cases, make_split(SPEC, data, name)) for name in SPEC.splits)
    assert leak_figures(data, by_patient)["patient"] == 0
    assert (leak_figures(data, random)["patient"] or 0) > 0.5
    assert make_split(SPEC, data, "patient").flag is None
    assert make_split(SPEC, data, "random-80-20").flag == "slices of one patient stand in training and test"
    assert all(by_patient.counts[part]["cases"] for part in PARTS)


def test_rows_without_a_file_are_kept_and_files_without_a_row_have_no_patient(source: Path, tmp_path: Path) -> None:
    (source / PLACE / "3CAP" / "0_Ashgrove_patient3_00.png").unlink()
    shutil.copy(source / PLACE / "3CAP" / "0_Ashgrove_patient3_01.png", source / PLACE / "3CAP" / "new.png")
    data = prepare(SPEC, source, tmp_path / "root")
    present = {case.case: case for case in data.cases}
    assert [row.case for row in data.rows() if row.case not in present] == ["0_Ashgrove_patient3_00"]
    assert present["CAP/new"].patient == "CAP/new"
    assert data.facts()["CAP/new"]["row"] == "no"
    assert assign(data.cases, make_split(SPEC, data, "patient")).left_out == 1


def test_without_metadata_there_is_no_split_by_patient(source: Path, tmp_path: Path) -> None:
    for path in source.glob("meta_data_*.csv"):
        path.unlink()
    data = prepare(SPEC, source, tmp_path / "root")
    with pytest.raises(UserError, match="needs the metadata"):
        make_split(SPEC, data, "patient")
    assert assign(data.cases, make_split(SPEC, data, "random-80-20")).left_out == 0


def emptied(folder: Path) -> None:
    for path in (folder / PLACE / "3CAP").iterdir():
        path.unlink()


def moved(folder: Path) -> None:
    name = "0_Ashgrove_patient3_00.png"
    (folder / PLACE / "3CAP" / name).rename(folder / PLACE / "2COVID" / name)


def twice(folder: Path) -> None:
    lines = (folder / "meta_data_cap.csv").read_text(encoding="utf-8-sig").split("\n")
    (folder / "meta_data_cap.csv").write_text("\n".join([*lines[:2], lines[1], *lines[2:]]), encoding="utf-8")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda f: shutil.rmtree(f / "curated_data"), "Found no Large COVID-19 CT files"),
    "no CAP": (lambda f: shutil.rmtree(f / PLACE / "3CAP"), "CAP is missing"),
    "empty class": (emptied, "Expected images of the class CAP"),
    "other class": (moved, "as CAP, but it lies in"),
    "a row twice": (twice, "a second time"),
    "no column": (lambda f: (f / "meta_data_cap.csv").write_text("a,b\n1,2\n"), "File name, Patient ID is missing"),
    "cut row": (lambda f: (f / "meta_data_cap.csv").write_text("File name,Patient ID\nx.png\n"), "line 2 is cut short"),
    "text": (lambda f: (f / PLACE / "3CAP" / "a.txt").touch(), "move it away"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_folders_end_in_one_line(case: str, source: Path) -> None:
    REFUSED[case][0](source)
    assert REFUSED[case][1] in refused(source)


@pytest.mark.slow
def test_the_real_metadata(real_data: Path, tmp_path: Path) -> None:
    data = prepare(SPEC, real_data / "large-covid-ct", tmp_path)
    rows = data.rows()
    assert [sum(row.label == k for row in rows) for k in range(3)] == [6893, 7593, 2618]
    assert [len({row.patient for row in rows if row.label == k}) for k in range(3)] == [604, 464, 54]
    assert data.manifest["counts"]["classes"] == [1, 151, 1]
    with pytest.raises(UserError, match=r"but val has no image of normal and CAP \(153 images are present\)"):
        make_split(SPEC, data, "patient")


def test_phantoms_are_the_same_for_a_seed_and_do_not_depend_on_their_number(tmp_path: Path) -> None:
    for name, seed, patients in (("a", 0, 1), ("b", 0, 2), ("c", 5, 1)):
        chest.draw(tmp_path / name, seed, patients, slices=1)
    content = {n: {p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.png")} for n in "abc"}
    assert all(content["b"][name] == picture for name, picture in content["a"].items())
    assert not set(content["a"].values()) & set(content["c"].values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cnn_learns_the_classes_on_other_patients_and_a_linear_probe_does_not(tmp_path: Path, seed: int) -> None:
    chest.draw(tmp_path, seed, patients=120, slices=3)
    paths = sorted((tmp_path / PLACE).rglob("*.png"))
    small = [np.asarray(Image.open(p).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))[None] for p in paths]
    labels = np.array([["1NonCOVID", "2COVID", "3CAP"].index(path.parent.name) for path in paths])
    patients = np.array([int(path.stem.split("_")[2].removeprefix("patient")) for path in paths])
    linear, cnn = accuracies(np.stack(small).astype(np.float32), labels, (patients - 1) // len(CLASSES) % 3 == 0)
    print(f"seed {seed}: linear {linear:.3f}, CNN {cnn:.3f}")
    assert linear <= 0.75
    assert 0.85 <= cnn <= 0.97
