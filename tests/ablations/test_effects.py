"""Effects from records: main effects and interactions against a hand-made truth, the null arm, what is left out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ablation_rows import a_case, a_cell

from ablations.drawings import draw_ablation
from ablations.effects import (
    NULL,
    Stored,
    arm_effects,
    arms_and_notes,
    cost_per_point,
    factorial_effects,
    importances,
    stored_arms,
    without_effects,
)
from ablations.plans import label
from ablations.tables import NULL_NOTE, ablation_tables
from bench.models.slots import SLOTS
from bench.report.sheets import render_sheets as render
from bench.report.sheets import to_screen
from bench.zoo.registry import model_entry

WORTH = {"laffn": 8.0, "sem": 0.0, "sdffn": 4.0}
PATIENTS = 20


def name_of(removed: tuple[str, ...], widths: str = "") -> str:
    parts = [f"{slot}=none" for slot in sorted(removed)] + ([f"widths={widths}"] if widths else [])
    return f"mednext_tiny[{','.join(parts)}]" if parts else "mednext_tiny"


def some_records(noise: float = 0.5, extra: tuple[dict, ...] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The 2^3 arms on three seeds and a null arm: Dice is 60 and what the modules are worth, 3 more for two of them."""
    version = model_entry("mednext_tiny").version
    rng = np.random.default_rng(0)
    patients = rng.normal(0, 5, PATIENTS)
    cells, cases = [], []
    subsets = [s for n in range(4) for s in itertools.combinations(SLOTS, n)]
    arms = [(name_of(s), set(SLOTS) - set(s), range(6) if not s else range(3)) for s in subsets]
    arms.append((name_of(("sem",), "26-60-156-276"), {"laffn", "sdffn"}, range(3)))
    arms.append((name_of(("sem",), "50-120-300-500"), {"laffn", "sdffn"}, range(3)))
    for model, present, seeds in arms:
        mean = 60 + sum(WORTH[slot] for slot in present) + 3 * ({"laffn", "sdffn"} <= present)
        for seed in seeds:
            params = 4e6 if "50-120" in model else 3e6 - 4e5 * (3 - len(present)) * ("widths" not in model)
            cells.append(a_cell(model, seed, params, 1e8 * (1 + len(present)), version))
            run = rng.normal(0, noise)
            for i in range(PATIENTS):
                for name in ("RV", "LV"):
                    dice = mean + patients[i] + run + rng.normal(0, noise)
                    cases.append(a_case(cells[-1]["key"], i, dice, name))
    return pd.DataFrame([*cells, *extra]), pd.DataFrame(cases)


@pytest.fixture(scope="module")
def stored() -> object:
    (found,) = stored_arms(*some_records())
    return found


def test_main_effects_and_interactions_are_what_the_records_were_made_with(stored: object) -> None:
    """3 for both of two modules is 1.5 more for each in the mean, and an interaction of 1.5."""
    effects = {e.name: e.gaps["Dice % (strict)"] for e in factorial_effects(stored)}  # type: ignore[arg-type]
    truth = {"laffn": 9.5, "sem": 0.0, "sdffn": 5.5, "laffn x sdffn": 1.5, "laffn x sem": 0.0, "sem x sdffn": 0.0}
    assert set(effects) == {*truth, "laffn x sem x sdffn"}
    for name, value in truth.items():
        assert effects[name].value == pytest.approx(value, abs=1.0)
        assert effects[name].low <= value <= effects[name].high
    assert effects["laffn"].excludes_zero
    assert not effects["sem"].excludes_zero


def test_arms_stand_beside_the_null_arm_and_cost_what_they_save(stored: object) -> None:
    effects = {e.name: e for e in arm_effects(stored)}  # type: ignore[arg-type]
    assert list(effects)[:2] == ["full", NULL]
    gap = effects["without laffn"].gaps["Dice % (strict)"]
    assert gap.value == pytest.approx(-11, abs=1.2)
    assert gap.excludes_zero
    assert not effects[NULL].gaps["Dice % (strict)"].excludes_zero
    params, macs = cost_per_point(stored, effects["without laffn"])  # type: ignore[arg-type, misc]
    assert (params, macs) == pytest.approx((4e5 / -gap.value, 1e8 / -gap.value))
    assert cost_per_point(stored, effects["full"]) is None  # type: ignore[arg-type]


