"""Whether training had converged: a line through the last third of the validation rounds, held to scipy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.analysis.convergence import converged_words, late_rise
from bench.analysis.shown import Shown
from bench.records.store import write_rows
from bench.runs.train import HISTORY_COLUMNS

FIRST = pd.Series({"task": "segmentation", "images_seen": 48_000})


def test_one_run_has_the_line_and_interval_of_scipy() -> None:
    scores = np.random.default_rng(0).normal(0.8, 0.01, 21).cumsum() / 20
    x = np.linspace(0, 1, 7)
    line = stats.linregress(x, scores[-7:])
    rise = late_rise([list(scores)])
    assert rise is not None
    assert rise[0] == pytest.approx(line.slope)
    assert rise[1] == pytest.approx(stats.t.ppf(0.975, 5) * line.stderr)


def test_a_flat_curve_rises_by_chance_once_in_forty_and_a_rise_is_seen() -> None:
    rng = np.random.default_rng(1)
    flat = [late_rise(list(rng.normal(0.9, 0.01, (3, 20)))) for _ in range(2000)]
    assert np.mean([rise[0] > rise[1] for rise in flat if rise]) == pytest.approx(0.025, abs=0.012)
    rising = np.linspace(0, 0.06, 20) + rng.normal(0, 0.001, (3, 20))
    found = late_rise(list(rising))
    assert found is not None
    assert found[0] == pytest.approx(0.06 * 6 / 19, abs=0.002)
    assert found[0] > found[1]


@pytest.mark.parametrize("runs", [[], [[0.5] * 9], [[0.5] * 20, [0.5] * 5], [[0.5] * 19 + [float("nan")]]])
def test_too_few_rounds_say_nothing(runs: list[list[float]]) -> None:
    assert late_rise(runs) is None


def trained(folder: Path, raw: list[float], average: list[float] | None) -> str:
    folder.mkdir(parents=True)
    rows = [
        {"step": i + 1, "lr": 0.1, "train_loss": 1.0, "val_score": score}
        | ({"average_val_score": average[i]} if average else {})
        for i, score in enumerate(raw)
    ]
    write_rows(folder / "history.csv", HISTORY_COLUMNS, rows)
    return str(folder)


def cells(folders: dict[str, str]) -> pd.DataFrame:
    rows = [
        {"model": model, "family": "chance" if model == "chance" else "cnn", "status": "complete", "folder": folder}
        for model, folder in folders.items()
    ]
    return pd.DataFrame(rows)


def test_it_is_of_the_weights_that_are_shown(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(0, 0.001, 21)
    rising, flat = list(np.linspace(0.2, 0.8, 21) + noise), list(0.9 + noise)
    folders = {
        "a": trained(tmp_path / "a", rising, flat),
        "b": trained(tmp_path / "b", flat, None),
        "chance": trained(tmp_path / "chance", [0.1], None),
    }
    titles = {"a": "Net A", "b": "Net B", "chance": "Chance"}
    average = converged_words(FIRST, cells(folders), titles, Shown())
    assert average == "yes: flat within its noise over the last third of the validation rounds"
    raw = converged_words(FIRST, cells(folders), titles, Shown(weights="last"))
    opening, _, figure = raw.partition(" by ")
    assert opening == "no: validation still rose over the last third of its rounds, points of Dice: Net A"
    assert float(figure.split()[0]) == pytest.approx(100 * 0.6 * 6 / 20, abs=0.1)
    assert "Net B" not in raw


def test_a_score_that_falls_is_past_its_best(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).normal(0, 0.001, 21)
    curves = {"a": 0.9 + noise, "b": np.linspace(0.9, 0.4, 21) + noise, "c": np.linspace(0.2, 0.8, 21) + noise}
    folders = {name: trained(tmp_path / name, list(scores), None) for name, scores in curves.items()}
    titles = {name: f"Net {name.upper()}" for name in folders}
    words = converged_words(FIRST, cells({name: folders[name] for name in "ab"}), titles, Shown())
    opening, _, figure = words.partition(" by ")
    assert opening == "no: past its best: validation fell over the last third of its rounds, points of Dice: Net B"
    assert float(figure.split()[0]) == pytest.approx(100 * 0.5 * 6 / 20, abs=0.2)
    both = converged_words(FIRST, cells(folders), titles, Shown())
    assert both.startswith("no: validation still rose over the last third of its rounds, points of Dice: Net C by ")
    assert "; past its best: validation fell over the last third of its rounds, points of Dice: Net B by " in both
    assert "Net A" not in both


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    flat = list(0.9 + np.random.default_rng(3).normal(0, 0.001, 21))
    short = trained(tmp_path / "short", flat[:6], None)
    titles = {"a": "Net A", "b": "Net B"}
    one = converged_words(FIRST, cells({"a": trained(tmp_path / "a", flat, None), "b": short}), titles, Shown())
    assert one.startswith("yes")
    assert one.endswith("; not known of Net B")
    gone = converged_words(FIRST, cells({"a": str(tmp_path / "gone"), "b": short}), titles, Shown())
    assert gone == "not known: no history of enough validation rounds"
    budget = pd.Series({"task": "segmentation", "images_seen": 4_000})
    assert converged_words(budget, cells({"a": short}), titles, Shown()) == "no: short budget"
