"""The committed ablations: tables that are what the records give, whole plans, and a search whose journal agrees."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ablations.command import load_ablations, load_searches, search_tables
from ablations.effects import Stored, factorial_arms
from ablations.replay import replay_tables
from ablations.search import is_trained
from ablations.tables import ablation_tables
from bench.analysis.sheet import Sheet
from bench.models.slots import SLOTS
from bench.records.store import find_records, load_cells, read_record
from bench.report.sheets import render_sheets, to_markdown
from bench.zoo.registry import model_entry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "results" / "example"
FACTORIAL = "standard with steps=2000, rates=protocol"


@pytest.fixture(scope="module")
def ablations() -> list[Stored]:
    """The committed ablations, read once."""
    return load_ablations(EXAMPLE)[0]


@pytest.fixture(scope="module")
def tables(ablations: list[Stored]) -> list[Sheet]:
    """Their tables, made once."""
    return ablation_tables(ablations)


@pytest.mark.parametrize(("suffix", "form"), [("md", "markdown"), ("tex", "latex"), ("csv", "csv")])
def test_the_committed_tables_are_what_the_records_give(tables: list[Sheet], suffix: str, form: str) -> None:
    text = render_sheets(tables, form)
    assert (EXAMPLE / "ablations" / f"ablations.{suffix}").read_text() == text


def test_each_comparison_and_search_has_its_figures_as_svg_and_pdf(ablations: list[Stored]) -> None:
    pictures = {path.stem for path in (EXAMPLE / "ablations").glob("*.svg")}
    assert pictures == {path.stem for path in (EXAMPLE / "ablations").glob("*.pdf")}
    expected = {study.study_name for study in load_searches(EXAMPLE)[0]}
    expected |= {stored.first["dataset"] for stored in ablations if factorial_arms(stored) is not None}
    assert len(expected) == 2
    assert all(any(picture.startswith(name) for picture in pictures) for name in expected)


def test_the_modules_are_left_out_one_at_a_time_on_the_complete_acdc(ablations: list[Stored]) -> None:
    (stored,) = [stored for stored in ablations if stored.first["dataset"] == "acdc"]
    assert stored.first["preset"] == "standard"
    assert (stored.first["dataset"], stored.seeds, stored.null) == ("acdc", (0, 1, 2), (3, 4, 5))
    swaps = {"laffn=separable", "sem=dw3", "sdffn=mlp"}
    left_out = {"without laffn + sem + sdffn", *(f"without {slot}" for slot in SLOTS)}
    assert {"full", *left_out, *swaps} <= set(stored.labels)


def test_factorial_and_null_arm_are_whole_on_sars_cov2_ct(ablations: list[Stored]) -> None:
    (stored,) = [stored for stored in ablations if factorial_arms(stored) is not None]
    assert (stored.first["dataset"], stored.first["preset"]) == ("sars-cov2-ct", FACTORIAL)
    assert (stored.seeds, stored.null) == ((0, 1, 2), (3, 4, 5))
    assert stored.incomplete == ()
    cells = load_cells(EXAMPLE)
    version = model_entry("mednext_tiny").version
    plain = cells[(cells["version"] == version) & (cells["preset"] == FACTORIAL)]
    subsets = [s for n in range(4) for s in itertools.combinations(sorted(SLOTS), n)]
    names = {f"mednext_tiny[{','.join(f'{slot}=none' for slot in s)}]" if s else "mednext_tiny" for s in subsets}
    own = plain[(plain["dataset"] == "sars-cov2-ct") & plain["seed"].isin([0, 1, 2])]
    assert len(own[own["model"].isin(names)]) == 24


def test_the_search_has_its_trials_and_the_journal_agrees_with_the_records() -> None:
    ((study,), _) = load_searches(EXAMPLE)
    trained = [trial for trial in study.get_trials() if is_trained(trial)]
    assert len(trained) == 40
    assert study.user_attrs["about"]["steps"] == 125
    records = {r["key"]: r for r in map(read_record, find_records(EXAMPLE / "tuning")) if r}
    for trial in trained:
        record = records[trial.user_attrs["key"]]
        assert record["metrics"] is None, "the test part is not read"
        assert trial.user_attrs["macs"] <= study.user_attrs["about"]["max_macs"]
        if trial.state.name == "COMPLETE":
            assert trial.value == record["training"]["val_score"]
        else:
            assert record["status"] == "pruned"
    for sheet in search_tables(study):
        assert to_markdown(sheet) in (EXAMPLE / "ablations" / f"{study.study_name}.md").read_text()


@pytest.mark.slow
def test_the_committed_replay_is_what_the_curves_give_over_at_least_20_orderings() -> None:
    text = (EXAMPLE / "ablations" / "replay.md").read_text()
    assert text == render_sheets(replay_tables(EXAMPLE, ["acdc", "sars-cov2-ct"], 50), "markdown")
