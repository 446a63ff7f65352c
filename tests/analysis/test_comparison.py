"""Tables against golden strings and hand-made figures: ranks, failures, keys, captions, escaping."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hand_made_tables import COUNTS, cases, cell, one, tables

from bench.analysis.captions import PHANTOM
from bench.analysis.comparison import Table, summarise
from bench.analysis.segmentation import NOTE, PARTIAL, POLICIES
from bench.analysis.short_budget import CONVERGED, NO_RANKS, budget_mark
from bench.analysis.shown import Shown, shown_cases
from bench.errors import UserError
from bench.report.render import render_tables, to_csv
from bench.report.screen import Screen, show
from bench.report.sheets import render_sheets, to_latex, to_markdown, to_screen
from bench.report.table_sheets import MARKS, rank_sheet, screen_sheet, table_setting, table_sheet


def marks(table: Table, header: str) -> dict[str, str]:
    return dict(zip(table.frame["Model"], table.marks[header], strict=True))


DICE, HD95 = "Dice % (strict)", "HD95 (vox, pooled, strict)"
CHANCE = (cell("chance", 0, "Chance", family="chance", params=0, macs=0), 0.95)
SHORT = (
    (cell("a_s", 0, "A_1 & 50%", reduced_from="a"), 0.5),
    (cell("a_s", 1, "A_1 & 50%", reduced_from="a"), 0.6),
    (cell("b", 0, "B", missed=1), 0.7),
    (cell("b", 1, "B", missed=2), 0.8),
)
CAPTION = (
    "ACDC (acdc), real images, preset quick. Split mtunet; patients present / official: train 3 / 70, "
    "test 2 / 2. 2 test cases; seeds 0, 1; weights best-val. 2 threads. Reduced width: A_1 & 50% (of a)."
)
STRICT = f"{NOTE} strict: {POLICIES['strict']}."
MARKDOWN = rf"""{CAPTION.replace("_", chr(92) + "_")}

| Model | Dice % (strict) | Dice sd seeds | Dice sd cases | HD95 (vox, pooled, strict) | HD95 vox sd seeds | HD95 vox sd cases | Missed per run | Invented per run | Params (M) | GMACs (1x1x64x64) | Seeds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| B | **75.00** | 7.07 | 4.24 | <u>7.50</u> | 0.71 | 0.42 | 1.5 | 0.0 | 1.50 | 0.250 | 2 |
| A\_1 & 50% | <u>55.00</u> | 7.07 | 4.24 | **5.50** | 0.71 | 0.42 | 1.0 | 0.0 | 1.50 | 0.250 | 2 |

