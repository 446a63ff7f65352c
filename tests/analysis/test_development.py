"""Candidates judged on folds of training patients: figures, paired differences, the table, and the rates chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from stand_ins import leave_record

from bench.analysis.development import AVERAGE, RAW, judge, long_frame, shown_weights
from bench.analysis.rates import check_grid, choose_rates
from bench.errors import UserError
from bench.records import store
from bench.report.development import development_sheet
from bench.report.sheets import render_sheets
from bench.runs.development import Candidate, Development, candidates
from bench.runs.runner import run_jobs

REQUEST: dict[str, Any] = {
    "models": "resnet10t,resnet18,chance",
    "dataset": "large-covid-ct",
    "preset": "smoke",
    "data": "phantom",
    "settings": ("steps=1", "evaluations=1", "image_size=32"),
    "threads": 1,
    "folds": 3,
    "vary": ("lr=3e-4,1e-3,3e-3",),
}
ACCURACY = ((0.5, 0.7), (0.8, 0.6), (0.6, 0.8))  # of each rate, in each fold


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, user_data: Path) -> dict[str, Any]:
    """The record of one trained cell, after which others are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(user_data))
        results = tmp_path_factory.mktemp("trained")
        found = candidates(Development(**{**REQUEST, "models": "chance", "use": 1, "vary": (), "results": results}))
        run_jobs(list(found[0].jobs))
        record = store.read_record(found[0].jobs[0].folder)
    assert record is not None
    return record


@pytest.fixture
def found(tmp_path: Path) -> list[Candidate]:
    return candidates(Development(**REQUEST, results=tmp_path))


def leave(
    found: Sequence[Candidate], like: dict[str, Any], figures: Sequence[Sequence[float]] = ACCURACY, **kept: Any
) -> None:
    """Records of candidates with these accuracies by fold, the average's a tenth higher."""
    for candidate, by_fold in zip(found, figures, strict=True):
        for job, value in zip(candidate.jobs, by_fold, strict=True):
            validation = {RAW: {"accuracy": value}, AVERAGE: {"accuracy": value + 0.1}}
            leave_record(job, like, validation, **kept)


def test_a_figure_is_the_mean_over_folds_and_a_difference_is_paired_by_fold(
    found: list[Candidate], trained: dict[str, Any]
) -> None:
    leave(found[:3], trained)
    first, second, third = judge(found[:3])
    assert first.mean(RAW, "accuracy") == pytest.approx(0.6)
    assert first.mean(AVERAGE, "accuracy") == pytest.approx(0.7)
    assert first.gaps == {}
    assert second.figures[RAW]["accuracy"] == {0: 0.8, 1: 0.6}
    gap = second.gaps[RAW]["accuracy"]
    assert gap.value == pytest.approx(0.1)
    half = stats.t.ppf(0.975, 1) * np.std([0.3, -0.1], ddof=1) / math.sqrt(2)
    assert (gap.low, gap.high) == (pytest.approx(0.1 - half), pytest.approx(0.1 + half))
    same = third.gaps[RAW]["accuracy"]
    assert (same.low, same.high) == (pytest.approx(0.1), pytest.approx(0.1)), "each fold gains as much"
    assert second.seconds == 10


def test_where_nothing_varies_the_first_model_is_the_reference(tmp_path: Path, trained: dict[str, Any]) -> None:
    found = candidates(Development(**{**REQUEST, "vary": (), "models": "resnet10t,resnet18"}, results=tmp_path))
    leave(found, trained, ACCURACY[:2])
    first, second = judge(found)
    assert first.gaps == {}
    assert second.gaps[RAW]["accuracy"].value == pytest.approx(0.1)
    assert "less that of the first model" in development_sheet([first, second]).notes[2]


def test_a_candidate_without_a_whole_set_of_cells_has_no_figure_and_says_why(
    found: list[Candidate], trained: dict[str, Any]
) -> None:
    leave(found[:2], trained, ACCURACY[:2])
    leave_record(found[1].jobs[1], trained, status="diverged")
    judged = judge(found[:3])
    assert judged[1].figures == {}
    assert judged[1].statuses == ("complete", "diverged")
    frame = development_sheet(judged).frame
    assert list(frame["Cells"]) == ["", "1 diverged of 2", "2 not run of 2"]
    assert list(frame["Accuracy %"]) == ["60.00", "", ""]


