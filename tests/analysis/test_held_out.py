"""What units of a held-out fold say adds up to the figure of the cell, as its record has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ablations.journal import read_study
from bench.analysis.held_out import unit_values
from bench.records import store

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
MEASURES = {"acdc": ["dice_strict"], "sars-cov2-ct": ["accuracy", "loss"]}


@pytest.mark.parametrize("dataset", MEASURES)
def test_the_mean_over_units_is_the_figure_of_each_committed_cell(dataset: str) -> None:
    folders = sorted((EXAMPLE / "development" / "runs" / dataset).glob("*/*"))
    compared = 0
    for folder in folders:
        record = store.read_record(folder)
        assert record is not None
        for weights, figures in record["validation"].items():
            for measure in MEASURES[dataset]:
                units = unit_values(EXAMPLE, folder, record, weights, measure)
                if units and measure in figures:
                    assert np.mean(list(units.values())) == pytest.approx(figures[measure], abs=1e-5)
                    compared += 1
    assert compared >= 2 * len(MEASURES[dataset])


@pytest.mark.parametrize("dataset", MEASURES)
def test_the_committed_journal_of_designs_has_the_table_s_figures(dataset: str) -> None:
    table = (EXAMPLE / "development" / f"{dataset}-designs.md").read_text().replace("\\", "").splitlines()
    rows = [[text.strip() for text in line.split("|")[1:-1]] for line in table if line.startswith("| ")]
    column = next(i for i, header in enumerate(rows[0]) if header.startswith("average, "))
    shown = {row[0]: row[column] for row in rows[2:]}
    study = read_study(EXAMPLE / "studies" / f"designs-{dataset}.log")
    assert {trial.user_attrs["model"]: f"{100 * trial.value:.2f}" for trial in study.trials if trial.value} == shown
