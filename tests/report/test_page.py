"""The page: one file that asks for nothing, whose text nobody's name can break, and which says what records say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from few_records import EXAMPLE, copy_comparison
from stored_records import change, cut

from bench.analysis.behind import class_points
from bench.analysis.comparison import Table
from bench.analysis.conclusions import conclusions, row_marks, table_marks
from bench.analysis.provenance import command
from bench.cli.main import main
from bench.report.arrange import with_columns
from bench.report.drawing.strips import class_strips
from bench.report.drawing.style import named_points
from bench.report.page.building import Asked, build_page
from bench.report.page.parts import SECTIONS, Page, Part, page_table
from bench.report.page.rendering import LIMIT, render_page
from bench.report.render import results_tables

ACDC = "9d5a987c4a09"  # of one seed
ODD = "</script><img src=x onerror=alert(1)>\"'&amp; {{ 7*7 }}"


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of three seeds on one split, one of them with a title that would be a program."""
    folder = copy_comparison(tmp_path_factory.mktemp("results"), "ff006374aa7c", ("mednext_tiny", "resnet10t"))
    for path in (folder / "runs" / "msld" / "resnet10t").rglob("record.json"):
        change(path, "model", "title", to=ODD)
    return folder


@pytest.fixture(scope="module")
def table(results: Path) -> Table:
    (table,) = results_tables(results)[0]
    return table


