"""A folder of images through trained networks: on the images' own grid, averaged, and going on where it stopped."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from own_folders import added, save
from PIL import Image
from trained_runs import folders_of, results_of, run

from bench.cli.main import main
from bench.datasets.readers.masks import read_mask
from bench.errors import UserError
from bench.records.leases import NAME, hold
from bench.runs.predicting import predict_folder
from bench.runs.trained import load_trained, predict_together

AFFINE = np.array([[-1.5, 0, 0, 90], [0, 1.5, 0, -120], [0, 0, 8, 4], [0, 0, 0, 1.0]])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A volume with an affine, one as a 4-D file of a single frame, and a PNG."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (20, 24, 3)), ("b", (20, 24, 2, 1))):
        nibabel.Nifti1Image(rng.normal(300, 90, shape).astype(np.float32), AFFINE).to_filename(
            folder / f"{name}.nii.gz"
        )
    Image.fromarray(rng.integers(0, 255, (600, 20), dtype=np.uint8)).save(folder / "c.png")
    return folder


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_label_maps_lie_on_their_images_grids(images: Path, user_data: Path, tmp_path: Path) -> None:
    folder, output = folders_of(user_data)["acdc"], tmp_path / "out"
    result = predict(folder, "--input", images, "--output", output)
    assert (result.exit_code, "3 images predicted" in result.output) == (0, True), result.output
    trained = load_trained(folder)
    for name in ("a", "b"):
        image, labels = (nibabel.load(f / f"{name}.nii.gz") for f in (images, output))
        assert labels.shape == image.shape
        np.testing.assert_array_equal(labels.affine, image.affine)
        assert labels.get_data_dtype() == np.uint8
        predicted = trained.predict(images / f"{name}.nii.gz")
        np.testing.assert_array_equal(read_mask(output / f"{name}.nii.gz").labels, predicted)
    np.testing.assert_array_equal(np.asarray(Image.open(output / "c.png")), trained.predict(images / "c.png"))
    about = json.loads((output / "predictions.json").read_text())
    assert (about["classes"], about["runs"][0]["key"]) == (list(trained.classes), trained.key)


def written_image(path: Path, seed: int, exif: Image.Exif | None = None) -> np.ndarray:
    """A PNG of 12 bits, or a photograph."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(rng.integers(0, 4096, (24, 32), dtype=np.uint16)).save(path)
    else:
        grey = np.kron(rng.integers(0, 255, (6, 8)), np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(np.stack([grey, 255 - grey, grey], -1)).save(path, quality=95, exif=exif or Image.Exif())
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_it_reads_what_data_add_read(suffix: str, tmp_path: Path) -> None:
    raw, exif = tmp_path / "raw", Image.Exif()
    exif[0x0112] = 6
    for i in range(5):
        written_image(raw / "images" / f"c{i}{suffix}", i, exif)
        size = (24, 32) if suffix == ".png" else (32, 24)
        save(raw / "masks" / f"c{i}.png", np.tril(np.ones(size, np.uint8)))
    prepared = added(tmp_path / "root", raw)
    (folder,) = run(tmp_path / "results", tmp_path / "root", dataset="mine", models="chance", data="real")
    trained = load_trained(folder)
    for i, case in enumerate(prepared.cases):
        image = trained.read(raw / "images" / f"{case.case}{suffix}")
        np.testing.assert_array_equal(image, prepared.image(i)[0])
    result = predict(folder, "--input", raw / "images", "--output", tmp_path / "out")
    assert (result.exit_code, "5 images predicted" in result.output) == (0, True), result.output
    assert read_mask(tmp_path / "out" / "c0.png").labels.shape == size


def test_deep_greys_are_kept_and_photographs_taken(user_data: Path, tmp_path: Path) -> None:
    trained, source = load_trained(folders_of(user_data)["acdc"]), tmp_path / "in"
    deep = written_image(source / "deep.png", 0)
    written_image(source / "photo.jpg", 1)
    np.testing.assert_array_equal(trained.read(source / "deep.png"), deep.astype(np.float32))
    assert set(trained.predict(source)) == {"deep", "photo"}
    with pytest.raises(UserError, match=r"\(.png, .jpg, .jpeg, .nii.gz, .nii, a folder for each DICOM series\) in"):
        trained.predict(tmp_path / "in" / "..")


def test_it_goes_on_where_it_stopped_and_mixes_no_runs(images: Path, user_data: Path, tmp_path: Path) -> None:
    folder, output = folders_of(user_data)["acdc"], tmp_path / "out"
    assert predict(folder, "--input", images, "--output", output).exit_code == 0
    before = (output / "a.nii.gz").stat().st_mtime_ns
    (output / "b.nii.gz").unlink()
    result = predict(folder, "--input", images, "--output", output)
    assert "1 images predicted, 2 were there already" in result.output
    assert (output / "a.nii.gz").stat().st_mtime_ns == before
    shutil.copy(images / "b.nii.gz", images / "a.nii.gz")
    result = predict(folder, "--input", images, "--output", output)
    assert (result.exit_code, "the prediction of another image called a than" in result.output) == (2, True)
    assert (output / "a.nii.gz").stat().st_mtime_ns == before, "nothing is lost"
    (chance,) = results_of(user_data).glob("runs/phantom/acdc-phantom/chance/*")
    for runs, place, said in (
        ([chance], output, "holds predictions of other runs"),
        ([folder], images, "Expected --output to be another folder than --input"),
        ([folder, folders_of(user_data)["large-covid-ct"]], tmp_path / "o", "Expected runs of one task"),
    ):
        result = predict(*runs, "--input", images, "--output", place)
        assert (result.exit_code, said in result.output) == (2, True), result.output
    (output / "predictions.json").unlink()
    result = predict(chance, "--input", images, "--output", output)
    assert "does not say that it is of these runs" in result.output


def test_a_bad_image_is_a_line_and_the_others_are_kept(images: Path, user_data: Path, tmp_path: Path) -> None:
    (images / "b.nii.gz").write_bytes(b"no volume")
    result = predict(folders_of(user_data)["acdc"], "--input", images, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "b.nii.gz" in result.output.splitlines()[-1]
    assert (tmp_path / "out" / "a.nii.gz").is_file()


def test_several_runs_are_averaged(images: Path, user_data: Path, tmp_path: Path) -> None:
    (chance,) = results_of(user_data).glob("runs/phantom/acdc-phantom/chance/*")
    folder = folders_of(user_data)["acdc"]
    assert predict(folder, chance, "--input", images, "--output", tmp_path / "out").exit_code == 0
    members = [load_trained(folder), load_trained(chance)]
    volume = members[0].read(images / "a.nii.gz")
    mean = np.mean([member.probabilities(volume) for member in members], axis=0)
    found = read_mask(tmp_path / "out" / "a.nii.gz").labels
    np.testing.assert_array_equal(found, mean.argmax(axis=0))
    np.testing.assert_array_equal(found, predict_together(members, volume))


def test_images_are_classified_into_a_table(user_data: Path, tmp_path: Path) -> None:
    folder, source, output = folders_of(user_data)["large-covid-ct"], tmp_path / "in", tmp_path / "out"
    source.mkdir()
    rng = np.random.default_rng(0)
    for name in ("b", "a"):
        Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(source / f"{name}.png")
    assert predict(folder, "--input", source, "--output", output).exit_code == 0
    first = (output / "predictions.csv").read_text()
    Image.fromarray(rng.integers(0, 255, (40, 30), dtype=np.uint8)).save(source / "aa.png")
    assert "1 images predicted, 2 were there" in predict(folder, "--input", source, "--output", output).output
    with (output / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["a", "aa", "b"]
    assert [line for line in (output / "predictions.csv").read_text().splitlines() if line[:3] != "aa,"] == (
        first.splitlines()
    )
    for damage in (b"x" * 200_000, b"case,\xff"):
        (output / "predictions.csv").write_bytes(damage)
        result = predict(folder, "--input", source, "--output", output)
        assert (result.exit_code, "to be a table of predictions" in result.output) == (2, True), result.output
    trained = load_trained(folder)
    expected = dict(zip(trained.classes, trained.predict(source / "aa.png"), strict=True))
    assert {name: float(rows[1][name]) for name in trained.classes} == expected
    assert rows[1]["predicted"] == max(expected, key=expected.__getitem__)


def test_no_name_in_a_table_is_a_formula_and_none_is_predicted_twice(user_data: Path, tmp_path: Path) -> None:
    source, table = tmp_path / "in", tmp_path / "out" / "predictions.csv"
    source.mkdir()
    names = ['=HYPERLINK("a")', "@SUM(A1)", "'=b", "-1+2", "plain"]
    for name in names:
        Image.fromarray(np.full((40, 30), 90, np.uint8)).save(source / f"{name}.png")
    trained = load_trained(folders_of(user_data)["large-covid-ct"])
    members = [replace(trained, classes=tuple(f"={name}" for name in trained.classes))]
    assert predict_folder(members, source, table.parent) == (5, 0)
    first = table.read_bytes()
    with table.open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "-", "+"))]
    assert {f"'{name}" for name in names[:4]} | {"plain"} <= {*cells}
    assert predict_folder(members, source, table.parent) == (0, 5)
    (source / "plain.png").rename(source / "=c.png")
    assert predict_folder(members, source, table.parent) == (1, 4)
    rest = [line for line in table.read_bytes().splitlines() if not line.startswith(b"'=c,")]
    assert rest == first.splitlines(), "what was there is as it was"
    table.write_bytes(first.replace(b"'=", b"=").replace(b"'@", b"@").replace(b"'-", b"-"))
    assert predict_folder(members, source, table.parent)[1] >= 3, "a table from before there were guards goes on"


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        Image.fromarray(np.full((40, 30), 90, np.uint8)).save(folder / f"{name}.png")
    return folder


