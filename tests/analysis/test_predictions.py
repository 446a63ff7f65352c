"""`medbench evaluate`: pairing, geometry, label values, patients, the figures and their intervals, each mistake."""

from __future__ import annotations

import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy import stats

from bench.analysis.predictions import Predictions, score_predictions
from bench.cli.main import main
from bench.metrics.cases import score_case
from bench.records.store import CASE_COLUMNS
from bench.report.judged import CSV, prediction_figures

SPACING = (5.0, 2.0, 0.5)  # (z, y, x)


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def volume(seed: int) -> np.ndarray:
    """(6, 12, 14) uint8 of classes 0 to 2."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((6, 12, 14), np.uint8)
    z, y, x = (int(rng.integers(0, 3)) for _ in range(3))
    labels[z : z + 3, y : y + 6, x : x + 7] = 1
    labels[z + 1 : z + 3, y + 2 : y + 5, x + 3 : x + 9] = 2
    return labels


def nifti(
    path: Path, labels: np.ndarray, spacing: tuple[float, ...] = SPACING, affine: np.ndarray | None = None
) -> None:
    path.parent.mkdir(exist_ok=True)
    matrix = np.diag([*spacing[::-1], 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), matrix), path)


def png(path: Path, labels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(labels)
    (image.convert(mode) if mode else image).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`label` and `one` of six volumes, two of each patient; `two` and `three` are moved otherwise."""
    for k in range(6):
        name = f"p{k // 2}_t{k}.nii.gz"
        nifti(tmp_path / "label" / name, volume(k))
        for i, folder in enumerate(("one", "two", "three")):
            nifti(tmp_path / folder / name, np.roll(volume(k), 1 + (k + i) % 2, axis=(k + i) % 3))
    return tmp_path


def single(tmp_path: Path, prediction: np.ndarray, reference: np.ndarray) -> tuple[Path, Path]:
    nifti(tmp_path / "pred" / "a.nii.gz", prediction)
    nifti(tmp_path / "label" / "a.nii.gz", reference)
    return tmp_path / "pred", tmp_path / "label"


# -- figures -------------------------------------------------------------------------------------------------


def test_cases_are_those_of_score_case_in_the_columns_of_a_record(folders: Path) -> None:
    result = evaluate("--pred", folders / "one", "--label", folders / "label", "--output", folders / "out")
    assert result.exit_code == 0, result.output
    text = (folders / "out" / "cases.csv").read_text()
    assert tuple(text.splitlines()[0].split(",")) == CASE_COLUMNS["segmentation"]
    frame = pd.read_csv(io.StringIO(text))
    assert set(frame["part"] + frame["weights"]) == {"testgiven"}
    for k in range(6):
        prediction = np.roll(volume(k), 1 + k % 2, axis=k % 3)
        own = frame[frame["case"] == f"p{k // 2}_t{k}"]
        for found, row in zip(own.to_dict("records"), score_case(prediction, volume(k), "012", SPACING), strict=True):
            assert found["patient"] == found["case"]
            assert found["class"] == f"label {row['class']}"
            assert {n: found[n] for n in row if n not in ("class", "outcome")} == pytest.approx(
                {n: v for n, v in row.items() if n not in ("class", "outcome")}
            )
    conventions = json.loads((folders / "out" / "conventions.json").read_text())
    assert conventions["conventions"]["hd95"].endswith("(medpy.metric.binary.hd95)")
    assert conventions["patients"] == "each case is its own"


@pytest.mark.parametrize(("axis", "mm"), [(0, 5.0), (1, 2.0), (2, 0.5)])
def test_spacing_runs_along_the_axes_of_the_file(axis: int, mm: float, tmp_path: Path) -> None:
    """One voxel moved by one along z, y or x is as far in mm as that axis says."""
    reference = np.zeros((4, 5, 6), np.uint8)
    reference[1, 2, 3] = 1
    judged = score_predictions(
        Predictions([single(tmp_path, np.roll(reference, 1, axis), reference)[0]], tmp_path / "label")
    )
    assert judged.rows["hd95_vox_strict"].tolist() == [1.0]
    assert judged.rows["hd95_mm_strict"].tolist() == [mm]
    other = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label", spacing=(7.0, 8.0, 9.0)))
    assert other.rows["hd95_mm_strict"].tolist() == [(7.0, 8.0, 9.0)[axis]]
    assert other.notes == ("mm by --spacing 7, 8, 9, whatever headers say.",)