@pytest.fixture(scope="module")
def html(results: Path, table: Table) -> str:
    gallery = {"gallery": [Part("From another room", (ODD,))]}
    return render_page(build_page([table], Asked(results, parts=gallery), [f"Left out: {ODD}"]))


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(html)


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_else(html: str, elements: Elements) -> None:
    (policy,) = [a["content"] for tag, a in elements.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, pattern in (("style", r"<style>(.*?)</style>"), ("script", r"<script>(.*?)</script>")):
        (text,) = re.findall(pattern, html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not [(tag, name) for tag, a in elements.found for name in a if name == "style" or name.startswith("on")]


def test_nothing_is_fetched_and_every_reference_leads_somewhere(html: str, elements: Elements) -> None:
    loads = [a[name] for _, a in elements.found for name in ("src", "href", "srcset", "action", "data") if name in a]
    inside = [str(link) for link in loads if str(link).startswith("#")]
    assert set(loads) - set(inside) == {"data:,"}
    ids = Counter(a["id"] for _, a in elements.found if "id" in a)
    assert [name for name, count in ids.items() if count > 1] == []
    assert {link[1:] for link in inside} | set(re.findall(r'"url\(#([\w-]+)\)"', html)) <= set(ids)
    assert len(html.encode()) < LIMIT
    assert "http://" not in html.replace("http://www.w3.org/", "")


def test_names_are_text_everywhere(html: str, elements: Elements) -> None:
    assert "img" not in {tag for tag, _ in elements.found}
    assert [tag for tag, a in elements.found if tag == "script"] == ["script", "script"]
    assert sum(ODD in text for text in elements.texts) > 5
    assert "49" not in re.findall(r"&lt;/script&gt;[^<]*", html)[0]
    (data,) = re.findall(r'<script type="application/json" id="downloads">(.*?)</script>', html, re.DOTALL)
    files = json.loads(data)
    (of_table,) = files.values()
    assert ODD in of_table["json"].replace('\\"', '"')
    assert any(row["title"] == ODD for row in json.loads(of_table["json"])["rows"])


def test_sections_stand_in_order_and_those_without_a_part_are_not_there(elements: Elements) -> None:
    shown = [a["id"] for tag, a in elements.found if tag == "section"]
    there = ["conclusions", "leaders", "cost", "differences", "training", "cases", "gallery", "ranks", "classes"]
    assert shown == [*there, "provenance", "data", "left-out"]
    assert list(SECTIONS)[:4] == there[:4]
    with pytest.raises(ValueError, match="Expected a section among"):
        Page("", ()).add("galery", Part(""))


def test_figures_and_tables_can_be_read_aloud(elements: Elements) -> None:
    pictures = [a for tag, a in elements.found if tag == "svg"]
    assert len(pictures) == 7
    assert all(len(str(a["aria-label"])) > 40 for a in pictures)
    assert sorted(str(a["role"]) for a in pictures) == ["group", *["img"] * 6]  # single cases within one are read too
    heads = [a.get("scope") for tag, a in elements.found if tag == "th"]
    assert set(heads) == {"col", "row"}
    regions = [a for tag, a in elements.found if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    assert [tag for tag, _ in elements.found if tag in ("h1", "h2")][:2] == ["h1", "h2"]


def test_each_point_of_the_strips_says_its_case_and_figure(html: str, table: Table) -> None:
    found = class_points(table).points
    said = Counter(re.findall(r"<use [^>]*><title>([^<]*)</title>", html))
    assert said == Counter(f"{row.case}: {row.value:.1f}" for row in found.itertuples())
    assert len(found) == sum(said.values()) > 50


def test_of_many_points_the_lowest_of_each_row_have_words(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.drawing.strips.MOST_NAMED", 12)
    figure = class_strips(table)
    assert figure is not None
    found, words_of = class_points(table), named_points(figure)
    for words in words_of.values():
        assert len(words) == 12 // (2 * table.scores["class"].nunique())
    of_class = found.points[found.points["class"] == found.classes[0]]
    values = of_class[of_class["title"] == table.frame["Model"].iloc[0]]["value"]
    shown = [float(text.rpartition(": ")[2]) for text in words_of["points-0-0"]]
    assert sorted(shown) == sorted(values.nsmallest(len(shown)).round(1))


def test_figures_that_are_not_drawn_are_named(results: Path, table: Table) -> None:
    page = build_page([table], Asked(results, drawn=0))
    assert not [figure for parts in page.parts.values() for part in parts for figure in part.figures]
    assert page.notes == (f"Figures of 1 comparisons are not drawn: {table.where}.",)
    assert "--drawn N draws those of more" in page.summary[1]


def test_pictures_of_cases_are_only_there_for_who_asks_and_say_what_they_lack(results: Path, tmp_path: Path) -> None:
    arguments = ["report", "--results", str(results), "--gallery", "1"]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "Expected --gallery, --drawn and --data-root with --format html" in done.output
    page = tmp_path / "page.html"
    done = CliRunner().invoke(main, [*arguments, "--format", "html", "--drawn", "0", "--output", str(page)])
    assert done.exit_code == 0, done.output
    (line,) = re.findall(r"No pictures of cases: [^<]*", page.read_text())
    assert "None of the 6 runs of msld keeps its predictions" in line


def test_the_leaders_are_the_table_s_with_intervals_and_marks(html: str, table: Table) -> None:
    text = re.sub(r"\s+", " ", " ".join(Elements(html).texts))
    for title, gap in table.sure.figures.items():
        assert f"{gap.value:.2f} [{gap.low:.2f}, {gap.high:.2f}]" in text, title
    assert table_marks(table) == ("short budget",)
    assert row_marks(table, "MedNeXt-T (reconstr.)") == ("reconstruction",)
    assert "short budget, reconstruction" in text


@pytest.mark.slow
def test_what_has_no_room_is_left_out_and_counted(results: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_page([table], Asked(results))
    taken = LIMIT - whole.room
    assert whole.without == []
    assert 0.85 < len(render_page(whole).encode()) / taken < 1.02, "the room is counted about right"
    monkeypatch.setattr("bench.report.page.building.LIMIT", taken // 2)
    half = build_page([table], Asked(results))
    assert len(half.without) > 1
    assert {"conclusions", "leaders"} <= set(half.parts)
    text = render_page(half)
    assert f"{len(half.without)} blocks are <a" in text
    assert f"<li>No room: {half.without[0].partition(chr(60))[0]}" in text
    assert len(text.encode()) <= taken // 2


def test_a_page_of_chosen_columns_draws_the_figure_that_orders_the_rows(tmp_path: Path) -> None:
    results = copy_comparison(tmp_path, ACDC, ("mednext_tiny", "unet_s"))
    (whole,) = results_tables(results)[0]
    (chosen,) = with_columns([whole], ["params", "hd95"])
    for section in ("cost", "cases"):
        (drawn, of_whole) = (build_page([one], Asked(results)).parts[section] for one in (chosen, whole))
        assert [part.figures for part in drawn] == [part.figures for part in of_whole]
    assert "Score against cost" in render_page(build_page([chosen], Asked(results)))


def test_a_damaged_record_is_named_and_takes_no_page_away(tmp_path: Path) -> None:
    folder = copy_comparison(tmp_path / "results", "ff006374aa7c", ("mednext_tiny", "resnet10t"))
    cut(sorted(folder.rglob("record.json"))[0])
    sorted(folder.rglob("history.csv"))[0].write_bytes(b"\xff\x00")
    done = CliRunner().invoke(
        main, ["report", "--results", str(folder), "--format", "html", "--output", str(tmp_path / "a.html")]
    )
    assert done.exit_code == 0, done.output
    assert "Left out: " in (tmp_path / "a.html").read_text()


def test_the_page_stands_alone(tmp_path: Path) -> None:
    for option in ("--trials", "--brief", "--budgets"):
        done = CliRunner().invoke(main, ["report", "--results", str(EXAMPLE), "--format", "html", option])
        assert done.exit_code == 2
        assert "Expected --format html without" in done.output


def test_what_may_and_may_not_be_concluded_is_said_in_sentences(table: Table) -> None:
    said = conclusions(table)
    assert all(sentence.endswith(".") for sentence in (*said.may, *said.may_not))
    assert any("short budget" in sentence for sentence in said.may_not)
    flagged = table.first.copy()
    flagged["split_flag"] = "copies"
    phantom = conclusions(replace(table, cells=table.cells.assign(source="phantom"), first=flagged))
    assert any("nothing about real patients" in sentence for sentence in phantom.may_not)
    assert any("the split leaks" in sentence for sentence in phantom.may_not)
    (gap,) = table.sure.gaps.values()
    for value, word in ((gap.high - gap.low, "higher"), (gap.low - gap.high, "lower")):
        moved = replace(gap, value=value, low=value - 1, high=value + 1)
        told = conclusions(replace(table, sure=replace(table.sure, gaps={"Other": moved})))
        assert f"has a {word} Accuracy % than Other (by {abs(value):.1f})" in told.may[0]
        assert not any("may not be called" in sentence for sentence in told.may_not)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "--preset quick --split subject --seeds 0,1,2, --threads 2"),
        ({"preset": "quick with steps=50, lr=0.1"}, "--preset quick --set steps=50 --set lr=0.1"),
        ({"split": "subject/5"}, "--split subject --folds 5"),
        ({"source": "phantom", "dataset": "msld-phantom"}, "--dataset msld --preset quick"),
        ({"model": "a[x=1,y=2] v3"}, "--models 'a[x=1,y=2]'"),
    ],
)
def test_the_command_of_a_row_names_all_that_its_cells_are(table: Table, fields: dict[str, Any], words: str) -> None:
    of_row = table.cells[table.cells["shown_as"] == "MedNeXt-T (reconstr.)"].assign(**fields)
    assert words in command(of_row)


def test_cells_are_sorted_by_their_figures() -> None:
    import pandas as pd

    from bench.analysis.sheet import Sheet

    frame = pd.DataFrame({"Model": ["a", "b"], "x": ["1,234.5 [1.00, 2.00] ±0.10", "\u22123"], "w": ["1 word", "two"]})
    shown = page_table(Sheet("", frame, left=("w",)))
    assert shown.numeric == (False, True, False)
    assert [row[1].number for row in shown.rows] == ["1234.5", "-3"]
    assert (shown.rows[0][1].text, shown.rows[0][1].detail) == ("1,234.5", "[1.00, 2.00] ±0.10")
