"""Speed against the batch, and memory: what was measured otherwise is another figure or another line."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from children import ENVIRONMENT
from speed_rows import row

from bench.records.profiles import FIELDS, SCHEMA
from bench.records.sweeps import load_sweeps
from bench.report.drawing.batches import memory_rows
from bench.report.figures import speed_drawings

MACHINE = "amd-epyc-7b13-2-cores"
SETTING = {"task": "segmentation", "channels": 1, "image_size": 128, "classes": 4, "batch": 8, "threads": 2}
SETTING |= {"device": "cpu", "precision": "fp32", "form": "training", "work": "inference", "compiled": False}
DAYS = [f"2026-11-{day:02d}T00:00:00+00:00" for day in range(1, 29)]
NUMBERS = count()


def stored(results: Path, model: str, seconds: float, day: int = 0, swept: bool = True, **changes: Any) -> None:
    """Writes a profile whose sweep has so many seconds for every image; `changes` are of its setting."""
    torch, version = changes.pop("torch", "2.13.0"), changes.pop("version", 1)
    reference = {"name": changes.pop("reference", "u")}
    setting = {**SETTING, "model": {"name": model, "config": {}, "version": version}, "torch": torch, **changes}
    steps = [{"batch": n, "seconds": [n * seconds] * 3, "gain": None} for n in (1, 2, 4)]
    profile = dict.fromkeys(FIELDS) | {
        "schema": SCHEMA,
        "setting": {"allocator": "kept", **setting, "reference": reference},
        "model": {"name": model, "title": model.title(), "family": "cnn"},
        "figures": {"candidate": {"ms_per_batch": 8e3 * seconds}},
        "environment": {**ENVIRONMENT, "versions": {"torch": torch}},
        "sweep": {"steps": steps, "ended": "time"} if swept else None,
        "measured": DAYS[day],
    }
    path = results / "profiles" / MACHINE / f"{next(NUMBERS):012d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(profile))


def lines(drawing: Any) -> dict[str, list[float]]:
    """Label -> ms of one image at each batch."""
    drawn = drawing.figure.axes[0].lines
    return {line.get_label(): pytest.approx(list(line.get_ydata())) for line in drawn}


@pytest.mark.parametrize("changes", [{"torch": "2.9.0"}, {"allocator": "default"}])
def test_another_torch_or_allocator_is_another_figure(changes: dict[str, Any], tmp_path: Path) -> None:
    for model, seconds in (("a", 0.01), ("b", 0.02)):
        stored(tmp_path, model, seconds)
        stored(tmp_path, model, 2 * seconds, **changes)
    found = list(speed_drawings(pd.DataFrame(), load_sweeps(tmp_path)))
    assert len({drawing.name for drawing in found}) == 2, "none is written over"
    assert {tuple(lines(drawing)["A"].expected) for drawing in found} == {(10.0,) * 4, (20.0,) * 4}
    (said,) = changes.values()
    titles = [" ".join(drawing.figure.get_suptitle().split()) for drawing in found]
    assert sorted(said in title for title in titles) == [False, True]


def test_each_version_of_a_network_has_its_own_line(tmp_path: Path) -> None:
    stored(tmp_path, "a", 0.01, version=1)
    stored(tmp_path, "a", 0.03, version=2)
    stored(tmp_path, "b", 0.02)
    (drawing,) = speed_drawings(pd.DataFrame(), load_sweeps(tmp_path))
    assert lines(drawing) == {"A v1": [10.0] * 4, "A v2": [30.0] * 4, "B": [20.0] * 4}


def test_a_network_against_several_references_has_one_line_the_newest(tmp_path: Path) -> None:
    for day, (reference, seconds) in enumerate((("u", 0.01), ("v", 0.03), ("w", 0.02))):
        stored(tmp_path, "a", seconds, day if reference != "v" else 20, reference=reference)
    stored(tmp_path, "a", 0.09, 25, swept=False, reference="x")
    found = load_sweeps(tmp_path).sort_values("batch")
    assert found["batch"].to_list() == [1, 2, 4, 8]
    assert (found["milliseconds"] / found["batch"]).to_list() == pytest.approx([30.0] * 4)
    assert load_sweeps(tmp_path / "nothing").empty


def test_single_batches_are_one_line(tmp_path: Path) -> None:
    for batch in (8, 16):
        stored(tmp_path, "a", 0.01, swept=False, batch=batch)
    assert sorted(load_sweeps(tmp_path)["batch"]) == [8, 16]


def test_peaks_of_memory_are_told_apart_alike() -> None:
    shared = {"family": "cnn", "training_bytes": 4e6}
    rows = [
        row("A", inference_bytes=1e6, measured=DAYS[0], **shared),
        row("A", inference_bytes=2e6, measured=DAYS[1], reference="other", **shared),
        row("A", inference_bytes=3e6, version=2, **shared),
        row("A", inference_bytes=4e6, torch="2.9.0", **shared),
        row("B", inference_bytes=5e6, **shared),
        row("B", inference_bytes=6e6, torch="2.9.0", **shared),
    ]
    profiles = pd.DataFrame(rows)
    assert sorted(memory_rows(profiles)["inference_bytes"]) == [2e6, 3e6, 4e6, 5e6, 6e6]
    older, newer = speed_drawings(profiles, load_sweeps("nowhere"))
    assert older.name != newer.name
    names = [[label.get_text() for label in drawing.figure.axes[0].get_yticklabels()] for drawing in (older, newer)]
    assert sorted(names) == [["A", "B"], ["A v1", "A v2", "B"]]