def test_missed_and_invented_structures_are_counted_under_both_policies(tmp_path: Path) -> None:
    reference, prediction = np.zeros((2, 4, 5, 6), np.uint8)
    reference[1, 1, 1], prediction[1, 1, 1], prediction[2, 2, 2] = 1, 1, 2
    reference[3, 3, 3] = 3
    pred, label = single(tmp_path, prediction, reference)
    names = "background,A,B,C,D"
    result = evaluate("--pred", pred, "--label", label, "--classes", names, "--format", "csv")
    frame = pd.read_csv(io.StringIO(result.output)).set_index(["metric", "class"])["value"]
    assert frame["missed"].to_dict() == {"all": 1, "A": 0, "B": 0, "C": 1, "D": 0}
    assert frame["invented"].to_dict() == {"all": 1, "A": 0, "B": 1, "C": 0, "D": 0}
    assert frame["Dice % (strict)"]["mean"] == pytest.approx(100 / 3)  # A 100, B and C 0, D left out
    assert frame["Dice % (transunet)"]["mean"] == pytest.approx(200 / 4)  # A and the invented B 100
    assert frame["HD95 (vox, pooled, strict)"]["B"] == pytest.approx(np.sqrt(3**2 + 4**2 + 5**2))
    assert frame["HD95 (vox, pooled, transunet)"]["mean"] == 0
    assert "no interval, and no claim" in evaluate("--pred", pred, "--label", label, "--classes", names).output


def test_one_set_has_an_interval_over_patients_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dices = []
    for k in range(20):
        reference = np.zeros((8, 100), np.uint8)
        reference[:, :50] = 1
        wrong = int(rng.integers(1, 40))
        png(tmp_path / "label" / f"{k:02}.png", reference)
        prediction = reference.copy()
        prediction[:, :wrong] = 0
        png(tmp_path / "pred" / f"{k:02}.png", prediction)
        dices.append(100 * 2 * (50 - wrong) / (100 - wrong))
    judged = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label"))
    found = prediction_figures(judged).set_index(["metric", "class"]).loc[("Dice % (strict)", "mean")]
    assert found["value"] == pytest.approx(np.mean(dices))
    low, high = stats.t.interval(0.95, 19, np.mean(dices), stats.sem(dices))
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.1)
    result = evaluate("--pred", tmp_path / "pred", "--label", tmp_path / "label", "--format", "markdown")
    assert "20 cases, each taken as a patient. Intervals: bootstrap over patients alone" in result.output
    assert "no claim about a method is made" in result.output
    assert "mm" not in result.output


def test_several_sets_are_seeds_and_their_noise_widens_the_interval(folders: Path) -> None:
    label, one, two, three = (folders / name for name in ("label", "one", "two", "three"))
    judged = score_predictions(Predictions([one, two, three], label, patient_regex=r"^(p\d)_"))
    assert judged.rows["patient"].unique().tolist() == ["p0", "p1", "p2"]
    figures = prediction_figures(judged).set_index(["metric", "class"])["value"]
    alone = [prediction_figures(score_predictions(Predictions([f], label))) for f in (one, two, three)]
    means = [f.set_index(["metric", "class"])["value"]["Dice % (strict)"]["mean"] for f in alone]
    assert figures["Dice % (strict)"]["mean"] == pytest.approx(np.mean(means))
    result = evaluate(
        *("--pred", one, "--pred", two, "--label", label, "--patient-regex", r"^(p\d)_", "--format", "markdown")
    )
    assert "6 cases of 3 patients. Intervals: two-way bootstrap over patients and 2 sets" in result.output
    assert "no claim" not in result.output


