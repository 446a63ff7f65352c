"""From logits to volumes and to a cell's headline figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.runs.evaluate import (
    accuracy,
    as_stored,
    headline,
    make_validation,
    predict_volume,
    score_cases,
    validation_dice,
)
from bench.runs.protocol import Protocol

PROTOCOL = Protocol(image_size=64)


class Threshold(nn.Module):
    """Class 1 where the (z-scored) pixel is above one standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.ones_like(x), x, torch.full_like(x, -9)), dim=1) + self.bias


def stack() -> tuple[np.ndarray, np.ndarray]:
    """A volume (20, 90, 110) with a bright box on some slices, and its label."""
    label = np.zeros((20, 90, 110), np.uint8)
    label[3:18, 30:60, 40:80] = 1
    image = np.random.default_rng(0).normal(0, 0.05, label.shape) + label
    return image.astype(np.float32), label


def data(*volumes: tuple[np.ndarray, np.ndarray]) -> Any:
    cases = [
        SimpleNamespace(
            case=f"patient{i:03}_ED",
            patient=f"{i:03}",
            spacing=(8.0, 1.5, 1.5),
            voxels=tuple(np.bincount(label.ravel(), minlength=3).tolist()),
        )
        for i, (_, label) in enumerate(volumes)
    ]
    spec = SimpleNamespace(task="segmentation", classes=("background", "A", "B"))
    return SimpleNamespace(
        name="mine", cases=cases, spec=spec, image=lambda i: volumes[i][0], label=lambda i: volumes[i][1]
    )


def test_no_weights_are_chosen_by_label_maps_without_any_structure() -> None:
    image, label = stack()
    empty = data((image, np.zeros_like(label)), (image, label))
    with pytest.raises(
        UserError, match="a structure in the validation part of mine, but its 1 label maps are all empty"
    ):
        make_validation(empty, [0], PROTOCOL)
    make_validation(empty, [0, 1], PROTOCOL)


def test_a_volume_is_predicted_in_its_own_grid_and_order() -> None:
    image, label = stack()
    prediction = predict_volume(Threshold(), image, PROTOCOL)
    assert prediction.shape == image.shape
    assert prediction.dtype == np.uint8
    assert (prediction[3:18] == label[3:18]).mean() > 0.98


def test_prediction_leaves_the_mode_as_it_was() -> None:
    model = Threshold().train()
    predict_volume(model, stack()[0], PROTOCOL)
    assert model.training


def test_rows_name_case_patient_class_and_outcome() -> None:
    image, label = stack()
    image[:3] += np.linspace(0, 1, 110)  # no flat slices of noise alone
    rows = score_cases(Threshold(), data((image, label)), [0], PROTOCOL)
    assert [(row["case"], row["patient"], row["class"]) for row in rows] == [
        ("patient000_ED", "000", "A"),
        ("patient000_ED", "000", "B"),
    ]
    assert rows[1]["outcome"] == "absent"
    assert rows[1]["dice_strict"] is None
    assert rows[1]["dice_transunet"] == 0


def test_validation_dice_leaves_out_what_neither_has() -> None:
    image, label = stack()
    one = data((image, label))
    scored = [r["dice_strict"] for r in score_cases(Threshold(), one, [0], PROTOCOL)]
    assert validation_dice(Threshold(), one, [0], PROTOCOL) == pytest.approx(scored[0])
    assert make_validation(one, [0], PROTOCOL)(Threshold()) == pytest.approx(scored[0])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("output", ["logits", "labels"])
def test_volumes_whose_outputs_are_not_finite_have_no_score(value: float, output: str) -> None:
    model, protocol = Threshold().train(), Protocol(image_size=64, output=output)
    model.bias.data.fill_(value)
    with pytest.raises(FloatingPointError, match="the network's outputs are not finite"):
        score_cases(model, data(stack()), [0], protocol)
    assert np.isnan(validation_dice(model, data(stack()), [0], protocol))
    assert np.isnan(make_validation(data(stack()), [0], protocol)(model))
    assert model.training


def row(case: str, name: str, dice: float | None, outcome: str = "both") -> dict[str, Any]:
    return {"case": case, "class": name, "outcome": outcome, "dice_strict": dice, "hd95_mm_strict": None}


def test_the_headline_is_the_mean_over_classes_of_the_mean_over_cases() -> None:
    rows = [row("1", "A", 1.0), row("2", "A", 0.0, "missed"), row("3", "A", 0.2), row("1", "B", 0.8)]
    rows += [row("2", "B", None, "absent"), row("3", "B", 0.0, "invented")]
    out = headline(rows)
    assert out["dice_strict"] == pytest.approx((1.2 / 3 + 0.8 / 2) / 2)
    assert out["hd95_mm_strict"] is None
    assert (out["missed"], out["invented"], out["cases"]) == (1, 1, 3)


