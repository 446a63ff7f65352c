"""`medbench evaluate` on the folders that tools leave: a folder a case, wrappers, other files, cases of other folds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bench.analysis.predictions import Predictions, score_predictions
from bench.cli.main import main


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def one_line(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def save(path: Path, moved: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((9, 8, 4), np.uint8)
    labels[2 + moved : 6 + moved, 2:6, 1:3] = 1
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), path)


@pytest.fixture
def label(tmp_path: Path) -> Path:
    """Labels of c1, c2 and c3; a prediction moved by k is in the tests that of ck."""
    for k in (1, 2, 3):
        save(tmp_path / "label" / f"c{k}.nii.gz")
    return tmp_path / "label"


LAYOUTS = {
    "flat": ("c{k}.nii.gz",),
    "flat beside folders": ("c{k}.nii.gz", "c{k}/postprocessed.nii.gz"),
    "named by case": ("c{k}/c{k}_seg.nii.gz",),
    "seg": ("c{k}/seg.nii.gz",),
    "one file of any name": ("c{k}/output_7.nii",),
    "beside the image": ("c{k}/c{k}_seg.nii.gz", "c{k}/c{k}_flair.nii.gz", "c{k}/c{k}_t1.nii.gz"),
    "named as the case, beside others": ("c{k}/c{k}.nii.gz", "c{k}/softmax.nii.gz"),
    "upper case": ("c{k}/SEG.NII.GZ",),
    "wrapped": ("predictions/c{k}.nii.gz",),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", ["pred", "label"])
def test_layouts_that_tools_write(layout: str, side: str, label: Path, tmp_path: Path) -> None:
    """The map is moved by k - 1 voxels; what lies beside it by 3."""
    folder = tmp_path / "out"
    for k in (1, 2, 3):
        first, *others = LAYOUTS[layout]
        save(folder / first.format(k=k), moved=k - 1)
        for other in others:
            save(folder / other.format(k=k), moved=3)
    for name in ("summary.json", "dataset.json", "plans.json", ".DS_Store", "c1.npz", "c1.pkl"):
        (folder / name).write_text("{}")
    pred, reference = (folder, label) if side == "pred" else (label, folder)
    rows = score_predictions(Predictions([pred], reference)).rows
    assert rows["case"].tolist() == ["c1", "c2", "c3"]
    assert rows["dice_strict"].tolist() == [1.0, 0.75, 0.5]


@pytest.mark.parametrize("word", ["{}_mask", "{}_seg", "{}-label", "{}_GT", "mask_{}"])
def test_files_pair_without_the_words_of_masks(word: str, label: Path, tmp_path: Path) -> None:
    for k in (1, 2, 3):
        save(tmp_path / "out" / f"c{k}.nii.gz", moved=k - 1)
        (label / f"c{k}.nii.gz").rename(label / f"{word.format(f'c{k}')}.nii.gz")
        save(tmp_path / "other" / f"{word.format(f'c{k}')}.nii.gz")
    judged = score_predictions(Predictions([tmp_path / "out"], label, versus=[tmp_path / "other"]))
    assert judged.rows["case"].tolist() == ["c1", "c1", "c2", "c2", "c3", "c3"]
    assert judged.rows["dice_strict"].tolist() == [1.0, 1.0, 0.75, 1.0, 0.5, 1.0]
    example = f"c1.nii.gz with {word.format('c1')}.nii.gz."
    said = f"{tmp_path / 'out'} pairs with {label} by names without _mask, _seg, _label or _gt: {example}"
    assert judged.notes == (said,)
    (tmp_path / "out" / "c2.nii.gz").unlink()
    arguments = ("--pred", tmp_path / "out", "--label", label)
    one_line(evaluate(*arguments), "has none of c2; --missing")
    save(label / "c1_manual.nii.gz")
    one_line(evaluate(*arguments), "but c1, c3 of", "without suffix, or that without _mask, _seg, _label or _gt")


def test_the_first_group_that_took_part_is_the_patient(label: Path, tmp_path: Path) -> None:
    save(label / "d4.nii.gz")
    for name in ("c1", "c2", "c3", "d4"):
        save(tmp_path / "out" / f"{name}.nii.gz")
    judged = score_predictions(Predictions([tmp_path / "out"], label, patient_regex="^(c)[12]|^(c3|d)"))
    assert judged.rows["patient"].tolist() == ["c", "c", "c3", "d"]
    arguments = ("--pred", tmp_path / "out", "--label", label, "--patient-regex")
    one_line(evaluate(*arguments, "^(c)|^d"), "to find a patient in each case's name, not so in 'd4'")


def test_a_folder_a_case_is_said(label: Path, tmp_path: Path) -> None:
    for k in (1, 2, 3):
        save(tmp_path / "out" / f"c{k}" / "seg.nii.gz")
    assert score_predictions(Predictions([tmp_path / "out"], label)).notes == (
        f"{tmp_path / 'out'} has a folder of each case, with its label map.",
    )


def test_a_folder_with_several_maps_is_one_line(label: Path, tmp_path: Path) -> None:
    for k in (1, 2, 3):
        for name in ("fold_0", "fold_1"):
            save(tmp_path / "out" / f"c{k}" / f"{name}.nii.gz")
    one_line(
        evaluate("--pred", tmp_path / "out", "--label", label),
        "Expected one label map in the case's folder",
        "it has fold_0.nii.gz, fold_1.nii.gz: leave one, or name it seg.nii.gz",
    )


def test_files_of_other_kinds_are_named(label: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("c1.hdr", "c1.img", "summary.json", "c2.mha"):
        (tmp_path / "out" / name).write_text("x")
    one_line(evaluate("--pred", tmp_path / "out", "--label", label), "none; 4 others (c1.hdr, c1.img, c2.mha, ...)")


def test_cases_of_other_folds_are_left_out_and_said(label: Path, tmp_path: Path) -> None:
    save(tmp_path / "out" / "c2.nii.gz", moved=1)
    save(tmp_path / "out" / "c3.nii.gz", moved=2)
    arguments = ("--pred", tmp_path / "out", "--label", label)
    one_line(evaluate(*arguments), "has none of c1; --missing empty counts it", "--missing skip leaves the case out")
    result = evaluate(*arguments, "--missing", "skip", "--format", "csv", "--output", tmp_path / "scores")
    frame = pd.read_csv(io.StringIO(result.stdout)).set_index(["metric", "class"]).loc[("Dice % (strict)", "mean")]
    assert (frame["value"], frame["cases"]) == (62.5, 2)
    facts = json.loads((tmp_path / "scores" / "conventions.json").read_text())
    assert facts["left_out"] == ["c1"]
    said = f"{tmp_path / 'out'} has no prediction of c1: left out of every figure."
    assert said in facts["notes"]
    assert len(pd.read_csv(tmp_path / "scores" / "cases.csv")) == 2
    text = evaluate(*arguments, "--missing", "skip", "--format", "markdown").output
    assert "2 cases, each taken as a patient (1 of 3 labels left out, without a prediction)." in text
    assert said in text.replace("\\", "")


def test_two_methods_are_compared_on_the_cases_of_both(label: Path, tmp_path: Path) -> None:
    for folder, cases in (("one", (1, 2)), ("two", (2, 3))):
        for k in cases:
            save(tmp_path / folder / f"c{k}.nii.gz", moved=k - 1)
    judged = score_predictions(Predictions([tmp_path / "one"], label, versus=[tmp_path / "two"], missing="skip"))
    assert judged.rows["case"].tolist() == ["c2", "c2"]
    assert judged.left_out == ("c1", "c3")
    save(tmp_path / "three" / "c1.nii.gz")
    arguments = ("--pred", tmp_path / "three", "--versus", tmp_path / "two", "--label", label, "--missing", "skip")
    one_line(evaluate(*arguments), "no label of", "has one in")


def test_a_left_out_case_needs_no_patient(label: Path, tmp_path: Path) -> None:
    save(tmp_path / "out" / "c2.nii.gz")
    (tmp_path / "who.csv").write_text("case,patient\nc2,A\n")
    judged = score_predictions(Predictions([tmp_path / "out"], label, patients=tmp_path / "who.csv", missing="skip"))
    assert judged.rows["patient"].tolist() == ["A"]


def test_no_case_in_the_scores_is_a_formula(tmp_path: Path) -> None:
    for folder in ("label", "out"):
        save(tmp_path / folder / "=SUM(A1).nii.gz")
    result = evaluate("--pred", tmp_path / "out", "--label", tmp_path / "label", "--output", tmp_path / "scores")
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(tmp_path / "scores" / "cases.csv")
    assert {*rows["case"], *rows["patient"]} == {"'=SUM(A1)"}
