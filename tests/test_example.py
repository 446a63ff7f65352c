"""What results/example and the README's one table show is what the committed records say."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from views import view_text

from bench.analysis.comparison import Table
from bench.records.choice import Choice
from bench.records.histories import find_folders
from bench.records.packed import cases_file
from bench.records.packing import LEAST
from bench.records.profiles import load_profiles
from bench.records.store import find_records, load_cells
from bench.report.brief import BEGIN, END, brief_sheet, top_rows
from bench.report.drawing.style import save
from bench.report.figures import table_drawings
from bench.report.leaks import leaks_sheets
from bench.report.render import render_tables, results_tables
from bench.report.repeats import compare_results, repeat_table
from bench.report.selection import Selection, selected_tables
from bench.report.sheets import render_sheets, to_markdown
from bench.zoo.registry import model_entry, model_names

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "results" / "example"


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    """All tables of the committed records, made once; nothing of them is left out."""
    tables, notes = results_tables(EXAMPLE)
    assert not notes
    return tables


@pytest.fixture(scope="module")
def main_table(tables: list[Table]) -> Table:
    """The one that the README shows a part of."""
    (table,) = [t for t in tables if t.name == "acdc" and set(t.figures["preset"]) == {"standard"}]
    return table


@pytest.mark.parametrize(("name", "form"), [("tables.md", "markdown"), ("tables.tex", "latex"), ("tables.csv", "csv")])
def test_the_committed_tables_are_what_the_records_give(tables: list[Table], name: str, form: str) -> None:
    assert render_tables(tables, form) == (EXAMPLE / name).read_text(), "run `make example`"


def test_the_committed_table_of_acdc_has_three_seeds_of_each_network_and_is_what_the_records_give() -> None:
    tables, _ = results_tables(EXAMPLE, choice=Choice(dataset="acdc", preset="standard"))
    assert [set(table.figures["seeds"]) for table in tables] == [{3}]
    assert render_tables(tables, "markdown") == (EXAMPLE / "acdc.md").read_text(), "run `make example`"


@pytest.mark.parametrize(("name", "page"), [("segformer_b0_s", "attention.md"), ("swin_unet_s", "attention-swin.md")])
def test_the_worth_of_attention_is_a_difference_of_three_seeds_of_both(name: str, page: str) -> None:
    pair = name, f"{name}_identity"
    wishes = {"dataset": "acdc", "preset": "standard", "models": pair, "reference": pair[0]}
    (table,), notes = selected_tables(Selection(EXAMPLE, **wishes))
    assert (set(table.figures["seeds"]), table.seeds, notes) == ({3}, (0, 1, 2), ())
    assert render_tables([table], "markdown") == (EXAMPLE / page).read_text(), "run `make example`"


def test_the_readme_s_table_is_what_the_records_give(main_table: Table) -> None:
    shown = (ROOT / "README.md").read_text().partition(BEGIN.format("acdc"))[2].partition(END)[0]
    assert shown.strip() == to_markdown(brief_sheet(top_rows(main_table, 12))).strip(), "run `make example`"
    assert "| MedNeXt-T (reconstr.)" in shown
    assert "two-way bootstrap over 20 patients and 3 seeds" in shown


def test_the_readme_s_picture_is_drawn_from_the_records(main_table: Table, tmp_path: Path) -> None:
    """The same picture but for single pixels: another version of the fonts' renderer may set some of them otherwise."""
    folders = find_folders(EXAMPLE, set(main_table.cells["key"]))
    (drawing,) = [one for one in table_drawings(main_table, folders) if one.name.endswith("-training")]
    paths = [path for path in save(drawing.figure, tmp_path / drawing.name) if path.suffix == ".png"]
    drawn, committed = (np.asarray(Image.open(p).convert("L"), float) for p in (*paths, EXAMPLE / "training.png"))
    assert drawn.shape == committed.shape, "run `make example`"
    assert np.abs(drawn - committed).mean() < 1, "run `make example`"


def test_the_committed_trials_are_what_their_records_give_and_none_is_a_result() -> None:
    text = view_text("trials", EXAMPLE)
    assert (EXAMPLE / "trials.md").read_text() == text
    trials = [json.loads((folder / "record.json").read_text()) for folder in find_records(EXAMPLE / "tuning")]
    assert sum(not trial["cell"].get("unscored") for trial in trials) == 30
    assert all(trial["metrics"] is None for trial in trials), "the test part is not read"
    assert not {trial["key"] for trial in trials} & set(load_cells(EXAMPLE)["key"])


def test_the_committed_leaks_are_what_audits_and_records_give() -> None:
    assert (EXAMPLE / "leaks.md").read_text() == render_sheets(leaks_sheets(EXAMPLE), "markdown"), "run `make example`"


