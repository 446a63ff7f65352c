"""Synapse: its two layouts, its label orders, what is refused, its split and its phantoms."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import abdomen
from bench.datasets.readers.synapse import CLASSES, ORDERS, SPEC, find_layout
from bench.datasets.splits.assignment import load_list, load_split
from bench.errors import UserError
from bench.report.data import prepared_text

# The ids of CLASSES in each order of the files; BTCV's organs that are no class are 5, 9, 10, 12 and 13.
IDS = {
    "transunet": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "cascade": (0, 8, 4, 3, 2, 6, 5, 1, 7),
    "btcv": (0, 8, 4, 3, 2, 6, 11, 1, 7),
}


def anatomy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A CT (3, 24, 24) in 0..1 and its labels by CLASSES: a large liver by the right kidney, the others small."""
    label = np.zeros((3, 24, 24), np.uint8)
    for k, (y, x) in {1: (12, 12), 2: (10, 8), 3: (18, 18), 4: (18, 6), 6: (10, 14), 7: (14, 20), 8: (5, 18)}.items():
        label[1, y : y + 2, x : x + 2] = k
    label[:, 2:9, 1:9] = 5
    image = np.random.default_rng(seed).random((3, 24, 24)).astype(np.float32)
    return image, label


def write(folder: Path, order: str = "transunet", slices: tuple[str, ...] = ("0005",), volumes=("0001",)) -> Path:
    (folder / "train_npz").mkdir(parents=True)
    (folder / "test_vol_h5").mkdir()
    for patient in (*slices, *volumes):
        image, label = anatomy(int(patient))
        label = np.array(IDS[order])[label].astype(np.float32)
        if order == "btcv":
            label[2, 20, 20], label[2, 21, 21] = 9, 5
        for z in range(3) if patient in slices else ():
            np.savez(folder / "train_npz" / f"case{patient}_slice{z:03d}.npz", image=image[z], label=label[z])
        if patient in volumes:
            with h5py.File(folder / "test_vol_h5" / f"case{patient}.npy.h5", "w") as file:
                file["image"], file["label"] = image, label
    return folder


def write_btcv(folder: Path) -> Path:
    """The same CTs as NIfTI, from -125 to 275 HU and beyond."""
    for place in ("img", "label"):
        (folder / "RawData" / "Training" / place).mkdir(parents=True)
    for patient in ("0001", "0005"):
        image, label = anatomy(int(patient))
        hu = (image * 400 - 125).astype(np.float32)
        hu[0, 0, :2] = -1000, 3000
        for place, array in (("img", hu), ("label", np.array(IDS["btcv"], np.uint8)[label])):
            nifti = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([0.8, 0.7, 3, 1]))
            nifti.header.set_xyzt_units("mm")
            nibabel.save(nifti, folder / "RawData" / "Training" / place / f"{place}{patient}.nii.gz")
    return folder


def read(folder: Path) -> dict[str, object]:
    return {case.case: case for case in SPEC.read_cases(folder, find_layout(folder))}


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("order", "layout"), [("transunet", "transunet"), ("cascade", ""), ("btcv", "")])
def test_every_order_of_labels_ends_in_the_same_classes(order: str, layout: str, tmp_path: Path) -> None:
    folder = write(tmp_path, order)
    assert find_layout(folder) == (layout or f"transunet, labels as {order}")
    cases = read(folder)
    assert list(cases) == ["case0001", "case0005"]
    for case in cases.values():
        image, label = anatomy(int(case.patient))
        np.testing.assert_array_equal(case.label, label)
        np.testing.assert_array_equal(case.image, image)
        assert case.spacing is None


def test_the_orders_are_permutations_of_the_classes() -> None:
    for order, classes in ORDERS.items():
        assert [classes[i] for i in IDS[order]] == list(range(9)), order
    assert CLASSES[ORDERS["cascade"][1]] == "spleen"


def test_btcv_is_clipped_scaled_and_keeps_its_spacing(tmp_path: Path) -> None:
    folder = write_btcv(tmp_path)
    assert find_layout(folder) == "btcv"
    for case in read(folder).values():
        image, label = anatomy(int(case.patient))
        image[0, 0, :2] = 0, 1
        np.testing.assert_allclose(case.image, image, atol=1e-6)
        np.testing.assert_array_equal(case.label, label)
        assert case.spacing == (3, 0.7, 0.8)


def test_the_layout_with_its_order_is_recorded(tmp_path: Path) -> None:
    data = prepare(SPEC, write(tmp_path / "a", "cascade"), tmp_path / "root")
    assert data.manifest["layout"] == "transunet, labels as cascade"
    assert data.manifest["classes"] == list(CLASSES)
    assert data.layout in SPEC.default_split


def test_an_order_that_is_told_is_taken_and_checked(tmp_path: Path) -> None:
    folder = write(tmp_path, "cascade")
    (folder / "label_order.txt").write_text("transunet\n")
    assert find_layout(folder) == "transunet"
    assert "larger than the liver" in refused(folder)
    (folder / "label_order.txt").write_text("alphabetical")
    assert "to hold transunet or cascade or btcv, but it has 'alphabetical'" in refused(folder)


def test_two_orders_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "transunet", slices=())
    other = write(tmp_path / "b", "cascade", volumes=())
    for path in (other / "train_npz").iterdir():
        path.rename(folder / "train_npz" / path.name)
    assert "case0005_slice000.npz in the order transunet" in refused(folder)


def test_swapped_kidneys_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, slices=())
    with h5py.File(folder / "test_vol_h5" / "case0001.npy.h5", "r+") as file:
        label = file["label"][()]
        file["label"][()] = np.array([0, 1, 2, 4, 3, 5, 6, 7, 8])[label.astype(int)]
    assert "the right kidney would lie farther from the liver" in refused(folder)


