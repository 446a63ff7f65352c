"""DICOM in a user's data: series as volumes, single files as pictures, and one line without the library."""

from __future__ import annotations

import gzip
import locale
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from own_folders import SIDE, added, disc, picture, save, understood

from bench.datasets.own.axes import check_axes
from bench.datasets.own.items import Item
from bench.datasets.own.reading import read_own_volume
from bench.errors import UserError
from bench.runs.inputs import list_inputs, read_input
from bench.runs.predicting import _as_nifti

sitk = pytest.importorskip("SimpleITK")


ROWS = "1\\0\\0\\0\\1\\0"  # of an axial slice


def write_series(folder: Path, array: np.ndarray, spacing: tuple[float, float, float], rows: str = ROWS) -> Path:
    """(D, H, W) int16 as a file for each slice, axial unless `rows` says else; spacing (x, y, z) in mm."""
    folder.mkdir(parents=True)
    before = locale.setlocale(locale.LC_ALL)  # ITK's writer leaves another, under which text would be ASCII
    uid = f"1.2.826.0.1.{abs(hash(folder.name)) % 10**8}"
    for z, plane in enumerate(array):
        image = sitk.GetImageFromArray(plane)
        image.SetSpacing(spacing[:2])
        for tag, value in {
            "0008|0060": "CT",
            "0020|000d": uid,
            "0020|000e": f"{uid}.1",
            "0020|0013": str(z),
            "0020|0032": f"0\\0\\{z * spacing[2]}",
            "0020|0037": rows,
            "0018|0050": str(spacing[2]),
            "0028|1050": "128",
            "0028|1051": "256",
        }.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{z}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)
    return folder


def test_a_series_is_a_volume_on_its_label_maps_grid(root: Path, tmp_path: Path) -> None:
    for i in range(2):
        array = np.stack([picture(10 * i + z) for z in range(4)]).astype(np.int16) - 100
        write_series(tmp_path / "raw" / "images" / f"v{i}", array, (1.5, 1.5, 4.0))
        label = np.stack([disc(i, (0, 1))] * 4)
        label[0] = 0
        # as converters write it: rows from front to back are mirrored, and NIfTI's x and y point the other way
        grid = np.diag([-1.5, 1.5, 4.0, 1.0])
        grid[1, 3] = -1.5 * (SIDE - 1)
        file = nibabel.Nifti1Image(label[:, ::-1].transpose(2, 1, 0), grid)
        file.header.set_xyzt_units("mm", "sec")
        (tmp_path / "raw" / "labels").mkdir(exist_ok=True)
        nibabel.save(file, tmp_path / "raw" / "labels" / f"v{i}.nii.gz")
    prepared = added(root, tmp_path / "raw")
    assert prepared.cases[1].spacing == (4.0, 1.5, 1.5)
    expected = np.stack([picture(10 + z) for z in range(4)]).astype(np.float32)[:, ::-1] - 100
    np.testing.assert_array_equal(prepared.image(1), expected)
    np.testing.assert_array_equal(prepared.label(1)[1], disc(1, (0, 1))[::-1])


def test_further_label_maps_of_a_series_lie_on_its_grid_or_are_one_line(root: Path, tmp_path: Path) -> None:
    for i in range(2):
        write_series(tmp_path / "raw" / f"v{i}", np.zeros((4, SIDE, SIDE), np.int16), (1.5, 1.5, 4.0))
        label = np.stack([disc(i, (0, 1))] * 4)
        for name, first in ((f"v{i}_mask", -1.5), (f"v{i}_mask_1", -1.5 if i == 0 else 1.5)):
            file = nibabel.Nifti1Image(label.transpose(2, 1, 0), np.diag([first, -1.5, 4.0, 1.0]))
            nibabel.save(file, tmp_path / "raw" / f"{name}.nii.gz")
    items = sorted(understood(root, tmp_path / "raw").found.items, key=lambda item: item.case)
    case = read_own_volume(items[0], 1, ("background", "a"), {})
    assert {path.name for path in case.files} >= {"0.dcm", "v0_mask.nii.gz", "v0_mask_1.nii.gz"}
    with pytest.raises(UserError, match=r"v1_mask_1.nii.gz to have the affine of .*v1, but .*, x mirrored"):
        read_own_volume(items[1], 1, ("background", "a"), {})


def test_sagittal_and_axial_series_are_one_line(tmp_path: Path) -> None:
    array = np.zeros((2, SIDE, SIDE), np.int16)
    axial = write_series(tmp_path / "axial", array, (1, 1, 4))
    sagittal = write_series(tmp_path / "sagittal", array, (1, 1, 4), "0\\1\\0\\0\\0\\-1")
    assert check_axes([Item("a", axial), Item("b", axial)]) == []
    with pytest.raises(UserError, match=r"1 have xyz, such as .*axial, and 1 yzx, such as .*sagittal"):
        check_axes([Item("a", axial), Item("b", sagittal)])


def test_single_files_are_pictures_by_their_window(root: Path, tmp_path: Path) -> None:
    for k, name in enumerate(("a", "b")):
        folder = write_series(
            tmp_path / name, np.stack([picture(10 * k + z) for z in range(3)]).astype(np.int16), (1, 1, 1)
        )
        (tmp_path / "raw").mkdir(exist_ok=True)
        folder.rename(tmp_path / "raw" / name)
        (tmp_path / "raw" / name / "0.dcm").rename(tmp_path / "raw" / name / "CT.1.0")  # as scanners name them
    prepared = added(root, tmp_path / "raw")
    assert [case.case for case in prepared.cases[:3]] == ["a/1", "a/2", "a/CT.1.0"]
    np.testing.assert_allclose(prepared.image(2)[0].astype(int), picture(0), atol=1)


def test_without_the_library_there_is_one_line(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "raw" / "images" / "v", np.zeros((2, SIDE, SIDE), np.int16), (1, 1, 1))
    save(tmp_path / "raw" / "masks" / "v.png", disc(1))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        UserError, match=r"is DICOM, which SimpleITK reads: install it with `pip install 'medbench\[dicom\]'`"
    ):
        added(root, tmp_path / "raw")


def test_predict_reads_series_and_single_files_as_data_add_does(tmp_path: Path) -> None:
    array = np.stack([picture(z) for z in range(3)]).astype(np.int16)
    series = write_series(tmp_path / "in" / "v1", array, (1.5, 1.5, 4.0))
    assert list_inputs(tmp_path / "in", "segmentation") == {"v1": series}
    np.testing.assert_array_equal(read_input(series, "segmentation", 1), array)
    labels = nibabel.Nifti1Image.from_bytes(gzip.decompress(_as_nifti(array.astype(np.uint8), series)))
    np.testing.assert_array_equal(np.asarray(labels.dataobj).transpose(2, 1, 0), array)
    np.testing.assert_allclose(labels.affine, np.diag([-1.5, -1.5, 4, 1]))
    assert list(list_inputs(series, "classification")) == ["0", "1", "2"]
    np.testing.assert_allclose(read_input(series / "1.dcm", "classification", 1)[0].astype(int), array[1], atol=1)
    with pytest.raises(UserError, match="a folder for each DICOM series"):
        list_inputs(series, "segmentation")