def test_records_without_validation_figures_tell_the_last_round_s_score(
    found: list[Candidate], trained: dict[str, Any]
) -> None:
    for job, score in zip(found[0].jobs, (-0.5, -0.7), strict=True):
        leave_record(job, trained)
        rounds = [{"step": 1, "lr": 1, "train_loss": 1, "val_score": -0.1}, {"step": 2, "val_score": score}]
        store.write_rows(job.folder / "history.csv", ("step", "lr", "train_loss", "val_score"), rounds)
    (judged,) = judge(found[:1])
    assert judged.figures == {RAW: {"loss": {0: 0.5, 1: 0.7}}}
    store.write_rows(
        found[0].jobs[1].folder / "history.csv", ("step", "val_score"), [{"step": 2, "val_score": math.nan}]
    )
    assert judge(found[:1])[0].figures == {}, "the last round's outputs are not finite"


def test_an_interval_is_over_the_held_out_units_where_cells_keep_their_cases(
    found: list[Candidate], trained: dict[str, Any]
) -> None:
    right = {0: [(1, 1), (0, 0), (1, 0)], 1: [(0, 1), (1, 1), (1, 1)]}  # of each patient two images
    for candidate, hits in zip(found[:2], (right, {0: [(1, 1)] * 3, 1: [(1, 1)] * 3}), strict=True):
        for job in candidate.jobs:
            of_fold = hits[job.cell.fold or 0]
            rows = [
                {"part": "val", "weights": weights, "case": f"{job.cell.fold}{p}{k}", "patient": f"p{job.cell.fold}{p}"}
                | {"class": name, "reference": int(name == "CAP"), "predicted": int(name == said), "probability": p_of}
                for weights in (RAW, "best-val")
                for p, pair in enumerate(of_fold)
                for k, hit in enumerate(pair)
                for said in ("CAP" if hit else "COVID",)
                for name, p_of in (("normal", 0.2), ("COVID", 0.6 - hit / 5), ("CAP", 0.2 + hit / 5))
            ]
            leave_record(job, trained, {RAW: {"accuracy": float(np.mean(of_fold))}}, rows=rows)
    first, second = judge(found[:2])
    assert (first.units, second.units) == (6, 6)
    gaps = [0, 1, 0.5, 0.5, 0, 0]
    half = stats.t.ppf(0.975, 5) * np.std(gaps, ddof=1) / math.sqrt(6)
    gap = second.gaps[RAW]["accuracy"]
    assert gap.value == pytest.approx(np.mean(gaps))
    assert (gap.low, gap.high) == (pytest.approx(gap.value - half), pytest.approx(gap.value + half))
    assert "over the 6 held-out patients or groups." in " ".join(development_sheet([first, second]).notes)


def test_the_table_has_both_weights_each_fold_and_all_formats(found: list[Candidate], trained: dict[str, Any]) -> None:
    leave(found[:3], trained)
    sheet = development_sheet(judge(found[:3]))
    assert list(sheet.frame.columns) == [
        *("Model", "Variant", "Accuracy %", "Accuracy %, by fold", "Accuracy %, less first [95 %]"),
        *("Loss", "Loss, by fold", "Loss, less first [95 %]"),
        *("average, Accuracy %", "average, Accuracy %, by fold", "average, Accuracy %, less first [95 %]"),
        *("average less raw, Accuracy % [95 %]", "Seconds"),
    ]
    assert list(sheet.frame["Accuracy %, by fold"]) == ["50.00, 70.00", "80.00, 60.00", "60.00, 80.00"]
    assert sheet.frame["Accuracy %, less first [95 %]"][2] == "+10.00 [+10.00, +10.00]"
    assert "folds 0, 1 of 3 of the training part of patient; seeds 0; first variant: preset smoke" in sheet.caption
    assert sheet.caption.startswith("PHANTOM")
    for form in ("markdown", "latex", "csv"):
        assert "lr=3e-4" in render_sheets([sheet], form)
    frame = long_frame(judge(found[:3]))
    frame = frame[frame["measure"] == "accuracy"]
    assert list(frame["weights"])[:2] == [RAW, AVERAGE]
    assert list(frame["value"])[:2] == [pytest.approx(0.6), pytest.approx(0.7)]
    assert frame["folds"][0] == (0.5, 0.7)


