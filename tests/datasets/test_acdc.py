"""ACDC's three layouts give the same cases, and each bad file ends in one line that names it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from bench.datasets.base import RawCase
from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import cardiac
from bench.datasets.readers.acdc import SPEC, find_layout, list_cases
from bench.datasets.splits.assignment import assign, load_split, split_names
from bench.errors import UserError
from bench.report.data import prepared_text

LAYOUTS = ("nifti", "ssl4mis", "mtunet")


def read(folder: Path) -> list[RawCase]:
    return list(SPEC.read_cases(folder, find_layout(folder)))


def error(folder: Path) -> str:
    """The one line with which reading fails."""
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_cases(layout: str, writers, volumes, tmp_path: Path) -> None:
    folder = writers[layout](tmp_path, volumes)
    assert find_layout(folder) == layout
    cases = read(folder)
    assert [c.case for c in cases] == sorted(volumes)
    assert len(list_cases(folder, layout)) == len(cases)
    for c in cases:
        image, label = volumes[c.case]
        np.testing.assert_array_equal(c.image, image)
        np.testing.assert_array_equal(c.label, label)
        assert (c.image.dtype, c.label.dtype) == (np.float32, np.uint8)
        assert c.patient == c.case[7:10]
        assert c.spacing == ((9.0, 1.25, 1.5) if layout == "nifti" else None)
        assert all(path.is_file() for path in c.files)


def test_a_volume_that_is_shorter_than_published_is_told(writers, tmp_path: Path) -> None:
    """Patient 022 has 7 slices in the published lists."""
    cut = {f"patient022_{phase}": np.ones((n, 2, 2), np.float32) for phase, n in (("ED", 7), ("ES", 4))}
    writers["nifti"](tmp_path / "raw", {name: (image, image) for name, image in cut.items()})
    lines = prepared_text(prepare(SPEC, tmp_path / "raw", tmp_path / "root")).splitlines()
    short = [line for line in lines if line.startswith("short ")]
    assert short == ["short     1 cases have fewer slices than published: patient022_ES 4/7"]


def test_spec_names_its_splits_and_phantoms() -> None:
    assert set(SPEC.default_split) == set(LAYOUTS)
    assert set(SPEC.default_split.values()) <= set(SPEC.splits) == set(split_names("acdc"))
    assert SPEC.default_split["ssl4mis"] == "ssl4mis"
    assert SPEC.phantom_version == cardiac.VERSION


@pytest.mark.parametrize("layout", LAYOUTS)
def test_subfolders_and_flat_placements_are_accepted(layout: str, writers, volumes, tmp_path: Path) -> None:
    writers[layout](tmp_path, volumes)
    inner = {"nifti": "training", "ssl4mis": "data", "mtunet": "ACDC"}[layout]
    assert [c.case for c in read(tmp_path / inner)] == sorted(volumes)


def test_slices_beside_the_volumes(writers, volumes, tmp_path: Path) -> None:
    writers["ssl4mis"](tmp_path, volumes)
    for path in (tmp_path / "data" / "slices").iterdir():
        path.rename(tmp_path / "data" / path.name)
    assert [c.case for c in read(tmp_path)] == sorted(volumes)


def test_a_volume_goes_before_its_slices(writers, volumes, tmp_path: Path) -> None:
    writers["ssl4mis"](tmp_path, volumes)
    (path,) = (c for c in (tmp_path / "data").glob("patient102_frame01.h5"))
    path.with_name("slices").joinpath("patient102_frame01_slice_1.h5").write_bytes(b"never read")
    cases = {c.case: c for c in read(tmp_path)}
    assert cases["patient102_ED"].files == (path,)


def test_slices_are_stacked_by_number_not_by_name(writers, tmp_path: Path) -> None:
    image = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    volumes = {f"patient101_{p}": (image, image.astype(np.uint8) % 4) for p in ("ED", "ES")}
    writers["ssl4mis"](tmp_path, volumes)
    np.testing.assert_array_equal(read(tmp_path)[0].image[:, 0, 0], np.arange(12))


def test_a_folder_without_acdc_shows_the_three_layouts(tmp_path: Path) -> None:
    (tmp_path / "scan.png").touch()
    message = error(tmp_path)
    assert all(f"{layout}: " in message for layout in LAYOUTS)
    assert "not a folder" in error(tmp_path / "nothing")


def test_a_folder_with_two_layouts_is_refused(writers, volumes, tmp_path: Path) -> None:
    writers["ssl4mis"](tmp_path, volumes)
    writers["mtunet"](tmp_path, volumes)
    assert "ssl4mis and mtunet" in error(tmp_path)


# -- stacks with holes


def unlink(folder: Path, *names: str) -> None:
    for name in names:
        (path,) = folder.rglob(name)
        path.unlink()


@pytest.mark.parametrize(
    ("layout", "removed", "said"),
    [
        ("ssl4mis", ["patient101_frame01_slice_2.h5"], "1 are missing"),
        ("ssl4mis", ["patient101_frame02_slice_1.h5"], "1 are missing"),
        ("mtunet", ["case_101_sliceES_1.npz"], "1 are missing"),
        ("mtunet", ["case_101_sliceED_0.npz", "case_101_sliceED_1.npz"], "2 are missing"),
    ],
)
def test_a_gap_in_a_stack_names_the_missing_files(layout, removed, said, writers, volumes, tmp_path: Path) -> None:
    writers[layout](tmp_path, volumes)
    unlink(tmp_path, *removed)
    message = error(tmp_path)
    assert said in message
    assert all(name in message for name in removed)


def test_slice_numbers_below_the_first_are_refused(writers, volumes, tmp_path: Path) -> None:
    writers["ssl4mis"](tmp_path, volumes)
    (first,) = tmp_path.rglob("patient101_frame01_slice_1.h5")
    first.with_name("patient101_frame01_slice_0.h5").write_bytes(first.read_bytes())
    assert "Expected slices from 1 on" in error(tmp_path)


@pytest.mark.parametrize("layout", ["ssl4mis", "mtunet"])
def test_a_stack_that_ends_early_is_noticed_by_its_published_height(layout, writers, tmp_path: Path) -> None:
    """Patient 022 has 7 slices in the published lists."""
    image = np.ones((6, 2, 2), np.float32)
    volumes = {f"patient101_{p}": (image, image) for p in ("ED", "ES")}
    writers[layout](tmp_path, volumes)
    for path in list(tmp_path.rglob("*101*")):
        path.rename(path.with_name(path.name.replace("101", "022")))
    message = error(tmp_path)
    assert "Expected 7 slices of patient022_ED, but 1 are missing" in message
    assert ("slice_7.h5" if layout == "ssl4mis" else "sliceED_6.npz") in message


@pytest.mark.parametrize(("layout", "pattern"), [("ssl4mis", "patient102_frame02.h5"), ("mtunet", "*102*ES*")])
def test_a_patient_without_one_phase_is_refused(layout, pattern, writers, volumes, tmp_path: Path) -> None:
    writers[layout](tmp_path, volumes)
    unlink(tmp_path, pattern)
    assert "there is no file of patient102_ES" in error(tmp_path)


def test_twins_and_other_frames_are_refused(writers, volumes, tmp_path: Path) -> None:
    writers["ssl4mis"](tmp_path, volumes)
    volume = tmp_path / "data" / "patient102_frame01.h5"
    twin = tmp_path / "patient102_frame01.h5"
    twin.write_bytes(volume.read_bytes())
    assert "once" in error(tmp_path)
    twin.rename(tmp_path / "patient102_frame03.h5")
    assert "patient102_frame03.h5" in error(tmp_path)


# -- bad files


def rewrite(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    """Changes image and label of a file (of a NIfTI pair: `path` is the image)."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            image, label = change(file["image"][()], file["label"][()])
        with h5py.File(path, "w") as file:
            file["image"], file["label"] = image, label
    elif path.suffix == ".npz":
        with np.load(path) as file:
            image, label = change(file["img"], file["label"])
        np.savez(path, img=image, label=label)
    else:
        twin = path.with_name(path.name.replace(".nii", "_gt.nii"))
        pair = change(nibabel.load(path).get_fdata(), nibabel.load(twin).get_fdata())
        for target, array in zip((path, twin), pair, strict=True):
            nibabel.save(nibabel.Nifti1Image(np.asarray(array, np.float32), np.diag([1.5, 1.25, 9, 1])), target)


