"""SARS-COV2-CT-Scan: its folders, what is refused, its cache and its two splits."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.datasets.base import PARTS, Prepared, RawImage, Split
from bench.datasets.cache.prepared import open_prepared, prepare, verify
from bench.datasets.phantoms import lung
from bench.datasets.readers.acdc import SPEC as ACDC
from bench.datasets.readers.sars_cov2_ct import BLOCK, CLASSES, SPEC, find_layout, list_cases
from bench.datasets.splits.assignment import assign, make_split
from bench.errors import UserError
from bench.report.data import info_text, prepared_text


def slice_pixels(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth random picture (H, W) uint8; those of two seeds do not resemble each other."""
    field = gaussian_filter(np.random.default_rng(seed).random((height, width)), 3)
    return ((field - field.min()) / (field.max() - field.min()) * 255).astype(np.uint8)


def write_slices(folder: Path, covid: Iterable[int], other: Iterable[int]) -> Path:
    """A folder as SARS-COV2-CT-Scan has it, COVID as RGB and non-COVID as RGBA, with these numbers."""
    for name, stem, mode, numbers in (("COVID", "Covid", "RGB", covid), ("non-COVID", "Non-Covid", "RGBA", other)):
        (folder / name).mkdir(parents=True)
        for number in numbers:
            seed = 10 * number + (name == "COVID")
            Image.fromarray(slice_pixels(seed)).convert(mode).save(folder / name / f"{stem} ({number}).png")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "source", covid=(1, 2, 10), other=(3, 4))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight blocks of COVID and seven of the others, the last ones not full."""
    return write_slices(tmp_path_factory.mktemp("many"), covid=range(1, 118), other=range(1, 101))


def read(folder: Path) -> list[RawImage]:
    return list(SPEC.read_cases(folder, find_layout(folder)))


def error(folder: Path) -> str:
    """The one line with which reading fails."""
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAMES = ["Non-Covid (3)", "Non-Covid (4)", "Covid (1)", "Covid (2)", "Covid (10)"]


def test_the_images_come_in_order_of_their_numbers_as_grey(source: Path) -> None:
    cases = read(source)
    assert [c.case for c in cases] == [c.patient for c in cases] == NAMES
    assert [c.label for c in cases] == [0, 0, 1, 1, 1]
    assert len(list_cases(source, "folders")) == 5
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


def nest(source: Path, *folders: str) -> Path:
    """Moves the folder's content into folders inside it."""
    inner = source.with_name("moved")
    source.rename(inner)
    place = source.joinpath(*folders)
    place.parent.mkdir(parents=True)
    inner.rename(place)
    return source


@pytest.mark.parametrize("folders", [("X",), ("X", "X"), ("sarscov2-ctscan-dataset", "data")])
def test_doubled_folders(folders: tuple[str, ...], source: Path) -> None:
    assert [c.case for c in read(nest(source, *folders))] == NAMES


def test_doubled_class_folders_other_spellings_and_litter(source: Path) -> None:
    (source / "COVID").rename(source / "x")
    (source / "Covid").mkdir()
    (source / "x").rename(source / "Covid" / "COVID")
    (source / "non-COVID").rename(source / "Non_Covid")
    place = source / "Non_Covid"
    (place / "Non-Covid (3).png").rename(place / "non-covid(3).PNG")
    (place / "Non-Covid (4).png").rename(place / "Non-Covid (4).Jpg")
    for litter in (source / ".DS_Store", place / "Thumbs.db", place / "._Non-Covid (4).png", source / "readme.txt"):
        litter.touch()
    (source / "__MACOSX" / "COVID").mkdir(parents=True)
    assert [c.case for c in read(source)] == NAMES


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
def test_bad_folders_end_in_one_line(case: str, source: Path) -> None:
    change, said = REFUSED[case]
    change(source)
    assert said in error(source)


def test_a_folder_of_something_else_shows_the_layout(tmp_path: Path) -> None:
    put(tmp_path / "patient001.nii.gz")
    assert "COVID/Covid (1).png and non-COVID/Non-Covid (1).png" in error(tmp_path)
    assert "not a folder" in error(tmp_path / "nothing")


# -- cache