@pytest.mark.slow
def test_versus_gives_differences_and_a_paired_test(folders: Path) -> None:
    label, one, two = folders / "label", folders / "one", folders / "two"
    judged = score_predictions(Predictions([one], label, versus=[two]))
    assert prediction_figures(judged)["p"].isna().all(), "tests are shown where they are asked for"
    figures = prediction_figures(judged, tests=True)
    assert tuple(figures) == CSV
    rows = figures[(figures["metric"] == "Dice % (strict)") & (figures["class"] == "mean")].set_index("method")
    gap = rows.loc["pred - versus"]
    assert gap["value"] == pytest.approx(rows.loc["pred", "value"] - rows.loc["versus", "value"])
    by_case = judged.rows.groupby(["method", "case"])["dice_strict"].mean()
    assert gap["p"] == pytest.approx(stats.wilcoxon(by_case["pred"].to_numpy(), by_case["versus"].to_numpy()).pvalue)
    mirrored = prediction_figures(score_predictions(Predictions([two], label, versus=[one])))
    back = mirrored[mirrored["method"] == "pred - versus"].set_index(["metric", "class"])["value"]
    assert back["Dice % (strict)"]["mean"] == pytest.approx(-gap["value"])
    plain = ("--pred", one, "--versus", two, "--label", label, "--format", "markdown")
    assert "p, these predictions only" in evaluate(*plain, "--tests").output
    assert "p, these predictions only" not in evaluate(*plain).output
    out = folders / "out"
    assert evaluate("--pred", one, "--versus", two, "--label", label, "--output", out).exit_code == 0
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.*")} == {
        *("pred-0/cases.csv", "versus-0/cases.csv", "conventions.json")
    }
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert evaluate("--pred", one, "--versus", two, "--label", label, "--output", out).exit_code == 0, "the same again"
    mixed = evaluate("--pred", one, "--label", label, "--output", out)
    assert (mixed.exit_code, "holds scores of something else" in mixed.output) == (2, True)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before


@pytest.mark.parametrize("form", ["rich", "markdown", "latex", "csv"])
def test_every_format_has_classes_by_name(form: str, folders: Path) -> None:
    arguments = ("--pred", folders / "one", "--label", folders / "label", "--classes", "background,RV,L_V")
    text = evaluate(*arguments, "--format", form).output
    assert "RV" in text
    assert {"markdown": "L\\_V", "latex": "L\\_V"}.get(form, "L_V") in text
    assert "nan" not in text.lower().replace("nancy", "")


# -- labels and files ----------------------------------------------------------------------------------------


def test_255_is_class_1_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9] = 255
    for k, labels in enumerate((mask, np.zeros_like(mask))):
        png(tmp_path / "label" / f"{k}.png", labels)
        png(tmp_path / "pred" / f"{k}.png", (np.roll(labels, 1, 0) > 0).astype(np.uint8))
    result = evaluate("--pred", tmp_path / "pred", "--label", tmp_path / "label", "--format", "markdown")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'label'} holds 0 and 255 alone: 255 is read as class 1." in result.output.replace("\\", "")
    assert "| Dice % (strict) | 80.00 | 80.00" in result.output
    png(tmp_path / "label" / "1.png", mask // 255 * 2)
    result = evaluate("--pred", tmp_path / "pred", "--label", tmp_path / "label")
    assert result.exit_code == 2
    assert "255 stands beside [0, 2]" in result.stderr


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "LA", "1", "I;16"])
def test_pngs_of_any_mode_are_read_by_their_values(mode: str, tmp_path: Path) -> None:
    mask = np.zeros((9, 12), np.uint8)
    mask[2:6, 3:8] = 1
    png(tmp_path / "label" / "a.png", mask)
    if mode == "P":
        image = Image.fromarray(mask)
        image.putpalette([0, 0, 0, 200, 10, 10])
        (tmp_path / "pred").mkdir()
        image.save(tmp_path / "pred" / "a.png")
    elif mode == "I;16":
        png(tmp_path / "pred" / "a.png", mask.astype(np.uint16))
    else:
        png(tmp_path / "pred" / "a.png", mask * 255, mode)
    judged = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label", spacing=(2.0, 3.0)))
    assert judged.rows["dice_strict"].tolist() == [1.0]
    assert judged.rows["hd95_mm_strict"].tolist() == [0.0]


