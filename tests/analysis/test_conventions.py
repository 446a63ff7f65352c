"""`medbench report --conventions`: means by hand, changed ranks, older records left out and counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from few_records import copy_example
from views import view_text

import bench.analysis.conventions
from bench.analysis.conventions import MEASURES, PAIRS, SHOWN
from bench.cli.main import main
from bench.records.store import SCORE_COLUMNS, load_cases, load_cells


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the committed networks; tests/test_example.py takes all of them."""
    return copy_example(tmp_path_factory.mktemp("few") / "example", ("mednext_tiny", "nnunet_s", "unet_s"))


def cell(model: str, seed: int, **fields: Any) -> dict[str, Any]:
    shared = {"comparison": "c1", "dataset": "acdc", "source": "real", "preset": "quick", "split": "ssl4mis"}
    shared |= {"task": "segmentation", "status": "complete", "family": "cnn", "version": 1}
    shared |= {"images_seen": 48_000, "averaged": False, "fold": np.nan, "partial": False}
    return {**shared, "key": f"{model}{seed}", "model": model, "title": model.upper(), "seed": seed, **fields}


def rows(key: str, pooled: float, larger: float | None, outcome: str = "both") -> list[dict[str, Any]]:
    """Two cases of one class, the second 2 voxels worse; a decoy with other weights."""
    found = []
    for case, more in (("p1", 0.0), ("p2", 2.0)):
        place = {"key": key, "part": "test", "case": case, "patient": case, "class": "RV", "outcome": outcome}
        figures = dict.fromkeys(SHOWN.values(), 0.5) | {"hd95_vox_strict": pooled + more}
        figures["hd95max_vox_strict"] = np.nan if larger is None else larger + more
        found.append({**place, "weights": "best-val", **figures})
        found.append({**place, "weights": "last", **figures, "hd95_vox_strict": 99.0})
    return found


def text(monkeypatch: pytest.MonkeyPatch, cells: list[dict[str, Any]], cases: list[dict[str, Any]]) -> str:
    loaded = pd.DataFrame(cells), pd.DataFrame(cases)
    monkeypatch.setattr(bench.analysis.conventions, "load_cells_and_cases", lambda _: loaded)
    return view_text("conventions", Path("results"))


def test_means_and_ranks_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell("a", 0), cell("a", 1), cell("b", 0), cell("b", 1), cell("few", 0), cell("old", 0)]
    cells += [cell("zero", 0, family="chance"), cell("net", 0, task="classification", comparison="c2")]
    cases = [*rows("a0", 3, 9), *rows("a1", 5, 11), *rows("b0", 6, 7), *rows("b1", 6, 7), *rows("few0", 1, 1)]
    cases += [*rows("old0", 1, None), *rows("zero0", 1, 1, "missed")]
    out = text(monkeypatch, cells, cases)
    assert "1 of 6 records lack these columns and are left out." in out
    assert "| A | 5.00 | 11.00 | 0.50 |" in out  # (3 + 5) / 2 and 1 more, the mean over its two cases
    assert "| B | 7.00 | 8.00 | 0.50 |" in out
    assert "| FEW | 2.00 | 2.00 |" in out
    assert "ZERO" not in out
    assert "| OLD |" not in out
    assert "- Not counted among the ranks, for lack of seeds or folds: FEW.\n- Not shown, no cell scored: OLD.\n" in out
    change = (
        "HD95 max for HD95 pooled: differs by +3.50, the median over models (+1.00 to +6.00); 2 of 2 models change rank"
    )
    assert f"- {change}, by at most 1; first is B in place of A.\n" in out
    assert "0 of 2 models change rank; first stays A and B." in out  # ties share the rank


def test_models_of_other_seeds_are_not_ranked_together_and_what_diverged_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = [cell("a", 0), cell("a", 1), cell("b", 0), cell("b", 1), cell("c", 1), cell("c", 2)]
    cells += [cell("d", 0), cell("d", 1, status="diverged")]
    cases = [*rows("a0", 3, 9), *rows("a1", 5, 11), *rows("b0", 6, 7), *rows("b1", 6, 7), *rows("d0", 1, 1)]
    out = text(monkeypatch, cells, [*cases, *rows("c1", 1, 1), *rows("c2", 1, 1)])
    assert "2 of 2 models change rank" in out
    assert "- Not counted among the ranks, for lack of seeds or folds: C, D.\n" in out
    (diverged,) = [line for line in out.splitlines() if line.startswith("| D |")]
    assert diverged.endswith("| 1; diverged (1 of 2 seeds) |")


