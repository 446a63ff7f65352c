"""Tables for a paper: what is marked, what stands in a cell, that all fits, and that the rest is said in comments."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from stored_records import EXAMPLE, invoke
from test_certainty import rows as rows_of
from test_certainty import table as table_of
from test_certainty import three
from test_comparison import cell

from bench.analysis.apart import marks_of_habit, marks_told_apart
from bench.analysis.comparison import Table, summarise
from bench.analysis.sheet import Sheet
from bench.analysis.shown import Shown
from bench.errors import UserError
from bench.report.arrange import sorted_rows
from bench.report.brief import top_rows, with_rows
from bench.report.latex_widths import line_count, points_of, text_width
from bench.report.paper import paper_sheets, paper_text
from bench.report.paper_float import Entry, Float, Head, lay_out, to_float
from bench.report.paper_words import KINDS, Wishes

OF_TABLES = [kind for kind in KINDS if kind not in ("ablation", "leaks")]


@pytest.fixture(scope="module")
def table() -> Table:
    """The proposed model leads by much, two CNNs follow side by side, chance is last."""
    models = (*three("a", 0.7), *three("b", 0.701, family="transformer"), *three("chance", 0.0, family="chance"))
    return table_of(*three("ours", 0.9, family="proposed", title="Ours_2 [x=1,y=2] (reconstr.)"), *models)


def body(text: str) -> str:
    """What LaTeX sets: the lines that are no comments."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("%"))


def test_best_is_marked_where_it_is_told_from_all_and_second_only_where_that_is_too(table: Table) -> None:
    dice = table.columns[0]
    assert marks_told_apart(table, dice) == {"Ours_2 [x=1,y=2] (reconstr.)": "best"}, "A and B are not told apart"
    three_apart = table_of(*three("a", 0.9), *three("b", 0.8), *three("c", 0.6))
    assert marks_told_apart(three_apart, dice) == {"A": "best", "B": "second"}
    first_two_alike = table_of(*three("a", 0.9), *three("b", 0.9005), *three("c", 0.6))
    assert marks_told_apart(first_two_alike, dice) == {}, "no second without a best"
    short = table_of(*three("a", 0.9, images_seen=4000), *three("b", 0.6, images_seen=4000))
    assert marks_told_apart(short, dice) == {}
    assert "\\bfseries" not in paper_text([short], Wishes(mark="best"))
    params = next(column for column in table.columns if column.metric == "params")
    assert marks_told_apart(table, params) == {}, "costs are no merit"


def test_the_habit_marks_best_and_second_whatever_their_difference(table: Table) -> None:
    text = body(paper_text([table], Wishes(mark="best")))
    assert re.search(r"B & \{\\underline\{70\.\d\}\}", text)
    assert "\\underline" not in paper_text([table], Wishes())
    assert "\\bfseries" not in paper_text([table], Wishes(mark="none"))


def test_brackets_that_say_something_stay() -> None:
    frame = pd.DataFrame({"Arm": ["a", "b"], "Points": ["(346.3)", "229.8"], "Gap": ["-1.00 [-2.00, 0.50]", "+1.00"]})
    text = body(paper_sheets([Sheet("Arms.", frame)], Wishes("ablation")))
    assert "(346.3)" in text
    assert "& (229.8)" not in text


def test_whose_figure_a_difference_starts_from_is_never_cut_off(table: Table) -> None:
    narrow = paper_text([table], Wishes("significance", "60mm"))
    assert re.search(r"\\caption\{.* Difference: Ours\\_2 .* less each\.", body(narrow))


def test_a_shorter_table_has_the_marks_of_the_whole_one() -> None:
    whole = table_of(*three("a", 0.6), *three("b", 0.7), *three("c", 0.8), *three("d", 0.9))
    (by_name,) = sorted_rows([whole], "name")
    cut = top_rows(by_name, 3)
    assert list(cut.frame["Model"]) == ["A", "B", "D"], "D is the reference"
    hidden = with_rows(whole, ["A", "B"], "2 of 4 rows.")
    dice = whole.columns[0]
    for table in (whole, by_name, cut, hidden):
        assert marks_told_apart(table, dice) == marks_of_habit(table, dice, 1) == {"D": "best", "C": "second"}
    for mark in ("apart", "best"):
        of_whole, of_cut = (paper_text([table], Wishes(mark=mark)) for table in (whole, cut))
        assert "C & {\\underline" in of_whole
        assert "\\bfseries" in of_cut
        assert "\\underline" not in of_cut
        assert "of all 4 ranked rows." in of_cut
        assert "\\bfseries 7" not in paper_text([hidden], Wishes(mark=mark)), "HD95 is one for all"
    assert "No figure shown here is told apart as the best or second" in paper_text([hidden], Wishes())


def test_a_figure_and_its_spread_stand_in_one_cell(table: Table) -> None:
    interval = r"& \\bfseries 9\d\.\d & \{\\scriptsize \{\[\}\d\d\.\d, \d\d\.\d\{\]\}\}"
    assert re.search(interval, body(paper_text([table], Wishes())))
    assert re.search(r"9\d\.\d & \{\\scriptsize \\ensuremath\{\\pm\}\d\.\d\}", paper_text([table], Wishes(spread="sd")))
    assert "scriptsize {" not in body(paper_text([table], Wishes(spread="none")))