def test_a_volume_of_one_slice_is_a_plane(tmp_path: Path) -> None:
    reference = np.zeros((1, 9, 9), np.uint8)
    reference[0, :, :] = 1
    pred, label = single(tmp_path, reference, reference)
    judged = score_predictions(Predictions([pred], label))
    assert judged.notes == ("1 of 1 volumes are a single slice: scored as planes.",)
    assert judged.rows["dice_strict"].tolist() == [1.0]


def test_a_missing_prediction_counts_as_background_only_when_asked(folders: Path) -> None:
    (folders / "one" / "p1_t2.nii.gz").unlink()
    arguments = ("--pred", folders / "one", "--label", folders / "label")
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert f"{folders / 'one'} has none of p1_t2; --missing empty" in result.stderr
    result = evaluate(*arguments, "--missing", "empty", "--format", "csv")
    frame = pd.read_csv(io.StringIO(result.output)).set_index(["metric", "class"])["value"]
    assert frame["missed"]["all"] == 2
    assert "has no prediction of p1_t2: counted as all background" in evaluate(
        *arguments, "--missing", "empty", "--format", "latex"
    ).output.replace("\\_", "_")


def test_patients_by_a_table(folders: Path) -> None:
    table = folders / "who.csv"
    table.write_text("case,patient\n" + "".join(f"p{k // 2}_t{k},{'AB'[k % 2]}\n" for k in range(6)))
    judged = score_predictions(Predictions([folders / "one"], folders / "label", patients=table))
    assert set(judged.rows["patient"]) == {"A", "B"}
    assert judged.patients_known
    table.write_text("case,patient\np0_t0,A\n")
    result = evaluate("--pred", folders / "one", "--label", folders / "label", "--patients", table)
    assert "there is none of p0_t1, p1_t2, p1_t3 and 2 more" in result.stderr


# -- mistakes ------------------------------------------------------------------------------------------------


def one_line(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr


def test_another_affine_or_shape_is_a_mistake_and_rounding_is_not(folders: Path) -> None:
    path, good = folders / "one" / "p0_t0.nii.gz", volume(0)
    arguments = ("--pred", folders / "one", "--label", folders / "label")
    near, flipped, moved = (np.diag([*SPACING[::-1], 1.0]) for _ in range(3))
    near[0, 3], moved[1, 3], flipped[0, 0] = 0.0005, 0.01, -0.5
    nifti(path, good, affine=near)
    assert evaluate(*arguments).exit_code == 0
    nifti(path, good, affine=moved)
    one_line(evaluate(*arguments), "p0_t0.nii.gz to have the affine of", "differs by 0.01")
    nifti(path, good, affine=flipped)
    one_line(evaluate(*arguments), "differs by 1, x mirrored:")
    nifti(path, good[:, :, 1:])
    one_line(evaluate(*arguments), "(6, 12, 14), but got (6, 12, 13)")


def test_values_that_are_no_class_ids(folders: Path) -> None:
    path = folders / "one" / "p0_t0.nii.gz"
    arguments = ("--pred", folders / "one", "--label", folders / "label")
    for value, word in ((np.nan, "found nan"), (0.5, "found 0.5"), (-1, "found -1"), (300, "found 300")):
        labels = volume(0).astype(np.float32)
        labels[0, 0, 0] = value
        nifti(path, labels)
        one_line(evaluate(*arguments), str(path), word)
    labels = volume(0)
    labels[0, 0, 0] = 7
    nifti(path, labels)
    one_line(evaluate(*arguments), "ids that the reference has", "p0_t0.nii.gz has 7")
    one_line(evaluate(*arguments, "--classes", "b,A,B"), "ids below 3 (--classes)", "p0_t0.nii.gz has 7")
    assert evaluate(*arguments, "--classes", "b,1,2,3,4,5,6,7").exit_code == 0
    one_line(evaluate(*arguments, "--classes", "b,A"), "label", "has 2")
    one_line(evaluate(*arguments, "--classes", "b,A,A"), "names that differ")


def test_damaged_files_are_named(folders: Path) -> None:
    path = folders / "one" / "p0_t0.nii.gz"
    arguments = ("--pred", folders / "one", "--label", folders / "label")
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no image at all"):
        path.write_bytes(damaged)
        one_line(evaluate(*arguments), str(path))


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8)
    png(tmp_path / "label" / "a.png", mask)
    png(tmp_path / "pred" / "a.png", mask)
    path = tmp_path / "pred" / "a.png"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", content[:60] + b"\0\0\0" + content[63:], b"GIF89a"):
        path.write_bytes(damaged)
        one_line(evaluate("--pred", tmp_path / "pred", "--label", tmp_path / "label"), str(path))
    png(path, np.stack([mask, mask, 0 * mask], axis=-1))
    one_line(evaluate("--pred", tmp_path / "pred", "--label", tmp_path / "label"), "a picture in colours")


