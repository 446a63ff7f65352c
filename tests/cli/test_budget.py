"""`medbench budget`: cells like any others, a table that the records give, a figure that the table gives."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bench
from bench.analysis.curves import Curve, stored_curves
from bench.cli.main import main
from bench.errors import UserError
from bench.report.curves import curve_figure, curve_sheet
from bench.report.render import results_tables
from bench.runs.curves import curve_runs
from bench.runs.request import Request

MODELS = ("mobilenetv3_small", "resnet10t")
OPTIONS = [
    *("--models", ",".join(MODELS), "--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom"),
    *("--threads", "1", "--set", "image_size=32", "--set", "evaluations=1", "--set", "lr=0.01"),
]
REQUEST: dict[str, Any] = {
    "models": MODELS,
    "dataset": "large-covid-ct",
    "preset": "smoke",
    "data": "phantom",
    "threads": 1,
    "settings": {"image_size": 32, "evaluations": 1, "lr": 0.01},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("budgets")


@pytest.fixture(scope="module")
def printed(folder: Path, user_data: Path) -> str:
    """What the command prints; two networks at two budgets with two seeds, trained once."""
    given = ["--budgets", "160,48", "--seeds", "2", "--results", str(folder), "--figure", str(folder / "curve.svg")]
    environment = {"XDG_DATA_HOME": str(user_data), "MEDBENCH_CACHE": str(user_data.with_name("user-cache"))}
    result = CliRunner(env=environment).invoke(main, ["budget", *OPTIONS, *given, "--format", "markdown"])
    assert result.exit_code == 0, result.output
    assert "0 reused, 8 complete, 0 diverged, 0 failed of 8 cells" in result.output
    return result.output


@pytest.fixture
def curve(printed: str, folder: Path) -> Curve:
    (curve,) = stored_curves(folder)[0]
    return curve


def rows_of(markdown: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]


def test_the_table_is_what_a_plain_look_into_the_records_gives(printed: str, folder: Path) -> None:
    right: dict[tuple[str, int], list[float]] = defaultdict(list)
    for path in folder.rglob("record.json"):
        record = json.loads(path.read_text())
        seen = record["cell"]["protocol"]["steps"] * record["cell"]["protocol"]["batch_size"]
        with (path.parent / "cases.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if (r["part"], r["weights"]) == ("test", "best-val")]
        hits = [int(r["predicted"]) for r in rows if r["reference"] == "1"]
        right[record["model"]["title"], seen].append(100 * sum(hits) / len(hits))
    header, _, *rows = rows_of(printed)
    assert header == ["Model", "48 images", "160 images"]
    shown = {(row[0], int(head.split()[0])): row[k] for row in rows for k, head in enumerate(header) if k}
    assert shown.keys() == right.keys()
    assert len({tuple(runs) for runs in right.values()}) > 1, "a constant answer would show nothing"
    for place, runs in right.items():
        assert len(runs) == 2
        assert shown[place].split()[0] == f"{sum(runs) / 2:.2f}"


def test_its_figures_and_intervals_are_those_of_the_tables(curve: Curve, folder: Path) -> None:
    tables, _ = results_tables(folder)
    assert len(tables) == 2
    known = {text for table in tables for text in table.sure.frame["Accuracy % [95 %]"]}
    sheet = curve_sheet(curve)
    assert {text for column in sheet.frame.columns[1:] for text in sheet.frame[column]} == known
    assert (
        "Networks have not converged at 48 and 160 images seen (short budgets); nothing is marked best." in sheet.notes
    )
    assert sheet.bold is None
    assert curve.caption.startswith("PHANTOM images")
    assert "preset smoke (plumbing check) with image_size=32, lr=0.01, evaluations=1." in curve.caption, "no steps"


def test_the_figure_draws_the_table(curve: Curve) -> None:
    axis = curve_figure(curve).axes[0]
    assert axis.get_xscale() == "log"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["48", "160"]
    drawn = {line.get_label().replace("\n", " "): line for line in axis.lines if not line.get_label().startswith("_")}
    spans = {tuple(line.get_ydata()) for line in axis.lines if line.get_label().startswith("_")}
    shown = curve_sheet(curve).frame.set_index("Model")
    assert list(drawn) == list(shown.index)
    for title, line in drawn.items():
        assert [f"{y:.2f}" for y in line.get_ydata()] == [text.split()[0] for text in shown.loc[title]]
        assert [round(x / place) for x, place in zip(line.get_xdata(), curve.places, strict=True)] == [1, 1]
    texts = {f"[{low:.2f}, {high:.2f}]" for low, high in spans}
    assert texts == {text.partition(" ")[2] for column in shown for text in shown[column]}


def test_a_cell_of_run_is_the_same_cell_and_nothing_is_trained_twice(printed: str, folder: Path) -> None:
    given = ["--budget", "160", "--seeds", "2", "--results", str(folder)]
    result = CliRunner().invoke(main, ["run", *OPTIONS, *given])
    assert "4 reused, 0 complete" in result.output
    frame = bench.budget(**REQUEST, budgets="48,160", seeds=2, results=folder)
    assert frame[["model", "place"]].drop_duplicates().shape == (4, 2)
    assert set(frame["place"]) == {48, 160}
    assert frame["low"].le(frame["value"] + 1e-9).all()
    assert len(list(folder.rglob("record.json"))) == 8


def test_report_shows_the_same_table_from_records_alone(printed: str, folder: Path, tmp_path: Path) -> None:
    report = ["report", "--budgets", "--results", str(folder)]
    result = CliRunner().invoke(main, [*report, "--format", "markdown"])
    assert rows_of(result.output) == rows_of(printed)
    drawn = CliRunner().invoke(main, [*report, "--figures", str(tmp_path)])
    assert drawn.exit_code == 0, drawn.output
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pdf", ".png", ".svg"]
    assert (folder / "curve.svg").read_text().startswith("<?xml")
    none = CliRunner().invoke(main, [*report, "--dataset", "acdc"])
    assert (none.exit_code, none.output.count("\n")) == (2, 1)


def test_score_against_training_patients_has_the_same_table(printed: str, folder: Path, tmp_path: Path) -> None:
    few = ["--set", "steps=1", "--train-patients", "6,3", "--seeds", "1", "--results", str(tmp_path)]
    result = CliRunner().invoke(main, ["budget", *OPTIONS[2:], "--models", MODELS[0], *few, "--format", "markdown"])
    assert result.exit_code == 0, result.output
    (header, _, row) = rows_of(result.output)
    assert header == ["Model", "3 patients", "6 patients"]
    assert all(not math.isnan(float(text)) for text in row[1:]), "one seed, no interval"
    seen = sorted(bench.load_cells(tmp_path)["images_seen"])
    assert seen[0] < 8, "three patients fill no batch of one step"
    assert f"short budget: {seen[0]} images seen" in result.output
    (curve,) = stored_curves(tmp_path)[0]
    assert curve.places == (3, 6)


def test_all_training_patients_are_a_place_though_such_a_cell_names_no_number(tmp_path: Path) -> None:
    request = Request(**REQUEST, seeds=1, results=tmp_path)
    with pytest.raises(UserError, match=r"Expected 1 to \d+ training patients") as refused:
        curve_runs(request, train_patients=[3, 10_000])
    total = int(re.findall(r"1 to (\d+)", str(refused.value))[0])
    runs = curve_runs(request, train_patients=f"{total},3")
    assert [job.cell.train_patients for job in runs.jobs] == [3, 3, None, None]
    assert [runs.places[job.cell.comparison] for job in runs.jobs] == [3, 3, total, total]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "Expected --budgets or --train-patients, with two numbers or more, but got none."),
        (["--budgets", "8,16", "--train-patients", "3,6"], "but got both."),
        (["--budgets", "4k"], "Expected two numbers or more for a curve, but got 4000 alone"),
        (["--budgets", "4k,many"], "Expected budgets to be numbers of images by commas"),
        (["--budgets", "4k,infk"], "Expected budgets to be numbers of images by commas"),
        (["--budgets", "4k,0"], "Expected budgets to be numbers of images by commas"),
        (["--budgets", "4k,4k"], "Expected numbers that differ, but got 4000 twice."),
        (["--budgets", "4k,4001"], "Expected budgets that differ, but 4000 and 4001 images are both 500 steps of 8."),
        (["--budgets", "8,16", "--budget", "8"], "Expected --budgets or --budget, but got both."),
        (
            ["--budgets", "8,16", "--set", "steps=2"],
            "Expected --budget, or --set steps, epochs, steps_min or steps_max, but got both.",
        ),
        (["--train-patients", "3,x"], "Expected train_patients to be whole numbers from 1 on by commas"),
        (["--train-patients", "3,6", "--train-fraction", "0.5"], "Expected --train-patients or --train-fraction"),
        (
            ["--budgets", "8,16", "--figure", "curve.jpg"],
            "Expected --figure to be a file that ends in .png, .pdf, .svg",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(tmp_path: Path, options: list[str], line: str) -> None:
    result = CliRunner().invoke(main, ["budget", *OPTIONS, "--results", str(tmp_path / "results"), *options])
    assert result.exit_code == 2
    assert line in result.output
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "results").exists()