def test_families_are_groups_and_chance_is_no_row(table: Table) -> None:
    text = body(paper_text([table], Wishes()))
    order = [text.index(f"\\emph{{{family}}}") for family in ("CNNs", "Transformers", "Proposed")]
    assert order == sorted(order)
    assert "CHANCE" not in text
    one_family = table_of(*three("a", 0.9), *three("b", 0.8))
    assert "\\emph" not in paper_text([one_family], Wishes())


@pytest.mark.parametrize("kind", OF_TABLES)
@pytest.mark.parametrize("width", ["122mm", "\\columnwidth", "\\textwidth"])
def test_a_caption_has_two_lines_at_most_and_the_rest_is_in_comments(table: Table, kind: str, width: str) -> None:
    text = paper_text([table], Wishes(kind, width))
    assert text.startswith("% Needs: \\usepackage{array,booktabs,graphicx,siunitx}\n")
    if kind == "evaluation":
        assert "\\begin{table" not in text
        return
    caption = re.search(r"\\caption\{(.*)\}$", text, re.M)
    assert caption is not None
    assert line_count(f"Table 10. {re.sub(r'[{}]', '', caption[1])}", points_of(width)) <= 2
    assert f"\\label{{tab:acdc-{table.key}-{kind}}}" in text
    said = " ".join(line.removeprefix("% ") for line in text.splitlines() if line.startswith("%"))
    for words in (*table.footnotes, *table.checklist, table.sure.caption, "all networks were trained under one"):
        assert " ".join(words.split()) in said


@pytest.mark.parametrize("width", ["122mm", "\\columnwidth"])
def test_the_conventions_of_figures_are_never_cut_from_their_caption(width: str) -> None:
    cells, rows = [], []
    for one, mean in (*three("a", 0.9, source="phantom"), *three("b", 0.8, source="phantom")):
        cells.append({**one, "images_seen": 100, "partial": True, "split_flag": "by image"})
        rows += [{**row, "dice_transunet": row["dice_strict"]} for row in rows_of(one, mean)]
    frame = pd.DataFrame(rows).assign(hd95_vox_transunet=1.0, hd95_mm_transunet=None, hd95max_mm_strict=None)
    frame = frame.assign(hd95max_vox_strict=frame["hd95_vox_strict"])
    for shown in (Shown(), Shown("transunet", "max")):
        (found,) = summarise(pd.DataFrame(cells), frame, shown=shown)
        for kind, words in (("accuracy", f", HD95 {shown.definition}."), ("per-class", "."), ("cost", None)):
            caption = re.search(r"\\caption\{(.*)\}$", paper_text([found], Wishes(kind, width)), re.M)
            assert caption is not None
            assert (f"Empty policy {shown.policy}{words}" in caption[1]) == (words is not None)
            assert words is None or "short budget" in caption[1]


def test_what_counts_against_a_table_stands_in_its_caption() -> None:
    models = (*three("a", 0.9, source="phantom"), *three("b", 0.8, source="phantom"))
    against = {"images_seen": 100, "partial": True, "split_flag": "by image"}
    marked = table_of(*[({**one, **against}, mean) for one, mean in models])
    caption = re.search(r"\\caption\{(.*)\}", paper_text([marked], Wishes(width="\\columnwidth")))
    assert caption is not None
    for words in ("PHANTOM images, no result", "leaks", "partial test part", "short budget"):
        assert words in caption[1]


def test_a_row_that_failed_says_so_in_its_place() -> None:
    failed = [({**one, "status": "failed"}, mean) for one, mean in three("b", 0.8)]
    text = paper_text([table_of(*three("a", 0.9), *failed)], Wishes())
    assert re.search(r"^B .*dagger\} & \{failed\}", body(text), re.M)
    assert "% B: failed (3 of 3 seeds)." in text


def test_a_row_with_other_seeds_than_the_table_s_has_a_dagger() -> None:
    others = [(cell("c", seed), 0.7) for seed in (0, 3, 4)]
    text = body(paper_text([table_of(*three("a", 0.9), *three("b", 0.8), *others)], Wishes()))
    assert re.search(r"^C .*dagger\}", text, re.M)
    assert len(re.findall("dagger", text)) == 2, "the row's, and the caption's"
    assert "dagger" not in paper_text([table_of(*three("a", 0.9), *three("b", 0.8))], Wishes())


def test_the_paragraph_says_nothing_of_another_table_s_marks(table: Table) -> None:
    assert "Bold: the difference" in table.sure.footnotes[0]
    assert "First %: of resamples" in table.sure.footnotes[0]
    paragraph = paper_text([table], Wishes("evaluation"))
    for words in ("Bold", "First", "excludes 0"):
        assert words not in paragraph
    assert "Intervals hold for other seeds and other patients like these, and are not adjusted" in paragraph


