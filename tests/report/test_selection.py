"""What a report shows when it is told: rows, columns, order, the reference, single cases; as tables and as JSON."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from stored_records import RECORDS, invoke
from test_certainty import rows as rows_of
from test_certainty import table as table_of
from test_certainty import three
from test_comparison import cell

import bench
from bench.analysis.comparison import Table, summarise
from bench.analysis.hard_cases import hard_case_sheets
from bench.analysis.shown import Shown
from bench.errors import UserError
from bench.report.arrange import sorted_rows, with_columns
from bench.report.brief import top_rows
from bench.report.json_text import document, results_table


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed records of two segmenters, one with an arm, and of a classifier."""
    folder = tmp_path_factory.mktemp("selected")
    for place in ("acdc/mednext_tiny", "acdc/mednext_tiny[sem=none]", "acdc/unet_s", "msld/resnet10t"):
        shutil.copytree(RECORDS / place, folder / "records" / place)
    return folder


@pytest.fixture(scope="module")
def table() -> Table:
    models = (*three("a", 0.9, params=1), *three("b", 0.8, params=3, family="other"))
    return table_of(*models, *three("ours", 0.7, params=2, family="proposed"))


def json_of(*arguments: str | Path) -> dict[str, Any]:
    result = invoke(*map(str, arguments), "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_reference_is_who_is_asked_for_else_ours_else_the_only_one_that_is_no_baseline(table: Table) -> None:
    assert table.sure.reference == "OURS"
    assert table_of(*three("a", 0.9), *three("b", 0.8, family="other")).sure.reference == "B"
    two = (*three("a", 0.9), *three("b", 0.8, family="other"), *three("c", 0.7, family="other"))
    assert table_of(*two).sure.reference == "A", "of several the best row"
    mine = (*three("a", 0.9), *three("timm:b", 0.8, family="other"), *three("net.py:Net", 0.7, family="cnn"))
    assert table_of(*mine).sure.reference == "NET.PY:NET", "a network of one's own, whatever its family"


def test_columns_stand_as_they_are_named_and_seeds_stay(table: Table) -> None:
    (cut,) = with_columns([table], ["params", "dice", "dice-sd-seeds"])
    assert list(cut.frame) == list(cut.marks) == ["Model", "Params (M)", "Dice % (strict)", "Dice sd seeds", "Seeds"]
    with pytest.raises(UserError, match=r"Unknown column 'dise'\. Did you mean: dice"):
        with_columns([table], ["dise"])


def test_rows_are_sorted_in_both_tables_the_cheapest_first(table: Table) -> None:
    for name, order in (("params", "A OURS B"), ("dice", "A B OURS"), ("name", "A B OURS"), ("family", "A B OURS")):
        (found,) = sorted_rows([table], name)
        assert list(found.frame["Model"]) == list(found.sure.frame["Model"]) == order.split(), name
    assert sorted_rows([table], "params")[0].marks.iloc[0].to_list() == table.marks.iloc[0].to_list()
    with pytest.raises(UserError, match="Unknown column to sort by"):
        sorted_rows([table], "size")


def test_the_reference_stays_among_the_first_rows(table: Table) -> None:
    by_b = table_of(*three("a", 0.9), *three("b", 0.5, family="other"), *three("c", 0.8), *three("d", 0.7))
    cut = top_rows(by_b, 2)
    assert list(cut.frame["Model"]) == ["A", "B"]
    assert cut.footnotes[-1] == "2 of 4 rows: the first ones and B."


def test_a_choice_of_rows_says_that_others_are_stored(example: Path) -> None:
    wishes = {"dataset": "acdc", "preset": "standard", "models": "unet_s,mednext_tiny", "seeds": "0,1"}
    (found,) = bench.load_tables(example, **wishes, reference="unet_s", columns="dice", sort="params", top=2)
    assert found.sure.reference == "U-Net (reduced)"
    assert list(found.frame) == ["Model", "Dice % (strict)", "Seeds"]
    assert found.frame["Model"].iloc[0] == "U-Net (reduced)", "the fewest parameters"
    told = [note for note in found.footnotes if note.startswith("Chosen: ")]
    assert [note.partition(" of this")[0] for note in told] == ["Chosen: without 4 stored seeds"]
    (whole,) = bench.load_tables(example, dataset="acdc", preset="standard")
    assert not [note for note in whole.footnotes if note.startswith("Chosen: ")]


def test_arms_of_ablations_are_no_rows_that_a_choice_leaves_out(example: Path) -> None:
    (found,) = bench.load_tables(example, dataset="acdc", preset="standard", models="unet_s")
    (told,) = [note for note in found.footnotes if note.startswith("Chosen: ")]
    assert told.startswith("Chosen: without 1 stored model and "), "MedNeXt-T, and not its arm as well"


def test_an_arm_that_is_named_is_shown(example: Path) -> None:
    arm = "mednext_tiny[sem=none]"
    named = bench.load_tables(example, dataset="acdc", preset="standard", models=f"mednext_tiny,{arm}")
    assert any(model.startswith(arm) for model in named[0].figures["model"])
    bare = bench.load_tables(example, dataset="acdc", preset="standard", models="mednext_tiny")
    assert not any(model.startswith(arm) for model in bare[0].figures["model"])


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        ({"reference": "swin"}, "Unknown model of the tables to take differences from 'swin'"),
        ({"model": "unet_s"}, r"Unknown argument 'model'\. Did you mean: models"),
        ({"top": 1}, "Expected top to be a whole number, 2 or more, or None, but got 1"),
        ({"policy": "lenient"}, "Expected policy to be one of strict, transunet"),
    ],
)
def test_a_wish_that_is_not_one_ends_in_a_line(example: Path, wishes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        bench.load_tables(example, **wishes)


def test_the_hardest_cases_are_those_of_the_reference(example: Path) -> None:
    found = json_of("report", "--results", example, "--dataset", "acdc", "--preset", "standard", "--cases", "3")
    (cases,) = [table for table in found["tables"] if table["name"].endswith("-cases")]
    long = bench.load_results(example, models="mednext_tiny", dataset="acdc", preset="standard", seeds=3)
    long = long[long["model"] == "mednext_tiny"]
    long = long[(long["part"] == "test") & (long["weights"] == "average-best-val") & (long["metric"] == "dice_strict")]
    worst = (100 * long.groupby("case")["value"].mean()).nsmallest(3)
    assert [row["Case"] for row in cases["rows"]] == list(worst.index)
    assert [row["Dice %"] for row in cases["rows"]] == [f"{value:.1f}" for value in worst]
    (images,) = [
        table
        for table in json_of("report", "--results", example, "--dataset", "msld", "--cases", "2")["tables"]
        if table["name"].endswith("-cases") and len(table["rows"])
    ][:1]
    assert {"Case", "Patient", "True class", "Probability %", "Right %"} <= set(images["rows"][0])


def test_the_hardest_cases_are_of_the_seeds_and_rows_of_the_table() -> None:
    arms = ["ours[sem=none]", "ours[laffn=none]", "ours[sdffn=none]"]
    pairs = [*three("a", 0.9), *three("b", 0.8), *three("ours", 0.7, family="proposed")]
    pairs += [(cell("ours", 3, family="proposed"), 0.1)]
    pairs += [(cell(arm, seed, family="proposed"), 0.2) for arm in arms for seed in range(4)]
    rows = pd.DataFrame([row for one, mean in pairs for row in rows_of(one, mean)])
    (found,) = summarise(pd.DataFrame([one for one, _ in pairs]), rows, kept=())
    assert found.seeds == (0, 1, 2)
    frame = hard_case_sheets([found], 16)[0].frame
    own = found.scores[found.scores["shown_as"] == "OURS"]
    assert set(own["seed"]) == {0, 1, 2}
    means = 100 * own.groupby("case")["dice_strict"].mean().sort_values(kind="stable")
    assert list(frame["Dice %"]) == [f"{value:.1f}" for value in means]
    assert frame["Others: Dice %"].astype(float).between(80, 90).all(), "no arm is among the others"


@pytest.mark.parametrize(("asked", "shown"), [(None, "OURS"), ("b", "B")])
def test_the_hardest_cases_of_one_seed_are_those_of_the_model_asked_for(asked: str | None, shown: str) -> None:
    pairs = [(cell("a", 0), 0.9), (cell("b", 0), 0.8), (cell("ours", 0, family="proposed"), 0.7)]
    rows = pd.DataFrame([row for one, mean in pairs for row in rows_of(one, mean)])
    tables = summarise(pd.DataFrame([one for one, _ in pairs]), rows, shown=Shown(reference=asked))
    assert hard_case_sheets(tables, 2)[0].caption.endswith(f"Hardest cases of {shown}.")
    failed = [{**one, "status": "failed"} if one["model"] == (asked or "ours") else one for one, _ in pairs]
    rest = hard_case_sheets(summarise(pd.DataFrame(failed), rows, shown=Shown(reference=asked)), 2)[0]
    assert rest.caption.endswith(f"Hardest cases of {'OURS' if asked else 'A'}."), "of a row that has scores"
    assert len(rest.frame) == 2


def test_a_report_as_json_has_every_figure_of_the_table(table: Table) -> None:
    made = json.loads(document("report", [results_table(table)]))
    assert {*made} == {"schema", "kind", "medbench", "tables", "notes"}
    (only,) = made["tables"]
    assert only["about"]["reference"] == "OURS"
    for row in only["rows"]:
        shown = table.frame.set_index("Model").loc[row["title"]]
        assert row["figures"]["dice_strict"]["mean"]["value"] == shown["Dice % (strict)"]
        assert row["figures"]["params"]["all"]["value"] == shown["Params (M)"]
        assert row["interval"]["low"] < row["interval"]["value"] < row["interval"]["high"]
        assert (row["difference"] is None) == (row["title"] == "OURS")


def test_what_json_cannot_hold_is_null_or_text() -> None:
    rows = pd.DataFrame({"a": [math.nan, math.inf, 1.5], "b": [Path("x"), None, pd.NaT]})
    made = json.loads(document("profile", [{"name": "t", "about": {}, "rows": rows.to_dict("records"), "notes": ()}]))
    assert made["tables"][0]["rows"] == [{"a": None, "b": "x"}, {"a": None, "b": None}, {"a": 1.5, "b": None}]


def test_models_and_plans_as_json_are_one_form(tmp_path: Path) -> None:
    models = json_of("models", "--task", "segmentation", "--family", "proposed")
    assert [row["name"] for row in models["tables"][0]["rows"]] == ["mednext_base", "mednext_small", "mednext_tiny"]
    smoke = ["--preset", "smoke", "--data", "phantom", "--set", "steps=2", "--results", tmp_path]
    smoke += ["--preview", tmp_path / "preview"]
    plan = json_of("plan", "--models", "chance", "--dataset", "acdc", "--seeds", "2", *smoke)
    assert len(list((tmp_path / "preview").iterdir())) == 2
    (cells,) = plan["tables"]
    assert [(row["seed"], row["state"], row["dataset"]) for row in cells["rows"]] == [
        (0, "new", "acdc-phantom"),
        (1, "new", "acdc-phantom"),
    ]
    assert cells["about"]["cells"] == 2
    assert any(note.startswith("Smallest difference") for note in plan["notes"])
    assert {*models} == {*plan}


def test_json_is_of_whole_tables_alone(example: Path) -> None:
    result = invoke("report", "--results", str(example), "--format", "json", "--brief")
    assert result.exit_code == 2
    assert result.output == (
        "Error: Expected --format json without --brief, --trials, --speeds, --ranks, --conventions, --budgets, "
        "--bibtex.\n"
    )
