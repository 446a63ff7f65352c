"""Classification tables against golden strings and hand-made figures: order, captions, flags, all four formats."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import pandas as pd
import pytest
from table_cells import table_cell

from bench.analysis.captions import PHANTOM
from bench.analysis.classification import CHANCE, NOTE, PARTIAL
from bench.analysis.comparison import Table, summarise
from bench.analysis.short_budget import budget_mark
from bench.report.render import render_tables, to_csv
from bench.report.screen import Screen, show
from bench.report.sheets import to_latex, to_markdown, to_screen
from bench.report.table_sheets import MARKS, screen_sheet, table_setting, table_sheet

CLASSES = ("non-COVID", "COVID")
COUNTS = {
    "train": {
        "present_patients": 9,
        "official_patients": None,
        "cases": 12,
        "classes": {"non-COVID": 5, "COVID": 7},
    },
    "val": {"present_patients": 2, "official_patients": None, "cases": 4, "classes": {"non-COVID": 2, "COVID": 2}},
    "test": {"present_patients": 4, "official_patients": None, "cases": 4, "classes": {"non-COVID": 2, "COVID": 2}},
}
CELL: dict[str, Any] = {
    "task": "classification",
    "dataset": "sars-cov2-ct",
    "dataset_title": "SARS-COV2-CT-Scan",
    "split": "blocks",
    "split_source": "reduces leakage",
    "split_flag": None,
    "classes": ["non-COVID", "COVID"],
    "counts": dict(sorted(COUNTS.items())),
    "present_cases": 20,
    "official_cases": 2481,
}


def cell(model: str, seed: int, title: str | None = None, **fields: Any) -> dict[str, Any]:
    return table_cell(model, seed, title, **{**CELL, **fields})


def cases(cell: dict[str, Any], covid: tuple[float, ...], classes: tuple[str, ...] = CLASSES) -> list[dict[str, Any]]:
    """The last class's probability for four images, the later two of which have it; the others share the rest.

    `last` and validation rows are decoys, all wrong.
    """
    rows = []
    for part, weights in (("val", "best-val"), ("test", "last"), ("test", "best-val")):
        shown = (part, weights) == ("test", "best-val")
        for i, last in enumerate(covid):
            true, last = len(classes) - 1 if i >= 2 else 0, last if shown else float(i < 2)
            of_class = [(1 - last) / (len(classes) - 1)] * (len(classes) - 1) + [last]
            for k, (name, probability) in enumerate(zip(classes, of_class, strict=True)):
                where = {"key": cell["key"], "part": part, "weights": weights, "case": f"{i}", "class": name}
                where["patient"] = f"{i}"
                predicted = int(k == of_class.index(max(of_class)))
                rows.append({**where, "reference": int(k == true), "predicted": predicted, "probability": probability})
    return rows


def tables(*pairs: tuple[dict[str, Any], tuple[float, ...] | None], classes: bool = False) -> list[Table]:
    rows = [row for one, covid in pairs if covid is not None for row in cases(one, covid)]
    columns = ["key", "part", "weights", "case", "patient", "class", "reference", "predicted", "probability"]
    return summarise(pd.DataFrame([one for one, _ in pairs]), pd.DataFrame(rows, columns=columns), classes)


def one(*pairs: tuple[dict[str, Any], tuple[float, ...] | None], **options: bool) -> Table:
    (table,) = tables(*pairs, **options)
    return table


SPEED = {
    "speed": 2.0,
    "speed_fused": 3.0,
    "speed_of": {"reference_title": "R", "batch": 8, "device": "cpu", "torch": "2"},
}
RIGHT, HALF = (0.1, 0.2, 0.8, 0.9), (0.1, 0.9, 0.8, 0.2)
QUARTER = (0.1, 0.6, 0.3, 0.4)
SHORT = (
    (cell("a_s", 0, "A", reduced_from="a"), HALF),
    (cell("a_s", 1, "A", reduced_from="a"), QUARTER),
    (cell("b", 0, "B"), RIGHT),
    (cell("b", 1, "B"), HALF),
    (cell("chance", 0, "Chance (majority class)", family="chance", params=0, macs=0), (0.6,) * 4),
    (cell("chance", 1, "Chance (majority class)", family="chance", params=0, macs=0), (0.6,) * 4),
)
CAPTION = (
    "SARS-COV2-CT-Scan (sars-cov2-ct), real images, preset quick. "
    "Images present / published: 20 / 2481. "
    "Split blocks (reduces leakage); images: train 12 (non-COVID 5, COVID 7), val 4 (non-COVID 2, COVID 2), "
    "test 4 (non-COVID 2, COVID 2). 4 test images; seeds 0, 1; weights best-val. 2 threads. Reduced width: A (of a)."
)
MARKDOWN = f"""{CAPTION}

