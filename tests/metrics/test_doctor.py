"""`medbench doctor --metrics`: it agrees, it notices what does not, and says what is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from click.testing import CliRunner, Result

import bench.metrics.doctor
from bench.cli.main import main


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One drawn pair alone: its phantoms take a second."""
    box = np.zeros((5, 9, 9), bool)
    box[1:4, 2:7, 2:7] = True
    pairs = [("box", np.roll(box, 1, 2), box, None), ("box, mm", np.roll(box, 1, 2), box, (5.0, 1.0, 2.0))]
    monkeypatch.setattr(bench.metrics.doctor, "_drawn", lambda: iter(pairs))


@pytest.mark.slow
def test_it_agrees_on_drawn_and_on_hard_volumes() -> None:
    pytest.importorskip("medpy.metric.binary", reason="medpy is the oracle: pip install medbench[check]")
    found = {one.metric: one for one in bench.metrics.doctor.compare_with_medpy(rounds=1)}
    assert set(found) == {"Dice", "HD95 (pooled)", "ASSD"}
    structures, hard = 2 * 3 + 8, 12 * 12 - 1
    for name, one in found.items():
        assert one.agrees, (name, one)
        assert one.pairs + one.undefined == 2 * (structures + hard)
        assert one.ratio > (0 if name == "Dice" else 1)
    assert found["Dice"].undefined == 0
    assert found["ASSD"].undefined == 2 * 2 * 11  # empty beside each other mask, both ways, with and without mm


def test_the_command_ends_in_0_and_shows_each_metric(few: None) -> None:
    pytest.importorskip("medpy.metric.binary", reason="medpy is the oracle: pip install medbench[check]")
    result = doctor("--metrics")
    assert result.exit_code == 0, result.output
    assert [name for name in ("Dice", "HD95 (pooled)", "ASSD") if name not in result.output] == []
    assert "NO" not in result.output


def test_a_metric_that_differs_ends_in_1(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("medpy.metric.binary", reason="medpy is the oracle: pip install medbench[check]")
    monkeypatch.setattr(bench.metrics.doctor, "hd95", lambda p, r, s: bench.metrics.segmentation.hd95(p, r, s, "max"))
    result = doctor("--metrics")
    assert (result.exit_code, result.stderr) == (1, "Error: HD95 (pooled) differ from medpy's.\n")
    assert "NO" in result.output


def test_a_value_where_medpy_has_none_is_a_difference(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("medpy.metric.binary", reason="medpy is the oracle: pip install medbench[check]")
    ours = bench.metrics.segmentation.assd
    monkeypatch.setattr(bench.metrics.doctor, "assd", lambda p, r, s: np.nan_to_num(ours(p, r, s)))
    found = {one.metric: one for one in bench.metrics.doctor.compare_with_medpy(rounds=1)}
    assert found["ASSD"].difference == np.inf
    assert "empty" in found["ASSD"].worst


def test_without_medpy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "medpy", None)
    monkeypatch.setitem(sys.modules, "medpy.metric", None)
    result = doctor("--metrics")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "pip install medbench[check]" in result.stderr
