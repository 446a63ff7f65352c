"""Folds as one table: every case tested once, seeds and folds apart, what is missing said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_comparison import cell
from views import view_text

from ablations.effects import stored_arms
from bench.analysis.comparison import Table, summarise
from bench.analysis.conventions import SHOWN
from bench.analysis.rankings import rankings
from bench.records.packed import cases_file
from bench.records.store import load_cells, read_record
from bench.report.leaks import worth_sheet
from bench.report.sheets import to_markdown
from bench.runs.cell import Cell

FOLDS, PATIENTS = 3, 4
HARD = {0: 0.0, 1: 0.3, 2: -0.2}  # by how much the patients of a fold are easier than those of another


def runs(model: str, mean: float, skip: tuple[tuple[int, int], ...] = (), **fields: Any) -> list[dict[str, Any]]:
    """The cells of three seeds and three folds, but for those to skip, with the rows of their test parts as `rows`."""
    found = []
    for seed in range(3):
        for fold in range(FOLDS):
            if (seed, fold) in skip:
                continue
            sizes = {"train": PATIENTS, "val": PATIENTS, "test": PATIENTS + fold}
            counts = {p: {"present_patients": n, "official_patients": None, "cases": n} for p, n in sizes.items()}
            place = {"key": f"{model}-{seed}-{fold}", "split": "s/3", "fold": fold, "counts": counts}
            one = cell(model, seed, **place, **fields)
            one["rows"] = [
                {
                    "key": one["key"],
                    "part": "test",
                    "weights": "best-val",
                    "class": "RV",
                    "case": f"f{fold}p{p}",
                    "patient": f"f{fold}p{p}",
                    "outcome": "both" if p else "missed",
                    **dict.fromkeys(SHOWN.values(), 5.0),
                    "dice_strict": mean + HARD[fold] + 0.02 * np.sin(p) + 0.001 * seed,
                    "hd95_mm_strict": None,
                }
                for p in range(PATIENTS + fold)
            ]
            found.append(one)
    return found


def table_of(*cells: dict[str, Any]) -> Table:
    frame = pd.DataFrame([row for one in cells for row in one["rows"]])
    (found,) = summarise(pd.DataFrame(list(cells)).drop(columns="rows"), frame)
    return found


def test_folds_are_one_table_in_which_every_case_is_tested_once() -> None:
    ours = runs("ours", 0.6, family="proposed")
    found = table_of(*ours, *runs("b", 0.5))
    row = found.frame.set_index("Model").loc["OURS"]
    scores = pd.DataFrame([row for one in ours for row in one["rows"]])
    assert row["Dice % (strict)"] == pytest.approx(100 * scores["dice_strict"].mean())
    assert row["Dice sd seeds"] == pytest.approx(0.1), "what folds differ by is not between seeds"
    assert row["Seeds"] == "3 x 3"
    assert row["Missed per run"] == 3, "of all folds of a seed"
    assert "Split s/3, 3 folds together, each case tested once" in found.caption
    assert "15 test cases; seeds 0, 1, 2" in found.caption
    assert "over 15 patients" in found.sure.caption
    assert "3 folds together" in found.sure.caption
    assert found.sure.gaps["B"].low == pytest.approx(10, abs=0.1), "pairs over seed and fold cancel what is common"
    assert "Seeds? 3 of 3 folds each" in found.checklist
    assert set(found.figures["folds"]) == {"3"}


def test_a_row_that_lacks_folds_says_so_and_is_not_ranked() -> None:
    cells = [*runs("a", 0.6), *runs("b", 0.5), *runs("some", 0.9, skip=((1, 2),))]
    cells += runs("half", 0.8, skip=tuple((seed, 1) for seed in range(3)))
    cells[-1] |= {"status": "failed"}
    found = table_of(*cells)
    lacking = "HALF, seed 0: fold 1; seed 1: fold 1; seed 2: fold 1, 2; SOME, seed 1: fold 2."
    assert f"Folds that are missing: {lacking}" in found.footnotes
    assert "Not ranked for lack of seeds or folds (all: 0, 1, 2): SOME, HALF." in found.footnotes
    assert list(found.frame["Model"]) == ["SOME", "A", "B", "HALF"], "HALF has figures of other images"
    rows = found.frame.set_index("Model")
    assert rows.loc["SOME", "Seeds"] == "2 of 3 x 3; of other folds (2 of 8 runs)"
    assert rows.loc["SOME", "Dice sd seeds"] == pytest.approx(0.1 * 2**0.5), "seeds 0 and 2, of all folds"
    assert rows.loc["HALF", "Seeds"].startswith("2 of 3 x 2 of 3; failed (1 of 6 runs)")
    assert list(found.headline) == ["a", "b"]
    assert set(found.sure.frame["Model"]) == {"A", "B"}


def test_one_fold_alone_ranks_nothing() -> None:
    others = tuple((seed, fold) for seed in range(3) for fold in (0, 1))
    found = table_of(*runs("a", 0.6, skip=others), *runs("b", 0.5, skip=others))
    assert found.headline == {}
    assert "1 of 3 folds together" in found.caption
    assert found.frame["Seeds"].to_list() == ["3 x 1 of 3"] * 2


def test_cross_validations_are_ranked_together_and_with_nothing_else() -> None:
    names = [f"d{k}" for k in range(2)]
    tables = [table_of(*runs("a", 0.6, dataset=name), *runs("b", 0.5, dataset=name)) for name in names]
    (ranking,) = rankings(tables)
    assert ranking.setting == "quick, 3 folds"
    assert ranking.datasets == ("d0", "d1")


def stored(folder: Path, fold: int, **fields: Any) -> None:
    """A record of one fold in the form of before folds were pooled: with a key of its own and the flag it inherited."""
    source = next((Path(__file__).parents[2] / "results" / "example" / "records").rglob("record.json"))
    record = read_record(source.parent)
    assert record is not None
    record["cell"] |= {"fold": fold, "split": "random-80-20/3", "parts": f"parts{fold}"}
    record |= {"comparison": f"old{fold}", "key": Cell(**record["cell"]).key, "metrics": None, "cases_sha256": None}
    record["dataset"] |= {"split_flag": "leaks", **fields}
    (folder / str(fold)).mkdir(parents=True)
    shutil.copy(cases_file(source.parent), folder / str(fold))
    (folder / str(fold) / "record.json").write_text(json.dumps(record))


def test_stored_folds_of_the_older_form_are_pooled_too(tmp_path: Path) -> None:
    for fold in range(3):
        stored(tmp_path, fold, split_leak={"patient": 0.0, "near_duplicate": 0.0})
    cells = load_cells(tmp_path)
    assert cells["comparison"].nunique() == 1
    assert not cells["comparison"].str.startswith("old").any()
    assert cells["split_flag"].isna().all(), "dealt by patient"
    stored(tmp_path / "unknown", 0, split_leak={"patient": None, "near_duplicate": 0.0})
    assert load_cells(tmp_path / "unknown")["split_flag"].to_list() == ["leaks"]
    stored(tmp_path / "newer", 0, split_leak={"patient": 0.0, "near_duplicate": 0.0, "validation": 0.0})
    assert load_cells(tmp_path / "newer")["split_flag"].to_list() == ["leaks"], "kept: some patients are unknown"


def test_ablations_take_seeds_whose_folds_are_all_there() -> None:
    from bench.zoo.registry import model_entry

    fields = {"family": "proposed", "version": model_entry("mednext_tiny").version}
    arm = runs("mednext_tiny[sem=none]", 0.5, skip=((2, 1),), **fields)
    cells = [*runs("mednext_tiny", 0.6, **fields), *arm]
    frame = pd.DataFrame([row for one in cells for row in one["rows"]])
    (found,) = stored_arms(pd.DataFrame(cells).drop(columns="rows"), frame)
    assert found.seeds == (0, 1)
    assert found.grid("without sem", found.measures[0]).sums.shape[:2] == (2, 15)
    assert found.first["counts"]["test"]["cases"] == 15


def test_conventions_and_leaks_count_seeds_not_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.analysis.conventions

    cells = [*runs("a", 0.6), *runs("b", 0.5, skip=((1, 2),))]
    rows = [row for one in cells for row in one["rows"]]
    loaded = pd.DataFrame(cells).drop(columns="rows"), pd.DataFrame(rows)
    monkeypatch.setattr(bench.analysis.conventions, "load_cells_and_cases", lambda _: loaded)
    text = view_text("conventions", Path("results"))
    assert "| A | " in text
    assert "change rank" not in text, "b lacks a fold"
    images = [
        {"key": one["key"], "part": "test", "weights": "best-val", "case": f"{one['fold']}-{k}", "reference": 1}
        | {"predicted": float(k < 2 + one["fold"])}
        for one in cells[:9]
        for k in range(4)
    ]
    flagged = [{**one, "task": "classification", "split_flag": "leaks", "train_patients": None} for one in cells[:9]]
    sheet = worth_sheet(pd.DataFrame(flagged).drop(columns="rows"), pd.DataFrame(images))
    line = to_markdown(sheet).splitlines()[4]
    assert line.endswith("| 75.0 | 0.0 | 3 |"), "the folds differ, the seeds do not"
    alone = pd.DataFrame(flagged[:3]).drop(columns="rows")
    assert to_markdown(worth_sheet(alone, pd.DataFrame(images))).splitlines()[4].endswith("| 75.0 |  | 1 |")
    lost = [{**one, "seed": 7, "key": f"lost{one['fold']}", "status": "diverged"} for one in flagged[:1]]
    said = worth_sheet(pd.DataFrame([*flagged, *lost]).drop(columns="rows"), pd.DataFrame(images)).notes
    assert [line.endswith("(diverged, seed 7).") for line in said] == [True]
    assert not worth_sheet(alone, pd.DataFrame(images)).notes
