"""`medbench develop` from the command line: cells, table, file, rates, study; a second time nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench
from bench.cli.main import main

OPTIONS = [
    *("--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom", "--threads", "1", "--folds", "3"),
    *("--set", "image_size=32", "--set", "evaluations=1", "--share", "1/30"),
]


def test_the_command_trains_shows_and_keeps_what_was_chosen(tmp_path: Path) -> None:
    grid = ["--models", "mobilenetv3_small", "--vary", "lr=3e-4,1e-3,3e-3", "--results", str(tmp_path / "results")]
    table = tmp_path / "out" / "rates.md"
    kept = ["--store-rates", "--study", "rates", "--format", "markdown", "--output", str(table)]
    first = CliRunner().invoke(main, ["develop", *OPTIONS, *grid, *kept])
    assert first.exit_code == 0, first.output
    assert "0 reused, 6 complete, 0 diverged, 0 failed of 6 cells" in first.output
    rows = [line for line in table.read_text().splitlines() if line.startswith("| mobilenetv3")]
    assert len(rows) == 3
    (choice,) = json.loads((tmp_path / "results" / "rates.json").read_text())["choices"]
    assert choice["steps"] == 2
    assert choice["lr"] in (3e-4, 1e-3, 3e-3)
    assert f"mobilenetv3_small, classification: {choice['lr']:g}" in first.output
    assert "study rates, 3 trials" in first.output
    again = CliRunner().invoke(main, ["develop", *OPTIONS, *grid, *kept])
    assert "6 reused, 0 complete" in again.output
    assert "study rates, 3 trials" in again.output
    run = ["plan", *OPTIONS[:-2], *grid[:2], *grid[-2:], "--set", "rates=grid"]
    assert CliRunner().invoke(main, [part for part in run if part not in ("--folds", "3")]).exit_code == 0
    frame = bench.develop(
        models="mobilenetv3_small",
        dataset="large-covid-ct",
        preset="smoke",
        data="phantom",
        threads=1,
        folds=3,
        settings={"image_size": 32, "evaluations": 1},
        share="1/30",
        vary={"lr": (3e-4, 1e-3, 3e-3)},
        results=tmp_path / "results",
    )
    assert list(frame["variant"].unique()) == ["lr=0.0003", "lr=0.001", "lr=0.003"]
    assert frame["folds"].map(len).eq(2).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--vary", "lr=1e-3,2e-3", "--store-rates"], "Error: Expected --vary lr=0.0003,0.001,0.003 alone with"),
        (["--vary", "lr"], "Error: Expected --vary FIELD=VALUE,VALUE, but got 'lr'."),
        (["--split", "patient/inner5"], "pass --folds 5 to `medbench develop`."),
        (["--share", "2"], "Error: Expected share to be a share of the steps"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(tmp_path: Path, options: list[str], line: str) -> None:
    given = ["develop", *OPTIONS, "--models", "resnet10t", "--results", str(tmp_path / "results"), *options]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2
    assert line in result.output
    assert not (tmp_path / "results").exists()
