"""Tables of latency, memory and MACs: exact texts, flags, and profiles that lack them."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from speed_rows import row as speed_row

from bench.records.profiles import cost_row
from bench.report.costs import FLAGGED, ON_CPU, complexity_tables, profile_tables, use_tables
from bench.report.drawing.batches import memory_rows
from bench.report.screen import Screen
from bench.report.sheets import print_sheets, to_markdown
from bench.report.speeds import CHANGE, FUSED, FUSED_FORM, speed_tables

COUNTERS: dict[str, Any] = {
    "fvcore": {"macs": 353_000_000, "beside": {"batch_norm": 12_000_000}, "skipped": {"gelu": 3}},
    "ptflops": {"macs": 353_000_000, "beside": {}, "skipped": {"batch_norm": 4, "gelu": 3}},
    "skipped": {"gelu": 3, "batch_norm": 4},
    "failed": {},
    "spread": 12 / 353,
    "unexplained": 0.0,
    "agrees": True,
}
COST = {"params": 2_736_834, "trainable": 2_000_000, "macs": 353_000_000, "counted_on": "meta", "counters": COUNTERS}
USE = {
    "latency_p50": 12.345,
    "latency_p90": 13.0,
    "latency_p99": 123.4,
    "latency_passes": 40,
    "best_batch": 16,
    "best_images_per_second": 98.76,
    "sweep_ended": "peak",
    "inference_bytes": 10 * 2**20,
    "training_bytes": 300.4 * 2**20,
    "weights_bytes": 2**20 + 2**19,
    "memory_method": "resident memory",
}


def row(title: str = "MedNeXt-T (reconstr.)", **changes: Any) -> dict[str, Any]:
    cost = {**COST, "counters": {**COUNTERS, **changes.pop("counters", {})}, **changes.pop("cost", {})}
    return {**speed_row(title), **USE, **cost_row(cost), **changes}


def test_latency_best_batch_and_memory() -> None:
    (table,) = use_tables(pd.DataFrame([row(), row("Other", sweep_ended="time", training_bytes=None)]))
    lines = to_markdown(table).splitlines()
    assert lines[0] == (
        "Latency, throughput and memory, classification, 3x224x224, 2 classes, fp32, 2 threads. AMD EPYC, torch 2.13.0."
    )
    names = "ms, p50 | ms, p90 | ms, p99 | images/s | at batch | MiB, inference | MiB, training | MiB, weights"
    assert lines[2] == f"| Model | Form | {names} |"
    assert lines[4:6] == [
        "| MedNeXt-T (reconstr.) | training | 12.3 | 13.0 | 123 | 98.8 | 16 | 10.0 | 300 | 1.50 |",
        "| Other | training | 12.3 | 13.0 | 123 | >98.8 | 16 | 10.0 |  | 1.50 |",
    ]
    assert "beyond what is held before it" in lines[-1]
    assert "(8x3x224x224)" in lines[-1]
    assert "by the process's peak of resident memory" in lines[-1]


def test_counts_stand_beside_each_other_with_what_explains_and_what_is_skipped() -> None:
    (table,) = complexity_tables(pd.DataFrame([row(), row(), row(input="1x3x224x224")]))  # one network, one row
    lines = to_markdown(table).splitlines()
    assert lines[0] == "Parameters and MACs, classification, one image of 3x224x224, 2 classes."
    numbers = "Params (M) | trainable | GMACs, 1x3x224x224 | fvcore | ptflops | Spread | left"
    found = "2.74 | 2.00 | 0.353 | 0.365 | 0.353 | 3.4 % | 0.0 %"
    words = "fvcore: batch\\_norm 12.00 | all: gelu; torch, ptflops: batch\\_norm"
    assert lines[2:5] == [
        f"| Model | Form | {numbers} | Counted beside | Skipped |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
        f"| MedNeXt-T (reconstr.) | training | {found} | {words} |",
    ]
    assert len(table.notes) == 2
    assert "FlopCounterMode" in table.notes[0]


def test_what_nothing_explains_and_what_failed_and_what_ran_on_the_cpu_is_marked() -> None:
    wrong = row("Wrong", counters={"unexplained": 0.031, "agrees": False}, cost={"counted_on": "cpu"})
    failed = {name: value for name, value in COUNTERS.items() if name != "fvcore"}
    cost = {**COST, "counters": {**failed, "agrees": False, "failed": {"fvcore": "KeyError: 'x'"}}}
    rows = [row(), wrong, {**row("Failed"), **cost_row(cost)}]
    (table,) = complexity_tables(pd.DataFrame(rows))
    assert list(table.frame["left"]) == ["0.0 %", "3.1 % !", "0.0 % !"]
    assert list(table.frame["GMACs, 1x3x224x224"]) == ["0.353", "0.353c", "0.353"]
    assert list(table.frame["fvcore"]) == ["0.365", "0.365", "failed"]
    assert table.notes[2:] == (ON_CPU, FLAGGED, "Failed: fvcore: KeyError: 'x'")


def test_what_no_counter_counts_is_named_below_the_table() -> None:
    cost = {**COST, "uncounted": {"mine::scan": 4}, "counters": {**COUNTERS, "agrees": False}}
    (table,) = complexity_tables(pd.DataFrame([row(), {**row("Scan"), **cost_row(cost)}]))
    assert list(table.frame["left"]) == ["0.0 %", "0.0 % !"]
    line = "Scan: its MACs are without mine::scan, for which no counter has a formula."
    assert table.notes[2:] == (FLAGGED, line)


def test_other_inputs_and_tasks_are_other_tables() -> None:
    changes: list[dict[str, Any]] = [{}, {"input": "8x1x224x224"}, {"task": "segmentation"}, {"classes": 9}]
    assert len(complexity_tables(pd.DataFrame([row(**change) for change in changes]))) == 4


def test_profiles_of_which_none_was_counted_or_measured_have_no_table_and_no_figure() -> None:
    none = pd.DataFrame([row(agrees=None, inference_bytes=None, family="cnn")])
    assert complexity_tables(none) == []
    assert memory_rows(none).empty


def test_older_profiles_and_failed_candidates_have_none() -> None:
    blank = dict.fromkeys(USE) | cost_row({"params": 1, "macs": 1})
    old = pd.DataFrame([{**speed_row(), **blank}])
    assert use_tables(old) == complexity_tables(old) == []
    assert [table.caption for table in profile_tables(old)] == [table.caption for table in speed_tables(old)]
    error = {"key": "0123456789ab", "model": "resnet50", "form": "training", "error": "Cannot time resnet50"}
    assert profile_tables(pd.DataFrame([error])) == []
    assert len(profile_tables(pd.DataFrame([error, row()]))) == 3


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ([{"form": "fused"}], [FUSED]),
        ([{"form": "fused"}, {"compiled": True}], [FUSED_FORM, CHANGE]),
        ([{"precision": "bf16"}], [CHANGE]),
        ([{"form": "fused", "peak_bytes": 5}], [FUSED_FORM, CHANGE]),
        ([{"difference": None, "precision": "bf16"}], []),
    ],
)
def test_a_faster_variant_stands_with_what_it_does_to_the_outputs(changes: list[Any], noted: list[str]) -> None:
    rows = [{**speed_row(difference=0.002, output_scale=0.5), **change} for change in changes]
    (table,) = speed_tables(pd.DataFrame(rows))
    assert [note for note in table.notes if note in (FUSED, FUSED_FORM, CHANGE)] == noted
    assert ("Difference" in table.frame) == bool(noted)


def test_the_terminal_shows_them() -> None:
    console = Screen(file=io.StringIO(), width=160)
    print_sheets(console, profile_tables(pd.DataFrame([row()])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in ("12.3", "98.8", "0.365", "3.4 %"):
        assert shown in text
