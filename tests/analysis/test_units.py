"""What counts as one in an interval: tables of units, how reports join them, and single classifiers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_classification import cell

from bench.analysis.certainty import Measure, scores_of
from bench.analysis.comparison import Table, summarise
from bench.analysis.conclusions import conclusions
from bench.analysis.statistics import mcnemar
from bench.analysis.units import with_units
from bench.cli.main import main
from bench.datasets.cache.prepared import locate
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.records.store import read_units, units_path, write_units
from bench.report.page.sheets_of_rows import leader_sheet
from bench.report.paper import paper_text
from bench.report.paper_words import Wishes
from bench.report.sheets import to_markdown
from bench.report.table_sheets import interval_sheet
from bench.zoo.registry import dataset_spec

CASES = 24  # four a block, half of them COVID
UNITS = "blocks of images (patients unknown)"


def rows(of: dict[str, Any], right: np.ndarray) -> list[dict[str, Any]]:
    """24 images, those of a patient unknown; `right`: (24,) which are."""
    found = []
    for i in range(CASES):
        truth = int(i >= CASES // 2)
        predicted = truth if right[i] else 1 - truth
        for label, name in enumerate(("non-COVID", "COVID")):
            where = {"key": of["key"], "part": "test", "weights": "best-val", "case": f"i{i:02}", "patient": f"i{i:02}"}
            scores = {"reference": int(label == truth), "predicted": int(label == predicted)}
            found.append({**where, "class": name, **scores, "probability": 0.9 if label == predicted else 0.1})
    return found


def loaded(*pairs: tuple[dict[str, Any], np.ndarray]) -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = pd.DataFrame([{**one, "fingerprint": "f0"} for one, _ in pairs])
    return cells, pd.DataFrame([row for one, right in pairs for row in rows(one, right)])


def table_of_blocks(folder: Path) -> None:
    cases = {f"i{i:02}": f"i{i // 4 * 4:02}" for i in range(CASES) if i % 4}
    write_units(folder, {"dataset": "sars-cov2-ct", "fingerprint": "f0", "unit": UNITS, "cases": cases})


def by_block(model: str, *seeds: tuple[int, ...]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Each seed has these blocks right, all four images of each."""
    return [
        (cell(model, seed), np.repeat([block in right for block in range(6)], 4)) for seed, right in enumerate(seeds)
    ]


def test_a_table_of_units_is_joined_and_named(tmp_path: Path) -> None:
    pairs = [*by_block("a", (0, 1, 3), (0, 1, 4)), *by_block("b", (0, 2, 3), (0, 3, 4))]
    without = summarise(*with_units(*loaded(*pairs), tmp_path))[0].sure
    assert "over 24 images (patients unknown: too narrow where images share one)" in without.caption
    assert "Wilcoxon" not in without.footnotes[0]
    tested = summarise(*with_units(*loaded(*pairs), tmp_path), tests=True)[0].sure
    assert "Wilcoxon over images" in tested.footnotes[0]
    table_of_blocks(tmp_path)
    sure = summarise(*with_units(*loaded(*pairs), tmp_path))[0].sure
    assert sure.caption == f"How sure: two-way bootstrap over 6 {UNITS} and 2 seeds of each model."
    assert "other units like these" in sure.footnotes[0]
    assert "Units of one class are drawn within their class" in sure.footnotes[0]
    widths = {one: gap.high - gap.low for one, gap in [("images", without.gaps["B"]), ("blocks", sure.gaps["B"])]}
    assert widths["blocks"] > 1.5 * widths["images"], "images of a block are right or wrong together"


@pytest.mark.parametrize("seeds", [1, 2])
def test_that_patients_are_unknown_is_said_with_any_number_of_seeds(tmp_path: Path, seeds: int) -> None:
    def leak(folder: Path, **fields: Any) -> str:
        pairs = [*by_block("a", *[(0, 1)] * seeds), *by_block("b", *[(0, 2)] * seeds)]
        cells, cases = loaded(*(({**one, **fields}, right) for one, right in pairs))
        (table,) = summarise(*with_units(cells, cases, folder))
        return next(line for line in table.checklist if line.startswith("Leak?"))

    assert ", patients unknown; " in leak(tmp_path), "each image is named as its own patient: older records"
    assert ", patients unknown; " in leak(tmp_path, split_leak={"patient": None, "near_duplicate": 0.0})
    assert "unknown" not in leak(tmp_path, split_leak={"patient": 0.0, "near_duplicate": 0.0}), "one image each"
    table_of_blocks(tmp_path)
    assert ", patients unknown; " in leak(tmp_path)


def test_sentences_on_intervals_name_the_unit_that_was_resampled(tmp_path: Path) -> None:
    pairs = [*by_block("a", *[range(5)] * 3), *by_block("b", *[(k,) for k in range(3)])]
    (images,) = summarise(*with_units(*loaded(*pairs), tmp_path))
    table_of_blocks(tmp_path)
    (blocks,) = summarise(*with_units(*loaded(*pairs), tmp_path))
    patients = replace(images, sure=replace(images.sure, patients_known=True))
    for table, units in ((images, "images"), (blocks, "units"), (patients, "patients")):
        assert f"over other seeds and other {units} like these." in conclusions(table).may[0]
        if table is not patients:  # whose note was made before
            assert f" {units}" in table.sure.footnotes[0]
        assert f"over other seeds and other {units};" in leader_sheet(table).notes[0]
        assert f"95 % intervals over {units} and seeds." in paper_text([table], Wishes()).replace("\\", "")


