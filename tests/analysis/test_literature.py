"""Published figures below a table: where they stand, where they must not, what a file of one's own may hold."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_tables import cell, tables
from stored_records import RECORDS, invoke
from test_certainty import table as table_of
from test_certainty import three

from bench.analysis.comparison import Table
from bench.analysis.literature import COLUMNS, beside, literature_sheet, published_figures
from bench.errors import UserError
from bench.report.bibliography import DATA, bibliography, citations, keys_of
from bench.report.paper import paper_text
from bench.report.paper_float import Float
from bench.report.paper_tables import with_published
from bench.report.paper_words import Wishes
from bench.zoo.registry import dataset_names, model_entry, model_names

FLOAT = Float("t", ("Caption.",), (), ())
HEADLINES = {"sars-cov2-ct": 98.39, "msld": 98.12, "large-covid-ct": 98.58, "synapse": 79.45, "acdc": 91.28}


@pytest.fixture(scope="module")
def whole() -> Table:
    """A whole ACDC table of a U-Net and the proposed model."""
    return table_of(*three("unet_s", 0.9), *three("mednext_tiny", 0.8, family="proposed"))


def test_the_five_headline_figures_stand_as_goals_and_every_row_has_a_source() -> None:
    figures = published_figures()
    assert {f.dataset: f.value for f in figures if f.kind == "goal"} == HEADLINES
    assert len(figures) == 1307
    assert all(f.source for f in figures)
    assert sum(bool(f.flag) for f in figures) > 100
    known = {cited.key for cited in citations()}
    assert {f.key for f in figures} - {""} <= known, "each key is an entry of --bibtex"


def test_a_table_has_its_goal_and_the_networks_it_compares(whole: Table) -> None:
    rows, note = beside(whole, published_figures(), keys_of(whole))
    assert (rows[0][0].model, rows[0][0].kind) == ("MedNeXt(PLoS)", "goal")
    assert {row[0].model for row in rows} == {"MedNeXt(PLoS)", "U-Net"}
    assert re.match(r"\d+ more published networks", note)
    sheet = literature_sheet(whole, published_figures(), keys_of(whole))
    assert sheet.bold is None
    assert sheet.frame["Published"].iloc[0] == "MedNeXt(PLoS) (goal)"
    assert list(sheet.frame["Dice %"]) == ["91.28", "87.55"]
    assert (sheet.frame["Citation"] != "").all()
    assert sheet.frame["Differs"].iloc[0].startswith("split not stated")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"partial": True}, "No published figures stand beside a partial data set."),
        ({"source": "phantom"}, "No published figures stand beside phantom images."),
        ({"dataset": "mine"}, "No published figures of this data set are known"),
    ],
)
def test_no_published_figure_stands_beside_what_it_cannot_be_read_with(fields: dict[str, object], why: str) -> None:
    table = table_of(*three("a", 0.9, **fields), *three("b", 0.8, **fields))
    sheet = literature_sheet(table, published_figures())
    assert sheet.frame.empty
    assert why in sheet.caption


def file_of(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_of_ones_own_needs_five_columns(tmp_path: Path, whole: Table) -> None:
    path = file_of(tmp_path, "dataset,model,metric,value,source,split", "acdc,My net,dice,90.5,my thesis,own")
    rows, _ = beside(whole, published_figures(path))
    assert [(row[0].model, row[0].value, row[0].differs) for row in rows] == [("My net", 90.5, "split own")]
    text = bibliography([whole], [figure for row in rows for figure in row])
    assert "@misc{source:my-thesis," in text


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["model,value", "a,1"], "but dataset, metric, source is missing"),
        (["dataset,model,metric,value,source,extra", "acdc,a,dice,90,s,x"], "Unknown column of .*mine.csv 'extra'"),
        (
            ["dataset,model,metric,value,source", "acdc,a,dice,190,s"],
            "line 2 to be a share in % from 0 to 100, but got '190'",
        ),
        (["dataset,model,metric,value,source", "acdc,a,hd95,-1,s"], "line 2 to be a number from 0 on, but got '-1'"),
        (["dataset,model,metric,value,source", "acdc,a,dice,high,s"], "but got 'high'"),
        (["dataset,model,metric,value,source", "acdc,,dice,90,s"], "Expected a model in .*line 2, but it is blank"),
        (["dataset,model,metric,value,source", "acdc,a,dice,90,s,more"], "there are more"),
        (["dataset,model,metric,value,source,kind", "acdc,a,dice,90,s,best"], "Unknown kind in .*line 2 'best'"),
    ],
)
def test_a_row_that_is_no_figure_ends_in_a_line_that_names_it(tmp_path: Path, lines: list[str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        published_figures(file_of(tmp_path, *lines))


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*none\.csv: No such file"):
        published_figures(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is no UTF-8"):
        published_figures(tmp_path / "b.csv")


def test_every_network_and_data_set_of_the_package_has_one_citation() -> None:
    owners = [owner for cited in citations() for owner in cited.owners]
    assert len(owners) == len(set(owners))
    assert {name.removesuffix("_s") for name in model_names() if name != "chance"} <= set(owners)
    assert {f"{DATA}{name}" for name in dataset_names()} <= set(owners)
    for cited in citations():
        for owner in cited.owners - {f"{DATA}{name}" for name in dataset_names()}:
            year = re.search(r"year = \{(\d{4})\}", cited.text)
            assert year is not None
            assert year[1] in model_entry(owner).citation, (owner, cited.key)


def test_a_bibliography_is_of_what_the_tables_show(whole: Table) -> None:
    text = bibliography([whole])
    keys = re.findall(r"^@\w+\{([^,]+),", text, re.M)
    assert keys == ["bernard2018acdc", "mednext2026plos", "ronneberger2015unet"]
    assert "medbench" not in text
    assert text.count("{") == text.count("}")
    own = bibliography([table_of(*three("net.py:MyNet", 0.9, family="other"), *three("unet_s", 0.8))])
    assert own.startswith("% No citation is known of net.py:MyNet.\n")


def test_a_report_sets_them_below_in_every_form(tmp_path: Path) -> None:
    shutil.copytree(RECORDS / "msld" / "resnet10t", tmp_path / "records" / "msld" / "resnet10t")
    command = ("report", "--results", str(tmp_path), "--split", "subject", "--preset", "quick", "--literature")
    for form in ("markdown", "latex", "json"):
        result = invoke(*command, "--format", form)
        assert result.exit_code == 0, result.output
        assert "98.1" in result.output
    latex = invoke(*command, "--format", "latex").output
    below = latex.partition("Published, not measured here, not ranked")[2].partition("\\bottomrule")[0]
    assert "MedNeXt(PLoS) (goal)~\\cite{mednext2026plos} & 98.1" in below
    assert "bfseries" not in below
    assert "% Published: MedNeXt(PLoS), split not stated" in latex


def test_a_distance_stands_under_its_own_unit_or_with_it(tmp_path: Path, whole: Table) -> None:
    rows = [f"acdc,{name},dice,90,,s" for name in ("Vox", "Mm", "None", "Vague")]
    rows += ["acdc,Vox,hd95,31.5,voxels(medpy),s", "acdc,Mm,hd95,7.5,mm,s"]
    rows += ["acdc,None,hd95,8.2,,s", "acdc,Vague,hd95,9.1,px_or_mm_unspecified,s"]
    path = file_of(tmp_path, "dataset,model,metric,value,unit,source", *rows)
    published = published_figures(path)
    shown = literature_sheet(whole, published).frame.set_index("Published")["HD95"].to_dict()
    assert shown == {
        "Vox": "31.5 vox",
        "Mm": "7.5 mm",
        "None": "8.2 (unit not stated)",
        "Vague": "9.1 (unit not stated)",
    }
    below = {whole.key: beside(whole, published)[0]}
    text = paper_text([whole], Wishes(), published=below)
    assert re.search(r"^Vox~\\cite\{.*\} & 90\.0 &  & 31\.5 &  &", text, re.M)
    assert re.search(r"^Mm~.* & 7\.5 & \{\\scriptsize mm\} &", text, re.M)
    unstated = r"^(?:None|Vague)~.* & [89]\.\d & \{\\scriptsize \\ensuremath\{\^\\ddagger\}\} &"
    assert len(re.findall(unstated, text, re.M)) == 2
    assert "ddagger}: unit not stated." in re.findall(r"\\caption\{(.*)\}", text)[0]
    (both,) = tables(*((cell("a", seed), 0.9) for seed in range(2)), mm=True)
    columns = [column for column in both.columns if column.metric.startswith(("dice", "hd95")) and column.merit]
    own = with_published(replace(both, columns=tuple(columns)), FLOAT, Wishes(chosen=True), below[whole.key])
    entries = {name: [entry.words or f"{entry.value}{entry.spread}" for entry in row] for name, row in own.below}
    assert entries["Vox"] == ["90.0", "31.5", "--"]
    assert entries["Mm"] == ["90.0", "--", "7.5"]
    assert entries["None"] == ["90.0", "8.2\u2021", "--"]


def test_the_columns_are_those_of_the_shipped_file() -> None:
    header = (Path(__file__).parents[2] / "results" / "published.csv").read_text().partition("\n")[0]
    assert tuple(header.split(",")) == COLUMNS