def test_folders_that_do_not_fit(folders: Path) -> None:
    label, one = folders / "label", folders / "one"
    (folders / "empty").mkdir()
    (folders / "empty" / "plans.json").write_text("{}")
    one_line(evaluate("--pred", folders / "empty", "--label", label), "it has none; 1 others")
    one_line(evaluate("--pred", folders / "nowhere", "--label", label), "no such folder")
    one_line(evaluate("--pred", one, "--pred", one, "--label", label), "is given twice")
    one_line(evaluate("--pred", label, "--label", label), "is given twice")
    one_line(evaluate("--label", label), "Missing option '--pred'")
    nifti(one / "extra.nii", volume(0))
    one_line(evaluate("--pred", one, "--label", label), "extra of", "has none")
    (one / "extra.nii").rename(one / "p0_t0.nii")
    one_line(evaluate("--pred", one, "--label", label), "p0_t0.nii and p0_t0.nii.gz are of one")
    for path in one.iterdir():
        path.unlink()
    for path in label.iterdir():
        png(one / path.name.replace(".nii.gz", ".png"), volume(0)[0])
    one_line(evaluate("--pred", one, "--label", label), "there are both")


def test_options_that_do_not_fit(folders: Path) -> None:
    arguments = ("--pred", folders / "one", "--label", folders / "label")
    for text in ("1", "1,2,3,4", "1,0", "1,nan,2", "1,two"):
        one_line(evaluate(*arguments, "--spacing", text), "positive mm as z,y,x or y,x")
    one_line(evaluate(*arguments, "--spacing", "1,2"), "to be z,y,x for", "but got 2")
    one_line(evaluate(*arguments, "--patient-regex", "("), "regular expression")
    one_line(evaluate(*arguments, "--patient-regex", r"q(\d)"), "not so in 'p0_t0'")
    one_line(evaluate(*arguments, "--patients", folders / "none.csv"), "Cannot read")
    (folders / "who.csv").write_text("<!DOCTYPE html><html></html>")
    one_line(evaluate(*arguments, "--patients", folders / "who.csv"), "it is an HTML page")
    (folders / "who.csv").write_text("name,id\n")
    one_line(evaluate(*arguments, "--patients", folders / "who.csv"), "Expected the columns case, patient")
    (folders / "who.csv").write_text("case,patient\np0_t0,A\np0_t0,B\n")
    one_line(evaluate(*arguments, "--patients", folders / "who.csv"), "'p0_t0' has none, or two")
    (folders / "who.csv").write_text("case,patient\np0_t0,nan\n")
    one_line(evaluate(*arguments, "--patients", folders / "who.csv"), "'p0_t0' has none, or two")
    one_line(evaluate(*arguments, "--patients", folders / "who.csv", "--patient-regex", "p"), "not both")
    one_line(evaluate(*arguments, "--output", folders / "who.csv"), "Cannot write under")
