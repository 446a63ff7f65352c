"""Intervals below a table: of what, from whom, and when nothing is claimed; the checklist's answers."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_comparison import cell

from bench.analysis.certainty import Measure, limited, patients_known, scores_of
from bench.analysis.comparison import Table, summarise
from bench.analysis.statistics import Interval, difference, interval
from bench.cli.main import main
from bench.report.leaks import with_leaks
from bench.report.paper_words import evaluation
from bench.report.render import render_tables
from bench.report.sheets import to_latex, to_markdown
from bench.report.table_sheets import interval_sheet

RNG = np.random.default_rng(0)


def rows(of: dict[str, Any], mean: float, patients: int = 8) -> list[dict[str, Any]]:
    """Two frames and two classes of each patient, Dice about `mean`."""
    found = []
    for patient in range(patients):
        for frame in ("ED", "ES"):
            for name in ("RV", "Myo"):
                dice = mean + 0.02 * np.sin(patient) + 0.005 * RNG.normal()
                where = {"key": of["key"], "part": "test", "weights": "best-val", "class": name}
                where |= {"outcome": "both", "case": f"p{patient}_{frame}", "patient": f"p{patient}"}
                found.append({**where, "dice_strict": dice, "hd95_vox_strict": 5.0, "hd95_mm_strict": None})
    return found


def table(*pairs: tuple[dict[str, Any], float], patients: int = 8) -> Table:
    frame = pd.DataFrame([row for one, mean in pairs for row in rows(one, mean, patients)])
    (found,) = summarise(pd.DataFrame([one for one, _ in pairs]), frame)
    return found


def shown_models(found: Table) -> list[str]:
    return found.sure.frame["Model"].to_list()


def three(model: str, mean: float, **fields: Any) -> list[tuple[dict[str, Any], float]]:
    return [(cell(model, seed, **fields), mean + 0.001 * seed) for seed in range(3)]


def test_sums_and_counts_by_patient_leave_out_what_is_not_defined() -> None:
    frame = pd.DataFrame(
        {
            "seed": [0, 0, 0, 0],
            "patient": ["a", "a", "b", "b"],
            "class": ["RV", "RV", "RV", "Myo"],
            "dice": [0.5, 0.7, None, 0.9],
        }
    )
    scores = scores_of(frame, Measure("Dice %", "dice", 100.0, 1))
    assert scores.sums.tolist() == [[[0, pytest.approx(120)], [90, 0]]], "classes and patients in order: Myo, RV"
    assert scores.counts.tolist() == [[[0, 2], [1, 0]]]
    together = scores_of(frame, Measure("Dice %", "dice", 100.0, 1, by_class=False))
    assert together.counts.tolist() == [[[2], [1]]]


def test_a_model_without_the_figure_that_orders_the_rows_is_no_first_and_no_test() -> None:
    nothing = math.nan
    found = table(*three("a", 0.9), *three("ours", 0.8, family="proposed"), *three("none", nothing))
    assert found.frame["Model"].to_list()[-1] == "NONE", "its row stays"
    assert shown_models(found) == ["A", "OURS"]
    assert set(found.headline) == {"a", "ours"}
    assert "nan" not in render_tables([found], "markdown")
    alone = table(*three("none", nothing), *three("other", nothing))
    assert "no model has all seeds, and the figure that orders the rows" in alone.sure.caption


def test_differences_are_from_the_proposed_model_and_say_which_exclude_zero() -> None:
    pairs = [*three("a", 0.9), *three("ours", 0.8, family="proposed"), *three("same", 0.8)]
    found = table(*pairs)
    sure = found.sure
    assert sure.caption == "How sure: two-way bootstrap over 8 patients and 3 seeds of each model, seeds in pairs."
    assert sure.reference == "OURS"
    assert {model: gap.excludes_zero for model, gap in sure.gaps.items()} == {"A": True, "SAME": False}
    assert list(sure.ranks.index) == list(shown_models(found))
    assert sure.ranks.loc["A"].tolist() == [1, 0, 0]
    shown = sure.frame.set_index("Model")
    assert shown.loc["OURS", "OURS less it [95 %]"] == ""
    assert shown.loc["A", "OURS less it [95 %]"].startswith("-10.")
    assert shown.loc["A", "First %"] == "100"
    by_model = {name: [row for one, mean in pairs if one["model"] == name for row in rows(one, mean)] for name in "a"}
    assert len(by_model["a"]) == 3 * 8 * 4
    marked = sure.marks["OURS less it [95 %]"].to_list()
    assert marked == ["best", "", ""]
    text = render_tables([found], "markdown")
    assert "**-10." in text
    assert "Claims checklist:\n\n- Weights selected on validation data? yes" in text
    assert "Told apart? OURS from: A; not from: SAME" in text
    assert r"\caption{How sure:" in to_latex(interval_sheet(found))


def test_the_text_is_that_of_the_statistics() -> None:
    ours, other = three("ours", 0.8, family="proposed"), three("b", 0.7)
    frame = pd.DataFrame([{**row, "seed": one["seed"]} for one, mean in (*ours, *other) for row in rows(one, mean)])
    cells = pd.DataFrame([one for one, _ in (*ours, *other)])
    (found,) = summarise(cells, frame.drop(columns="seed"))
    names = frame["key"].str[0]
    grids = [scores_of(frame[names == first], Measure("", "dice_strict", 100.0, 1)) for first in "ob"]
    own, gap = interval(grids[0]), difference(*grids, paired_seeds=True)
    shown = found.sure.frame.set_index("Model")
    assert shown.loc["OURS", "Dice % (strict) [95 %]"] == f"{own.value:.2f} [{own.low:.2f}, {own.high:.2f}]"
    assert shown.loc["B", "OURS less it [95 %]"] == f"{gap.value:.2f} [{gap.low:.2f}, {gap.high:.2f}]"


def test_figures_stay_in_their_range() -> None:
    found = table(*three("a", 0.98), *((cell("b", seed), 0.02 + 0.4 * seed) for seed in range(3)))
    texts = found.sure.frame["Dice % (strict) [95 %]"].to_list()
    ends = [tuple(map(float, text.partition("[")[2].rstrip("]").split(", "))) for text in texts]
    assert all(0 <= low <= high <= 100 for low, high in ends)
    assert ends[1][0] == 0


def test_intervals_end_where_the_range_of_their_figure_ends() -> None:
    """Seeds that train and seeds that do not: Student's t reaches far beyond 0 to 100, and -100 to 100."""
    wild = [(cell("b", seed), (0.02, 0.03, 0.97)[seed]) for seed in range(3)]
    ours = [(cell("ours", seed, family="proposed"), (0.98, 0.99, 0.01)[seed]) for seed in range(3)]
    found = table(*ours, *wild)
    gap = found.sure.gaps["B"]
    assert -100 == gap.low < gap.value < gap.high == 100
    shown = found.sure.frame.set_index("Model")
    assert shown.loc["B", "OURS less it [95 %]"].endswith("[-100.00, 100.00]")
    assert all(text.endswith("[0.00, 100.00]") for text in shown["Dice % (strict) [95 %]"])


