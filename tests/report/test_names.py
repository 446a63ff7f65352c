"""Names that users choose, of classes, models and data sets: no column of ours, no command of any format."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.comparison import Table
from bench.analysis.sheet import Sheet
from bench.report.escaping import csv_safe, csv_text, latex_label, latex_text, markdown_text, plain
from bench.report.render import render_tables, results_tables
from bench.report.sheets import to_latex, to_markdown

RECORDS = Path(__file__).parents[2] / "results" / "example" / "records"
NAMES = [
    *("mean", "Metric", "Model", "Seeds", "class", "seed", "case", "value", "metric", "key", "all", "nan", "None", "1"),
    *("\U0001f600", "\u80ba", "\u5fc3", "\u03b1\u03a9", "\u041b\u0451\u0433\u043a\u043e\u0435", "e\u0301", "\u00bd"),
    *("na\u00efve \u0142\u00f3d\u017a", "50 % off", r"\input{x}", "a^b~c_d", "#1 & {2}", "$x$ $y$", "=1+1", "@SUM(A1)"),
    *("line\nline\n\nline", "\x1b[31mred", "tab\tbed", "+cmd|'/C'", "-2+3", "a|b", "[red]x[/red]", "*bold*"),
    *("[x](http://y)", "`code`", "&lt;", '"q"'),
]
FORMS = ("rich", "markdown", "latex", "csv")


def renamed(tmp_path: Path, dataset: str, names: dict[str, str]) -> Path:
    """A results folder of two committed cells of a data set, whose classes, title and data set have other names."""
    models = ("mednext_tiny", "unet_s" if dataset == "acdc" else "resnet10t")
    stored = [
        {json.loads((folder / "record.json").read_text())["comparison"]: folder for folder in sorted(of.glob("0-*"))}
        for of in (RECORDS / dataset / model for model in models)
    ]
    shared = min(set(stored[0]) & set(stored[1]))
    for model, folder in zip(models, (of_model[shared] for of_model in stored), strict=True):
        copy = tmp_path / "runs" / dataset / model / folder.name
        shutil.copytree(folder, copy)
        record = json.loads((copy / "record.json").read_text())
        of_record = [names.get(name, name) for name in record["dataset"]["classes"]]
        record["dataset"] |= {"classes": of_record, "title": names["title"], "name": names["name"]}
        record["model"]["title"] += names["title"]
        for part in record["dataset"]["counts"].values():
            if "classes" in part:
                part["classes"] = {names.get(name, name): n for name, n in part["classes"].items()}
        rows = list(csv.DictReader(io.StringIO((copy / "cases.csv").read_text())))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "class": names.get(row["class"], row["class"])} for row in rows)
        (copy / "cases.csv").write_text(buffer.getvalue(), newline="")
        record["cases_sha256"] = hashlib.sha256(buffer.getvalue().encode()).hexdigest()
        (copy / "record.json").write_text(json.dumps(record))
    return tmp_path


@pytest.fixture(scope="module")
def plain_tables() -> dict[str, Table]:
    """The table of each dataset under plain names, made once."""
    return {}


@pytest.mark.parametrize(
    ("dataset", "name"),
    [*(("acdc", name) for name in ("mean", "class", "nan", "line\nline")), ("msld", "mean"), ("msld", "case")],
)
def test_a_class_of_any_name_changes_no_figure(
    tmp_path: Path, plain_tables: dict[str, Table], dataset: str, name: str
) -> None:
    old = {"acdc": "RV", "msld": "Monkeypox"}[dataset]
    plain_names = {"title": "X", "name": "own"}
    if dataset not in plain_tables:
        (plain_tables[dataset],), _ = results_tables(renamed(tmp_path / "a", dataset, plain_names), classes=True)
    expected = plain_tables[dataset]
    (found,), notes = results_tables(renamed(tmp_path / "b", dataset, {**plain_names, old: name}), classes=True)
    assert not notes
    assert found.frame.shape == expected.frame.shape
    for mine, theirs in zip(found.frame.columns, expected.frame.columns, strict=True):
        assert found.frame[mine].equals(expected.frame[theirs]), mine
    assert found.sure.frame.to_numpy().tolist() == expected.sure.frame.to_numpy().tolist()
    for form in FORMS:
        assert render_tables([found], form)


def test_markup_in_names_is_shown_as_it_stands(tmp_path: Path) -> None:
    names = {"RV": "[red]a|b", "title": "[bold]*T*", "name": "own"}
    tables, _ = results_tables(renamed(tmp_path, "acdc", names), classes=True)
    shown = {"rich": "[bold]*T*", "markdown": "[bold]\\*T\\*", "latex": "{[}bold{]}{*}T{*}", "csv": "[bold]*T*"}
    for form in FORMS:
        assert shown[form] in render_tables(tables, form)
    lines = [line for line in render_tables(tables, "markdown").splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") for line in lines]
    assert len(set(cells[:4])) == 1, "a row has as many cells as its header"


def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe_and_numbers_stay() -> None:
    frame = pd.DataFrame(
        {"=h": ["=1+1", "+1", "-2.5 [-3, 1]", "-1+1|x", "@a", "\tb", "plain", -3.5, None]}, dtype=object
    )
    safe = csv_safe(frame)
    assert list(safe) == ["'=h"]
    assert safe["'=h"].tolist()[:8] == ["'=1+1", "+1", "-2.5 [-3, 1]", "'-1+1|x", "'@a", "'\tb", "plain", -3.5]


def test_a_carriage_return_begins_no_row_in_a_csv() -> None:
    text = csv_text(pd.DataFrame({"a": ["x\r=1+1", "y\r\nz"], "b": ["\r=2", "w"]}))
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [["x\n=1+1", "'\n=2"], ["y\nz", "w"]]


def test_names_in_latex_are_ascii_and_in_a_line() -> None:
    for name in NAMES:
        text = latex_text(name)
        assert text.isascii()
        assert text.isprintable()
    assert latex_text("\u041b\u0443\u043a") == "Eluka"
    assert latex_text("\u80ba") == "{[}U+80BA{]}" != latex_text("\u5fc3")
    assert latex_text("\u00bd") == "1/2"
    assert latex_text("e\u0301") == latex_text("\u00e9") == r"\'{e}"
    assert latex_label("a%b\\c{d} \u00e9_1") == "a-b-c-d-_1"


def test_markdown_keeps_a_name_on_its_line_and_makes_no_link() -> None:
    assert markdown_text("a\n\nb|`c`") == "a  b\\|`c`"
    assert markdown_text("[x](http://y) &lt; & ~~z~~") == "[x]\\(http://y) \\&lt; & \\~\\~z\\~\\~"
    assert plain("a\u202eb\x00c\td") == "ab c d"


def test_columns_whose_names_read_alike_in_latex_stay_apart() -> None:
    sheet = Sheet("c", pd.DataFrame([["m", "1", "2"]], columns=["Model", "e\u0301 %", "\u00e9 %"]))
    assert r"m & 1 & 2" in to_latex(sheet)
    assert "| m | 1 | 2 |" in to_markdown(sheet)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
@pytest.mark.parametrize("dataset", ["acdc", "msld"])
def test_pdflatex_sets_every_name(tmp_path: Path, dataset: str) -> None:
    old = {"acdc": ("RV", "Myo"), "msld": ("Monkeypox", "Others")}[dataset]
    names = {"title": " ".join(NAMES), "name": "".join(NAMES), old[0]: NAMES[17], old[1]: " ".join(NAMES)}
    tables, _ = results_tables(renamed(tmp_path, dataset, names), classes=True)
    body = render_tables(tables, "latex", [f"Left out: {name}" for name in NAMES[:10]])
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{body}\n\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[log.find("\n!") :][:400]
