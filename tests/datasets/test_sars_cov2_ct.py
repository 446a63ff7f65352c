"""SARS-COV2-CT-Scan: its folders, what is refused, its cache and its two splits."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_slices import part_of, prepared, slice_pixels

from bench.datasets.base import RawImage
from bench.datasets.cache.prepared import open_prepared, prepare, verify
from bench.datasets.readers.acdc import SPEC as ACDC
from bench.datasets.readers.sars_cov2_ct import SPEC, find_layout, list_cases
from bench.datasets.splits.assignment import assign, make_split
from bench.errors import UserError
from bench.report.data import info_text, prepared_text


def read(folder: Path) -> list[RawImage]:
    return list(SPEC.read_cases(folder, find_layout(folder)))


def error(folder: Path) -> str:
    """The one line with which reading fails."""
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAMES = ["Non-Covid (3)", "Non-Covid (4)", "Covid (1)", "Covid (2)", "Covid (10)"]


def test_the_images_come_in_order_of_their_numbers_as_grey(five_slices: Path) -> None:
    cases = read(five_slices)
    assert [c.case for c in cases] == [c.patient for c in cases] == NAMES
    assert [c.label for c in cases] == [0, 0, 1, 1, 1]
    assert len(list_cases(five_slices, "folders")) == 5
    for c in cases:
        number = int(c.case.split("(")[1][:-1])
        np.testing.assert_array_equal(c.image, slice_pixels(10 * number + c.label)[None])
        assert c.files[0].is_file()


def test_the_colour_mode_that_tells_the_class_is_gone(tmp_path: Path) -> None:
    for folder, stem, mode in (("COVID", "Covid", "RGB"), ("non-COVID", "Non-Covid", "RGBA")):
        (tmp_path / folder).mkdir()
        Image.fromarray(slice_pixels(0)).convert(mode).save(tmp_path / folder / f"{stem} (1).png")
    other, covid = read(tmp_path)
    np.testing.assert_array_equal(other.image, covid.image)


def nest(five_slices: Path, *folders: str) -> Path:
    """Moves the folder's content into folders inside it."""
    inner = five_slices.with_name("moved")
    five_slices.rename(inner)
    place = five_slices.joinpath(*folders)
    place.parent.mkdir(parents=True)
    inner.rename(place)
    return five_slices


@pytest.mark.parametrize("folders", [("X",), ("X", "X"), ("sarscov2-ctscan-dataset", "data")])
def test_doubled_folders(folders: tuple[str, ...], five_slices: Path) -> None:
    assert [c.case for c in read(nest(five_slices, *folders))] == NAMES


def test_doubled_class_folders_other_spellings_and_litter(five_slices: Path) -> None:
    (five_slices / "COVID").rename(five_slices / "x")
    (five_slices / "Covid").mkdir()
    (five_slices / "x").rename(five_slices / "Covid" / "COVID")
    (five_slices / "non-COVID").rename(five_slices / "Non_Covid")
    place = five_slices / "Non_Covid"
    (place / "Non-Covid (3).png").rename(place / "non-covid(3).PNG")
    (place / "Non-Covid (4).png").rename(place / "Non-Covid (4).Jpg")
    for litter in (
        five_slices / ".DS_Store",
        place / "Thumbs.db",
        place / "._Non-Covid (4).png",
        five_slices / "readme.txt",
    ):
        litter.touch()
    (five_slices / "__MACOSX" / "COVID").mkdir(parents=True)
    assert [c.case for c in read(five_slices)] == NAMES


# -- what is refused