@pytest.mark.parametrize(
    ("figures", "rate"),
    [
        (ACCURACY, 1e-3),  # the second and the third are equal
        (((0.5, 0.7), (0.8, 0.6), (0.7, 0.9)), 3e-3),
        (((0.9, 0.9), (0.8, 0.6), (0.7, 0.9)), 3e-4),
    ],
)
def test_the_highest_mean_chooses_the_rate_and_of_equals_the_lowest(
    found: list[Candidate], trained: dict[str, Any], figures: Sequence[Sequence[float]], rate: float
) -> None:
    leave(found[:3], trained, figures)
    (choice,), lines = choose_rates(judge(found[:3]))
    assert (choice["lr"], choice["model"], choice["weights"], lines) == (rate, "resnet10t", AVERAGE, [])
    assert [own["lr"] for own in choice["figures"]] == [3e-4, 1e-3, 3e-3]
    assert choice["figures"][0]["folds"] == [pytest.approx(value + 0.1) for value in figures[0]]
    assert (choice["steps"], choice["seconds"], choice["folds"], choice["split"]) == (1, 60.0, [0, 1], "patient/inner3")
    assert choice["source"] == "phantom"
    json.dumps(choice, allow_nan=False)


def test_the_weights_that_are_asked_for_choose(found: list[Candidate], trained: dict[str, Any]) -> None:
    leave(found[:3], trained)
    judged = judge(found[:3])
    assert shown_weights(judged) == AVERAGE
    (choice,), _ = choose_rates(judged, RAW)
    assert choice["figures"][1]["mean"] == pytest.approx(0.7)
    for candidate, by_fold in zip(found, ACCURACY, strict=False):
        for job, value in zip(candidate.jobs, by_fold, strict=True):
            leave_record(job, trained, {RAW: {"accuracy": value}})
    raw = judge(found[:3])
    assert shown_weights(raw) == RAW
    with pytest.raises(UserError, match="Expected --weights to be one of last, but got 'average-last'"):
        choose_rates(raw, AVERAGE)


def test_a_rate_that_diverges_is_not_chosen_and_who_has_none_is_said(
    found: list[Candidate], trained: dict[str, Any], tmp_path: Path
) -> None:
    of_resnet10t, of_resnet18, of_chance = found[:3], found[3:6], found[6:]
    leave(of_resnet10t, trained, ((0.5, 0.7), (0.9, 0.9), (0.6, 0.8)))
    leave_record(of_resnet10t[1].jobs[0], trained, status="diverged")
    leave(of_resnet18[:2], trained, ACCURACY[:2])
    leave(of_chance, trained)
    (choice,), lines = choose_rates(judge(found))
    assert choice["lr"] == 3e-3
    assert choice["figures"][1] == {"lr": 1e-3, "mean": None, "folds": []}
    assert lines == [
        "No rate stored for resnet18: 2 of its 6 cells are not done.",
        "No rate stored for chance: it has nothing to train.",
    ]
    arms = candidates(Development(**{**REQUEST, "models": "mednext_tiny[sem=none]"}, results=tmp_path / "arms"))
    leave(arms, trained)
    assert choose_rates(judge(arms)) == (
        [],
        ["No rate stored for mednext_tiny[sem=none]: an arm takes the rate of its base network."],
    )


@pytest.mark.parametrize(
    "vary", [(), ("lr=3e-4,1e-3",), ("lr=3e-4,1e-3,2e-3",), ("lr=3e-4,1e-3,3e-3", "clip=1,0.5"), ("clip=1,0.5",)]
)
def test_rates_are_stored_of_the_whole_grid_alone(tmp_path: Path, vary: tuple[str, ...]) -> None:
    found = candidates(Development(**{**REQUEST, "models": "chance", "vary": vary}, results=tmp_path))
    with pytest.raises(UserError, match=r"Expected --vary lr=0\.0003,0\.001,0\.003 alone with --store-rates"):
        check_grid(found)
