"""Damaged and odd records: each is named with its cause, left out, and takes nothing else away."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from few_records import copy_preset
from stored_records import EXAMPLE, RECORDS, a_record_of, change, change_cases, cut, invoke, the_cell

import bench
from ablations.command import load_ablations
from ablations.replay import stored_curves
from bench.records import store
from bench.records.choice import Choice
from bench.records.damage import Damaged
from bench.records.profiles import load_profiles
from bench.records.rows import COLUMNS, record_row
from bench.report.plans import plan_sheets, plan_total
from bench.report.render import render_tables, results_tables
from bench.report.screen import Screen
from bench.report.sheets import print_sheets
from bench.runs.estimate import PlannedCell, plan_cells
from bench.runs.request import Request
from bench.runs.runner import make_jobs


def put(column: str, text: str) -> Callable[[Path], object]:
    """A damage: the text in a column of the first row."""
    return lambda path: change_cases(path, lambda rows: rows.assign(**{column: [text, *rows[column][1:]]}))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def conflict(path: Path) -> None:
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\n{{}}\n>>>>>>> other\n")


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (cut, "is cut short after"),
    (lambda path: path.write_bytes(b""), "is empty"),
    (lambda path: path.write_bytes(bytes(4096)), "is empty (4096 bytes of zeros)"),
    (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "pointer of Git LFS"),
    (conflict, "holds a merge conflict of git"),
    (lambda path: path.write_bytes(path.read_text().encode("utf-16")), "is no text in UTF-8"),
    (a_folder, "is a folder"),
    (lambda path: path.write_text('{"a" 1}'), "is no JSON (line 1: Expecting ':' delimiter)"),
    (lambda path: path.write_text("[]"), "is no record: it holds list"),
    (lambda path: change(path, "schema", to=2), "is a record of schema 2, and this version reads 1: update medbench"),
    (lambda path: change(path, "schema", to=None), "is no record of schema 1: its schema is 'None'"),
    (lambda path: change(path, "cost", to=...), "it lacks cost"),
    (lambda path: change(path, "cost", to=None), "holds no object around cost.params"),
    (lambda path: change(path, "cell", "protocol", "threads", to=...), "lacks the field cell.protocol.threads"),
    (lambda path: change(path, "cell", "seed", to="0"), "holds '0' as cell.seed, where a whole number should be"),
    (lambda path: change(path, "cost", "params", to=True), "holds 'True' as cost.params"),
    (lambda path: change(path, "model", "title", to=None), "holds 'None' as model.title, where text should be"),
    (lambda path: change(path, "dataset", "split_flag", to=[]), "holds '[]' as dataset.split_flag, where text or null"),
    (lambda path: change(path, "dataset", "counts", "test", to=...), "lacks the field test.cases of dataset.counts"),
    (lambda path: change(path, "dataset", "classes", to=[1, 2]), "holds classes that are no texts"),
    (lambda path: change(path, "dataset", "task", to="detection"), "is of task 'detection'"),
    (lambda path: change(path, "status", to="done"), "has status 'done'"),
    (lambda path: change(path, "metrics", to={"best-val": 1, "last": 1}), "holds metrics that are no object"),
    (lambda path: change(path, "training", to={"seconds": "1 h"}), "holds '1 h' as seconds"),
    (lambda path: change(path, "training", to={"seconds": float("nan")}), "it holds NaN, no finite number"),
    (lambda path: change(path, "training", to={"stretches": ["cpu"]}), "holds no object around from_step"),
    (lambda path: change(path, "training", to={"stretches": [{"from_step": 0}]}), "lacks the field pieces"),
    (lambda path: path.write_text(path.read_text().replace("null", "1e400", 1)), "it holds 1e400, no finite number"),
    (lambda path: change(path, "cost", "params", to=10**50), "holds a number of more than 20 digits as cost.params"),
    (lambda path: change(path, "cost", "macs", to=-1), "holds -1 as cost.macs, which is out of range"),
    (lambda path: change(path, "metrics", "best-val", "missed", to="x"), "holds 'x' as missed"),
    (lambda path: change(path, "cell", "tuned", to={}), "lacks the field lr"),
    (lambda path: change(path, "dataset", "split_leak", to={"patient": 98.0}), "'98.0' as split_leak.patient"),
    (lambda path: change(path, "dataset", "classes", to=["COVID", "COVID"]), "names 1 different classes in 2"),
    (lambda path: change(path, "cell", "seed", to=1), "holds a cell that is not the one of its key"),
    (lambda path: change_cases(path, lambda rows: rows[:0]), "holds no rows of classification (ValueError: a header"),
    (lambda path: change_cases(path, lambda rows: rows.drop(columns="case")), "(ValueError: no column case)"),
    (lambda path: change(path, "dataset", "task", to="segmentation"), "holds no rows of segmentation (ValueError: no"),
    (lambda path: change_cases(path, lambda rows: rows[["part", "weights"]]), "(ValueError: no column case)"),
    (lambda path: change_cases(path, lambda rows: pd.concat([rows, rows[:1]])), "has rows twice, such as case"),
    (lambda path: change_cases(path, lambda rows: rows[1:]), "has not one row for each of the classes"),
    (put("class", "others"), "has not one row for each of the classes Others, Monkeypox at case"),
    (lambda path: change_cases(path, lambda rows: rows[rows["part"] != "test"]), "has 0 test cases, where its record"),
    (put("probability", "78.2"), "has 78.2 as probability of case"),
    (put("probability", "nan"), "has nan as probability of case"),
    (put("predicted", "2"), "has 2 as predicted of case"),
    (put("reference", "0"), "names not one class, true and predicted, at case"),
    (lambda path: path.with_name("cases.csv").unlink(), "cases.csv is missing"),
    (lambda path: cut(path.with_name("cases.csv")), "cases.csv is not the file that its record was written with"),
]


@pytest.mark.parametrize(("damage", "cause"), DAMAGES, ids=[cause for _, cause in DAMAGES])
def test_a_damaged_record_is_left_out_with_its_cause(
    results: Path, damage: Callable[[Path], object], cause: str
) -> None:
    damage(the_cell(results, "msld") / "record.json")
    ((_, record),), (note,) = store.read_records(results)
    assert record["dataset"]["name"] == "acdc"
    assert note.startswith(f"Left out: {results}")
    assert cause in note
    assert "Delete its folder" not in note
    assert list(bench.load_cells(results)["dataset"]) == ["acdc"]


@pytest.mark.parametrize("text", ["-0.5", "97.3", "inf"])
@pytest.mark.parametrize("column", ["dice_strict", "hd95_vox_strict"])
def test_a_score_that_cannot_be_is_no_figure(results: Path, column: str, text: str) -> None:
    put(column, text)(the_cell(results, "acdc") / "record.json")
    found, notes = store.read_records(results)
    is_a_distance = (column, text) == ("hd95_vox_strict", "97.3")
    assert len(found) == 1 + is_a_distance
    assert f"as {column} of case" in "".join(notes) or is_a_distance


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows.assign(case="x" + rows["case"]),
        lambda rows: rows.assign(patient="x" + rows["patient"]),
        lambda rows: rows.assign(reference=rows["reference"].map({"0": "1", "1": "0"})),
    ],
    ids=["cases", "patients", "references"],
)
def test_a_cell_of_other_test_cases_is_not_compared(
    tmp_path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    folders = sorted((RECORDS / "msld" / "convnext_atto").glob("0-*"))
    chosen = next(path for path in folders if json.loads((path / "record.json").read_text())["preset"] == "quick")
    source = the_comparison(chosen)
    for folder in source:
        shutil.copytree(folder, tmp_path / "runs" / folder.relative_to(RECORDS))
    before = set(results_tables(tmp_path)[0][0].frame["Model"])
    odd = tmp_path / "runs" / chosen.relative_to(RECORDS)
    change_cases(odd / "record.json", edit)
    (table,), (note,) = results_tables(tmp_path)
    assert set(table.frame["Model"]) == before, "its other seeds stay"
    assert note.startswith(f"Left out: {odd / 'cases.csv'} holds other test cases, patients or references than ")
    assert [row for row in table.frame["Seeds"] if row.startswith("2 of 3")] == ["2 of 3"]
    assert set(bench.load_cells(tmp_path).query("model == 'convnext_atto'")["seed"]) == {1, 2}


def the_comparison(folder: Path) -> list[Path]:
    """The folders of the committed records that are of one comparison with one of them."""
    own = json.loads((folder / "record.json").read_text())["comparison"]
    found = (path.parent for path in sorted((RECORDS / folder.relative_to(RECORDS).parts[0]).rglob("record.json")))
    return [place for place in found if json.loads((place / "record.json").read_text())["comparison"] == own]


@pytest.mark.parametrize("dataset", ["acdc", "msld"])
def test_a_damaged_record_is_named_below_the_other_s_table(results: Path, dataset: str) -> None:
    cut(the_cell(results, dataset) / "record.json")
    (table,), (note,) = results_tables(results)
    assert table.name == {"acdc": "msld", "msld": "acdc"}[dataset]
    assert " ".join(render_tables([table], "rich", [note]).split()).endswith(note)
    assert "is cut short" in render_tables([table], "markdown", [note]).splitlines()[-1]
    assert "is cut short" in render_tables([table], "latex", [note]).splitlines()[-1]
    assert "is cut short" in render_tables([table], "csv", [note]).splitlines()[-1]
    long = bench.load_results(results)
    assert long.attrs["notes"] == (note,)
    assert set(long["dataset"]) == {table.name}


def test_every_reader_goes_on_without_a_damaged_record(results: Path, tmp_path: Path) -> None:
    copy_preset(results, "acdc", "standard", ["unext"])  # of all metrics, as --conventions wants them
    cut(the_cell(results, "msld") / "record.json")
    said = "is cut short after"
    for form in ("rich", "markdown", "latex", "csv"):
        result = invoke("report", "--results", str(results), "--format", form)
        assert result.exit_code == 0, result.output
        assert said in " ".join(result.output.split())
    for options in (["--ranks"], ["--conventions"], ["--figures", str(tmp_path / "figures")]):
        result = invoke("report", "--results", str(results), *options)
        assert result.exit_code == 0, result.output
        assert said in result.output
    assert said in load_ablations(results)[1][0]


def test_nothing_but_damaged_records_is_one_line_with_the_cause(results: Path) -> None:
    for path in results.rglob("record.json"):
        cut(path)
    result = invoke("report", "--results", str(results))
    assert result.exit_code == 2
    assert "No records in" in result.output
    assert "is cut short" in result.output


def test_other_line_endings_are_taken_back_and_told_once(results: Path) -> None:
    plain = bench.load_results(results)
    for path in results.rglob("*.*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = bench.load_results(results)
    (note,) = found.attrs["notes"]
    assert note.startswith("2 cases.csv have other line endings (git's autocrlf or a zip tool changed them)")
    assert found.equals(plain)


def test_a_byte_order_mark_is_passed_over(results: Path) -> None:
    path = the_cell(results, "acdc") / "record.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert not store.read_records(results).notes


def test_a_damaged_table_of_units_costs_the_units_alone(results: Path) -> None:
    shutil.copytree(EXAMPLE / "units", results / "units")
    path = next((results / "units").glob("msld-*.json"))
    whole = results_tables(results, choice=Choice(dataset="msld"))
    cut(path)
    (table,), (note,) = results_tables(results, choice=Choice(dataset="msld"))
    assert "is cut short" in note
    assert "Intervals take each case's patient" in note
    assert table.frame.equals(whole[0][0].frame)


def test_a_damaged_profile_leaves_the_others(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "profiles", tmp_path / "profiles")
    first, second, *rest = sorted((tmp_path / "profiles").rglob("*.json"))
    cut(first)
    change(second, "figures", "ratio", to="fast")
    frame = load_profiles(tmp_path)
    assert len(frame) == len(rest)
    assert [note.partition(" is ")[0] for note in frame.attrs["notes"]] == [f"Left out: {p}" for p in (first, second)]


def test_a_damaged_learning_curve_leaves_the_others(tmp_path: Path) -> None:
    copy_preset(tmp_path, "acdc", "standard", ("nnunet_s", "swin_unet_s", "unet_s", "unext"))
    whole, none = stored_curves(tmp_path, "acdc")
    path = the_first(tmp_path, whole[0].name)
    for damage in ("step,val_score\n1,high\n2,low\n", "step,val_score\n1," + "9" * 200_000):
        path.write_text(damage)
        curves, (note,) = stored_curves(tmp_path, "acdc")
        assert not none
        assert len(curves) == len(whole) - 1
        assert f"{path} holds no validation rounds" in note


def the_first(results: Path, name: str) -> Path:
    """The history of the cell that a curve is named after."""
    for folder, record in store.read_records(results).records:
        if f"{record['model']['name']} {record['cell']['seed']}" == name:
            return folder / "history.csv"
    raise AssertionError(name)


def test_a_damaged_audit_leaves_the_others(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "audits", tmp_path / "audits")
    shutil.copytree(RECORDS / "msld" / "mednext_tiny", tmp_path / "runs" / "msld" / "mednext_tiny")
    paths = sorted((tmp_path / "audits").glob("*.json"))
    cut(paths[0])
    result = invoke("data", "leaks", "--results", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert f"{paths[0].name} is cut short" in result.output.replace("\\_", "_")


def test_columns_are_there_though_no_cell_is(tmp_path: Path) -> None:
    cells, cases, long = bench.load_cells(tmp_path), store.load_cases(tmp_path), bench.load_results(tmp_path)
    assert list(cells) == COLUMNS
    assert {"reference", "predicted", "probability", "dice_strict", "key"} <= set(cases)
    assert {"metric", "value", "dataset", "model"} <= set(long)
    record = store.read_record(a_record_of("segmentation"))
    assert record is not None
    assert list(record_row(record)) == COLUMNS


@pytest.mark.parametrize("status", ["failed", "diverged"])
@pytest.mark.parametrize("dataset", ["acdc", "msld"])
def test_a_failed_cell_alone_is_a_row(results: Path, dataset: str, status: str) -> None:
    path = the_cell(results, dataset) / "record.json"
    change(path, "status", to=status)
    change(path, "metrics", to=None)
    shutil.rmtree(results / "runs" / {"acdc": "msld", "msld": "acdc"}[dataset])
    for form in ("rich", "markdown", "latex", "csv"):
        result = invoke("report", "--results", str(results), "--format", form)
        assert result.exit_code == 0, result.output
        assert status in result.output
    (table,), _ = results_tables(results, classes=True)
    assert list(table.frame["Seeds"]) == [f"{status} (1 of 1 seeds)"]


def test_plan_and_run_name_a_damaged_record_and_force_runs_it_anew(tmp_path: Path) -> None:
    request = ["--models", "chance", "--dataset", "acdc", "--preset", "smoke", "--data", "phantom"]
    request += ["--results", str(tmp_path)]
    assert invoke("run", *request).exit_code == 0
    path = next(tmp_path.rglob("record.json"))
    cut(path)
    planned = invoke("plan", *request)
    assert planned.exit_code == 0
    assert "damaged" in planned.output
    assert "is cut short after" in planned.output
    refused = invoke("run", *request)
    assert refused.exit_code == 2
    assert "is cut short" in refused.output
    assert "--force" in refused.output
    with pytest.raises(Damaged):  # nothing is overwritten unasked
        store.read_record(path.parent)
    assert invoke("run", *request, "--force").exit_code == 0
    assert store.is_done(path.parent)


def test_a_plan_takes_no_rate_from_a_copy_or_a_damaged_record(results: Path, tmp_path: Path) -> None:
    jobs = make_jobs(Request("chance", "acdc", preset="smoke", data="phantom", results=tmp_path / "none"))
    folder = the_cell(results, "acdc")
    cut(folder / "record.json")
    assert plan_cells(jobs, results)[0].state == "new"
    with pytest.raises(Damaged):
        store.read_record(folder)


def test_a_plan_has_a_table_for_each_dataset_and_a_total() -> None:
    def planned(dataset: str, seed: int) -> Any:
        cell = SimpleNamespace(dataset_label=dataset, split="s", seed=seed, fold=None)
        job = SimpleNamespace(cell=cell, model="m[red]", preset="quick")
        return PlannedCell(job, "done" if seed else "new", 0.0 if seed else 3600.0, "")  # type: ignore[arg-type]

    screen, cells = (
        Screen(wide=True, file=io.StringIO(), width=120),
        [planned("a", 0), planned("b", 0), planned("a", 1)],
    )
    print_sheets(screen, plan_sheets(cells))
    text = screen.file.getvalue() + "".join(plan_total(cells))  # type: ignore[attr-defined]
    assert "a, split s, preset quick" in text
    assert "b, split s, preset quick" in text
    assert "1 of 2 cells done, about 1.00 h to come" in text
    assert "0 of 1 cells done, about 1.00 h to come" in text
    assert "All 2 datasets: 1 of 3 cells done, about 2.00 h to come" in text
    assert text.count("m[red]") == 2
    assert not plan_total([planned("a", 0)])
