"""`medbench evaluate` on PNGs that say their classes by colour, and on volumes that are planes."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench.analysis.predictions import Predictions, score_predictions
from bench.cli.main import main
from bench.metrics.cases import score_case

SPACING = (5.0, 2.0, 0.5)  # (z, y, x)
LABELS = np.array([[0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0]], np.uint8).repeat(4, axis=0)


def evaluate(folder: Path, *more: str) -> Result:
    arguments = ["--pred", f"{folder / 'pred'}", "--label", f"{folder / 'label'}", "--format", "markdown", *more]
    return CliRunner().invoke(main, ["evaluate", *arguments])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def png(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(labels).save(path)


def nifti(path: Path, labels: np.ndarray, spacing: tuple[float, ...]) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels.T, np.diag([*spacing[::-1], 1.0])), path)


def discs(value: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(24, 24) of a prediction and a reference, and what they score as plain 0 and 1."""
    y, x = np.mgrid[:24, :24]
    return ((y - 10) ** 2 + (x - 12) ** 2 < 40) * np.uint8(value), ((y - 12) ** 2 + (x - 11) ** 2 < 30) * np.uint8(
        value
    )


def quantised(path: Path, labels: np.ndarray) -> None:
    """As tools that save bits write 0 and 255: white is index 0, black 1."""
    image = Image.fromarray((labels == 0).astype(np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    path.parent.mkdir(exist_ok=True)
    image.save(path)


@pytest.mark.parametrize(("pred", "label"), [(png, quantised), (quantised, png), (quantised, quantised)])
def test_a_palette_of_greys_means_its_greys(pred, label, tmp_path: Path) -> None:
    prediction, reference = discs(255)
    expected = score_case(*discs(), "01", None)[0]
    pred(tmp_path / "pred" / "a.png", prediction)
    label(tmp_path / "label" / "a.png", reference)
    judged = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label"))
    assert judged.rows["dice_strict"].tolist() == [expected["dice_strict"]]
    assert judged.rows["hd95_vox_strict"].tolist() == [expected["hd95_vox_strict"]]


def coloured(path: Path, labels: np.ndarray, *colours: tuple[int, int, int]) -> None:
    image = Image.fromarray(labels).convert("P")
    image.putpalette([level for colour in colours for level in colour])
    path.parent.mkdir(exist_ok=True)
    image.save(path)


def test_a_palette_of_colours_is_read_by_its_index_only_where_all_files_agree(tmp_path: Path) -> None:
    black, red, green = (0, 0, 0), (255, 0, 0), (0, 128, 0)
    coloured(tmp_path / "label" / "a.png", LABELS, black, red, green)
    coloured(tmp_path / "pred" / "a.png", LABELS, black, red, green)
    result = evaluate(tmp_path)
    assert "by its index: 0 #000000, 1 #ff0000, 2 #008000." in result.output.replace("\\", "")
    assert "| Dice % (strict) | 100.00 | 100.00 |" in result.output
    coloured(tmp_path / "pred" / "a.png", LABELS, black, green, red)
    refused(evaluate(tmp_path), "one palette in all label maps", "1 #008000 in", "but 1 #ff0000 in", "grey levels")
    png(tmp_path / "pred" / "a.png", LABELS)
    result = evaluate(tmp_path)
    assert "| Dice % (strict) | 100.00 | 100.00 |" in result.output


def test_three_levels_are_classes_where_three_are_named_and_refused_else(tmp_path: Path) -> None:
    png(tmp_path / "label" / "a.png", np.array([0, 128, 255], np.uint8)[LABELS])
    png(tmp_path / "pred" / "a.png", np.array([0, 127, 255], np.uint8)[LABELS])
    refused(evaluate(tmp_path), "255 stands beside [0, 128]", "name the classes of evenly spaced greys by --classes")
    result = evaluate(tmp_path, "--classes", "background,disc,cup")
    assert "| Dice % (strict) | 100.00 | 100.00 |" in result.output
    assert "holds evenly spaced greys, read as classes: 128 is 1, 255 is 2." in result.output
    png(tmp_path / "pred" / "a.png", LABELS)
    assert "| Dice % (strict) | 100.00 | 100.00 |" in evaluate(tmp_path, "--classes", "background,disc,cup").output


def test_white_is_no_class_where_others_are_known_beside_it(tmp_path: Path) -> None:
    png(tmp_path / "label" / "a.png", LABELS)
    png(tmp_path / "pred" / "a.png", np.array([0, 255, 0], np.uint8)[LABELS])
    for more in ([], ["--classes", "background,disc,cup"]):
        refused(evaluate(tmp_path, *more), "a.png has 255: 0 and 255 alone are two classes", "nothing tells which")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_a_plane_on_every_axis(axis: int, tmp_path: Path) -> None:
    prediction, reference = discs()
    kept = tuple(size for k, size in enumerate(SPACING) if k != axis)
    expected = score_case(prediction, reference, "01", kept)[0]
    assert expected["hd95_mm_strict"] != expected["hd95_vox_strict"] > 0
    nifti(tmp_path / "pred" / "a.nii.gz", np.expand_dims(prediction, axis), SPACING)
    nifti(tmp_path / "label" / "a.nii.gz", np.expand_dims(reference, axis), SPACING)
    for spacing in (None, SPACING, kept):
        judged = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label", spacing=spacing))
        assert "1 of 1 volumes are a single slice: scored as planes." in judged.notes
        for figure in ("dice_strict", "hd95_vox_strict", "hd95_mm_strict", "assd_mm_strict", "nsd_vox_strict"):
            assert judged.rows[figure].tolist() == [expected[figure]]


@pytest.mark.parametrize("third", [1.0, 0.0])
def test_a_nifti_of_two_axes_is_a_plane(third: float, tmp_path: Path) -> None:
    """Whatever its header has as the size of an axis that is not there."""
    prediction, reference = discs()
    for folder, labels in (("pred", prediction), ("label", reference)):
        path = tmp_path / folder / "a.nii"
        nifti(path, labels, SPACING)
        with path.open("r+b") as file:
            file.seek(76 + 3 * 4)  # pixdim[3]
            file.write(np.float32(third).tobytes())
    judged = score_predictions(Predictions([tmp_path / "pred"], tmp_path / "label"))
    assert judged.rows["hd95_mm_strict"].tolist() == [
        score_case(prediction, reference, "01", SPACING[1:])[0]["hd95_mm_strict"]
    ]
    assert judged.notes == ("1 of 1 volumes are a single slice: scored as planes.",)
