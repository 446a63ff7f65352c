"""Names of somebody else in archives, LaTeX, Markdown, CSV and the page are text, and stay in their place (slow)."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from contextlib import suppress

import pandas as pd
import pytest
from fuzzing import fuzzed, new_folder, one_line
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.cache.archives import opened
from bench.report.escaping import csv_text, latex_label, latex_text, markdown_text
from bench.report.page.rendering import _embedded

pytestmark = pytest.mark.slow

PARTS = st.sampled_from(["..", ".", "", "a", "C:", "nul", "\\", "~", "\n", "\u202e", "a" * 300]) | st.text(max_size=5)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@fuzzed
@given(st.lists(st.tuples(NAMES, st.sampled_from([0o100644, 0o120777, 0o010644, 0o020644])), max_size=4))
def test_names_in_an_archive_stay_below_its_folder(members: list[tuple[str, int]]) -> None:
    with new_folder() as outer:
        root = outer / "a" / "b" / "root"
        root.mkdir(parents=True)
        path = outer / "x.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            for name, mode in members:
                info = zipfile.ZipInfo("x")
                info.filename, info.external_attr = name, mode << 16
                try:
                    zipped.writestr(info, "content")
                except (ValueError, UnicodeError):
                    return
        before = set(outer.rglob("*"))

        def unpack() -> None:
            with opened(path, root) as folder:
                new = set(outer.rglob("*")) - before
                assert all(p == folder or folder in p.parents for p in new)
                assert not any(p.is_symlink() or p.is_fifo() for p in new)

        with suppress(OSError):  # a name that is too long, which every command says in a line
            one_line(unpack)
        assert set(outer.rglob("*")) == before


MARKUP = st.sampled_from(
    [
        "\\",
        "{",
        "}",
        "$",
        "%",
        "&",
        "#",
        "_",
        "^^5c",
        "|",
        "`",
        "<b>",
        "<!--",
        "]]>",
        "](x)",
        "\\input{x}",
        "\n\n",
        "\r",
    ]
)
ODD = st.lists(MARKUP | st.text(max_size=3), max_size=6).map("".join)


@fuzzed
@given(ODD)
def test_a_name_in_latex_has_no_command_but_ours(name: str) -> None:
    text = latex_text(name)
    assert text.isascii()
    assert text.isprintable() or not text
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", text)
    assert "\\input" not in bare.replace("\\textbackslash{}", "")
    unescaped = re.sub(r"\\[{}]", "", bare)
    assert unescaped.count("{") == unescaped.count("}")
    assert not re.search(r"(?<!\\)[&%$#_]", bare), "what LaTeX reads as its own is escaped"
    assert "^^" not in bare
    assert re.fullmatch(r"[A-Za-z0-9_:.\-]*", latex_label(name))


@fuzzed
@given(ODD)
def test_a_name_in_markdown_stays_in_its_cell(name: str) -> None:
    text = markdown_text(name)
    assert "\n" not in text
    assert "\r" not in text
    assert not re.search(r"(?<!\\)(\\\\)*[|<]", text)


@fuzzed
@given(
    st.lists(st.tuples(ODD, st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "="]) | ODD), min_size=1, max_size=3)
)
def test_no_cell_of_a_csv_is_a_formula(rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame([{"name": first + second, "other": second + first} for first, second in rows])
    read = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
    assert [len(row) for row in read] == [2] * (len(rows) + 1), "no name begins a row of its own"
    for row in read[1:]:
        for value in row:
            number = re.fullmatch(r"[-+][\d.,]+(e[-+]?\d+)?( ?%)?( [\[(][-+\d., to]+[\])])?", value)
            assert value[:1] not in tuple("=+-@\t\r") or number, value


@fuzzed
@given(ODD)
def test_no_name_ends_the_script_of_a_page(name: str) -> None:
    text = str(_embedded({"name": name}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"name": name}