def test_no_text_of_a_user_leaves_its_cell_or_its_comment() -> None:
    evil = "a\n\\input{x} %\r$&_#{}~^"
    found = table_of(*three("a", 0.9, title=evil), *three("b", 0.8))
    text = paper_text([found], Wishes())
    assert "\\input{x}" not in body(text)
    assert all(line.startswith(("%", "\\", "\n", "B ", "a ", "Model", "")) for line in text.splitlines())
    assert "\\textbackslash{}input" in body(text)


def test_signs_are_true_ones() -> None:
    sheet = Sheet(
        "Cost. At 3x64x64.", pd.DataFrame({"Arm": ["a", "b"], "d": ["-1.50 [-2.00, 0.10]", ""], "x": ["no", "-"]})
    )
    text = body(paper_sheets([sheet], Wishes()))
    assert "3$\\times$64$\\times$64" in text
    assert "S[table-format=-1.2" in text
    assert "& -1.50 & {\\scriptsize {[}$-$2.00, 0.10{]}}" in text, "siunitx sets the sign of a number"


def test_columns_without_room_go_from_the_right_and_are_named_but_never_those_that_were_asked_for() -> None:
    heads = tuple(Head((f"Column {k}",), 2, needed=k < 2) for k in range(12))
    wide = Float(
        "t", ("Caption.",), heads, (("", (("A row", tuple(Entry(k + 0.5, spread="[0.0, 9.9]") for k in range(12))),)),)
    )
    laid = lay_out(wide, "85mm")
    assert laid.dropped == tuple(f"Column {k}" for k in range(11, 11 - len(laid.dropped), -1))
    assert 0 < len(laid.dropped) < 11
    assert laid.scale > 0.9
    asked = lay_out(replace(wide, heads=tuple(replace(head, needed=True) for head in heads)), "85mm")
    assert not asked.dropped
    assert asked.scale < 0.7
    assert lay_out(replace(wide, heads=heads[:2], groups=()), "122mm").size == "small"


def test_an_underlined_number_is_padded_to_its_column() -> None:
    rows = (("a", (Entry(117.3),)), ("b", (Entry(5.1, mark="second"),)), ("c", (Entry(-2.0),)))
    table = Float("t", ("Caption.",), (Head(("HD95",), 1),), (("", rows),))
    text = to_float(lay_out(table, "122mm"), "122mm")
    assert "S[table-format=-3.1" in text
    assert "b & {\\phantom{$-$}\\phantom{00}\\underline{5.1}} \\\\" in text


@pytest.mark.parametrize("width", ["122", "12 parsecs", "\\foo", "1mm", "9000mm", ""])
def test_a_width_that_is_none_ends_in_a_line(width: str) -> None:
    with pytest.raises(UserError, match="Expected --width to be"):
        Wishes(width=width)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--table", "cost"), "--table: of --format latex alone; add it."),
        (("--format", "latex", "--style", "full", "--mark", "best"), "--mark: of --style paper, not of full"),
        (("--format", "latex", "--width", "3"), "Expected --width to be"),
    ],
)
def test_wishes_that_nothing_heeds_end_in_a_line(arguments: tuple[str, ...], line: str) -> None:
    result = invoke("report", "--results", str(EXAMPLE), "--dataset", "acdc", *arguments)
    assert result.exit_code == 2
    assert line in result.output


DOCUMENT = r"""\documentclass{article}
\usepackage[paper=a4paper,textwidth=122mm,textheight=193mm]{geometry}
\usepackage{array,booktabs,graphicx,siunitx}
\usepackage[font=small]{caption}
\newcommand{\measured}[1]{\sbox0{#1}\typeout{NATURAL \the\wd0}%
  \resizebox{\ifdim\wd0>122mm 122mm\else\wd0\fi}{!}{\usebox0}}
\begin{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("width", ["122mm", "85mm"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_committed_records_fits(kind: str, width: str, tmp_path: Path) -> None:
    made = tmp_path / "table.tex"
    arguments = ("--format", "latex", "--table", kind, "--width", width, "--output", str(made))
    result = invoke("report", "--results", str(EXAMPLE), *arguments)
    assert result.exit_code == 0, result.output
    text = made.read_text()
    if width == "122mm":  # our own sum of widths holds, so that little is scaled
        text = re.sub(r"\\resizebox\{.*\}\{!\}\{%", r"\\measured{%", text)
    (tmp_path / "t.tex").write_text(f"{DOCUMENT}{text}\\clearpage\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert run.returncode == 0, run.stdout[-2000:]
    assert "Overfull" not in run.stdout
    widths = [float(found) for found in re.findall(r"NATURAL ([\d.]+)pt", run.stdout)]
    assert kind == "evaluation" or width != "122mm" or widths
    assert all(natural <= 1.09 * points_of("122mm") for natural in widths), "at most 8 % are scaled away"


def test_widths_are_those_of_the_font() -> None:
    assert text_width("0123456789", 10.0) == pytest.approx(50.0)
    assert text_width("MedNeXt-T", 10.0) == pytest.approx(53.0, abs=0.1)
    assert line_count("word " * 40, 100.0) == line_count("word " * 20, 50.0)