def test_what_is_written_comes_back(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    data = prepare(SPEC, source, tmp_path / "root", report=lambda *progress: seen.append(progress))
    assert sorted(p.name for p in data.folder.iterdir()) == ["facts.json", "images.npy", "manifest.json"]
    assert data.facts()["Covid (1)"]["format"] == "PNG"
    assert seen == [(name, i + 1, 5) for i, name in enumerate(NAMES)]
    assert data.labels is None
    for i, raw in enumerate(read(source)):
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
    assert prepare(SPEC, source, tmp_path / "root").kept


def test_channels_of_colour_datasets(source: Path, tmp_path: Path) -> None:
    def colour(folder: Path, layout: str) -> object:
        return [lambda c=c: replace(c, image=np.repeat(c.image, 3, axis=0)) for c in SPEC.read_cases(folder, layout)]

    spec = replace(SPEC, channels=3, list_cases=colour)
    data = prepare(spec, source, tmp_path / "root")
    assert data.image(1).shape == (3, 40, 48)
    with pytest.raises(AssertionError, match="Non-Covid"):
        prepare(replace(spec, channels=1), source, tmp_path / "other")


def test_the_fingerprint_is_the_contents(source: Path, tmp_path: Path) -> None:
    def fingerprint(change: Callable[[RawImage], RawImage]) -> str:
        spec = replace(SPEC, list_cases=lambda *a: [partial(change, case) for case in SPEC.read_cases(*a)])
        return prepare(spec, source, tmp_path, name=f"n{len(list(tmp_path.iterdir()))}").fingerprint

    first = fingerprint(lambda c: c)
    assert fingerprint(lambda c: replace(c, files=c.files[:0])) == first
    changes: list[Callable[[RawImage], RawImage]] = [
        lambda c: replace(c, image=c.image ^ 1),
        lambda c: replace(c, image=c.image.reshape(1, 48, 40)),
        lambda c: replace(c, label=1 - c.label),
        lambda c: replace(c, patient="one"),
    ]
    assert len({first, *map(fingerprint, changes)}) == 5


def test_verify_names_the_image_of_a_flipped_byte(source: Path, tmp_path: Path) -> None:
    path = prepare(SPEC, source, tmp_path).folder / "images.npy"
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
def test_a_broken_manifest_names_replace(damage: str, source: Path, tmp_path: Path) -> None:
    edit(prepare(SPEC, source, tmp_path).folder, DAMAGE[damage])
    with pytest.raises(UserError, match=r"is unusable.*--replace") as caught:
        open_prepared(SPEC, tmp_path)
    assert "\n" not in str(caught.value)
    assert verify(prepare(SPEC, source, tmp_path, replace=True)) == []


def test_a_cache_of_the_other_task_is_refused(source: Path, tmp_path: Path) -> None:
    prepare(SPEC, source, tmp_path, name="acdc")
    with pytest.raises(UserError, match="it is sars-cov2-ct"):
        open_prepared(ACDC, tmp_path)


def test_label_maps_are_not_asked_of_a_classification_cache(source: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no label maps"):
        prepare(SPEC, source, tmp_path).label(0)


# -- splits


def prepared(folder: Path, root: Path) -> Prepared:
    return prepare(SPEC, folder, root, replace=True)


def part_of(split: Split) -> dict[str, str]:
    return {name: part for part in PARTS for name in split.parts[part]}


def block(name: str) -> tuple[bool, int]:
    return name.startswith("Non"), (int(name.split("(")[1][:-1]) - 1) // BLOCK


def copied(many: Path, folder: Path) -> Path:
    """The same files under hard links, so that some may be taken away."""
    return shutil.copytree(many, folder, copy_function=os.link)


def test_blocks_stay_together_and_every_class_is_shared_out(many: Path, tmp_path: Path) -> None:
    data = prepared(many, tmp_path)
    split = make_split(SPEC, data, "blocks")
    parts = part_of(split)
    assert sorted(parts) == sorted(case.case for case in data.cases)
    assert all(len({parts[n] for n in parts if block(n) == b}) == 1 for b in map(block, parts))
    for label, total in ((0, 100), (1, 117)):
        counts = Counter(parts[c.case] for c in data.cases if c.label == label)
        assert abs(counts["train"] / total - 0.6) < 0.15
        assert abs(counts["test"] / total - 0.25) < 0.15
        assert counts["val"] >= 10
    assert split.flag is None
    assert "cannot exclude it: patients unknown" in split.source


def test_blocks_that_share_near_duplicates_are_one_group(many: Path, tmp_path: Path) -> None:
    """A COVID image comes again under another number, and under the other class."""
    folder = copied(many, tmp_path / "source")
    before = part_of(make_split(SPEC, prepared(folder, tmp_path / "before"), "blocks"))
    across = {b: next(n for n in before if block(n) == b) for b in set(map(block, before))}
    apart = [n for n in across.values() if before[n] != before["Covid (20)"]]
    far, other = (next(n for n in apart if n.startswith(stem)) for stem in ("Covid", "Non"))
    for name in (far, other):
        path = folder / ("COVID" if name.startswith("Covid") else "non-COVID") / f"{name}.png"
        path.unlink()
        noise = np.random.default_rng(0).integers(-6, 7, (40, 48))
        pixels = (slice_pixels(201).astype(int) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    data = prepared(folder, tmp_path / "after")
    assert [set(group) for group in data.manifest["groups"]] == [{"Covid (20)", far, other}]
    parts = part_of(make_split(SPEC, data, "blocks"))
    tied = {block(n) for n in ("Covid (20)", far, other)}
    assert len({parts[n] for n in parts if block(n) in tied}) == 1


@pytest.mark.parametrize("name", SPEC.splits)
def test_the_order_of_the_files_is_of_no_account(name: str, many: Path, tmp_path: Path) -> None:
    def shuffled(folder: Path, layout: str) -> object:
        cases = list_cases(folder, layout)
        random.Random(1).shuffle(cases)
        return cases

    first = make_split(SPEC, prepared(many, tmp_path / "a"), name)
    spec = replace(SPEC, list_cases=shuffled)
    second = make_split(spec, prepare(spec, many, tmp_path / "b"), name)
    assert part_of(first) == part_of(second)


def test_a_missing_file_moves_no_other_image_of_the_blocks(many: Path, tmp_path: Path) -> None:
    full = part_of(make_split(SPEC, prepared(many, tmp_path / "full"), "blocks"))
    folder = copied(many, tmp_path / "source")
    for stem, numbers in (("COVID/Covid", (1, 17, 40, 41, 117)), ("non-COVID/Non-Covid", (15, 60, 99))):
        for number in numbers:
            (folder / f"{stem} ({number}).png").unlink()
    less = part_of(make_split(SPEC, prepared(folder, tmp_path / "less"), "blocks"))
    assert len(less) == len(full) - 8
    assert all(full[name] == part for name, part in less.items())


def test_random_80_20_is_flagged_and_splits_neighbours(many: Path, tmp_path: Path) -> None:
    data = prepared(many, tmp_path)
    split = make_split(SPEC, data, "random-80-20")
    assert split.flag == "images of one patient may stand in training and test"
    parts = part_of(split)
    counts = {label: Counter(parts[c.case] for c in data.cases if c.label == label) for label in (0, 1)}
    assert counts == {0: {"train": 72, "val": 8, "test": 20}, 1: {"train": 85, "val": 9, "test": 23}}
    assert len({parts[n] for n in parts if block(n) == (False, 0)}) > 1


def test_counts_have_no_official_list_and_partial_is_of_the_published_images(many: Path, tmp_path: Path) -> None:
    data = prepared(many, tmp_path)
    split = make_split(SPEC, data, "random-80-20")
    result = assign(data.cases, split)
    assert result.counts["test"] == {"present_patients": 43, "official_patients": None, "cases": 43}
    assert result.partial
    assert result.left_out == 0
    assert sorted(i for part in result.indices.values() for i in part) == list(range(217))
    assert not assign(data.cases, replace(split, official_cases=271)).partial  # 217 are 80.07 %
    assert assign(data.cases, replace(split, official_cases=272)).partial
    assert split.official_cases == 2481


def test_too_few_images_for_a_split_are_named(source: Path, tmp_path: Path) -> None:
    data = prepared(source, tmp_path)
    with pytest.raises(UserError, match="split 'blocks' to have every class in every part, but val has no image of"):
        make_split(SPEC, data, "blocks")
    with pytest.raises(UserError, match="Did you mean: blocks"):
        make_split(SPEC, data, "block")


def test_the_specification(many: Path) -> None:
    assert set(SPEC.split_functions) == set(SPEC.splits) == set(SPEC.split_notes)
    assert SPEC.default_split == {find_layout(many): "blocks"}
    assert (SPEC.classes, SPEC.phantom_version) == (CLASSES, lung.VERSION)


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


def test_the_texts_name_what_is_known_and_what_is_not(many: Path, source: Path, tmp_path: Path) -> None:
    data = prepared(many, tmp_path)
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
    few = prepared_text(prepared(source, tmp_path / "few"))
    assert "blocks (default): not usable: Expected split 'blocks' to have every class in every part" in few