| Model | Accuracy % | Accuracy sd seeds | Balanced accuracy % | Balanced accuracy sd seeds | Macro F1 % | AUC % | MCC | ECE % | Brier | Params (M) | GMACs (1x1x64x64) | Seeds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| B | **75.00** | 35.36 | **75.00** | 35.36 | **75.00** | **75.00** | **0.500** | 25.00 | **0.400** | 1.50 | 0.250 | 2 |
| A | <u>37.50</u> | 17.68 | <u>37.50</u> | 17.68 | <u>35.00</u> | <u>50.00</u> | <u>-0.289</u> | 42.50 | <u>0.680</u> | 1.50 | 0.250 | 2 |
| Chance (majority class) | 50.00 | 0.00 | 50.00 | 0.00 | 33.33 | 50.00 | 0.000 | 10.00 | 0.520 | 0.00 | 0.000 | 2 |

- {NOTE}of COVID. {CHANCE}
- {MARKS}
"""  # noqa: E501


def test_markdown_is_exact() -> None:
    assert to_markdown(table_sheet(one(*SHORT))) == MARKDOWN


def test_nothing_of_segmentation_shows_in_any_format() -> None:
    table = one(*SHORT, classes=True)
    console = Screen(file=io.StringIO(), width=100)
    show(console, to_screen(screen_sheet(table)))
    for text in (
        console.file.getvalue(),
        to_markdown(table_sheet(table)),
        to_latex(table_sheet(table), table_setting(table)),
        to_csv([table]),
    ):  # type: ignore[attr-defined]
        assert not [word for word in ("Dice", "HD95", "dice", "hd95", "missed", "Missed", "strict") if word in text]
        assert "Chance (majority class)" in text


def test_rich_fits_100_columns() -> None:
    long = cell("m[sem=none]", 0, "MedNeXt-T (reconstr.)")
    console = Screen(file=io.StringIO(), width=100)
    show(console, to_screen(screen_sheet(one(*SHORT, (long, RIGHT), classes=True))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "sens." in text


def test_figures_by_hand() -> None:
    """A's first seed has one of two right in each class, its second one without COVID and none with it."""
    row = one(*SHORT[:2]).frame.iloc[0]
    assert row["Accuracy %"] == pytest.approx((50 + 25) / 2)
    assert row["Accuracy sd seeds"] == pytest.approx(25 / math.sqrt(2))
    assert row["Macro F1 %"] == pytest.approx(100 * ((2 / 4 + 2 / 4) / 2 + (2 / 5 + 0) / 2) / 2)
    assert row["AUC %"] == pytest.approx((50 + 50) / 2)


def test_classes_have_a_column_of_sensitivity() -> None:
    table = one(*SHORT, classes=True)
    row = table.frame.set_index("Model").loc["A"]
    assert row["non-COVID sensitivity %"] == 50
    assert row["COVID sensitivity %"] == 25
    assert dict(zip(table.frame["Model"], table.marks["COVID sensitivity %"], strict=True))["B"] == "best"
    assert "COVID sensitivity %" not in one(*SHORT).frame


def test_csv_holds_every_figure_and_class() -> None:
    frame = pd.read_csv(io.StringIO(to_csv([one(*SHORT)])))
    mine = frame[(frame["model"] == "b") & ~frame["metric"].isin(["difference", "rank"])].set_index("metric")
    overall = ["accuracy", "balanced_accuracy", "macro_f1", "auc", "mcc", "ece", "brier"]
    overall += ["macro_specificity", "macro_precision"]
    of_class = [name for name in ("sensitivity", "specificity", "precision", "f1", "auc") for _ in CLASSES]
    figures = [*overall, *of_class, *["confusion"] * 4, "params", "macs"]
    assert list(mine.index) == figures
    assert mine.loc["mcc", "value"] == pytest.approx(0.5)
    assert mine.loc["mcc", "sd_seeds"] == pytest.approx(1 / math.sqrt(2))
    assert list(mine.loc["sensitivity", "class"]) == list(CLASSES)
    counts = mine.loc["confusion"].set_index("class")["value"].to_dict()
    # seed 0 has all right, seed 1 one of two in each class
    assert counts == {
        "non-COVID->non-COVID": 1.5,
        "non-COVID->COVID": 0.5,
        "COVID->non-COVID": 0.5,
        "COVID->COVID": 1.5,
    }
    assert set(mine.loc["confusion", "unit"]) == {"images per run"}