class Brightest(nn.Module):
    """The class is the quarter of the image, of three, that is the brightest; batch norm tells the modes apart."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.norm, self.factor = nn.BatchNorm1d(3, affine=False), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        quarters = (x[..., :half, :half], x[..., :half, half:], x[..., half:, :half])
        return self.norm(torch.cat([q.mean((-1, -2)) for q in quarters], dim=1)) * self.factor


def images(count: int = 70) -> Any:
    """Images (1, 64 + i, 64) whose quarter `label` is bright; two of them carry a wrong label."""
    pixels, cases = [], []
    for i in range(count):
        image, quarter = np.full((1, 64 + i, 64), 50, np.uint8), i % 3
        rows, columns = image.shape[1] // 2, 32
        top, left = (0, 0, 1)[quarter] * rows, (0, 1, 0)[quarter] * columns
        image[0, top : top + rows, left : left + columns] = 200
        label = (quarter + 1) % 3 if i in (4, 66) else quarter
        pixels.append(image)
        cases.append(SimpleNamespace(case=f"image {i}", patient=f"p{i // 2}", label=label))
    spec = SimpleNamespace(task="classification", channels=1, classes=("a", "b", "c"))
    return SimpleNamespace(cases=cases, spec=spec, image=lambda i: pixels[i])


def test_an_image_has_a_row_per_class_with_its_probability() -> None:
    model, data = Brightest().train(), images()
    order = [66, *range(65), 65]
    rows = score_cases(model, data, order, PROTOCOL)
    assert model.training
    assert [row["case"] for row in rows[:4]] == ["image 66", "image 66", "image 66", "image 0"]
    assert list(rows[0]) == ["case", "patient", "class", "reference", "predicted", "probability"]
    assert len(rows) == 3 * len(order)
    for one in (rows[i : i + 3] for i in range(0, len(rows), 3)):
        assert [row["class"] for row in one] == ["a", "b", "c"]
        assert sum(row["probability"] for row in one) == pytest.approx(1)
        assert sum(row["reference"] for row in one) == sum(row["predicted"] for row in one) == 1
        assert max(one, key=lambda row: row["probability"])["predicted"] == 1
    wrong = {row["case"] for row in rows if row["predicted"] != row["reference"]}
    assert wrong == {"image 4", "image 66"}
    assert accuracy(model, data, order, PROTOCOL) == pytest.approx(1 - 2 / 67)
    figures = headline(rows)
    assert figures["accuracy"] == pytest.approx(1 - 2 / 67)
    assert figures["cases"] == 67
    assert set(figures["sensitivity"]) == {"a", "b", "c"}
    assert set(figures) == {
        *("accuracy", "balanced_accuracy", "macro_f1", "auc", "mcc", "ece", "brier"),
        *("macro_specificity", "macro_precision", "sensitivity", "by_class", "confusion", "cases"),
    }
    assert set(figures["by_class"]) == {"sensitivity", "specificity", "precision", "f1", "auc"}
    assert figures["by_class"]["sensitivity"] == figures["sensitivity"]
    assert sum(map(sum, figures["confusion"])) == 67
    assert sum(row[k] for k, row in enumerate(figures["confusion"])) == 65


def test_probabilities_keep_nine_digits_of_what_tells_them_apart() -> None:
    assert as_stored([0.912004728740797, 0.08799527125920317, 0.0, 1.0]) == [0.9120047287, 0.0879952713, 0.0, 1.0]
    saturated = [1 - 2e-12, 1 - 1e-12, 3e-12, 4.00000000001e-12]
    assert len(set(as_stored(saturated))) == 4
    assert as_stored(saturated)[3] == 4e-12


def test_scores_do_not_depend_on_the_batch_an_image_is_in() -> None:
    data, model = images(), Brightest()
    whole = {(r["case"], r["class"]): r["probability"] for r in score_cases(model, data, range(70), PROTOCOL)}
    alone = score_cases(model, data, [69], PROTOCOL)
    assert [row["probability"] for row in alone] == pytest.approx([whole["image 69", name] for name in "abc"])


def test_the_validation_score_is_minus_the_mean_cross_entropy() -> None:
    data, cases = images(), [*range(3, 70)]
    rows = score_cases(Brightest(), data, cases, PROTOCOL)
    expected = np.mean([np.log(row["probability"]) for row in rows if row["reference"]])
    model = Brightest().train()
    assert make_validation(data, cases, PROTOCOL)(model) == pytest.approx(expected, rel=1e-6)
    assert model.training


def test_outputs_that_are_not_finite_are_no_scores() -> None:
    model, data = Brightest(factor=float("nan")), images()
    assert np.isnan(make_validation(data, [0, 1], PROTOCOL)(model))
    assert np.isnan(accuracy(model, data, [0, 1], PROTOCOL))
    with pytest.raises(FloatingPointError, match="not finite"):
        score_cases(model, data, [0, 1], PROTOCOL)


def test_a_figure_that_is_not_defined_is_none() -> None:
    rows = score_cases(Brightest(), images(), [0, 3], PROTOCOL)  # both of class a
    out = headline(rows)
    assert (out["auc"], out["sensitivity"]) == (None, {"a": 1.0, "b": None, "c": None})