def test_matched_arms_are_told_by_their_budget_and_others_left_out(stored: object) -> None:
    labels = stored.labels  # type: ignore[attr-defined]
    assert "without sem, params matched" in labels
    assert len(labels) == 9, "the arm of 4 M params is matched to nothing"


def of_two_networks(*costs: tuple[str, float, float]) -> list[str]:
    """The labels of arms without sem that have other widths, each of so many parameters and MACs beside 3e6 and 4e8."""
    cells, cases = some_records()
    version, seeds = model_entry("mednext_tiny").version, range(3)
    cells = cells[~cells["model"].str.contains("widths=")]
    arms = [a_cell(name_of(("sem",), w), seed, p, m, version) for w, p, m in costs for seed in seeds]
    scored = [a_case(arm["key"], i, 70.0) for arm in arms for i in range(PATIENTS)]
    (found,) = stored_arms(pd.concat([cells, pd.DataFrame(arms)]), pd.concat([cases, pd.DataFrame(scored)]))
    assert (found.cells.groupby("label")["model"].nunique() == 1).all(), "no row is of two networks"
    return [name for name in found.labels if name.endswith("matched") or "widths=" in name]


def test_networks_that_match_both_budgets_are_told_apart() -> None:
    params, macs = ("26-60-156-276", 3.001e6, 4.03e8), ("25-60-156-276", 2.98e6, 4.001e8)
    assert of_two_networks(params) == of_two_networks(macs) == ["without sem, params matched"]
    assert of_two_networks(params, macs) == ["without sem, macs matched", "without sem, params matched"]
    other = ("26-61-156-276", 3.002e6, 4.03e8)
    assert of_two_networks(params, other, macs) == [
        "without sem, macs matched",
        "without sem, params matched, widths=26-60-156-276",
        "without sem, params matched, widths=26-61-156-276",
    ]


def test_an_arm_that_lacks_seeds_is_left_out_and_named() -> None:
    cells, cases = some_records()
    lacking = cells["model"].eq("mednext_tiny[sem=none]") & cells["seed"].eq(2)
    (found,) = stored_arms(cells[~lacking], cases)
    assert found.incomplete == ("without sem",)
    assert factorial_effects(found) == []
    assert "Left out for lack of seeds: without sem." in ablation_tables([found])[0].notes


def ablation_of(seeds: int, lost: dict[str, tuple[int, ...]], *arms: str, status: str = "diverged") -> list[Stored]:
    """The full model with as many null seeds, and arms on some seeds, of which the cells of `lost` have no score."""
    version, cells, cases = model_entry("mednext_tiny").version, [], []
    for model, count in (("mednext_tiny", 2 * seeds), *((f"mednext_tiny[{arm}]", seeds) for arm in arms)):
        for seed in range(count):
            cells.append(a_cell(model, seed, 3e6, 4e8, version))
            if seed in lost.get(model.partition("[")[2].rstrip("]"), ()):
                cells[-1]["status"] = status
            else:
                cases += [a_case(cells[-1]["key"], i, 60.0 + i + seed) for i in range(PATIENTS)]
    return stored_arms(pd.DataFrame(cells), pd.DataFrame(cases))


def test_an_arm_whose_cells_all_diverged_is_named_below_the_table() -> None:
    (found,) = ablation_of(2, {"sem=none": (0, 1)}, "sem=none", "sem=strip")
    note = "Diverged or failed: without sem, 2 of 2 seeds diverged (seeds 0, 1)."
    assert found.labels == ["full", "sem=strip"]
    assert {note, "Left out for lack of seeds: without sem."} <= set(ablation_tables([found])[0].notes)
    (alone,) = ablation_of(2, {"sem=none": (0, 1)}, "sem=none")
    assert (alone.labels, alone.seeds, alone.null) == (["full"], (0, 1), (2, 3))
    assert note in ablation_tables([alone])[0].notes
    (failed,) = ablation_of(2, {"sem=none": (1,), "": (3,)}, "sem=none", "sem=strip", status="failed")
    words = "full, 1 of 4 seeds failed (seed 3); without sem, 1 of 2 seeds failed (seed 1)"
    assert f"Diverged or failed: {words}." in ablation_tables([failed])[0].notes


