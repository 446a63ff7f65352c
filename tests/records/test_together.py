"""Many cells' rows read together are what each file's own are, and what is odd in one takes none of the others away."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from many_records import write_records
from stored_records import RECORDS, change_cases, cut

from bench.records import store


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real records of two networks on two tasks, of older and newer files."""
    folder = tmp_path_factory.mktemp("several")
    for place in ("acdc/unet_s", "acdc/unext", "msld/resnet10t"):
        shutil.copytree(RECORDS / place, folder / "runs" / place)
    return folder


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["key", "part", "weights", "case", "class"], kind="stable").reset_index(drop=True)


def test_rows_that_are_read_together_are_those_of_each_file(several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, cases = store.load_cells_and_cases(several)
    monkeypatch.setattr(store, "read_together", lambda *_: None)
    cells_alone, cases_alone = store.load_cells_and_cases(several)
    pd.testing.assert_frame_equal(cells, cells_alone)
    pd.testing.assert_frame_equal(in_order(cases), in_order(cases_alone))


def test_an_odd_file_among_many_is_named_and_the_others_stay(tmp_path: Path) -> None:
    assert write_records(tmp_path, models=2, seeds=2, settings=1, cases=4) == 20
    found = [path for path in sorted((tmp_path / "runs").rglob("record.json")) if "acdc" in str(path)]
    scores, twice, words, short = found

    def doubled(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([rows, rows.iloc[:1]])

    change_cases(scores, lambda rows: rows.assign(dice_strict="1.5"))
    change_cases(twice, doubled)
    change_cases(words, lambda rows: rows.assign(hd95_vox_strict="far"))
    cut(short.with_name("cases.csv"))
    cells, cases = store.load_cells_and_cases(tmp_path)
    assert len(cells) == cases["key"].nunique() == 16
    notes = cells.attrs["notes"]
    assert len(notes) == 4
    causes = ("1.5 as dice_strict", "has rows twice", "words in the column hd95_vox_strict", "was cut short")
    for path, cause in zip(found, causes, strict=True):
        assert sum(str(path.parent) in note and cause in note for note in notes) == 1, cause


def test_a_cell_of_other_cases_is_told_by_what_it_was_tested_on_not_by_the_order(several: Path) -> None:
    first = sorted((several / "runs" / "acdc" / "unet_s").rglob("cases.csv"))[0]
    rows = store.parse_cases(first.read_bytes(), "segmentation")
    shuffled = rows.iloc[np.random.default_rng(0).permutation(len(rows))].reset_index(drop=True)
    assert store.tested_as(rows) == store.tested_as(shuffled)
    assert store.tested_as(rows) != store.tested_as(rows.assign(case=rows["case"].replace(rows["case"].iloc[-1], "x")))
    assert store.tested_as(rows) != store.tested_as(rows.assign(reference_voxels=rows["reference_voxels"] + 1))