def test_an_order_that_cannot_be_seen_has_to_be_told(tmp_path: Path) -> None:
    folder = write(tmp_path, slices=("0005",), volumes=())
    for z in (0, 1):
        (folder / "train_npz" / f"case0005_slice{z:03d}.npz").unlink()
    (folder / "train_npz" / "case0005_slice002.npz").rename(folder / "train_npz" / "case0005_slice000.npz")
    assert "write transunet or cascade or btcv into" in refused(folder)
    (folder / "label_order.txt").write_text("transunet")
    assert set(np.unique(read(folder)["case0005"].label)) == {0, 5}


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def change(name: str, what: str, value: float) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with h5py.File(folder / name, "r+") as file:
            file[what][0, 0, 0] = value

    return edit


VOLUME = "test_vol_h5/case0001.npy.h5"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a hole": (drop("train_npz/case0005_slice001.npz"), "case0005_slice001.npz is missing"),
    "label 14": (change(VOLUME, "label", 14), "Expected labels from 0 to 13"),
    "label 9 of TransUNet's": (change(VOLUME, "label", -1), "but found -1"),
    "raw HU": (change(VOLUME, "image", -900), "Expected intensities from 0 to 1"),
    "NaN": (change(VOLUME, "image", np.nan), "1 of 1728 are NaN or infinite"),
    "truncated": (lambda f: os.truncate(f / VOLUME, 2000), "cannot be read, it may be truncated"),
    "two layouts": (lambda f: write_btcv(f), "found transunet and btcv"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_files_end_in_one_line(case: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    REFUSED[case][0](folder)
    assert REFUSED[case][1] in refused(folder)


def test_no_synapse_files_name_the_layouts(tmp_path: Path) -> None:
    assert "train_npz/case0005_slice000.npz" in refused(tmp_path)
    assert "is not a folder" in refused(tmp_path / "nowhere")


def test_slices_and_volume_of_one_case_have_to_agree(tmp_path: Path) -> None:
    folder = write(tmp_path, slices=("0005",), volumes=("0005",))
    assert len(read(folder)["case0005"].files) == 4
    change("test_vol_h5/case0005.npy.h5", "image", 0.5)(folder)
    assert "Expected the slices of case0005 to be those of" in refused(folder)


def test_the_split_is_the_published_one_with_validation_carved_out_of_training() -> None:
    split = load_split("synapse", "transunet")
    assert {part: len(patients) for part, patients in split.parts.items()} == {"train": 15, "val": 3, "test": 12}
    assert split.parts["test"][:3] == ("0008", "0022", "0038")
    assert split.note.startswith("validation: 3 of the 18 published training patients")
    slices = load_list("synapse", "transunet")["slices"]
    assert sum(slices[patient] for part in ("train", "val") for patient in split.parts[part]) == 2211


def test_a_stack_that_is_shorter_than_published_is_told(tmp_path: Path) -> None:
    data = prepare(SPEC, write(tmp_path / "a", slices=("0005", "0006")), tmp_path / "root")
    said = "short     2 cases have fewer slices than published: case0005 3/117, case0006 3/131"
    assert said in prepared_text(data).splitlines()


@pytest.mark.slow
def test_the_real_label_volumes_agree_with_the_order(real_data: Path) -> None:
    from bench.datasets.readers.synapse import _in_our_order

    paths = sorted((real_data / "synapse-labels" / "btcv_labels_only_resampled").glob("*.nii.gz"))
    assert len(paths) == 30
    for path in paths:
        label = np.asarray(nibabel.load(path).dataobj).astype(np.uint8).transpose(2, 1, 0)
        ours = _in_our_order(path, label, "btcv")
        assert np.count_nonzero(ours == CLASSES.index("liver")) == np.count_nonzero(label == 6)


# -- phantoms ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_phantoms_have_every_organ_at_its_place(tmp_path: Path) -> None:
    shown = np.zeros(9)
    for seed in range(4):
        image, label = abdomen.new_patient(np.random.default_rng(seed))
        voxels = np.bincount(label.ravel(), minlength=9)
        shown += voxels > 0
        centre = {k: np.argwhere(label == k).mean(0) for k in np.flatnonzero(voxels)}
        middle = (abdomen.SIDE - 1) / 2
        assert voxels[1:].argmax() == CLASSES.index("liver") - 1
        assert centre[5][2] < middle < centre[7][2], "the liver is on the patient's right, the spleen on the left"
        assert centre[4][2] < centre[3][2], "right kidney, left kidney"
        assert centre[1][1] > centre[6][1], "the aorta lies behind the pancreas"
        tone = {k: np.median(image[label == k]) for k in (1, 3, 5, 8)}
        assert tone[3] > tone[1] > tone[5] > tone[8]
    assert (shown[[1, 3, 4, 5, 6, 7, 8]] == 4).all()


@pytest.mark.slow
def test_phantoms_are_the_same_for_a_seed_and_fill_every_part(tmp_path: Path) -> None:
    few = {"train": 1, "val": 1, "test": 1}
    data = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        abdomen.draw(tmp_path / name, seed, few)
        data.append(prepare(SPEC, tmp_path / name, tmp_path / f"root-{name}", kind="phantom"))
    assert data[0].fingerprint == data[1].fingerprint != data[2].fingerprint
    parts = load_split("synapse", "transunet").parts
    assert {case.patient for case in data[0].cases} == {patients[0] for patients in parts.values()}
    assert json.loads((data[0].folder / "manifest.json").read_text())["layout"] == "transunet"
