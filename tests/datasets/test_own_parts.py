"""Folders of parts in one's own class folders: which are parts, and what a division that came with them leaks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from own_folders import added, understood, write_classes

from bench.datasets.base import PARTS
from bench.datasets.cache.prepared import open_prepared, verify
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.overlap import leak_figures
from bench.errors import UserError
from bench.zoo.registry import dataset_spec


def test_folders_of_parts_are_a_division(root: Path, tmp_path: Path) -> None:
    for k, part in enumerate(("Train", "valid", "TEST")):
        write_classes(tmp_path / "raw" / "wrapper" / part, {"a": 3, "b": 3}, first=10 * k)
    prepared = added(root, tmp_path / "raw")
    split = make_split(prepared.spec, prepared, "given")
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 6, "val": 6, "test": 6}
    assert dataset_spec("mine", root).splits == ("given", "patient")


def test_a_validation_part_that_copies_the_test_part_is_flagged(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for k, part in enumerate(("train", "val")):
        write_classes(raw / part, {"a": 6, "b": 6}, first=100 * k)
    shutil.copytree(raw / "val", raw / "test")
    prepared = added(root, raw)
    split = make_split(prepared.spec, prepared, "given")
    assert split.flag == "one image stands in several parts"
    figures = {"patient": None, "near_duplicate": 0.0, "validation": 1.0}
    assert leak_figures(prepared, assign(prepared.cases, split)) == figures


def test_a_test_part_that_copies_training_is_flagged_though_validation_is_carved_from_it(
    root: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    write_classes(raw / "train", {"a": 10, "b": 10})
    shutil.copytree(raw / "train", raw / "test")
    prepared = added(root, raw)
    split = make_split(prepared.spec, prepared, "given")
    assert split.flag == "one image stands in several parts"
    found = leak_figures(prepared, assign(prepared.cases, split))
    assert (found["near_duplicate"] or 0) + (found["validation"] or 0) == 1.0


def test_folders_of_parts_beside_one_without_pictures_are_a_division(root: Path, tmp_path: Path) -> None:
    for k, part in enumerate(("train", "test")):
        write_classes(tmp_path / "raw" / part, {"a": 3, "b": 3}, first=10 * k)
    (tmp_path / "raw" / "docs" / "old").mkdir(parents=True)
    (tmp_path / "raw" / "docs" / "readme.txt").write_text("of the images")
    found = understood(root, tmp_path / "raw").found
    assert found.classes == ("a", "b")
    assert {item.part for item in found.items} == {"train", "test"}
    assert "left out: the folder docs, without images" in found.notes


def test_folders_of_parts_beside_others_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for k, part in enumerate(("train", "test")):
        write_classes(raw / part, {"a": 3, "b": 3}, first=10 * k)
    write_classes(raw, {"extra": 3}, first=50)
    for chosen in (None, "a,b"):
        with pytest.raises(UserError, match=r"but got both \(test, train and extra\): move .* --classes, .* a \.csv"):
            understood(root, raw, classes=chosen)


@pytest.mark.parametrize("names", [("invalid", "valid"), ("control", "test"), ("dev", "prod")])
def test_pictures_right_inside_a_folder_called_like_a_part_are_a_class(
    root: Path, tmp_path: Path, names: tuple[str, str]
) -> None:
    raw = write_classes(tmp_path / "raw", dict.fromkeys(names, 3))
    found = understood(root, raw).found
    assert found.classes == names
    assert {item.part for item in found.items} == {None}
    only = write_classes(tmp_path / "only", {"train": 3, "test": 3})
    with pytest.raises(UserError, match="Found nothing that is known"):
        understood(root, only)


def test_folds_of_a_division_keep_one_image_under_two_patients_names_together(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for k, part in enumerate(("train", "val")):
        write_classes(raw / part, {"a": 8, "b": 8}, first=100 * k)
    for path in sorted((raw / "val").rglob("*.png")):  # the same images, of other patients by their names
        copy = raw / "test" / path.parent.name / f"z{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for path in sorted((raw / "train").rglob("*.png")):
        path.rename(path.with_name(f"t{path.name}"))
    prepared = added(root, raw, patient_pattern="^[a-z]+/([a-z]+[0-9]+)_|([a-z]+[0-9]+)_")
    split = make_split(prepared.spec, prepared, "given")
    assert split.flag == "one image stands in several parts"
    for fold in range(3):
        dealt = make_split(prepared.spec, prepared, "given/3", fold)
        assert dealt.flag is None, "each image has one fold"
        assert leak_figures(prepared, assign(prepared.cases, dealt)) == {
            "patient": 0.0,
            "near_duplicate": 0.0,
            "validation": 0.0,
        }


def test_a_class_may_be_called_test_where_it_is_chosen(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"control": 3, "test": 3})
    prepared = added(root, raw, classes="control,test")
    assert prepared.spec.classes == ("control", "test")
    assert verify(open_prepared(dataset_spec("mine", root), root)) == []
    assert {case.part for case in prepared.cases} == {None}
