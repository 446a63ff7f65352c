"""From logits to volumes and to a cell's headline figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.evaluate import headline, predict_volume, score_cases, validation_dice
from bench.plan import Protocol

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
    cases = [SimpleNamespace(case=f"patient{i:03}_ED", patient=f"{i:03}", spacing=(8.0, 1.5, 1.5)) for i in range(9)]
    spec = SimpleNamespace(classes=("background", "A", "B"))
    return SimpleNamespace(cases=cases, spec=spec, image=lambda i: volumes[i][0], label=lambda i: volumes[i][1])


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


def row(case: str, name: str, dice: float | None, outcome: str = "both") -> dict[str, Any]:
    return {"case": case, "class": name, "outcome": outcome, "dice_strict": dice, "hd95_mm_strict": None}


def test_the_headline_is_the_mean_over_classes_of_the_mean_over_cases() -> None:
    rows = [row("1", "A", 1.0), row("2", "A", 0.0, "missed"), row("3", "A", 0.2), row("1", "B", 0.8)]
    rows += [row("2", "B", None, "absent"), row("3", "B", 0.0, "invented")]
    out = headline(rows)
    assert out["dice_strict"] == pytest.approx((1.2 / 3 + 0.8 / 2) / 2)
    assert out["hd95_mm_strict"] is None
    assert (out["missed"], out["invented"], out["cases"]) == (1, 1, 3)