def test_a_seed_whose_arm_diverged_is_none_of_the_null_arm() -> None:
    (found,) = ablation_of(2, {"sem=none": (0,)}, "sem=none")
    assert (found.seeds, found.null) == ((1,), (2, 3))
    assert "Diverged or failed: without sem, 1 of 2 seeds diverged (seed 0)." in ablation_tables([found])[0].notes


def test_the_table_of_single_runs_says_what_it_leaves_out() -> None:
    (found,) = ablation_of(2, {"sem=none": (0,), "sem=strip": (1,)}, "sem=none", "sem=strip")
    (left_out,) = found.incomplete
    notes = ablation_tables([found])[0].notes
    assert notes[0].startswith("No claim is made of one seed")
    assert f"Left out for lack of seeds: {left_out}." in notes
    words = "sem=strip, 1 of 2 seeds diverged (seed 1)"
    assert f"Diverged or failed: without sem, 1 of 2 seeds diverged (seed 0); {words}." in notes


def test_an_older_version_of_the_model_is_no_arm() -> None:
    cells, cases = some_records(extra=(a_cell("mednext_tiny[sem=strip]", 0, 3e6, 4e8, 1),))
    (found,) = stored_arms(cells, cases)
    assert "sem=strip" not in found.labels


def test_importances_are_optuna_s_and_order_the_modules(stored: object) -> None:
    shares = importances(stored)  # type: ignore[arg-type]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["laffn"] > shares["sdffn"] > shares["sem"]


def test_with_one_seed_nothing_is_claimed() -> None:
    cells, cases = some_records()
    (found,) = stored_arms(cells[cells["seed"] == 0], cases)
    assert arm_effects(found) == []
    table = ablation_tables([found])[0]
    assert table.notes == ("No claim is made of one seed, or one patient: figures of single runs.",)
    assert list(table.frame)[:3] == ["Arm", f"{found.measures[0].name} of each run", "Params (M)"]
    assert "x full, params" in table.frame
    assert NULL not in set(table.frame["Arm"])


def test_the_null_arm_of_one_seed_has_a_row() -> None:
    cells, cases = some_records()
    of_full = cells["model"].eq("mednext_tiny") & cells["seed"].eq(1)
    (found,) = stored_arms(cells[cells["seed"].eq(0) | of_full], cases)
    assert (found.seeds, found.null) == ((0,), (1,))
    table = ablation_tables([found])[0]
    assert table.frame["Arm"].to_list()[:2] == ["full", NULL]
    runs = table.frame[f"{found.measures[0].name} of each run"]
    assert runs.map(lambda text: len(text.split(", "))).eq(1).all()
    assert NULL_NOTE in table.notes


def test_one_other_seed_of_the_full_model_is_no_null_arm_and_the_caption_says_so() -> None:
    cells, cases = some_records()
    (found,) = stored_arms(cells[cells["seed"].lt(4)], cases)
    assert (found.seeds, found.null) == ((0, 1, 2), (3,))
    table = ablation_tables([found])[0]
    assert NULL not in set(table.frame["Arm"])
    assert "Seeds 0, 1, 2 (of the full model 3 as well: one alone is no null arm)" in table.caption


def test_tables_say_plainly_which_module_brings_nothing(stored: object) -> None:
    arms, factorial = ablation_tables([stored])  # type: ignore[list-item]
    assert "sem brings nothing that can be told from noise" in factorial.notes[-1]
    assert "laffn brings something" in factorial.notes[-1]
    text = render([arms, factorial], "markdown")
    assert "**" in text
    assert label({"laffn": "none"}) in text
    latex = render([arms, factorial], "latex")
    assert latex.count("\\begin{table}") == 2
    assert "%" not in latex.replace("\\%", "")
    assert render([arms], "csv").startswith("table,row,figure,value\n")
    assert len(to_screen(arms).rows) == len(arms.frame)