- {STRICT}
- {MARKS}
"""  # noqa: E501
LATEX = rf"""\begin{{table}}[htbp]
\centering
\scriptsize
\setlength{{\tabcolsep}}{{2pt}}
\caption{{{CAPTION.replace("A_1 & 50%", "A" + chr(92) + "_1 " + chr(92) + "& 50" + chr(92) + "%")}}}
\label{{tab:acdc-c1}}
\begin{{tabular}}{{lrrrrrrrrrrr}}
\toprule
\shortstack{{Model}} & \shortstack{{Dice~\%\\(strict)}} & \shortstack{{Dice\\sd\\seeds}} & \shortstack{{Dice\\sd\\cases}} & \shortstack{{HD95\\(vox,\\pooled,\\strict)}} & \shortstack{{HD95\\vox\\sd\\seeds}} & \shortstack{{HD95\\vox\\sd\\cases}} & \shortstack{{Missed\\per\\run}} & \shortstack{{Invented\\per\\run}} & \shortstack{{Params\\(M)}} & \shortstack{{GMACs\\(1x1x64x64)}} & \shortstack{{Seeds}} \\
\midrule
B & \textbf{{75.00}} & 7.07 & 4.24 & \underline{{7.50}} & 0.71 & 0.42 & 1.5 & 0.0 & 1.50 & 0.250 & 2 \\
A\_1 \& 50\% & \underline{{55.00}} & 7.07 & 4.24 & \textbf{{5.50}} & 0.71 & 0.42 & 1.0 & 0.0 & 1.50 & 0.250 & 2 \\
\bottomrule
\end{{tabular}}
\par\raggedright {STRICT}
\par\raggedright {MARKS}
\end{{table}}
"""  # noqa: E501


def test_markdown_is_exact() -> None:
    assert to_markdown(table_sheet(one(*SHORT))) == MARKDOWN


def test_latex_is_exact() -> None:
    assert to_latex(table_sheet(one(*SHORT)), table_setting(one(*SHORT))) == LATEX


def test_deviations_by_hand() -> None:
    row = one(*SHORT).frame.set_index("Model").loc["B"]
    assert row[DICE] == pytest.approx(75.0)
    assert row["Dice sd seeds"] == pytest.approx(10 / math.sqrt(2))  # of 70 and 80
    assert row["Dice sd cases"] == pytest.approx(6 / math.sqrt(2))  # of 78 and 72
    assert row[HD95] == pytest.approx(7.5)


def twice(model: str, score: float) -> tuple[tuple[dict[str, Any], float], ...]:
    """Two seeds of one model, of the same score."""
    return tuple((cell(model, seed), score) for seed in (0, 1))


def test_one_seed_has_no_deviation_over_seeds() -> None:
    table = one(SHORT[0], SHORT[2])
    assert table.frame["Dice sd seeds"].isna().all()
    assert "nan" not in to_markdown(table_sheet(table))


def test_absent_classes_are_left_out_of_means() -> None:
    model = cell("a", 0)
    rows = pd.DataFrame(cases(model, 0.5))
    mine = (rows["part"] == "test") & (rows["weights"] == "best-val")
    rows.loc[mine & (rows["case"] == "p1") & (rows["class"] == "RV"), ["dice_strict", "hd95_vox_strict"]] = None
    (table,) = summarise(pd.DataFrame([model]), rows, classes=True)
    row = table.frame.iloc[0]
    assert row["RV Dice % (strict)"] == pytest.approx(49.0)
    assert row["Myo Dice % (strict)"] == pytest.approx(48.0)
    assert row[DICE] == pytest.approx(48.5)


def test_best_and_second_chance_last_and_unranked() -> None:
    table = one(CHANCE, *twice("a", 0.5), *twice("b", 0.7), *twice("c", 0.6))
    assert list(table.frame["Model"]) == ["B", "C", "A", "Chance"]
    assert marks(table, DICE) == {"B": "best", "C": "second", "A": "", "Chance": ""}
    assert marks(table, HD95) == {"A": "best", "C": "second", "B": "", "Chance": ""}
    assert not any("Not ranked" in note for note in table.footnotes)


def test_equal_figures_share_the_mark() -> None:
    table = one(*twice("a", 0.7), *twice("b", 0.700000001), *twice("c", 0.6))
    assert marks(table, DICE) == {"B": "best", "A": "best", "C": ""}


def test_one_seed_marks_and_ranks_nothing() -> None:
    table = one((cell("a", 0), 0.5), (cell("b", 0), 0.7))
    assert not (table.marks != "").any(axis=None)
    assert table.ranked.empty
    assert not table.headline


def test_one_row_alone_is_no_best() -> None:
    assert not (one(*twice("a", 0.5), CHANCE).marks != "").any(axis=None)


def test_a_row_that_lacks_seeds_shows_its_n_and_is_not_ranked() -> None:
    table = one(*SHORT, (cell("c", 0), 0.9))
    assert list(table.frame["Model"]) == ["C", "B", "A_1 & 50%"]
    assert list(table.frame["Seeds"]) == ["1 of 2", "2", "2"]
    assert marks(table, DICE) == {"C": "", "B": "best", "A_1 & 50%": "second"}
    assert table.footnotes[1] == "Not ranked for lack of seeds (all: 0, 1): C."


def test_another_seed_is_a_lacking_one() -> None:
    table = one(*twice("a", 0.5), *twice("b", 0.6), (cell("c", 1), 0.7), (cell("c", 2), 0.7))
    assert marks(table, DICE) == {"C": "", "B": "best", "A": "second"}


def test_failed_and_diverged_cells_are_shown() -> None:
    failed = cell("f", 0, status="failed", params=None, macs=None)
    table = one(
        *SHORT,
        (failed, 0.99),  # what it wrote before it failed does not count
        (cell("f", 1, status="diverged"), None),
        (cell("g", 0), 0.9),
        (cell("g", 1, status="failed"), None),
        (cell("h", 0), None),
        CHANCE,
    )
    seeds = dict(zip(table.frame["Model"], table.frame["Seeds"], strict=True))
    assert list(seeds) == ["G", "B", "A_1 & 50%", "F", "H", "Chance"]
    assert seeds["F"] == "diverged (1 of 2 seeds), failed (1 of 2 seeds)"
    assert seeds["G"] == "1 of 2; failed (1 of 2 seeds)"
    assert seeds["H"] == "without scores (1 of 1 seeds)"
    assert table.frame.set_index("Model").loc["F", [DICE, HD95]].isna().all()
    assert marks(table, DICE)["G"] == ""


def test_all_failed() -> None:
    table = one((cell("f", 0, status="failed"), None), CHANCE)
    assert table.frame["Seeds"].iloc[0] == "failed (1 of 1 seeds)"
    nothing = one((cell("f", 0, status="failed"), None))
    assert "failed (1 of 1 seeds)" in to_markdown(table_sheet(nothing))
    assert "seeds none" in nothing.caption
    assert to_csv([nothing]).count("failed (1 of 1 seeds)") == 4


def test_keys_are_never_mixed() -> None:
    phantom = {"comparison": "c0", "dataset": "acdc-phantom", "source": "phantom", "preset": "smoke"}
    first, second = tables(*SHORT, (cell("b", 0, **phantom), 0.99), (cell("a", 0, **phantom), 0.9))
    assert (first.key, second.key) == ("c1", "c0")
    assert first.frame[DICE].max() == pytest.approx(75.0)
    assert second.caption.startswith(f"{PHANTOM}. ACDC (acdc-phantom), phantom images, preset smoke (plumbing check)")
    assert PHANTOM not in first.caption


def test_caption_partial_reconstruction_fold_and_no_list() -> None:
    counts = {**COUNTS, "val": {"present_patients": 1, "official_patients": None, "cases": 2}}
    fields = {"partial": True, "fold": 2, "counts": counts, "family": "proposed", "images_seen": 480}
    ours = cell("m", 0, "MedNeXt-T (reconstr.)", **fields)
    assert one((ours, 0.5)).caption == (
        f"{PARTIAL}. {budget_mark(480)}. ACDC (acdc), real images, preset quick. "
        "Split mtunet, 1 of 3 folds together, each case tested once (train and val: of one fold); "
        "patients present / official: train 3 / 70, test 2 / 2, val 1 / no list. "
        "2 test cases; seeds 0; weights best-val. 2 threads. "
        "MedNeXt-T (reconstr.): our reconstruction from the abstract of PLoS ONE e0340108."
    )


@pytest.mark.parametrize("preset", ["quick", "standard with steps=500"])
def test_a_short_budget_marks_and_ranks_nothing_whatever_the_preset_is_called(preset: str) -> None:
    short = {"preset": preset, "images_seen": CONVERGED - 8}
    pairs = [(cell(name, seed, **short), base) for name, base in (("a", 0.5), ("b", 0.9)) for seed in range(3)]
    table = one(*pairs, (cell("few", 0, **short), 0.7), tests=True)
    said = "short budget: 23,992 images seen, networks have not converged; nothing is marked best"
    assert table.caption.startswith(f"{said}. ACDC (acdc), real images, preset {preset}")
    assert f"preset {preset} (short budget: 23,992 images seen)" in table.where
    assert table.sure.gaps["A"].excludes_zero, "a mark would be due"
    for form, signs in {
        "markdown": ("**", "<u>", "First %"),
        "latex": ("textbf", "underline", "First"),
        "csv": (",rank,", "True"),
        "rich": ("First", "Bold"),
    }.items():
        text = render_tables([table], form)
        assert "short budget: 23,992 images seen" in text or form == "csv"
        assert not [sign for sign in signs if sign in text], form
    assert render_sheets([rank_sheet(table)], "markdown") == f"{table.where}. {NO_RANKS}\n"
    assert any(note.startswith("Without an interval for lack of seeds") for note in table.footnotes)
    assert not table.headline, "no ranking over data sets takes it"


def test_a_long_budget_of_quick_is_marked_as_any_other() -> None:
    table = one(*SHORT)
    assert table.preset == "preset quick"
    assert "short budget" not in table.caption
    assert marks(table, DICE) == {"B": "best", "A_1 & 50%": "second"}


def test_an_arm_never_reads_as_the_model() -> None:
    arm = cell("m[sem=none]", 0, "M (reconstr.)")
    table = one((arm, 0.5), (cell("m", 0, "M (reconstr.)"), 0.6), (cell("x", 0, "X"), 0.4), (cell("y", 0, "X"), 0.3))
    assert list(table.frame["Model"]) == ["M (reconstr.)", "M (reconstr.) [sem=none]", "X (x)", "X (y)"]


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("torch", "2.14.1", "Runs differ in torch: 2.15.0, but 2.14.1: B."),
        ("cpu", "Y", "Runs differ in CPU: X, but Y: B."),
        ("commit", None, "Runs differ in commit: abc, but unknown: B."),
        ("device", "cuda", "Runs differ in device: cpu, but cuda: B."),
    ],
)
def test_provenance_footnotes(column: str, value: object, note: str) -> None:
    assert one(*SHORT[:3], (cell("b", 1, "B", **{column: value}), 0.8)).footnotes[1:] == (note,)


def test_a_row_whose_batches_passed_in_parts_says_so() -> None:
    note = "Batches in parts for lack of memory, of which norms over a batch saw one each: B (1 of 2 runs, 4 parts)."
    assert one(*SHORT[:3], (cell("b", 1, "B", pieces=4), 0.8)).footnotes[1:] == (note,)


def test_uncommitted_code_is_a_line_of_the_checklist() -> None:
    said = "Code as committed? no: uncommitted changes in B"
    committed = one(*SHORT[:2], (cell("b", 0, "B", dirty=False), 0.7), (cell("b", 1, "B", dirty=None), 0.8))
    assert not any("Code as committed" in line for line in committed.checklist)
    table = one(*SHORT[:2], (cell("b", 0, "B", dirty=False), 0.7), (cell("b", 1, "B", dirty=True), 0.8))
    assert said in table.checklist
    for form in ("rich", "markdown", "latex"):
        assert said in " ".join(render_tables([table], form).split())
    assert "Code as committed?" in render_tables([table], "csv")


def test_mm_and_classes_have_columns_where_they_are_known() -> None:
    plain, full = one(*SHORT), one(*SHORT, mm=True, classes=True)
    assert "HD95 (mm, pooled, strict)" not in plain.frame
    assert full.frame["HD95 (mm, pooled, strict)"].tolist() == pytest.approx([15.0, 11.0])
    assert full.frame["RV Dice % (strict)"].tolist() == pytest.approx([77.0, 57.0])
    assert marks(full, "Myo Dice % (strict)")["B"] == "best"


def test_the_policy_that_is_asked_for_is_shown() -> None:
    table = one((cell("a", 0), 0.5), shown=Shown(policy="transunet"))
    assert table.frame["Dice % (transunet)"].tolist() == [100.0]
    assert table.footnotes[0].endswith(f"transunet: {POLICIES['transunet']}.")


def test_the_weights_that_are_asked_for_are_shown_and_named() -> None:
    table = one(*SHORT, shown=Shown(weights="last"))
    assert set(table.frame["Dice % (strict)"]) == {1.0}
    assert "weights last." in table.caption
    assert set(table.figures["weights"]) == {"last"}
    assert table.checklist[0] == "Weights selected on validation data? no: the last step's"


def test_the_larger_hd95_has_a_column_of_its_own_name_and_is_derived_under_the_other_policy() -> None:
    place = {"part": "test", "weights": "best-val", "patient": "p"}
    rows = pd.DataFrame(
        [
            {**place, "case": "a", "class": "RV", "outcome": "both", "hd95max_vox_strict": 7.0},
            {**place, "case": "b", "class": "RV", "outcome": "missed", "hd95max_vox_strict": 90.0},
            {**place, "case": "c", "class": "RV", "outcome": "absent", "hd95max_vox_strict": None},
            {**place, "case": "d", "class": "RV", "outcome": "both", "hd95max_vox_strict": None},
        ]
    ).assign(key="a-0-c1", dice_strict=0.5, dice_transunet=0.5, hd95_vox_transunet=0.0)
    rows["hd95_vox_strict"] = [6.0, 6.0, None, 6.0]
    rows = rows.assign(hd95_mm_strict=None, hd95_mm_transunet=None, hd95max_mm_strict=None)
    derived = shown_cases(rows, Shown("transunet", "max"))
    assert derived["hd95max_vox_transunet"].tolist()[:3] == [7.0, 0.0, 0.0]
    assert derived["hd95max_vox_transunet"].isna().tolist() == [False, False, False, True], "an older record lacks it"
    assert derived["hd95max_mm_transunet"].isna().all(), "the files have no spacing"
    older = shown_cases(rows.assign(hd95max_vox_strict=None), Shown("transunet", "max"))
    assert older["hd95max_vox_transunet"].isna().all(), "a missed structure of an older record is not 0 beside blanks"
    strict, literature = (
        summarise(pd.DataFrame([cell("a", 0)]), rows[:3], shown=Shown(policy, "max"))[0].frame
        for policy in ("strict", "transunet")
    )
    assert strict["HD95 (vox, max, strict)"].tolist() == [48.5]
    both = pd.concat([rows[:3], rows[:3].assign(key="a-1-c1", hd95max_vox_strict=None)], ignore_index=True)
    (table,) = summarise(pd.DataFrame([cell("a", 0), cell("a", 1)]), both, shown=Shown("strict", "max"))
    assert "HD95 (vox, max, strict)" not in table.frame, "a mean of one seed beside Dice of two"
    assert literature["HD95 (vox, max, transunet)"].tolist() == pytest.approx([7 / 3])


def test_an_unknown_choice_is_an_error() -> None:
    with pytest.raises(
        UserError, match="Expected weights to be one of best-val, last, average-best-val, average-last, but got 'best'"
    ):
        Shown(weights="best")


def test_the_same_record_twice_counts_once() -> None:
    assert to_csv([one(*SHORT)]) == to_csv([one(*SHORT, *SHORT)])


def test_changed_defaults_under_one_version_are_an_error() -> None:
    with pytest.raises(UserError, match=r"b has several \(b-0-c1, other\): its defaults changed"):
        tables(SHORT[2], ({**SHORT[2][0], "key": "other"}, 0.1))


def test_two_versions_of_a_model_are_two_rows() -> None:
    (table,) = tables(SHORT[2], ({**SHORT[2][0], "key": "other", "version": 2}, 0.1))
    assert sorted(table.frame["Model"]) == sorted(f"{SHORT[2][0]['title']} v{n}" for n in (1, 2))


def test_csv_is_long_and_keeps_classes() -> None:
    frame = pd.read_csv(io.StringIO(to_csv(tables(*SHORT))))
    dice = frame[(frame["metric"] == "dice_strict") & (frame["model"] == "b")].set_index("class")
    assert dice["value"].to_dict() == pytest.approx({"mean": 75.0, "RV": 77.0, "Myo": 73.0})
    assert set(frame["comparison"]) == {"c1"}
    figures = {"dice_strict", "hd95_vox_strict", "missed", "invented", "params", "macs"}
    assert set(frame["metric"]) == figures | {"difference", "rank", "checklist"}
    assert to_csv([]).startswith("comparison,dataset,")


def test_no_cells_no_tables() -> None:
    assert summarise(pd.DataFrame(), pd.DataFrame()) == []


@pytest.mark.parametrize("classes", [False, True])
def test_rich_fits_100_columns_and_keeps_brackets(classes: bool) -> None:
    arm = cell("m[sem=none]", 0, "MedNeXt-T (reconstr.)")
    table = one(
        *SHORT, (arm, 0.4), (cell("m[sem=none]", 1, arm["title"], status="failed"), None), mm=True, classes=classes
    )
    console = Screen(width=100, file=io.StringIO(), record=True)
    show(console, to_screen(screen_sheet(table)))
    text = console.export_text(clear=False)
    assert max(map(len, text.splitlines())) <= 100
    assert "[sem=none]" in text
    assert "…" not in text
    assert "pooled" in text
    assert "\x1b[1m 75.00" in console.export_text(styles=True) or "\x1b[1m75.00" in console.export_text(styles=True)


@pytest.mark.parametrize(
    ("title", "latex", "markdown"),
    [
        ("a_b", r"a\_b", r"a\_b"),
        ("50% & more", r"50\% \& more", "50% & more"),
        ("$x^2$ #1 {y}~", r"\$x\textasciicircum{}2\$ \#1 \{y\}\textasciitilde{}", "$x^2$ #1 {y}~"),
        (
            "[x] <y> \\z | *",
            r"{[}x{]} \textless{}y\textgreater{} \textbackslash{}z \textbar{} {*}",
            r"[x] \<y> \\z \| \*",
        ),
    ],
)
def test_escaping(title: str, latex: str, markdown: str) -> None:
    table = one((cell("a", 0, title), 0.5))
    assert f"\n{latex} & 50.00 &" in to_latex(table_sheet(table), table_setting(table))
    assert f"\n| {markdown} | 50.00 |" in to_markdown(table_sheet(table))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    table = one(*SHORT, (cell("z", 0, "[x] <y> \\z_#{}~^$"), 0.4), mm=True, classes=True)
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + to_latex(table_sheet(table), table_setting(table)) + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_caption_says_that_validation_was_carved_out_of_training() -> None:
    (table,) = tables((cell("a", 0, split_note="validation: 3 of the 18"), 0.5))
    assert "Split mtunet (validation: 3 of the 18); patients present" in table.caption