def put(path: Path, content: bytes = b"?") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "stray file": (lambda f: put(f / "COVID" / "notes.txt"), "notes.txt: move it away"),
    "stray folder": (lambda f: (f / "COVID" / "more.png").mkdir(), "more.png: move it away"),
    "other name": (lambda f: put(f / "COVID" / "scan12.png"), "name like `Covid (12).png`, but found"),
    "browser's copy": (lambda f: put(f / "COVID" / "Covid (1) (1).png"), "Covid (1) (1).png"),
    "number 0": (lambda f: put(f / "COVID" / "Covid (0).png"), "Covid (0).png"),
    "other digits": (lambda f: put(f / "COVID" / "Covid (٣).png"), "name like"),
    "other class": (lambda f: put(f / "COVID" / "Non-Covid (9).png"), "name like `Covid (12).png`"),
    "twin": (lambda f: put(f / "COVID" / "Covid (01).png"), "each image once"),
    "jpeg twin": (lambda f: put(f / "COVID" / "Covid (1).jpg"), "each image once"),
    "broken image": (lambda f: os.truncate(f / "COVID" / "Covid (1).png", 200), "Covid (1).png is a damaged PNG"),
    "no image": (lambda f: put(f / "COVID" / "Covid (1).png"), "not as a PNG image or a JPEG image"),
    "no bytes": (lambda f: os.truncate(f / "COVID" / "Covid (1).png", 0), "is empty (0 bytes)"),
    "empty class": (lambda f: [p.unlink() for p in (f / "COVID").iterdir()], "of the class COVID"),
    "no class": (lambda f: shutil.rmtree(f / "non-COVID"), "non-COVID is missing"),
    "two pairs": (
        lambda f: shutil.copytree(f, f.parent / "x") and shutil.move(f.parent / "x", f / "x"),
        "one set of class",
    ),
    "two of a class": (lambda f: (f / "covid_").mkdir(), "one folder of each class"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_folders_end_in_one_line(case: str, five_slices: Path) -> None:
    change, said = REFUSED[case]
    change(five_slices)
    assert said in error(five_slices)


def test_a_folder_of_something_else_shows_the_layout(tmp_path: Path) -> None:
    put(tmp_path / "patient001.nii.gz")
    assert "COVID/Covid (1).png and non-COVID/Non-Covid (1).png" in error(tmp_path)
    assert "not a folder" in error(tmp_path / "nothing")


# -- cache


def test_what_is_written_comes_back(five_slices: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    data = prepare(SPEC, five_slices, tmp_path / "root", report=lambda *progress: seen.append(progress))
    assert sorted(p.name for p in data.folder.iterdir()) == ["facts.json", "images.npy", "manifest.json"]
    assert data.facts()["Covid (1)"]["format"] == "PNG"
    assert seen == [(name, i + 1, 5) for i, name in enumerate(NAMES)]
    assert data.labels is None
    for i, raw in enumerate(read(five_slices)):
        case = data.cases[i]
        np.testing.assert_array_equal(data.image(i), raw.image)
        assert (case.case, case.patient, case.label) == (raw.case, raw.case, raw.label)
        assert (case.shape, case.spacing, case.voxels) == ((1, 40, 48), None, ())
        assert data.image(i).dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        data.image(0)[0, 0, 0] = 1
    assert data.manifest["counts"] == {"cases": 5, "patients": 5, "classes": [2, 3], "voxels": 5 * 40 * 48}
    assert data.manifest["groups"] == []
    assert str(tmp_path) not in (data.folder / "manifest.json").read_text()
    assert verify(data) == verify(open_prepared(SPEC, tmp_path / "root")) == []
    assert prepare(SPEC, five_slices, tmp_path / "root").kept


def test_channels_of_colour_datasets(five_slices: Path, tmp_path: Path) -> None:
    def colour(folder: Path, layout: str) -> object:
        return [lambda c=c: replace(c, image=np.repeat(c.image, 3, axis=0)) for c in SPEC.read_cases(folder, layout)]

    spec = replace(SPEC, channels=3, list_cases=colour)
    data = prepare(spec, five_slices, tmp_path / "root")
    assert data.image(1).shape == (3, 40, 48)
    with pytest.raises(AssertionError, match="Non-Covid"):
        prepare(replace(spec, channels=1), five_slices, tmp_path / "other")


def test_the_fingerprint_is_the_contents(five_slices: Path, tmp_path: Path) -> None:
    def fingerprint(change: Callable[[RawImage], RawImage]) -> str:
        spec = replace(SPEC, list_cases=lambda *a: [partial(change, case) for case in SPEC.read_cases(*a)])
        return prepare(spec, five_slices, tmp_path, name=f"n{len(list(tmp_path.iterdir()))}").fingerprint

    first = fingerprint(lambda c: c)
    assert fingerprint(lambda c: replace(c, files=c.files[:0])) == first
    changes: list[Callable[[RawImage], RawImage]] = [
        lambda c: replace(c, image=c.image ^ 1),
        lambda c: replace(c, image=c.image.reshape(1, 48, 40)),
        lambda c: replace(c, label=1 - c.label),
        lambda c: replace(c, patient="one"),
    ]
    assert len({first, *map(fingerprint, changes)}) == 5


def test_verify_names_the_image_of_a_flipped_byte(five_slices: Path, tmp_path: Path) -> None:
    path = prepare(SPEC, five_slices, tmp_path).folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (problem,) = verify(open_prepared(SPEC, tmp_path))
    assert "the image of Covid (10)" in problem


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGE: dict[str, Callable[[dict], object]] = {
    "other class": lambda m: m["cases"][0].update(label=1),
    "no such class": lambda m: m["cases"][0].update(label=7),
    "no label": lambda m: m["cases"][0].pop("label"),
    "a group": lambda m: m.update(groups=[["Covid (1)", "Covid (2)"]]),
    "a group of strangers": lambda m: m.update(groups=[["Covid (1)", "Covid (99)"]]),
    "no groups": lambda m: m.pop("groups"),
    "a task": lambda m: m.update(task="segmentation"),
    "unknown task": lambda m: m.update(task="detection"),
    "other version": lambda m: m.update(preparation_version=0),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_manifest_names_replace(damage: str, five_slices: Path, tmp_path: Path) -> None:
    edit(prepare(SPEC, five_slices, tmp_path).folder, DAMAGE[damage])
    with pytest.raises(UserError, match=r"is unusable.*--replace") as caught:
        open_prepared(SPEC, tmp_path)
    assert "\n" not in str(caught.value)
    assert verify(prepare(SPEC, five_slices, tmp_path, replace=True)) == []


def test_a_cache_of_the_other_task_is_refused(five_slices: Path, tmp_path: Path) -> None:
    prepare(SPEC, five_slices, tmp_path, name="acdc")
    with pytest.raises(UserError, match="it is sars-cov2-ct"):
        open_prepared(ACDC, tmp_path)


def test_label_maps_are_not_asked_of_a_classification_cache(five_slices: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no label maps"):
        prepare(SPEC, five_slices, tmp_path).label(0)


# -- real images


def test_real_images(real_data: Path, tmp_path: Path) -> None:
    data = prepare(SPEC, real_data / "sars-cov-2-ct", tmp_path)
    assert [sum(c.label == k for c in data.cases) for k in (0, 1)] == [209, 210]
    assert "Non-Covid (151)" not in {c.case for c in data.cases}
    assert verify(data) == []
    groups = data.manifest["groups"]
    assert ["Covid (128)", "Covid (129)"] in groups
    assert 30 < len(groups) < 60
    parts = part_of(make_split(SPEC, data, "blocks"))
    assert all(len({parts[n] for n in group}) == 1 for group in groups)
    counts = Counter((parts[c.case], c.label) for c in data.cases)
    assert counts == {
        ("train", 0): 120,
        ("train", 1): 120,
        ("val", 0): 30,
        ("val", 1): 30,
        ("test", 0): 59,
        ("test", 1): 60,
    }
    assert assign(data.cases, make_split(SPEC, data, "blocks")).partial


# -- what the commands print


def test_the_texts_name_what_is_known_and_what_is_not(many_slices: Path, five_slices: Path, tmp_path: Path) -> None:
    data = prepared(many_slices, tmp_path)
    text = info_text("sars-cov2-ct", str(tmp_path))
    for said in ("2020.04.24.20078584", "CC BY-NC-SA 4.0", "sarscov2-ctscan-dataset", "1,252 COVID + 1,229 non-COVID"):
        assert said in text
    assert "blocks: default; ours: runs of 15" in text
    assert text.endswith(prepared_text(data))
    lines = prepared_text(data).splitlines()
    assert "217 of 2,481 published images (100 non-COVID + 117 COVID), patients unknown" in lines[0]
    assert lines[2:4] == [
        "sizes     1 different, 48 x 40 to 48 x 40 pixels",
        "alike     0 images in 0 groups of near-duplicates (correlation >= 0.92)",
    ]
    assert lines[5] == (
        "split     random-80-20: images train 157 (72 + 85), val 17 (8 + 9), test 43 (20 + 23); "
        "images of one patient may stand in training and test"
    )
    few = prepared_text(prepared(five_slices, tmp_path / "few"))
    assert "blocks (default): not usable: Expected split 'blocks' to have every class in every part" in few