def test_a_distance_ends_at_the_largest_diagonal_where_all_volumes_show_theirs() -> None:
    frame = pd.DataFrame(
        {"case": ["a", "a", "b"], "outcome": ["missed", "both", "invented"], "hd95_vox_strict": [90.0, 3.0, 80.0]}
    )
    measure = Measure("HD95 vox", "hd95_vox_strict", 1.0, -1)
    assert limited(measure, frame).most == 90
    assert limited(measure, frame[frame["case"] == "a"]).most == 90
    assert limited(measure, frame.assign(outcome=["missed", "both", "both"])).most == math.inf, "b's is not known"
    assert limited(Measure("Dice", "dice_strict", 1.0, 1, most=100.0), frame).most == 100
    assert measure.gap(Interval(5.0, -400.0, 400.0)) == Interval(5.0, -400.0, 400.0)
    assert limited(measure, frame).gap(Interval(5.0, -400.0, 400.0)) == Interval(5.0, -90.0, 90.0)


def test_p_is_shown_where_it_is_asked_for() -> None:
    pairs = [*three("a", 0.9), *three("ours", 0.8, family="proposed")]
    frame = pd.DataFrame([row for one, mean in pairs for row in rows(one, mean)])
    for tests in (False, True):
        (found,) = summarise(pd.DataFrame([one for one, _ in pairs]), frame, tests=tests)
        text = " ".join(render_tables([found], form) for form in ("rich", "markdown", "latex", "csv"))
        assert ("Wilcoxon" in text) == ("p, these trained" in " ".join(text.split())) == tests