def put(array: np.ndarray, value: float) -> np.ndarray:
    array = array.astype(np.float64)
    array.flat[:2] = value
    return array


FILES = {
    "nifti": "training/patient101/patient101_frame01.nii.gz",
    "ssl4mis": "data/patient102_frame01.h5",
    "mtunet": "ACDC/train/case_101_sliceED_1.npz",
}
BAD = {
    "nan": (lambda i, g: (put(i, np.nan), g), "2 of "),
    "inf": (lambda i, g: (put(i, np.inf), g), "2 of "),
    "class 4": (lambda i, g: (i, put(g, 4)), "Expected labels from 0 to 3"),
    "class -1": (lambda i, g: (i, put(g, -1)), "found -1 (2 voxels)"),
    "half": (lambda i, g: (i, put(g, 1.5)), "Expected integer labels"),
    "nan label": (lambda i, g: (i, put(g, np.nan)), "Expected integer labels"),
    "shape": (lambda i, g: (i, g[:-1]), "to have the image's shape"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", BAD)
def test_bad_values_are_named_with_their_file(layout: str, bad: str, writers, volumes, tmp_path: Path) -> None:
    path = writers[layout](tmp_path, volumes) / FILES[layout]
    change, said = BAD[bad]
    rewrite(path, change)
    message = error(tmp_path)
    assert said in message
    assert path.name.split(".")[0] in message


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_named(layout: str, share: float, writers, volumes, tmp_path: Path) -> None:
    path = writers[layout](tmp_path, volumes) / FILES[layout]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = error(tmp_path)
    assert str(path) in message
    assert ("is empty" if share == 0 else "cannot be read") in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_damage_gives_cases_or_one_line(layout: str, writers, volumes, tmp_path: Path) -> None:
    path = writers[layout](tmp_path, volumes) / FILES[layout]
    content, rng, messages = path.read_bytes(), np.random.default_rng(1), []
    for _ in range(40):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 8):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read(tmp_path)
        except UserError as caught:
            messages.append(str(caught))
    assert messages
    assert all(path.name.split(".")[0] in message for message in messages)


def test_foreign_bytes_and_pickles_are_refused(writers, volumes, tmp_path: Path) -> None:
    path = writers["mtunet"](tmp_path, volumes) / FILES["mtunet"]
    path.write_bytes(b"not a zip archive")
    assert str(path) in error(tmp_path)
    np.savez(path, img=np.array([[{}]], object), label=np.eye(1))
    assert "allow_pickle" in error(tmp_path)
    with path.open("wb") as file:
        np.save(file, np.eye(3))
    assert "single array" in error(tmp_path)


@pytest.mark.parametrize(("layout", "key"), [("ssl4mis", "label"), ("mtunet", "img")])
def test_a_missing_key_is_named(layout: str, key: str, writers, volumes, tmp_path: Path) -> None:
    path = writers[layout](tmp_path, volumes) / FILES[layout]
    if layout == "ssl4mis":
        with h5py.File(path, "a") as file:
            del file[key]
    else:
        np.savez(path, image=np.ones((6, 5)), label=np.ones((6, 5)))
    assert f"{key} is missing" in error(tmp_path)


def test_slices_of_two_shapes_are_refused(writers, volumes, tmp_path: Path) -> None:
    path = writers["mtunet"](tmp_path, volumes) / FILES["mtunet"]
    np.savez(path, img=np.ones((4, 4)), label=np.ones((4, 4)))
    assert "one shape" in error(tmp_path)


# -- nifti only


def test_missing_labels_are_named(writers, volumes, tmp_path: Path) -> None:
    writers["nifti"](tmp_path, volumes)
    unlink(tmp_path, "patient101_frame09_gt.nii.gz")
    assert "patient101_frame09_gt.nii.gz is missing" in error(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ED: 1\nES: 12\n", "Expected the frames 1 and 12"),
        ("ED: 9\nES: 1\n", "but it has ED 9 and ES 1"),
        ("ED: 1\nGroup: NOR\n", "but it has ED"),
        ("", "Info.cfg is empty"),
        ("ED = 1\n", "but it has neither"),
        (None, "Info.cfg is missing"),
    ],
)
def test_info_must_agree_with_the_files(text, said, writers, volumes, tmp_path: Path) -> None:
    path = writers["nifti"](tmp_path, volumes) / "training" / "patient102" / "Info.cfg"
    path.unlink() if text is None else path.write_text(text)
    message = error(tmp_path)
    assert said in message
    assert "patient102" in message