def test_a_folder_that_another_process_predicts_into_is_left_alone(user_data: Path, tmp_path: Path) -> None:
    folder, source, output = folders_of(user_data)["large-covid-ct"], pictures(tmp_path / "in", "a"), tmp_path / "out"
    with hold(output / NAME, wait=False) as lease:
        assert lease
        done = predict(folder, "--input", source, "--output", output)
        assert (done.exit_code, [path.name for path in output.iterdir()]) == (2, [NAME])
    assert "Another process predicts into" in done.output.splitlines()[-1]
    assert predict(folder, "--input", source, "--output", output).exit_code == 0
    assert not (output / NAME).exists()


def test_an_image_that_cannot_be_read_is_named_and_not_the_output(
    user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = folders_of(user_data)["large-covid-ct"], pictures(tmp_path / "in", "a", "b")
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        done = predict(folder, "--input", source, "--output", tmp_path / "out")
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        2,
        f"Error: Cannot read {source / 'b.png'}: Permission denied. Mend it, or move it away.",
    )
    (source / "c.png").symlink_to(tmp_path / "nowhere.png")
    done = predict(folder, "--input", source, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "c.png is a link to a file that is not there" in done.output.splitlines()[-1]


def test_classes_that_are_called_as_columns_stay_apart(user_data: Path, tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a")
    trained = load_trained(folders_of(user_data)["large-covid-ct"])
    names = ("case", "predicted", *trained.classes[2:])
    assert predict_folder([replace(trained, classes=names)], source, tmp_path / "out") == (1, 0)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case"] == "a"
    shares = [float(row[name]) for name in ("p(case)", "p(predicted)", *trained.classes[2:])]
    assert row["predicted"] == names[int(np.argmax(shares))]
    assert sum(shares) == pytest.approx(1)