@pytest.mark.slow
def test_figures_are_the_same_bytes_when_drawn_again(stored: object, tmp_path: Path) -> None:
    first = draw_ablation(stored, tmp_path / "a")  # type: ignore[arg-type]
    second = draw_ablation(stored, tmp_path / "b")  # type: ignore[arg-type]
    assert [p.suffix for p in first] == [".png", ".pdf", ".svg"] * 3
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_intervals_of_ablations_end_where_the_range_of_their_figure_ends() -> None:
    (stored,) = stored_arms(*some_records(noise=200.0))
    effects = [*arm_effects(stored), *factorial_effects(stored)]
    values = [found for effect in effects for name, found in effect.values.items() if name.startswith("Dice")]
    gaps = [found for effect in effects for name, found in effect.gaps.items() if name.startswith("Dice")]
    assert any(found.low == 0 or found.high == 100 for found in values)
    assert all(0 <= found.low <= found.high <= 100 for found in values)
    assert any(abs(end) == 100 for found in gaps for end in (found.low, found.high))
    assert all(-100 <= found.low <= found.high <= 100 for found in gaps)


def test_seeds_that_other_arms_lack_are_named_and_none_of_the_null_arm() -> None:
    cells, cases = some_records()
    lacking = cells["model"].ne("mednext_tiny") & cells["model"].ne(name_of(("sem",))) & cells["seed"].gt(0)
    (found,) = stored_arms(cells[~lacking], cases)
    assert (found.seeds, found.null) == ((0,), (3, 4, 5)), "seeds 1 and 2 were tried with an arm"
    assert found.unshown == {"without sem": frozenset({1, 2})}
    assert "not shown: without sem, 1, 2." in " ".join(ablation_tables([found])[0].notes)


def test_what_arms_differ_in_beside_their_modules_is_said() -> None:
    cells, cases = some_records()
    arm = cells["model"].eq(name_of(("sem",)))
    grid = {"grid": [1e-3, 2e-3], "weight_decay": 0.05}
    full, other = {**grid, "lr": 2e-3, "chosen": True}, {**grid, "lr": 1e-3, "chosen": False}
    cells = cells.assign(tuned=[other if one else full for one in arm], torch=cells["torch"].mask(arm, "2.1"))
    (found,) = stored_arms(cells, cases)
    said = " ".join(ablation_tables([found])[0].notes)
    assert (
        "Learning rate not chosen from the grid (0.001, 0.002), the protocol's in its place: without sem 0.001." in said
    )
    assert "Runs differ in torch: 2.15.0, but 2.1: without sem." in said


def test_another_full_model_has_its_own_title_and_file_names() -> None:
    cells, cases = some_records()
    (found,) = stored_arms(cells, cases)
    assert (found.slug, found.model_title) == ("acdc-c0ffee", "MedNeXt-T (reconstr.)")
    strip = cells["model"].eq("mednext_tiny")
    renamed = cells.assign(
        model=cells["model"].mask(strip, "mednext_small"), title=cells["title"].mask(strip, "MedNeXt-S")
    )
    other = replace(found, cells=found.cells.assign(model=renamed["model"], title=renamed["title"]))
    assert (other.slug, other.model_title) == ("acdc-c0ffee-mednext_small", "MedNeXt-S")


def test_an_arm_that_another_field_was_widened_for_is_shown_as_matched() -> None:
    cells, cases = some_records()
    kept = cells["model"].isin(["mednext_tiny", name_of(("sem",))])
    named = cells["model"].replace(name_of(("sem",)), "mednext_tiny[fine=25-50,sem=none]")
    cells = cells.assign(model=named, params=3e6)[kept]
    assert arms_and_notes(cells, cases, "mednext_tiny")[0] == []
    ((found,), _) = arms_and_notes(cells, cases, "mednext_tiny", widen="fine")
    assert found.labels == ["full", "without sem, params matched"]


def test_a_factorial_without_a_table_of_effects_says_so() -> None:
    cells, cases = some_records()
    (whole,) = stored_arms(cells, cases)
    assert without_effects(whole) == []
    (found,) = stored_arms(cells[cells["model"].ne(name_of(SLOTS))], cases)
    (line,) = without_effects(found)
    assert line.startswith("No table of effects for acdc: it takes unmatched arms of 2 to 6 fields")
