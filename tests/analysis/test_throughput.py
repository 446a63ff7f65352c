"""Throughput beside scores: which profile belongs to which cell, and what is left out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.throughput import throughput_columns, throughput_note, with_throughput


def cell(model: str = "unet_s", **other: Any) -> dict[str, Any]:
    row = {"model": model, "version": 1, "task": "segmentation", "input": "1x1x128x128", "classes": ["b", "rv"]}
    return {**row, "threads": 2, "cpu": "A CPU", "comparison": "c", **other}


def profile(model: str = "unet_s", ratio: float = 1.5, **other: Any) -> dict[str, Any]:
    row = {"model": model, "version": 1, "task": "segmentation", "input": "8x1x128x128", "classes": 2, "threads": 2}
    row |= {
        "device": "A CPU",
        "machine": "a-cpu",
        "torch": "2",
        "allocator": "kept",
        "processes": 5,
        "batch": 8,
        "reference": "unet_s",
        "form": "training",
    }
    row |= {"reference_version": 1, "reference_title": "U-Net", "work": "inference", "precision": "fp32"}
    return {**row, "compiled": False, "ratio": ratio, **other}


def joined(cells: list[dict[str, Any]], profiles: list[dict[str, Any]]) -> pd.DataFrame:
    return with_throughput(pd.DataFrame(cells), pd.DataFrame(profiles))


def test_a_cell_gets_the_ratios_of_its_own_model_and_both_forms() -> None:
    table = joined([cell(), cell("swin")], [profile(), profile(ratio=2.0, form="fused"), profile("swin", 0.5)])
    assert table["speed"].tolist() == [1.5, 0.5]
    assert table["speed_fused"].iloc[0] == 2.0
    assert pd.isna(table["speed_fused"].iloc[1])
    assert [c.header for c in throughput_columns(table)] == ["x U-Net", "x U-Net, fused"]
    assert "batches of 8, A CPU, torch 2" in throughput_note(table)


def test_of_two_ways_of_timing_that_cover_as_much_the_newer_is_shown() -> None:
    old = {"allocator": "default", "processes": 1}
    profiles = [profile(ratio=9.0, **old), profile(ratio=1.5)]
    assert joined([cell()], profiles)["speed"].tolist() == [1.5]
    wider = joined([cell(), cell("swin")], [*profiles, profile("swin", 8.0, **old)])
    assert wider["speed"].tolist() == [9.0, 8.0]


def test_what_was_timed_otherwise_does_not_count() -> None:
    others: list[dict[str, Any]] = [
        {"version": 2},
        {"task": "classification"},
        {"input": "8x1x224x224"},
        {"input": "8x3x128x128"},
        {"classes": 4},
        {"threads": 1},
        {"device": "Another"},
        {"work": "training-step"},
        {"precision": "bf16"},
        {"compiled": True},
        {"ratio": float("nan")},
    ]
    table = joined([cell()], [profile(**other) for other in others])
    assert table["speed"].isna().all()
    assert (throughput_columns(table), throughput_note(table)) == ([], "")


def test_the_reference_that_covers_most_models_is_shown_alone() -> None:
    first = [profile(reference="a", reference_title="A", ratio=9.0)]
    second = [profile(reference="b", reference_title="B"), profile("swin", 0.5, reference="b", reference_title="B")]
    table = joined([cell(), cell("swin")], [*first, *second])
    assert table["speed"].tolist() == [1.5, 0.5]
    assert [c.header for c in throughput_columns(table)] == ["x B"]


def test_without_profiles_there_is_no_column() -> None:
    assert throughput_columns(joined([cell()], [])) == []