def header_bytes(path: Path, offset: int, value: bytes) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize("zoom", [0.0, -1.0, np.nan])
def test_a_voxel_size_that_is_not_positive_is_refused(zoom: float, writers, volumes, tmp_path: Path) -> None:
    """nibabel itself would silently read a zero as 1 mm. Byte 88 of the header is pixdim[3]."""
    path = writers["nifti"](tmp_path, volumes) / FILES["nifti"]
    header_bytes(path, 88, np.float32(zoom).tobytes())
    assert "positive voxel size" in error(tmp_path)


@pytest.mark.parametrize(("units", "name"), [(1, "meter"), (3, "micron")])
def test_units_other_than_mm_are_refused(units: int, name: str, writers, volumes, tmp_path: Path) -> None:
    path = writers["nifti"](tmp_path, volumes) / FILES["nifti"]
    header_bytes(path, 123, bytes([units]))
    assert name in error(tmp_path)


def test_a_patient_in_training_and_testing_is_refused(writers, volumes, tmp_path: Path) -> None:
    writers["nifti"](tmp_path, volumes)
    (tmp_path / "testing" / "patient101").mkdir(parents=True)
    (tmp_path / "testing" / "patient101" / "Info.cfg").write_text("ED: 1\nES: 9\n")
    assert "Expected each patient once" in error(tmp_path)