def test_classes_have_a_table_of_their_own_with_the_confusion_matrix() -> None:
    text = render_tables([one(*SHORT, classes=True)], "markdown")
    head = "| Model | Class | Sensitivity % | Specificity % | Precision % | F1 % | AUC against the rest % "
    assert f"{head}| As non-COVID | As COVID |" in text
    assert "| A | COVID | 25.00 | 50.00 | 25.00 | 25.00 | 50.00 | 1.5 | 0.5 |" in text
    assert "By class" not in render_tables([one(*SHORT)], "markdown")
    assert "As\\_" not in render_tables([one(*SHORT, classes=True)], "latex")
    latex = render_tables([one(*SHORT, classes=True)], "latex")
    assert "\\shortstack{As\\\\non-COVID} & \\shortstack{As\\\\COVID}" in latex
    assert re.search(r" As +As\b", render_tables([one(*SHORT, classes=True)], "rich"))


def test_a_wide_latex_table_has_narrow_headers() -> None:
    table = one(*[(cell("b", 0, "B", **SPEED), RIGHT), (cell("b", 1, "B", **SPEED), HALF)])
    assert len(table.frame.columns) == 15
    latex = to_latex(table_sheet(table), table_setting(table))
    assert r"\shortstack{GMACs\\(1x1x\\64x64)}" in latex
    assert r"\shortstack{Accuracy\\\%}" in latex
    assert r"\setlength{\tabcolsep}{1pt}" in latex


def test_a_split_that_leaks_a_part_of_the_images_and_phantoms_are_said() -> None:
    fields = {
        "split": "random-80-20",
        "split_source": "80/20 images",
        "split_flag": "patients in both",
        "partial": True,
        "images_seen": 4_000,
    }
    caption = one((cell("b", 0, "B", source="phantom", dataset="sars-cov2-ct-phantom", **fields), RIGHT)).caption
    assert caption.startswith(f"{PHANTOM}. {PARTIAL}. {budget_mark(4_000)}. ")
    assert "Split random-80-20 (80/20 images), flagged: patients in both; images: train 12" in caption


def test_what_training_and_validation_have_seen_of_the_test_images_is_said() -> None:
    def shown(**shares: float | None) -> str:
        fields = {"split": "random-80-20", "split_flag": "patients in both", "split_leak": shares}
        return one((cell("b", 0, "B", **fields), RIGHT)).caption

    every = shown(patient=None, near_duplicate=0.175, validation=0.026)
    assert (
        "flagged: patients in both (of the test images 17.5 % have a near-duplicate, or a chain of such, in "
        "training; 2.6 % have patient, image or its like in validation); images:"
    ) in every
    both = shown(patient=0.98, near_duplicate=0.5, validation=0.0)
    assert (
        "(of the test images 98.0 % have their patient or subject and 50.0 % have a near-duplicate, or a chain of "
        "such, in training)"
    ) in both
    assert "patients in both (of the test images 1.0 % have patient, image" in shown(patient=None, validation=0.01)
    assert "flagged: patients in both; images:" in shown(patient=None, near_duplicate=None, validation=None)


def test_a_table_is_flagged_where_any_record_says_so() -> None:
    older = {"split_flag": None, "split_leak": {"patient": None, "near_duplicate": 0.0}}
    newer = {
        "split_flag": "one image stands in several parts",
        "split_leak": {"patient": None, "near_duplicate": 0.0, "validation": 0.5},
    }
    for first, second in ((older, newer), (newer, older)):
        table = one((cell("a", 0, "A", **first), RIGHT), (cell("b", 0, "B", **second), HALF))
        assert ", flagged: one image stands in several parts (of the test images 0.0 % have" in table.caption
        leak = next(line for line in table.checklist if line.startswith("Leak?"))
        assert leak.startswith("Leak? yes: one image stands in several parts; ")
        assert leak.endswith("50.0 % have patient, image or its like in validation, which chooses weights")