def test_what_a_seed_does_to_both_models_cancels_from_three_seeds_on() -> None:
    """Order and augmentation of a seed are the same for all models of a table."""

    def width(seeds: int) -> float:
        shift = (0.0, 0.2, -0.15)
        given = [("a", 0.6), ("ours", 0.5)]
        pairs = [(cell(name, seed), mean + shift[seed]) for name, mean in given for seed in range(seeds)]
        found = table(*pairs).sure
        assert found.caption.endswith("seeds in pairs.") == (seeds > 2)
        return found.gaps["OURS"].high - found.gaps["OURS"].low

    assert width(3) < 5
    assert width(2) > 50, "two pairs are too few"


def test_one_seed_or_one_patient_claims_nothing() -> None:
    one_seed = table((cell("a", 0), 0.9), (cell("b", 0), 0.8))
    assert one_seed.sure.caption == "No claim about a method is made: 1 seed, 8 patients."
    assert one_seed.sure.frame.empty
    assert one_seed.checklist[-1] == f"Told apart? {one_seed.sure.caption}"
    assert "|" not in to_markdown(interval_sheet(one_seed))
    one_patient = table(*three("a", 0.9), *three("b", 0.8), patients=1)
    assert "3 seeds, 1 patient" in one_patient.sure.caption


def test_a_row_that_lacks_seeds_has_no_interval() -> None:
    found = table(*three("a", 0.9), (cell("late", 0), 0.95))
    assert found.sure.frame["Model"].to_list() == ["A"]
    assert "Seeds? 3; fewer: LATE" in found.checklist
    assert found.checklist[-1] == "Told apart? nothing to tell A from: it is the one network with all seeds"


def test_the_seeds_of_chance_are_no_network_s() -> None:
    found = table((cell("a", 0), 0.9), (cell("b", 0), 0.8), *three("chance", 0.1, family="chance"))
    assert "Seeds? 1 (fewer than 3: nothing is told apart)" in found.checklist
    assert "Seeds? 3" in table(*three("chance", 0.1, family="chance")).checklist


def test_the_checklist_says_what_is_against_a_claim() -> None:
    fields = {
        "source": "phantom",
        "partial": True,
        "reduced_from": "a_big",
        "split_flag": "leaks",
        "split_leak": {"patient": 0.5, "near_duplicate": None},
        "tuned": {"trials": 5, "lr": 1e-3, "weight_decay": 0.1},
        "init": "timm/x",
    }
    pairs = [*three("a", 0.9, **fields)]
    pairs[0][0]["commit"] = "other"
    asked = dict(line.split("? ", 1) for line in table(*pairs).checklist)
    assert asked["Equal tuning"] == "yes, 5 trials of rate and decay for each, on validation data"
    assert asked["Pretraining"] == "yes, see the footnote"
    assert asked["Reduced width"] == "A"
    assert asked["Real images, whole split"] == "no: phantom images"
    assert asked["Leak"] == "yes: leaks; of the test cases 50.0 % have the same patient or subject in training"
    assert asked["Same machine and code"] == "no: runs differ in commit (abc, other)"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("ab", "yes, a rate from one grid for each, chosen once for the task on folds of a training part"),
        ("a", "no: a rate of the grid was not chosen for B"),
        ("", "one rate for all, none chosen from the grid"),
    ],
)
def test_the_checklist_says_whose_rate_was_chosen(chosen: str, said: str) -> None:
    grid = {"grid": [1e-3, 3e-3], "lr": 1e-3}
    pairs = [pair for name in "ab" for pair in three(name, 0.9, tuned={**grid, "chosen": name in chosen})]
    pairs += three("luck", 0.1, family="chance", params=0, tuned={**grid, "chosen": False})
    found = table(*pairs)
    assert f"Equal tuning? {said}" in found.checklist
    assert f"Tuning: {said}." in evaluation(found), "a sentence of the paper too"


