"""Where a NIfTI header puts its voxels: two files' grids, headers that contradict themselves, voxel sizes replaced."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.datasets.readers.nifti import read_nifti

SIZES = (1.5, 1.25, 9.0)  # (x, y, z)
GOOD = np.diag([*SIZES, 1.0])
MIRRORED = np.diag([-1.5, 1.25, 9.0, 1.0])
MIRRORED[0, 3] = 1.5 * 4
ONES = np.diag([-1.0, -1.0, 1.0, 1.0])  # the sform of ACDC's published files, beside a right qform


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def one_line(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def save(
    path: Path, voxels: np.ndarray, sform: np.ndarray | None = GOOD, qform: np.ndarray | None = None, **fields: object
) -> None:
    """Writes (x, y, z) voxels of 1.5 x 1.25 x 9 mm; `fields` of the header, as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, None)
    header = image.header
    header.set_zooms(SIZES)
    header.set_sform(sform, code=0 if sform is None else 1)
    header.set_qform(qform, code=0 if qform is None else 1)
    header["pixdim"][1:4] = SIZES
    header["vox_offset"] = 352
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + voxels.tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mask() -> np.ndarray:
    labels = np.zeros((5, 6, 3), np.uint8)
    labels[1:3, 1:5, :2] = 1
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`pred` and `label` of one case."""
    for place in ("pred", "label"):
        save(tmp_path / place / "a.nii.gz", mask())
    return tmp_path


def scored(folders: Path, *more: str) -> Result:
    return run("evaluate", "--pred", folders / "pred", "--label", folders / "label", "--format", "markdown", *more)


def table(result: Result) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith("|")]


# -- two files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["acdc", "synapse"])
@pytest.mark.parametrize(("grid", "said"), [(MIRRORED, ", x mirrored: resample the label map"), (GOOD * 1.5, "4.5:")])
def test_preparing_compares_image_and_label(layout: str, grid: np.ndarray, said: str, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    names = {
        "acdc": [
            (f"patient101/patient101_frame0{k}.nii.gz", f"patient101/patient101_frame0{k}_gt.nii") for k in (1, 9)
        ],
        "synapse": [("img/img0001.nii.gz", "label/label0001.nii")],
    }[layout]
    for image, label in names:
        save(source / image, mask().astype(np.int16))
        save(source / label, mask())
    (source / "patient101").mkdir(exist_ok=True)
    (source / "patient101" / "Info.cfg").write_text("ED: 1\nES: 9\n")
    arguments = ("data", "prepare", layout, "--from", source, "--data-root", tmp_path / "root")
    assert run(*arguments).exit_code == 0
    image, label = names[-1]
    save(source / label, mask(), sform=grid)
    one_line(run(*arguments, "--replace"), str(source / label), "to have the affine of", str(source / image), said)


def test_versus_is_compared_as_well(folders: Path) -> None:
    save(folders / "other" / "a.nii.gz", mask(), sform=MIRRORED)
    result = scored(folders, "--versus", str(folders / "other"))
    one_line(result, "other/a.nii.gz to have the affine of", "x mirrored")


# -- one header against itself -------------------------------------------------------------------------------

ROTATED = np.array([[0, -1.25, 0, 0], [1.5, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 1]])
MOVED = GOOD.copy()
MOVED[0, 3] = 40.0
DOUBTS = {
    "sform of 1 mm": ((ONES, GOOD), "voxels of 1.5 x 1.25 x 9 mm (x, y, z) beside an sform of 1 x 1 x 1"),
    "sform of 1 mm alone": ((ONES, None), "voxels of 1.5 x 1.25 x 9 mm (x, y, z) beside an sform of 1 x 1 x 1"),
    "mirrored": ((GOOD, MIRRORED), "an sform and a qform that differ, x mirrored"),
    "elsewhere": ((GOOD, MOVED), "an sform and a qform that put a voxel 40 mm apart"),
    "rounded": ((GOOD + 1e-5, GOOD), ""),
    "turned": ((ROTATED, ROTATED), ""),
    "none": ((None, None), ""),
}


@pytest.mark.parametrize(("grids", "said"), DOUBTS.values(), ids=DOUBTS)
def test_what_a_header_says_against_itself(grids: tuple, said: str, tmp_path: Path) -> None:
    save(tmp_path / "a.nii", mask(), *grids)
    volume = read_nifti(tmp_path / "a.nii")
    assert volume.doubt == said
    assert volume.spacing == SIZES[::-1]


def test_evaluate_tells_a_contradiction_and_the_way_out(folders: Path) -> None:
    for place in ("pred", "label"):
        save(folders / place / "a.nii.gz", mask(), ONES, GOOD)
    result = scored(folders)
    assert result.exit_code == 0, result.output
    assert "2 headers contradict themselves (first" in result.output
    assert "mm by the label's voxel size; --spacing replaces it" in result.output
    assert "contradict" not in scored(folders, "--spacing", "9,1.25,1.5").output


def test_a_header_in_doubt_fits_whatever_reader_the_prediction_was_made_with(folders: Path) -> None:
    """Of ACDC's labels nibabel copies the sform of 1 mm, ITK the qform; another grid fits neither."""
    save(folders / "label" / "a.nii.gz", mask(), ONES, GOOD)
    for sform in (ONES, GOOD):
        save(folders / "pred" / "a.nii.gz", mask(), sform, pixdim=[1, *np.abs(np.diag(sform)[:3]), 0, 0, 0, 0])
        assert scored(folders).exit_code == 0
    save(folders / "pred" / "a.nii.gz", mask(), MIRRORED)
    one_line(scored(folders), "to have the affine of")


