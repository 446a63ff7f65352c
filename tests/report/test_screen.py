"""Tables on terminals of any width: no line over it, no word broken, what has no room named, all with --wide."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from bench.cli.main import main
from bench.report.kept import cell_sheet
from bench.report.plans import models_sheet
from bench.report.screen import LONGEST, Screen, ScreenColumn, ScreenTable, fit, show, split_caption, wrap
from bench.report.sheets import Sheet, print_sheets, to_screen

SYLLABLES = ("ta", "bo", "kim", "rel", "us", "an", "dor", "ei")


def printed(table: ScreenTable, width: int, wide: bool = False) -> str:
    screen = Screen(wide=wide, file=io.StringIO(), width=width)
    show(screen, table)
    return screen.file.getvalue()  # type: ignore[attr-defined]


def drawn(rng: np.random.Generator) -> ScreenTable:
    """A table of words, of configs without a blank, and of figures, of up to a dozen columns."""

    def word() -> str:
        return "".join(rng.choice(SYLLABLES, rng.integers(1, 5)))

    def text() -> str:
        config = f"[{','.join(f'{word()}={rng.integers(1000)}' for _ in range(rng.integers(1, 5)))}]"
        return " ".join([*(word() for _ in range(rng.integers(1, 6))), *([config] * int(rng.random() < 0.3))])

    kinds = [True, *(bool(kind) for kind in rng.random(rng.integers(1, 12)) < 0.3)]
    details = rng.integers(0, 3, len(kinds)).tolist()
    columns = tuple(
        ScreenColumn(f"{text()} {k}", words=words, detail=detail)
        for k, (words, detail) in enumerate(zip(kinds, details, strict=True))
    )

    def figure() -> str:
        return f"{rng.normal(0, 100):.2f} [{rng.normal():.2f}, {rng.normal():.2f}]"

    rows = [[(text() if words else figure(), "") for words in kinds] for _ in range(4)]
    caption, notes = ". ".join(text() for _ in range(9)) + ".", tuple(text() for _ in range(3))
    return ScreenTable(caption, columns, rows, notes)


def whole_words(table: ScreenTable) -> set[str]:
    """All that may stand between blanks: the words, and the parts of configs."""
    texts = [table.caption, *table.notes, *(c.name for c in table.columns), *(t for row in table.rows for t, _ in row)]
    return {part for text in texts for part in re.split(r"\s|(?<=,)|(?=\[)", text)}


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_over_the_width_and_no_word_is_broken(seed: int, width: int) -> None:
    table = drawn(np.random.default_rng(seed))
    text = printed(table, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    body, _, below = text.partition("not shown at")
    known = whole_words(table)
    shown = {part for word in body.split() for part in re.split(r"(?<=,)|(?=\[)", word) if not set(word) <= set("─.")}
    assert shown <= known, "a word was broken"
    left_out = [c.name for c, w in zip(table.columns, fit(table, width), strict=True) if w is None]
    assert bool(below) == bool(left_out)
    assert all("".join(name.split()) in "".join(below.split()) for name in left_out)
    assert not left_out or "; --wide shows all" in " ".join(below.split())


@pytest.mark.parametrize("seed", range(5))
def test_wide_shows_every_column_and_text_on_any_terminal(seed: int) -> None:
    table = drawn(np.random.default_rng(seed))
    text = printed(table, 60, wide=True)
    assert "not shown" not in text
    for row in table.rows:
        assert all(word in text for cell, _ in row for word in re.split(r"\s|(?<=,)|(?=\[)", cell))


def test_the_first_column_stays_and_details_go_first() -> None:
    columns = (ScreenColumn("Model", words=True), *(ScreenColumn(f"f{k}", detail=k in (1, 2)) for k in range(4)))
    table = ScreenTable("c", columns, [[("unet", ""), *(("1234567890", ""),) * 4]])
    kept = {
        width: [column.name for column, kept in zip(columns, fit(table, width), strict=True) if kept]
        for width in (51, 50, 40, 39, 18, 17, 4)
    }
    assert kept == {
        51: ["Model", "f0", "f1", "f2", "f3"],
        50: ["Model", "f0", "f1", "f3"],
        40: ["Model", "f0", "f1", "f3"],
        39: ["Model", "f0", "f3"],
        18: ["Model", "f0"],
        17: ["Model"],
        4: ["Model"],
    }


def test_of_two_columns_the_second_wraps_and_is_never_left_out() -> None:
    counts = {part: {"cases": 1000 + k, "official_patients": 70} for k, part in enumerate(("train", "val", "test"))}
    commit = "a3c4651e32745be608db6a366d615fb6dc72bbdf"
    sheet = cell_sheet({"key": "1bc24f44bda0", "counts": counts, "commit": commit}, None)
    text = printed(to_screen(sheet), 80)
    assert "not shown" not in text
    assert max(map(cell_len, text.splitlines())) <= 80
    assert all(word in text for word in ("counts", "1001,", "1002,", commit))
    pair = ScreenTable("c", (ScreenColumn("Model", words=True), ScreenColumn("Dice")), [[("unet", ""), ("12.34", "")]])
    assert fit(pair, 4) == [5, 5], "over the width rather than without its figures"


def test_a_narrow_table_is_exact() -> None:
    sheet = Sheet(
        "Arms of a network. What is left out is a detail.",
        pd.DataFrame(
            {
                "Arm": ["m[laffn=none,sdffn=none,widths=28-66-171-304]", "full"],
                "Dice % (strict) [95 %]": ["76.97 [70.50, 82.22]", "77.95 [69.70, 82.99]"],
                "x full, params": ["1.000", ""],
                "less full [95 %]": ["-0.98 [-6.33, 4.91]", ""],
            }
        ),
        ("A note.",),
        details=("x full, params",),
    )
    assert [line.rstrip() for line in printed(to_screen(sheet), 70).splitlines()] == [
        "Arms of a network. What is left out is a detail.",
        "",
        "                                  Dice % (strict)",
        " Arm                                       [95 %]    less full [95 %]",
        f" {'─' * 68}",
        " m[laffn=none,sdffn=none,    76.97 [70.50, 82.22] -0.98 [-6.33, 4.91]",
        " widths=28-66-171-304]",
        " full                        77.95 [69.70, 82.99]",
        "",
        "not shown at 70 columns: x full, params; --wide shows all",
        "A note.",
        "",
    ]


def test_a_name_without_a_blank_is_broken_at_its_signs_so_that_figures_have_room() -> None:
    path = "/home/somebody/projects/networks/a_rather_long_name/net.py:Net"
    table = ScreenTable("c", (ScreenColumn("Model", words=True), ScreenColumn("Dice")), [[(path, ""), ("12.34", "")]])
    text = printed(table, 44)
    assert "12.34" in text
    assert max(map(len, text.splitlines())) <= 44
    assert "projects/" in text
    assert "12.34" in printed(ScreenTable("c", table.columns, [[("x" * (LONGEST + 30), ""), ("12.34", "")]]), 80)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a network of two words", 10, ["a network", "of two", "words"]),
        ("mednext_tiny[laffn=none,sem=none]", 20, ["mednext_tiny", "[laffn=none,", "sem=none]"]),
        ("14,339 of 23,940 pairs", 9, ["14,339 of", "23,940", "pairs"]),
        ("below 5.0 % of it", 9, ["below", "5.0 % of", "it"]),
        ("Dice\n%\nstrict", 20, ["Dice", "%", "strict"]),
        ("unbreakable", 4, ["unbreakable"]),
        ("", 4, [""]),
    ],
)
def test_lines_end_between_words(text: str, width: int, lines: list[str]) -> None:
    assert wrap(text, width) == lines


def test_a_caption_has_three_lines_and_the_rest_is_kept() -> None:
    caption = (
        "PHANTOM images. ACDC (acdc), real images, preset quick with steps=12, split mtunet. " + "More of it. " * 20
    )
    for width in (40, 80, 160):
        lines, rest = split_caption(caption.strip(), width)
        assert len(lines) <= 3
        assert max(map(len, lines)) <= width
        shown = " ".join(lines)
        assert caption.strip().startswith(shown.removesuffix(" ..."))
        assert caption.strip().endswith(rest)
        assert len(shown.removesuffix(" ...")) + len(rest) + 1 >= len(caption.strip())
    lines, rest = split_caption(caption.strip(), 20)
    assert " ".join(lines) == "PHANTOM images. ACDC (acdc), real images, preset quick ..."
    assert rest.startswith("ACDC (acdc), real images, preset quick with steps=12, split mtunet.")


def test_a_pipe_gets_all_columns_and_columns_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    sheet = models_sheet("quick", None, None)
    piped = Screen(file=io.StringIO())
    assert (piped.width, piped.wide) == (160, True)
    print_sheets(piped, [sheet])
    assert "not shown" not in piped.file.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setenv("COLUMNS", "80")
    narrow = Screen(file=io.StringIO())
    assert (narrow.width, narrow.wide) == (80, False)
    assert Screen(wide=True, file=io.StringIO()).wide
    monkeypatch.setenv("COLUMNS", "0")
    assert Screen(file=io.StringIO()).width == 160


@pytest.mark.parametrize("command", [["models"], ["models", "--task", "classification"], ["data", "list"]])
def test_the_commands_keep_to_80_columns(command: list[str]) -> None:
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(main, command)
    assert narrow.exit_code == 0, narrow.output
    assert max(map(cell_len, narrow.output.splitlines())) <= 80
    assert "not shown at 80 columns: " in narrow.output
    wide = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*command, "--wide"])
    assert "not shown" not in wide.output
    assert max(map(cell_len, wide.output.splitlines())) > 80


def test_lines_of_a_text_hang_below_where_they_start_and_a_pipe_gets_them_whole() -> None:
    text = "citation  one two three four five six\n  1. Register at https://a.long/address first\nplain words"
    shown = Screen(width=30, file=io.StringIO(), force_terminal=True, color_system=None)
    shown.print_lines(text)
    assert shown.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "citation  one two three four",
        "          five six",
        "  1. Register at",
        "     https://a.long/address",
        "     first",
        "plain words",
    ]
    piped = Screen(width=30, file=io.StringIO())
    piped.print_lines(text)
    assert piped.file.getvalue() == f"{text}\n"  # type: ignore[attr-defined]


def test_a_long_text_is_left_out_before_it_makes_tall_rows() -> None:
    columns = (ScreenColumn("Filling", words=True), ScreenColumn("GMACs"), ScreenColumn("Summary", words=True))
    table = ScreenTable("c", columns, [[("mlp", ""), ("0.429", ""), ("every pixel for itself " * 6, "")]])
    assert fit(table, 50)[2] is None
    assert fit(table, 80)[2] is not None
    assert max(printed(table, width).count("pixel") for width in (50, 80)) == 6
