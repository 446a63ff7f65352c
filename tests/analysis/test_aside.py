"""What a results table sets aside: arms of ablations and seeds that only some rows have; always with a word on it."""

from __future__ import annotations

import pandas as pd

from bench.analysis.aside import common_seeds, set_aside


def cells_of(**seeds: tuple[int, ...]) -> pd.DataFrame:
    names = {"full": "mednext_tiny", "arm": "mednext_tiny[sem=none]", "deep": "mednext_tiny[depths=1-1-2-1]"}
    rows = [
        {
            "model": names.get(name, name),
            "title": name,
            "family": "proposed" if name in names else "cnn",
            "status": "complete",
            "seed": seed,
        }
        for name, own in seeds.items()
        for seed in own
    ]
    return pd.DataFrame(rows)


def test_the_seeds_of_a_null_arm_leave_the_other_rows_ranked() -> None:
    shown, notes = set_aside(cells_of(full=(0, 1, 2, 3, 4, 5), unet_s=(0, 1, 2), nnunet_s=(0, 1, 2)), ())
    assert sorted(shown.loc[shown["model"] == "mednext_tiny", "seed"]) == [0, 1, 2]
    assert notes == ("Seeds that not all rows have are left out: full 3, 4, 5.",)


def test_a_row_that_lacks_seeds_still_lacks_them() -> None:
    cells = cells_of(full=(0, 1, 2), unet_s=(0, 1))
    shown, notes = set_aside(cells, ())
    assert len(shown) == len(cells)
    assert notes == ()
    assert common_seeds(cells) == {0, 1, 2}


def test_arms_are_set_aside_unless_asked_for_and_other_configs_never() -> None:
    cells = cells_of(full=(0,), arm=(0,), deep=(0,), unet_s=(0,))
    shown, notes = set_aside(cells, ())
    assert set(shown["model"]) == {"mednext_tiny", "mednext_tiny[depths=1-1-2-1]", "unet_s"}
    assert notes == ("Not shown: 1 arms of ablations (medbench ablate --show; here with --arms).",)
    for asked in (None, {"mednext_tiny[sem=none]"}):
        assert len(set_aside(cells, asked)[0]) == len(cells)


def test_an_arm_without_its_full_model_stays() -> None:
    cells = cells_of(arm=(0,), unet_s=(0,))
    assert len(set_aside(cells, ())[0]) == 2