def test_prepare_tells_a_contradiction_and_takes_the_voxel_size(writers, volumes, tmp_path: Path) -> None:
    folder = writers["nifti"](tmp_path / "acdc", volumes)
    for name in ("patient101_frame01", "patient101_frame01_gt"):
        path = folder / "training" / "patient101" / f"{name}.nii.gz"
        image = nibabel.load(path)
        image.header.set_qform(image.affine, 1)
        image.header.set_sform(ONES, 1)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)
    result = run("data", "prepare", "acdc", "--from", folder, "--data-root", tmp_path / "root")
    assert result.exit_code == 0, result.output
    assert "1 of 4 cases contradict themselves (first patient101_ED: voxels of 1.5 x 1.25 x 9 mm" in result.output
    assert "spacing   1 different, 9 x 1.25 x 1.5 mm" in result.output
    again = run("data", "verify", "acdc", "--data-root", tmp_path / "root")
    assert "1 of 4 cases contradict themselves" in again.output


# -- --spacing -----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "zero": ({"pixdim": [1, 1.5, 0, 9, 0, 0, 0, 0]}, "(1.5, 0.0, 9.0) (x, y, z): mend the header"),
    "nan": ({"pixdim": [1, 1.5, np.nan, 9, 0, 0, 0, 0]}, "(1.5, nan, 9.0)"),
    "inf": ({"pixdim": [1, 1.5, np.inf, 9, 0, 0, 0, 0]}, "(1.5, inf, 9.0)"),
    "negative": ({"pixdim": [1, 1.5, -1.25, 9, 0, 0, 0, 0]}, "(1.5, -1.25, 9.0)"),
    "metres": ({"xyzt_units": 1}, "says 'meter'"),
    "microns": ({"xyzt_units": 3}, "says 'micron'"),
    "no unit": ({"xyzt_units": 5}, "says 'code 5'"),
}


@pytest.mark.parametrize("place", ["pred", "label"])
@pytest.mark.parametrize(("fields", "said"), FAULTS.values(), ids=FAULTS)
def test_spacing_replaces_what_a_faulty_header_says(place: str, fields: dict, said: str, folders: Path) -> None:
    expected = scored(folders, "--spacing", "4,3,2")
    save(folders / place / "a.nii.gz", mask(), **fields)
    one_line(scored(folders), said, f"{place}/a.nii.gz", "`medbench evaluate` takes --spacing in its place")
    result = scored(folders, "--spacing", "4,3,2")
    assert result.exit_code == 0, result.output
    assert "1 headers give no position (first" in result.output
    assert table(result) == table(expected)


def test_nibabel_says_nothing_beside_the_line(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It logs each header that it mends to standard error."""
    save(folders / "label" / "a.nii.gz", mask(), pixdim=[0, 1.5, 0, 9, 0, 0, 0, 0])
    one_line(scored(folders), "positive voxel size")
    assert not caplog.records


# -- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.9999998, "found 1.99999976 (8 voxels): at most 2e-07 from whole numbers, rounding noise"),
        (2.0009, "found 2.0009"),
        (1.002, "found 1.00199997 (8 voxels): save class ids"),
        (0.5, "found 0.5 (8 voxels): save class ids, not probabilities"),
        (np.nan, "found nan (8 voxels)"),
    ],
)
def test_a_label_that_is_no_integer_is_shown_so_that_the_fault_is_seen(value: float, said: str, folders: Path) -> None:
    labels = mask().astype(np.float32)
    labels[1:3, 1:5, 0] = value
    save(folders / "pred" / "a.nii.gz", labels, datatype=16, bitpix=32)
    one_line(scored(folders), said)
    if abs(value - 2) < 1e-3:
        one_line(scored(folders), "round them (numpy.rint) and save them as uint8")


def test_a_scale_in_the_header_is_named(folders: Path) -> None:
    save(folders / "pred" / "a.nii.gz", mask() * 127, scl_slope=1 / 127.5, scl_inter=0)
    one_line(
        scored(folders), "found 0.99607849 (16 voxels, stored values times scl_slope 0.00784313772 plus scl_inter 0)"
    )
