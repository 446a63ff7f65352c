"""Replaying learning curves: what a pruner saves, and that it never stops a curve that leads throughout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stored_records import a_record_of

from ablations.replay import LEAST, Curve, _curve, replay, replay_tables, stored_curves
from bench.errors import UserError
from bench.records.keys import cell_key, comparison_key

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
STEPS = (100, 200, 300, 400, 500)


def ramp(name: str, height: float) -> Curve:
    return Curve(name, STEPS, tuple(height * (i + 1) / 5 for i in range(5)))


def test_curves_that_never_cross_cost_steps_but_never_the_best() -> None:
    curves = [ramp(str(k), k / 20) for k in range(20)]
    found = replay(curves, "median", 20)
    assert len(found) == 20
    assert not found["best_pruned"].any()
    assert found["saved"].median() > 0.2
    assert (found["pruned"] > 0).all()


def test_no_pruner_saves_nothing() -> None:
    found = replay([ramp(str(k), k / 20) for k in range(9)], "none", 20)
    assert (found["saved"] == 0).all()
    assert not found["best_pruned"].any()


def test_a_best_curve_that_starts_last_is_pruned_in_most_orders() -> None:
    curves = [ramp(str(k), 0.5 + k / 100) for k in range(12)]
    curves.append(Curve("late", STEPS, (0.0, 0.0, 0.0, 0.1, 0.9)))
    found = replay(curves, "median", 20)
    assert found["best_pruned"].mean() > 0.3


@pytest.mark.slow
def test_the_committed_records_can_be_replayed() -> None:
    curves, notes = stored_curves(EXAMPLE, "acdc")
    assert not notes
    assert len(curves) > 30
    assert len({c.steps for c in curves}) == 1
    (sheet,) = replay_tables(EXAMPLE, ["acdc"], 20)
    start = (
        f"Pruning replayed: {len(curves)} stored learning curves of acdc, split ssl4mis, "
        "6000 steps, 20 validation rounds, 20 orderings"
    )
    assert sheet.caption.startswith(start)
    assert list(sheet.frame["Pruner"]) == ["median", "hyperband"]


def test_a_curve_is_of_the_averaged_weights_where_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,lr,train_loss,val_score,average_val_score\n2,0.1,1,0.9,0.4\n4,0.1,1,0.8,\n")
    curve = _curve(path, "net", {"split": "blocks", "fold": 1, "protocol": {"steps": 4}})
    assert curve == Curve("net", (2, 4), (0.4, 0.8), "blocks, fold 1", curve.judged_on)


def test_curves_of_another_split_or_protocol_are_not_among_them(tmp_path: Path) -> None:
    for split, count in (("ssl4mis", LEAST), ("another", 3)):
        for seed in range(count):
            folder = tmp_path / "runs" / f"{split}{seed}"
            shutil.copytree(a_record_of("segmentation"), folder, ignore=lambda *_: {"cases.csv"})
            record = json.loads((folder / "record.json").read_text())
            record["cell"] |= {"split": split, "seed": seed}
            record |= {"key": cell_key(record["cell"]), "comparison": comparison_key(record["cell"]), "metrics": None}
            (folder / "record.json").write_text(json.dumps(record))
            (folder / "history.csv").write_text("step,lr,train_loss,val_score\n2,0.1,1,0.9\n4,0.1,1,0.8\n")
    curves, _ = stored_curves(tmp_path, "acdc")
    assert (len(curves), {curve.split for curve in curves}) == (LEAST, {"ssl4mis"})


def test_too_few_curves_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Expected at least 8 stored learning curves of acdc to replay"):
        stored_curves(tmp_path, "acdc")