def test_chance_alone_is_tuned_by_nobody() -> None:
    tuned = {"grid": [1e-3, 3e-3], "lr": 1e-3, "chosen": True}
    found = table(*three("luck", 0.1, family="chance", params=0, tuned=tuned))
    assert "Equal tuning? nothing to tune: no network is trained" in found.checklist


def test_patients_of_pictures_are_unknown_where_the_split_says_so() -> None:
    leaks = {"split_leak": {"patient": None, "near_duplicate": None}}
    rows = pd.DataFrame({"patient": ["p"], "case": ["c"]})
    for note, known in (("patients unknown", False), (None, True), ("a fixed fifth of train validates", True)):
        assert patients_known(pd.DataFrame([{**cell("a", 0), **leaks, "split_note": note}]), rows) == known


def test_the_checklist_has_the_leak_of_an_unflagged_split_and_few_seeds() -> None:
    def asked(seeds: int = 3, **fields: Any) -> dict[str, str]:
        pairs = [(cell("a", seed, **fields), 0.9) for seed in range(seeds)]
        return dict(line.split("? ", 1) for line in table(*pairs).checklist)

    assert asked()["Leak"] == "none known: split mtunet; share not recorded"
    found = asked(split_leak={"patient": 0.0, "near_duplicate": 0.034})["Leak"]
    seen = "0.0 % have the same patient or subject and 3.4 % have a near-duplicate, or a chain of such, in training"
    assert found == f"some: split mtunet; of the test cases {seen}"
    turned = asked(split_leak={"patient": 0.0, "near_duplicate": 0.0}, audit_near=0.05)["Leak"]
    assert turned.startswith("some: split mtunet; ")
    assert turned.endswith("and 5.0 % have a near-duplicate, turned or mirrored ones counted (audit), in training")
    clean = asked(split_leak={"patient": 0.0, "near_duplicate": None})["Leak"]
    assert clean == "none known: split mtunet; of the test cases 0.0 % have the same patient or subject in training"
    assert asked()["Seeds"] == "3"
    assert asked(2)["Seeds"] == "2 (fewer than 3: only large differences are told apart)"


def test_a_volume_is_taken_as_one_patient_s_with_any_number_of_seeds() -> None:
    for pairs in (three("a", 0.9), three("a", 0.9)[:1]):
        frame = pd.DataFrame([row for one, mean in pairs for row in rows(one, mean) if row["case"].endswith("_ED")])
        alone, as_cases = frame.assign(case=frame["patient"]), frame
        for scores in (alone, as_cases):
            (found,) = summarise(pd.DataFrame([one for one, _ in pairs]), scores)
            assert "Leak? none known: split mtunet; share not recorded" in found.checklist
            assert found.sure.patients_known


def test_what_differs_between_machines_is_named() -> None:
    pairs = three("a", 0.9)
    for seed, (one, _) in enumerate(pairs):
        one.update(torch=f"2.{seed}", cpu=None if seed else "X")
    asked = dict(line.split("? ", 1) for line in table(*pairs).checklist)
    assert asked["Same machine and code"] == "no: runs differ in CPU (X, unknown), torch (2.0, 2.1, 2.2)"
    for one, _ in pairs:
        one.update(torch="2.0", cpu="X", commit=None)
    asked = dict(line.split("? ", 1) for line in table(*pairs).checklist)
    assert asked["Same machine and code"] == "yes; not recorded: commit"