def test_versions_of_a_model_are_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell("a", 0), cell("a", 1, version=2)]
    out = text(monkeypatch, cells, [*rows("a0", 3, 9), *rows("a1", 5, 11)])
    assert "| A v1 | 4.00 |" in out
    assert "| A v2 | 6.00 |" in out


def test_missed_structures_are_counted_beside_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    out = text(monkeypatch, [cell("a", 0), cell("a", 1)], [*rows("a0", 3, 9), *rows("a1", 5, 11, "missed")])
    assert "| 1.0 | 0.0 | 2 |" in out


def test_every_column_is_a_score_and_a_measure() -> None:
    columns = [measure.column for measure in MEASURES]
    assert sorted(columns) == sorted(SCORE_COLUMNS["segmentation"])
    assert set(SHOWN.values()) <= set(columns)
    assert {name for pair in PAIRS for name in pair} <= set(SHOWN)


def test_the_committed_records_give_what_pandas_says(example: Path) -> None:
    out = CliRunner().invoke(main, ["report", "--results", str(example), "--conventions", "--format", "markdown"])
    assert out.exit_code == 0, out.output
    cells = load_cells(example)
    cells = cells[(cells["dataset"] == "acdc") & (cells["model"] == "nnunet_s")]
    cases = load_cases(example).merge(cells[["key", "seed"]], on="key")
    cases = cases[(cases["part"] == "test") & (cases["weights"] == "average-best-val")]
    by_class = cases.groupby(["seed", "class"])[["hd95_vox_strict", "hd95max_vox_strict"]].mean()
    pooled, larger = by_class.groupby("seed").mean().mean()
    assert f"| nnU-Net (reduced) | {pooled:.2f} | {larger:.2f} |" in out.output
    assert larger > pooled


def test_a_model_and_a_preset_are_chosen_and_several_data_sets_are_named(example: Path) -> None:
    wishes = ["--conventions", "--dataset", "acdc,msld", "--models", "nnunet_s,unet_s", "--preset", "standard"]
    out = CliRunner().invoke(main, ["report", "--results", str(example), *wishes, "--format", "markdown"])
    assert (out.exit_code, out.output.count("Conventions: ")) == (0, 1), out.output
    assert out.output.count("| nnU-Net (reduced) |") == 1
    assert re.search(r"Chosen: without \d+ stored models? ", out.output)
    assert "MedNeXt" not in out.output


def test_without_such_records_it_says_so(example: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", "--results", str(example), "--conventions", "--dataset", "msld"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "No segmentation records of dataset msld with all metrics" in result.stderr
    result = CliRunner().invoke(main, ["report", "--results", str(tmp_path), "--conventions"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    result = CliRunner().invoke(main, ["report", "--results", str(example), "--conventions", "--dataset", "acd"])
    assert "Did you mean: acdc?" in result.stderr


def test_the_seeds_of_a_null_arm_leave_the_other_rows_ranked_and_fewer_patients_are_named() -> None:
    loaded = [cell("mednext_tiny", seed, family="proposed") for seed in range(4)]
    loaded += [cell("mednext_tiny[sem=none]", seed, family="proposed") for seed in range(2)]
    loaded += [cell(model, seed) for model in ("b", "c") for seed in range(3)]
    loaded = [{**one, "train_patients": 15.0} for one in loaded]
    scored = [row for one in loaded for row in rows(one["key"], 3.0, 4.0)]
    (sheet,) = bench.analysis.conventions._sheets(pd.DataFrame(loaded), pd.DataFrame(scored), (), None, {})
    assert dict(zip(sheet.frame["Model"], sheet.frame["Seeds"], strict=True)) == {
        "MEDNEXT_TINY": "3",
        "B": "3",
        "C": "3",
    }
    assert any("of 3 models change rank" in note for note in sheet.notes)
    assert "Seeds that not all rows have are left out: MEDNEXT_TINY 3." in sheet.notes
    assert "preset quick, 15 training patients or groups, split" in sheet.caption