def test_three_seeds_of_both_models_stand_behind_the_worth_of_each_leak_of_msld() -> None:
    cells = load_cells(EXAMPLE / "records")
    of_model = {"resnet10t": "standard with steps=3000", "mednext_tiny": "standard with steps=3000, rates=protocol"}
    of_model = {model: cells[(cells["model"] == model) & (cells["preset"] == name)] for model, name in of_model.items()}
    for split in ("augmented-subject", "augmented-random"):
        seeds = {model: sorted(own.loc[own["split"] == split, "seed"]) for model, own in of_model.items()}
        assert seeds == {"mednext_tiny": [0, 1, 2], "resnet10t": [0, 1, 2]}, split


def test_the_committed_conventions_are_what_the_records_give() -> None:
    assert (EXAMPLE / "conventions.md").read_text() == view_text("conventions", EXAMPLE, dataset="acdc")


def test_the_records_are_whole_and_carry_no_weights() -> None:
    folders = find_records(EXAMPLE / "records")
    assert folders
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        diverged = record["status"] == "diverged"  # a result too, which tables name
        assert diverged or record["status"] == "complete"
        assert record["cell"]["source"]["kind"] == "real"
        assert record["cell"] == json.loads((folder / "cell.json").read_text())
        assert folder.name == f"{record['cell']['seed']}-{record['key']}"
        scored = set() if diverged else {cases_file(folder).name}  # the large ones packed
        assert {p.name for p in folder.iterdir()} == {"cell.json", "record.json", "history.csv"} | scored


def test_the_large_ones_are_packed() -> None:
    assert not [path for path in EXAMPLE.rglob("cases.csv") if path.stat().st_size >= LEAST]


def test_the_records_keys_are_those_that_their_cells_hash_to() -> None:
    """A way of hashing that changed would run every committed cell again."""
    from bench.runs.cell import Cell

    for folder in find_records(EXAMPLE / "records"):
        record = json.loads((folder / "record.json").read_text())
        cell = Cell(**record["cell"])
        assert (cell.key, cell.comparison) == (record["key"], record["comparison"])


# Networks of `--models all` on ACDC that were not trained under `standard`: docs/findings.md names them as missing.
MISSING = {"deeplabv3plus_s", "segresnet_s", "swinunetr_s", "unetr_s"}


@pytest.mark.parametrize(
    ("dataset", "split", "what", "expected"),
    [
        ("acdc", "ssl4mis", "seed", [0, 1, 2]),
        ("sars-cov2-ct", "blocks", "seed", [0, 1, 2]),
        ("msld", "subject/5", ["seed", "fold"], [(seed, fold) for seed in range(3) for fold in range(5)]),
    ],
)
def test_every_network_of_the_list_was_trained_under_standard(
    dataset: str, split: str, what: str | list[str], expected: list[Any]
) -> None:
    from bench.zoo.registry import select_models

    task = "segmentation" if dataset == "acdc" else "classification"
    cells = load_cells(EXAMPLE / "records")
    own = cells[(cells["preset"] == "standard") & (cells["dataset"] == dataset) & (cells["split"] == split)]
    own = own[~own["model"].str.contains(r"\[|_identity$") & (own["seed"] < 3)]  # no arm, no null arm
    listed = set(select_models("all", "cpu", task)) - MISSING
    found: dict[str, list[Any]] = {model: [] for model in listed}
    for model, *place in own[["model", *([what] if isinstance(what, str) else what)]].itertuples(index=False):
        found.setdefault(model, []).append(place[0] if isinstance(what, str) else tuple(map(int, place)))
    assert {model: sorted(places) for model, places in found.items()} == dict.fromkeys(listed, expected)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_committed_latex_compiles(tmp_path: Path) -> None:
    text = (EXAMPLE / "tables.tex").read_text()
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\usepackage[margin=2cm]{geometry}\n"
    (tmp_path / "t.tex").write_text(f"{document}\\begin{{document}}\n{text}\\end{{document}}\n")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout, "the table is wider than a page with margins of 2 cm"


def test_the_committed_speeds_are_what_the_profiles_give() -> None:
    assert (EXAMPLE / "speeds.md").read_text() == view_text("speeds", EXAMPLE), "run `make example`"
    profiles = load_profiles(EXAMPLE)
    shown = profiles[(profiles["input"] == "8x3x224x224") | (profiles["model"] == "mednext_tiny")]
    assert len(shown) == 14 + 4, "and four training steps as cells take them"
    variants = shown[shown["difference"].notna() & (shown["input"] != "8x3x224x224")]
    assert sorted(variants["metric"]) == ["accuracy", "dice", "dice", "dice"], "fused, autocast and compiled"


def test_the_committed_repeats_are_what_their_profiles_give() -> None:
    repeat = compare_results(EXAMPLE / "repeats" / "first", EXAMPLE / "repeats" / "second")
    assert (EXAMPLE / "repeats.md").read_text() == to_markdown(repeat_table(repeat)), "run `make example`"


def test_the_costs_are_of_every_network_that_has_parameters() -> None:
    shown = (EXAMPLE / "complexity.md").read_text()
    tables = dict(zip(("segmentation", "classification"), shown.split("\nParameters and MACs, "), strict=True))
    for name in model_names():
        entry = model_entry(name)
        for task in entry.tasks:
            assert (f"\n| {entry.title_of(task)} |" in tables[task]) == (name != "chance"), (name, task)