def test_the_machine_of_chance_is_no_difference() -> None:
    def noted(*names: str) -> tuple[str, str]:
        cells = [cell(name, 0, name, family="chance" if name == "c" else "cnn", cpu=f"CPU of {name}") for name in names]
        table = one(*((own, RIGHT) for own in cells))
        return " ".join(table.footnotes), next(line for line in table.checklist if line.startswith("Same machine"))

    notes, line = noted("a", "c")
    assert "Runs differ in CPU" not in notes
    assert "CPU" not in line
    notes, line = noted("a", "b", "c")
    assert "Runs differ in CPU: CPU of a, but CPU of b: b." in notes
    assert "CPU (CPU of a, CPU of b)" in line


def test_an_official_list_of_patients_is_shown_where_there_is_one() -> None:
    counts = {**COUNTS, "test": {**COUNTS["test"], "official_patients": 40}}
    caption = one((cell("b", 0, "B", counts=counts, official_cases=None, split_source=None), RIGHT)).caption
    assert "Images present / published: 20 / no published number. Split blocks; images: train" in caption
    assert "test 4 (non-COVID 2, COVID 2), patients 4 / 40 official" in caption


def test_failed_cells_are_shown_and_not_ranked() -> None:
    failed = cell("f", 0, "F", status="failed", params=None, macs=None)
    table = one((failed, None), *SHORT)
    assert list(table.frame["Model"]) == ["B", "A", "F", "Chance (majority class)"]
    assert dict(zip(table.frame["Model"], table.frame["Seeds"], strict=True))["F"] == "failed (1 of 1 seeds)"
    alone = one((failed, None))
    assert alone.frame["Accuracy %"].isna().all()
    assert "seeds none" in alone.caption


def test_three_classes_are_each_against_the_rest() -> None:
    model, classes = cell("b", 0, "B"), ("normal", "CAP", "COVID")
    (table,) = summarise(pd.DataFrame([model]), pd.DataFrame(cases(model, RIGHT, classes)), classes=True)
    assert "mean of each class against the rest" in table.footnotes[0]
    row = table.frame.iloc[0]
    # normal and CAP tie, so that normal is predicted; no image is of CAP
    assert row["Accuracy %"] == row["Balanced accuracy %"] == row["AUC %"] == 100
    assert math.isnan(row["CAP sensitivity %"])
    assert "nan" not in to_markdown(table_sheet(table))


def test_tables_of_both_tasks_stand_side_by_side() -> None:
    """Their cases are read as one frame, in which each task lacks the other's columns."""
    seg = cell("u", 0, task="segmentation", comparison="c2", dataset="acdc") | {"key": "s"}
    place = {
        "key": "s",
        "part": "test",
        "weights": "best-val",
        "case": "p",
        "patient": "p",
        "class": "RV",
        "outcome": "both",
    }
    dice = {"dice_strict": 0.5, "hd95_vox_strict": 3.0, "hd95_mm_strict": None}
    rows = [*cases(SHORT[2][0], RIGHT), {**place, **dice}]
    first, second = summarise(pd.DataFrame([SHORT[2][0], seg]), pd.DataFrame(rows))
    assert list(first.frame)[1] == "Dice % (strict)"
    assert first.frame["Dice % (strict)"].tolist() == [50]
    assert second.frame["Accuracy %"].tolist() == [100]
    assert not [c for c in second.frame if "Dice" in c or "HD95" in c]
    assert not [c for c in first.frame if "Acc" in c]


def test_of_a_data_set_short_budgets_come_last_and_flagged_splits_after_others() -> None:
    flagged = {"split": "random-80-20", "split_flag": "patients in both"}
    fields = [
        {"comparison": "1", "images_seen": 4_000, "preset": "a"},
        {"comparison": "2", **flagged},
        {"comparison": "3", "preset": "z"},
        {"comparison": "4", "images_seen": 4_000, "preset": "a", **flagged},
        {"comparison": "5", "dataset": "aa", "images_seen": 4_000},
    ]
    found = tables(*((cell("b", 0, "B", key=f"k{k}", **more), RIGHT) for k, more in enumerate(fields)))
    assert [table.key for table in found] == ["5", "3", "2", "1", "4"]
