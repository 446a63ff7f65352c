"""What users name never is a path as it stands, and folders of older results are found."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.records.filenames import LONGEST, file_name
from bench.records.store import cell_folder, find_records, units_path
from bench.runs.cell import Cell

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "../../etc/passwd", "/abs/net.py:Net", "a\\b", ".hidden", "..", ".", "", " ", "-rf", "nul", "CON.txt", "com1",
    "x" * 300, "é" * 200, "net.py:Net[name=" + "ü" * 250 + "]", "a\nb", "a\0b", "\udcfcber", "ends.", "a/../b",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_makes_one_part_of_a_path(text: str, tmp_path: Path) -> None:
    name = file_name(text)
    assert 0 < len(name.encode()) <= LONGEST
    assert (tmp_path / name).parent == tmp_path
    assert name == Path(name).name
    assert name[0] not in ".-"
    assert ".." not in name
    (tmp_path / name).mkdir()
    (tmp_path / f"{name}-importances.png.tmp-1234567").write_text("")


def test_other_texts_are_other_names() -> None:
    names = [file_name(text) for text in (*HOSTILE, "a_b", "a b", "a:b", "x" * 301)]
    assert len(set(names)) == len(names)


def test_a_short_plain_text_is_its_own_name() -> None:
    for text in ("unet_s", "mednext_tiny[sem=none,widths=24-57-145-258]", "acdc-phantom-0123456789ab", "x" * LONGEST):
        assert file_name(text) == text


def test_committed_records_lie_where_their_cells_are_looked_for() -> None:
    """Of the built-in models; so results of earlier versions are reused."""
    folders = find_records(ROOT / "results" / "example" / "records")
    assert folders
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        expected = cell_folder(Path("r"), record["cell"], record["model"]["name"])
        assert expected.parts[-3:] == folder.parts[-3:]


def test_a_long_or_hostile_name_stays_below_the_results(tmp_path: Path) -> None:
    cell = Cell("a/../../b" + "c" * 300, "f", {"kind": "real"}, "s", "p", None, {"name": "m"}, {}, 0)
    folder = cell_folder(tmp_path, asdict(cell), "../../net.py:Net[name=" + "y" * 400 + "]")
    folder.mkdir(parents=True)
    assert folder.resolve().relative_to(tmp_path.resolve()).parts[0] == "runs"
    assert len(folder.relative_to(tmp_path).parts) == 4
    assert units_path(tmp_path, "../" * 3 + "x", "f").parent == tmp_path / "units"


@pytest.mark.parametrize(("dataset", "model"), [("development", "unet_s"), ("acdc", "tuning")])
def test_a_name_under_which_no_results_are_looked_for_is_refused(dataset: str, model: str) -> None:
    cell = {"dataset": dataset, "source": {"kind": "real"}, "seed": 0}
    with pytest.raises(UserError, match=r"cannot be called '(development|tuning)': .*\. Rename it\."):
        cell_folder(Path("results"), cell, model)
