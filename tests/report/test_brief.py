"""Short tables: which rows and columns stay, and what is written between a file's markers."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_certainty import table as table_of
from test_certainty import three
from test_comparison import one

from bench.analysis.comparison import Table
from bench.errors import UserError
from bench.report.arrange import sorted_rows, with_columns
from bench.report.brief import brief_sheet, top_rows, write_into
from bench.report.drawing.forest import differences
from bench.report.drawing.ranking import rank_map
from bench.report.render import render_tables
from bench.report.table_sheets import rank_sheet

BEGINNING = "<!-- begin: acdc -->"


@pytest.fixture(scope="module")
def table() -> Table:
    """Four rows; the proposed model's is the third."""
    models = (*three("a", 0.9), *three("b", 0.8), *three("c", 0.6))
    return table_of(*models, *three("ours", 0.7, family="proposed"))


@pytest.mark.parametrize(("count", "shown"), [(2, "A OURS"), (3, "A B OURS"), (4, "A B OURS C"), (9, "A B OURS C")])
def test_the_proposed_model_is_always_among_the_first_rows(table: Table, count: int, shown: str) -> None:
    cut = top_rows(table, count)
    assert list(cut.frame["Model"]) == list(cut.sure.frame["Model"]) == shown.split()
    left_out = any("of 4 rows" in note for note in cut.footnotes)
    assert left_out == (count < 4), "who reads a cut table is told so"


def test_a_cut_table_keeps_its_figures_and_renders_in_every_form(table: Table) -> None:
    cut = top_rows(table, 2)
    whole = table.frame.set_index("Model").loc[["A", "OURS"]]
    assert cut.frame.set_index("Model").equals(whole)
    assert cut.marks.iloc[0].to_list() == table.marks.iloc[0].to_list()
    assert list(cut.sure.gaps) == ["A"]
    for form in ("rich", "markdown", "latex", "csv"):
        text = render_tables([cut], form)
        assert "OURS" in text
        assert "C" not in text.replace("|", " ").split(), form
    assert len(differences(cut).axes[0].get_yticks()) == 1
    assert len(rank_map(cut).axes[0].get_yticks()) == 2


def test_a_brief_table_has_intervals_costs_and_what_the_budget_means(table: Table) -> None:
    sheet = brief_sheet(top_rows(table, 3))
    intervals = ["Dice % (strict) [95 %]", "HD95 vox (strict) [95 %]"]
    assert list(sheet.frame.columns) == ["Model", *intervals, "Params (M)", "GMACs (1x1x64x64)", "Seeds"]
    sure = table.sure.frame.set_index("Model")
    assert sheet.frame.set_index("Model").loc["B", intervals[0]] == sure.loc["B", intervals[0]]
    assert sheet.frame["Params (M)"].to_list() == ["1.50"] * 3
    assert "preset quick" in sheet.caption
    assert sheet.notes[0] == "3 of 4 rows: the first ones and the proposed model."


def test_a_row_without_an_interval_keeps_its_figure() -> None:
    found = table_of(*three("ours", 0.9, family="proposed"), *three("b", 0.8), *three("less", 0.7)[:2])
    assert "LESS" not in set(found.sure.frame["Model"])
    rows = brief_sheet(found).frame.set_index("Model")
    assert rows.loc["B", "Dice % (strict) [95 %]"].endswith("]")
    figure = found.frame.set_index("Model").loc["LESS", "Dice % (strict)"]
    assert rows.loc["LESS", "Dice % (strict) [95 %]"] == f"{figure:.2f}"
    assert rows.loc["LESS", "HD95 vox (strict) [95 %]"] == "5.00"
    assert rows.loc["LESS", "Seeds"].startswith("2 of 3")


def test_ranks_are_in_the_order_of_the_rows(table: Table) -> None:
    (by_name,) = sorted_rows([table], "name")
    assert list(rank_sheet(by_name).frame["Model"]) == list(by_name.frame["Model"]) != list(table.frame["Model"])


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("params", ["Params (M)"]),
        ("params,hd95", ["Params (M)", "HD95 vox (strict) [95 %]"]),
        ("missed,dice-sd-seeds", ["Missed per run", "Dice sd seeds"]),
    ],
)
def test_a_brief_table_has_the_columns_that_are_asked_for(table: Table, asked: str, shown: list[str]) -> None:
    (chosen,) = with_columns([table], asked.split(","))
    assert list(brief_sheet(chosen, chosen=True).frame.columns) == ["Model", *shown, "Seeds"]


def test_one_seed_has_figures_without_intervals_and_titles_are_explained_once() -> None:
    from test_comparison import cell

    reduced = cell("a_s", 0, "A (reduced)", reduced_from="a"), 0.5
    sheet = brief_sheet(one(reduced, (cell("m", 0, "M (reconstr.)", family="proposed"), 0.4)))
    assert sheet.frame["Dice % (strict)"].to_list() == ["50.00", "40.00"]
    assert "Reduced width" not in sheet.caption
    assert "PLoS" not in sheet.caption
    (named,) = [note for note in sheet.notes if "(reduced)" in note]
    assert "PLoS" in named


def test_what_the_markers_enclose_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- begin: acdc -->\nold\n<!-- end -->\nb\n<!-- begin: msld -->\nkept\n<!-- end -->\n")
    for _ in range(2):
        write_into(path, "acdc", "| new |\n\n")
    start = "a\n<!-- begin: acdc -->\n| new |\n<!-- end -->\nb\n"
    assert path.read_text() == f"{start}<!-- begin: msld -->\nkept\n<!-- end -->\n"


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "<!-- begin: acdc -->",
        "<!-- end -->\n<!-- begin: acdc -->",
        "<!-- begin: acdc -->\n" * 2 + "<!-- end -->",
    ],
)
def test_missing_markers_are_one_line_and_the_file_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(UserError, match="Expected one <!-- begin: acdc --> and an <!-- end --> behind it in") as error:
        write_into(path, "acdc", "new")
    assert "\n" not in str(error.value)
    assert path.read_text() == text


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*: No such file"):
        write_into(tmp_path / "none.md", "acdc", "new")