# -- the real files


def test_real_files(real_data: Path) -> None:
    folder = real_data / "acdc"
    assert find_layout(folder) == "ssl4mis"
    cases = read(folder)
    assert len(cases) == 76
    assert {len({c.case for c in cases if c.patient == p}) for p in {c.patient for c in cases}} == {2}
    assignment = assign(cases, load_split("acdc", "ssl4mis"))
    present = {p: (c["present_patients"], c["official_patients"], c["cases"]) for p, c in assignment.counts.items()}
    assert present == {"train": (20, 70, 40), "val": (6, 10, 12), "test": (12, 20, 24)}
    assert assignment.partial
    assert assignment.left_out == 0
    assert sum(len(cases[i].image) for i in assignment.indices["train"]) == 372
    by_case = {c.case: c for c in cases}
    cavity = {k: np.count_nonzero(c.label == 3) for k, c in by_case.items()}
    assert all(cavity[k] > cavity[k.replace("ED", "ES")] for k in cavity if k.endswith("ED"))


def test_a_stray_slice_number_is_an_error_at_once(writers, volumes, tmp_path: Path) -> None:
    folder = writers["ssl4mis"](tmp_path, volumes)
    example = next(tmp_path.rglob("*_slice_1.h5"))
    shutil.copy(example, example.with_name(example.name.replace("slice_1.", "slice_99999999999.")))
    line = error(folder)
    assert line.startswith("Expected at most 1000 slices of patient101_E")
    assert line.endswith("slice_99999999999.h5.")
