"""Tables of speed from rows of profiles: exact texts, groups that are never mixed, flags and footnotes."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from speed_rows import row

from bench.report.escaping import csv_text
from bench.report.screen import Screen
from bench.report.sheets import print_sheets, render_sheets
from bench.report.speeds import FLAGGED, FUSED, KEPT, METRIC, NO_METRIC, STEP, speed_tables


def fused() -> dict[str, Any]:
    return row(form="fused", ratio=3.3, flagged=True, difference=4.2e-7, output_scale=0.51, load_end=2.2)


def test_a_fused_row_stands_below_its_training_form_with_its_difference() -> None:
    text = render_sheets(speed_tables(pd.DataFrame([row(), fused(), row("ResNet_x")])), "markdown")
    figures = "x ResNet-18 | 95 % interval | images/s | ms per batch | Params (M) | GMACs | Rounds"
    lines = text.splitlines()
    assert lines[0] == (
        "Speed of inference, classification, batches of 8x3x224x224, 2 classes, fp32, 2 threads. "
        "AMD EPYC, torch 2.13.0, load average 0.3 to 2.2 on 2 cores."
    )
    assert lines[2:7] == [
        f"| Model | Form | {figures} | Difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| MedNeXt-T (reconstr.) | training | 2.35 | 2.31 to 2.38 | 123 | 64.8 | 2.74 | 0.353 | 24 |  |",
        "| MedNeXt-T (reconstr.) | fused | 3.30\\* | 2.31 to 2.38 | 123 | 64.8 | 2.74 | 0.353 | 24 | 4.2e-07 of 0.51 |",
        "| ResNet\\_x | training | 2.35 | 2.31 to 2.38 | 123 | 64.8 | 2.74 | 0.353 | 24 |  |",
    ]
    assert f"- {FUSED}" in lines
    assert f"- \\{FLAGGED}" in lines


def test_what_no_row_needs_is_not_in_the_notes() -> None:
    (table,) = speed_tables(pd.DataFrame([row()]))
    assert table.notes[1:] == (KEPT,)
    assert table.notes[0].startswith("x ResNet-18: images a second, times the reference's")
    assert "Difference" not in table.frame.columns
    assert "Peak MiB" not in table.frame.columns


def test_machines_inputs_and_kinds_of_work_are_never_mixed() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"machine": "other"},
        {"input": "1x3x224x224"},
        {"work": "training-step"},
        {"threads": 1},
        {"precision": "bf16"},
        {"torch": "2.14.0"},
        {"reference": "unet_s"},
        {"classes": 9},
        {"allocator": "default"},
        {"processes": 1},
    ]
    tables = speed_tables(pd.DataFrame([row(**change) for change in changes] + [fused()]))
    assert [len(table.frame) for table in tables] == [2] + [1] * (len(changes) - 1)
    assert STEP in tables[3].notes
    assert tables[3].caption.startswith("Speed of training steps,")
    assert "1 thread." in tables[4].caption


def test_a_faster_variant_stands_beside_the_change_of_its_metric() -> None:
    metric = {"metric": "dice", "metric_plain": 0.77953, "metric_change": -0.00012, "metric_largest": 0.0003}
    scored = fused() | metric | {"metric_of": "acdc, ssl4mis, quick, 3 seeds"}
    (table,) = speed_tables(pd.DataFrame([row(), scored]))
    assert list(table.frame["Metric"]) == ["", "Dice 77.95 -0.01 (0.03), acdc, ssl4mis, quick, 3 seeds"]
    assert METRIC in table.notes
    assert NO_METRIC not in table.notes


def test_where_no_metric_was_taken_the_table_says_why() -> None:
    (table,) = speed_tables(pd.DataFrame([row(), fused()]))
    assert "Metric" not in table.frame.columns
    assert NO_METRIC in table.notes
    (table,) = speed_tables(pd.DataFrame([row(), fused() | {"metric_error": "acdc is not prepared"}]))
    assert "The change of a metric could not be measured: acdc is not prepared" in table.notes
    assert NO_METRIC not in table.notes


def test_what_was_scored_is_explained_where_another_row_failed_and_old_profiles_claim_nothing() -> None:
    metric = {"metric": "dice", "metric_plain": 0.7, "metric_change": 0.0, "metric_largest": 0.0, "metric_of": "acdc"}
    (table,) = speed_tables(pd.DataFrame([row(), fused() | metric, fused() | {"metric_error": "no weights"}]))
    assert METRIC in table.notes
    assert "The change of a metric could not be measured: no weights" in table.notes
    (old,) = speed_tables(pd.DataFrame([row(metric_sought=False), fused() | {"metric_sought": False}]))
    assert NO_METRIC not in old.notes


def test_an_interval_says_whether_it_is_of_one_process_or_several() -> None:
    (table,) = speed_tables(pd.DataFrame([row()]))
    assert (
        "; of 5 such processes the median, with its 95 % bootstrap interval over processes and rounds" in table.notes[0]
    )
    (old,) = speed_tables(pd.DataFrame([row(processes=1, allocator="default")]))
    assert "over rounds (another process would move it by more)" in old.notes[0]
    assert KEPT not in old.notes


def test_failed_candidates_have_no_row_and_change_no_number() -> None:
    failed = {"key": "0123456789ab", "model": "resnet50", "form": "training", "error": "Cannot time resnet50"}
    frame = pd.DataFrame([failed, row()])
    (table,) = speed_tables(frame)
    assert list(table.frame["Model"]) == ["MedNeXt-T (reconstr.)"]
    assert table.caption == speed_tables(pd.DataFrame([row()]))[0].caption
    assert speed_tables(pd.DataFrame([failed])) == []
    assert "Cannot time resnet50" in csv_text(frame)


def test_a_gpus_memory_is_shown_where_it_was_measured() -> None:
    (table,) = speed_tables(pd.DataFrame([row(device="RTX 3090", peak_bytes=512 * 2**20, load_start=None)]))
    assert table.frame["Peak MiB"][0] == "512"
    assert "RTX 3090, torch 2.13.0, load average 1.9 to 1.9 on 2 cores." in table.caption
    (table,) = speed_tables(pd.DataFrame([row(load_start=None, load_end=None)]))
    assert "load" not in table.caption


def test_the_terminal_shows_the_same_texts() -> None:
    (table,) = speed_tables(pd.DataFrame([row(), fused(), row("a [sem=none]", compiled=True)]))
    console = Screen(file=io.StringIO(), width=160)
    print_sheets(console, [table])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in ("2.35", "3.30*", "4.2e-07 of 0.51", "a [sem=none]", "training, compiled"):
        assert shown in text


def test_csv_keeps_the_numbers_in_full() -> None:
    frame = pd.DataFrame([row(), fused()])
    back = pd.read_csv(io.StringIO(csv_text(frame)))
    assert list(back["ratio"]) == [2.3456, 3.3]
    assert list(back.columns) == list(frame.columns)