@pytest.mark.parametrize("form", ["rich", "markdown", "latex", "csv"])
def test_every_format_ends_with_the_checklist(form: str) -> None:
    text = " ".join(render_tables([table(*three("a", 0.9), *three("b", 0.8))], form).split())
    assert len(text.split("Told apart?")) == 2
    assert re.search(r"Told apart\?[ ,]+A from: B; not from: none[^?]*$", text), text[-300:]
    assert "Pretraining?" in text


def test_the_csv_has_differences_and_ranks() -> None:
    found = table(*three("a", 0.9), *three("ours", 0.8, family="proposed"))
    frame = pd.read_csv(io.StringIO(render_tables([found], "csv")))
    (gap,) = frame[frame["metric"] == "difference"].to_dict("records")
    assert (gap["model"], gap["text"]) == ("a", "OURS less it, Dice % (strict)")
    assert gap["low"] < gap["value"] < gap["high"]
    assert gap["value"] == pytest.approx(-10, abs=0.5)
    ranks = frame[frame["metric"] == "rank"].set_index(["model", "class"])["value"]
    assert ranks.to_dict() == {("a", "1"): 100, ("a", "2"): 0, ("ours", "1"): 0, ("ours", "2"): 100}


def test_the_leak_of_older_records_is_that_of_the_audit(tmp_path: Path) -> None:
    (tmp_path / "audits").mkdir()
    shares = {"flag": None, "test": 9, "patient": 0.1, "near_duplicate": 0.25, "validation": 0.5}
    near = {"any angle": False, "correlation": 0.92}
    audit = {"fingerprint": "f0", "splits": {"mtunet": shares}, "near": near}
    (tmp_path / "audits" / "x.json").write_text(json.dumps(audit))
    for name, other in (("y", {"any angle": True}), ("yy", {"correlation": 0.7})):  # which look for something else
        wider = {**audit, "splits": {"mtunet": {**shares, "near_duplicate": 1}}, "near": {**near, **other}}
        (tmp_path / "audits" / f"{name}.json").write_text(json.dumps(wider))
    (tmp_path / "audits" / "z.json").write_text("{")
    recorded = {"patient": 0.5, "near_duplicate": None}
    cells = pd.DataFrame(
        [
            {**cell("a", 0), "fingerprint": "f0", "split_leak": None},
            {**cell("a", 1), "fingerprint": "f0", "split_leak": recorded},
            {**cell("a", 2), "fingerprint": "f1", "split_leak": None},
        ]
    )
    found = with_leaks(cells, tmp_path)
    audited = {"patient": 0.1, "near_duplicate": None, "validation": 0.5}
    assert found["split_leak"].to_list() == [audited, recorded, {"near_duplicate": None}]  # the last: nobody looked
    assert found["audit_near"].fillna(-1).to_list() == [0.25, 0.25, -1]


@pytest.mark.slow
def test_a_plan_says_what_difference_it_could_show(tmp_path: Path) -> None:
    options = ["--dataset", "acdc", "--preset", "smoke", "--data", "phantom", "--threads", "1", "--set", "steps=4"]
    options += ["--set", "evaluations=1", "--set", "image_size=32", "--models", "unet_s,attention_unet_s"]
    options += ["--results", str(tmp_path / "r")]
    before = CliRunner().invoke(main, ["plan", *options, "--seeds", "2"])
    assert "could be shown: not known, no two models of this comparison are stored that share" in " ".join(
        before.output.split()
    )
    assert CliRunner().invoke(main, ["run", *options, "--seeds", "2"]).exit_code == 0
    sizes = {}
    for seeds in (2, 8):
        done = CliRunner().invoke(main, ["plan", *options, "--seeds", str(seeds)])
        found = re.search(
            rf"that {seeds} seeds and [0-9]+ patients could show, .*: ([0-9.]+) points", " ".join(done.output.split())
        )
        assert found, done.output
        sizes[seeds] = float(found[1])
    assert sizes[8] <= sizes[2]
