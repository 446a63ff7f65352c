"""`results check`: each file of each cell is opened, also of those that choose something; what is damaged is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stored_records import EXAMPLE, change, cut, invoke, the_cell

from bench.records.checking import damage_in
from bench.records.predicted import Kept


def test_check_names_what_is_damaged_and_ends_with_1(results: Path) -> None:
    whole = invoke("results", "check", "--results", str(results))
    assert (whole.exit_code, whole.output) == (0, "2 cells are whole\n")
    acdc, msld = the_cell(results, "acdc"), the_cell(results, "msld")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    good = len(header).to_bytes(8, "little") + header + bytes(8)
    (acdc / "weights.safetensors").write_bytes(good)
    assert damage_in(results) == (2, [])
    (acdc / "weights.safetensors").write_bytes(good[:-3])
    (acdc / "average.safetensors").write_bytes(b"half")
    change(acdc / "cell.json", "seed", to=99)
    cut(msld / "cases.csv")
    result = invoke("results", "check", "--results", str(results))
    assert result.exit_code == 1
    for words in ("where its header says", "is no file of weights", "is not the cell of its record", "cases.csv"):
        assert words in result.output
    assert result.output.endswith("0 cells are whole; 4 lines on what is not\n")


def kept(cell: Path, *predictions: np.ndarray) -> Path:
    """Predictions beside a record."""
    keeper = Kept(cell)
    for k, prediction in enumerate(predictions):
        keeper.add(f"case{k}", prediction)
    return keeper.save(json.loads((cell / "record.json").read_text())["key"], "best-val")


def test_predictions_are_read_to_their_end(results: Path) -> None:
    rng = np.random.default_rng(0)
    volumes = kept(the_cell(results, "acdc"), *rng.integers(0, 4, (2, 3, 40, 40)).astype(np.uint8))
    images = kept(the_cell(results, "msld"), *rng.random((5, 2)))
    assert damage_in(results) == (2, [])
    whole = volumes.read_bytes()
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 255
    for content in (bytes(spoilt), whole[: len(whole) // 2], b""):
        volumes.write_bytes(content)
        cells, (line,) = damage_in(results)
        assert cells == 1
        assert line.startswith(f"{volumes} cannot be read")
    shutil.copy(images, volumes)
    assert "holds predictions of cell" in damage_in(results)[1][0]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: "", "is cut short"),
        (lambda text: text[:-1], "is cut short"),
        (lambda text: f"{text.rpartition(',')[0]}\n", "is cut short"),
        (lambda text: f"{text[:-1]}x\n", "is no history"),
        (lambda text: f"{text[:-1]},1\n", "is no history"),
        (lambda text: text.partition("\n")[2], "is no history"),
        (lambda text: text[: text[:-1].rindex("\n") + 1], "ends at step"),
    ],
)
def test_a_history_is_parsed_and_ends_where_its_training_did(
    edit: Callable[[str], str], words: str, results: Path
) -> None:
    path = the_cell(results, "acdc") / "history.csv"
    path.write_text(edit(path.read_text()))
    cells, (line,) = damage_in(results)
    assert cells == 1
    assert line.startswith(str(path))
    assert words in line


def test_cells_that_choose_something_are_checked_and_counted(results: Path) -> None:
    for name in ("tuning", "development"):
        folder = next((EXAMPLE / name).rglob("record.json")).parent
        shutil.copytree(folder, results / folder.relative_to(EXAMPLE))
    assert damage_in(results) == (4, [])
    trial, design = (next((results / name).rglob("record.json")) for name in ("tuning", "development"))
    cut(trial)
    cut(design.with_name("cases.csv"))
    cells, lines = damage_in(results)
    assert cells == 2
    assert [any(str(path.parent) in line for line in lines) for path in (trial, design)] == [True, True]
    assert invoke("results", "check", "--results", str(results)).exit_code == 1