@pytest.mark.filterwarnings("error")
def test_a_table_that_names_no_case_leaves_each_its_own_unit(tmp_path: Path) -> None:
    write_units(tmp_path, {"dataset": "sars-cov2-ct", "fingerprint": "f0", "unit": UNITS, "cases": {}})
    cells, cases = with_units(*loaded(*by_block("a", (0, 1))), tmp_path)
    assert cells["units"].to_list() == [UNITS]
    assert (cases["unit"] == cases["patient"]).all()


def test_another_fingerprint_s_table_is_not_joined(tmp_path: Path) -> None:
    table_of_blocks(tmp_path)
    cells, cases = loaded(*by_block("a", (0,), (1,)))
    cells, cases = with_units(cells.assign(fingerprint="f1"), cases, tmp_path)
    assert cells["units"].isna().all()
    assert (cases["unit"] == cases["patient"]).all()


def test_a_damaged_table_ends_in_one_line(tmp_path: Path) -> None:
    table_of_blocks(tmp_path)
    path = units_path(tmp_path, "sars-cov2-ct", "f0")
    for text, cause in (("{", "is cut short"), ("[]", "is no table"), ('{"unit": "x"}', "is no table")):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"f0\.json {cause}"):
            read_units(tmp_path, "sars-cov2-ct", "f0")


def test_units_are_of_the_stratum_of_their_class_and_a_lone_one_of_the_largest() -> None:
    frame = pd.DataFrame({"unit": list("aabbcd"), "class": list("XXXXYY"), "seed": 0, "predicted": 1.0})
    measure = Measure("", "predicted", 1.0, 1, by_class=False, stratified=True)
    strata = scores_of(frame, measure).strata
    assert strata is not None
    assert strata.tolist() == ["X", "X", "Y", "Y"]
    mixed = scores_of(frame.assign(**{"class": list("XYXXXX")}), measure).strata
    assert mixed is not None
    assert mixed.tolist() == ["X"] * 4, "a holds both classes, alone"
    assert scores_of(frame, Measure("", "predicted", 1.0, 1)).strata is None


# -- single classifiers --------------------------------------------------------------------------------------


def single(*rights: tuple[str, np.ndarray, dict[str, Any]], tests: bool = True) -> Table:
    given = loaded(*((cell(model, 0, **fields), right) for model, right, fields in rights))
    return summarise(*given, tests=tests)[0]


def test_one_seed_of_each_classifier_has_mcnemar_s_p_and_no_claim() -> None:
    ours, near, far = (np.arange(CASES) < n for n in (20, 19, 8))
    rights = (("ours", ours, {"family": "proposed"}), ("near", near, {}), ("far", far, {}))
    table = single(*rights)
    sure = table.sure
    assert sure.caption == "No claim about a method is made: 1 seed, 24 images."
    shown = sure.frame.set_index("Model")
    assert shown.columns.tolist() == ["Right", "p against OURS, these two trained networks only"]
    p = 2 * mcnemar(ours, far)
    assert 0.0009 < p < 0.001
    assert shown.iloc[:, 1].to_dict() == {"OURS": "", "NEAR": "1.000", "FAR": "< 0.001"}
    assert shown.loc["FAR", "Right"] == "8 of 24"
    assert "Holm over the 2 comparisons" in sure.footnotes[0]
    assert not (sure.marks == "best").any(axis=None)
    assert table.checklist[-1] == f"Told apart? {sure.caption}"
    assert "these two trained networks only" in to_markdown(interval_sheet(table))
    without = single(*rights, tests=False)
    assert without.sure.frame.columns.tolist() == ["Model", "Right"]
    assert "p:" not in to_markdown(interval_sheet(without))


def test_one_classifier_or_several_seeds_have_no_mcnemar() -> None:
    right = np.arange(CASES) < 20
    assert single(("ours", right, {})).sure.frame.empty
    several = summarise(*loaded(*((cell(m, s), right) for m in "ab" for s in range(2))))[0]
    assert "Right" not in several.sure.frame


# -- of the data sets ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_writes_the_units_and_data_units_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    roots = ["--data", "phantom", "--data-root", str(tmp_path / "data")]
    run = ["run", "--models", "chance", "--dataset", "sars-cov2-ct", "--preset", "smoke", "--seeds", "2", *roots]
    for _ in range(2):  # the second time every cell is done
        done = CliRunner().invoke(main, [*run, "--results", str(tmp_path / "r")])
        assert done.exit_code == 0, done.output
        (path,) = (tmp_path / "r" / "units").iterdir()
        text = path.read_text()
        path.unlink()
    named = CliRunner().invoke(main, ["data", "units", "sars-cov2-ct", *roots, "--results", str(tmp_path / "other")])
    assert re.match(r"sars-cov2-ct-phantom: blocks of 15 consecutive images or more", named.output), named.output
    assert (tmp_path / "other" / "units" / path.name).read_text() == text
    assert json.loads(text)["dataset"] == "sars-cov2-ct-phantom"
    data = locate(dataset_spec("sars-cov2-ct"), "phantom", tmp_path / "data")
    table = unit_table(data, data.name)
    assert table is not None
    units = {case.case: table["cases"].get(case.case, case.patient) for case in data.cases}
    assert len(set(units.values())) < len(units) / 4
    for group in data.manifest["groups"]:
        assert len({units[name] for name in group}) == 1, "near-duplicates are one"


def test_patients_that_are_known_need_no_table(tmp_path: Path) -> None:
    roots = ["--data", "phantom", "--data-root", str(tmp_path)]
    assert (
        CliRunner().invoke(main, ["data", "prepare", "acdc", "--phantom", "--data-root", str(tmp_path)]).exit_code == 0
    )
    done = CliRunner().invoke(main, ["data", "units", "acdc", *roots, "--results", str(tmp_path / "r")])
    assert done.output == "acdc-phantom: one patient is one unit, nothing to write\n"
    assert not (tmp_path / "r").exists()
