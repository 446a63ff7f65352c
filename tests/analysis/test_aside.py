"""What a results table sets aside: arms of ablations and seeds that only some rows have; always with a word on it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from few_records import copy_example
from test_comparison import cases, cell
from views import view_text

from bench.analysis.aside import common_seeds, set_aside
from bench.analysis.comparison import Table, summarise
from bench.records.choice import Choice
from bench.report.render import results_tables, to_csv


def cells_of(**seeds: tuple[int, ...]) -> pd.DataFrame:
    names = {"full": "mednext_tiny", "arm": "mednext_tiny[sem=none]", "deep": "mednext_tiny[depths=1-1-2-1]"}
    rows = [
        {
            "model": names.get(name, name),
            "title": name,
            "family": "proposed" if name in names else "cnn",
            "status": "complete",
            "seed": seed,
            "version": 1,
            "comparison": "c1",
        }
        for name, own in seeds.items()
        for seed in own
    ]
    return pd.DataFrame(rows)


def test_the_seeds_of_a_null_arm_leave_the_other_rows_ranked() -> None:
    shown, notes = set_aside(cells_of(full=(0, 1, 2, 3, 4, 5), unet_s=(0, 1, 2), nnunet_s=(0, 1, 2)), ())
    assert sorted(shown.loc[shown["model"] == "mednext_tiny", "seed"]) == [0, 1, 2]
    assert notes == ("Seeds that not all rows have are left out: full 3, 4, 5.",)


def test_the_seeds_of_a_null_arm_are_left_out_beside_one_baseline_too() -> None:
    shown, notes = set_aside(cells_of(full=(0, 1), arm=(0,), unet_s=(0,)), ())
    assert shown[["model", "seed"]].values.tolist() == [["mednext_tiny", 0], ["unet_s", 0]]
    assert notes[1:] == ("Seeds that not all rows have are left out: full 1.",)
    cells = cells_of(full=(0, 1, 2), arm=(0,), unet_s=(0, 1, 2))
    assert len(set_aside(cells, ())[0]) == 6, "three seeds of a run, one of an ablation"
    assert len(set_aside(cells_of(full=(0, 1, 2), arm=(0,)), ())[0]) == 3
    shown, notes = set_aside(cells_of(full=(0, 1, 2, 3), arm=(0, 1), unet_s=(0, 1, 2)), ())
    assert len(shown) == 6, "one of the seeds beyond the arm's is of the run, one of the null arm"
    assert notes[1:] == ("Seeds that not all rows have are left out: full 3.",)


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
    assert notes == ("Not shown: 1 arms of ablations (medbench ablate show, medbench report --arms).",)
    for asked in (None, {"mednext_tiny[sem=none]"}):
        assert len(set_aside(cells, asked)[0]) == len(cells)


def test_an_arm_without_its_full_model_stays() -> None:
    cells = cells_of(arm=(0,), unet_s=(0,))
    assert len(set_aside(cells, ())[0]) == 2


def of_two_versions(asked: tuple[str, ...] | None = ()) -> Table:
    """An older version of the full model, the newer one with a null arm and an arm of an ablation, and a rival."""
    full = {"family": "proposed", "title": "OURS"}
    rows = [
        *((cell("mednext_tiny", seed, version=1, key=f"old{seed}", **full), 0.5) for seed in range(3)),
        *((cell("mednext_tiny", seed, version=5, key=f"new{seed}", **full), 0.7) for seed in range(6)),
        *((cell("mednext_tiny[sem=none]", seed, version=5, key=f"arm{seed}", **full), 0.9) for seed in range(3)),
        *((cell("unet_s", seed), 0.6) for seed in range(3)),
    ]
    frame = pd.DataFrame([row for one, base in rows for row in cases(one, base)])
    (found,) = summarise(pd.DataFrame([one for one, _ in rows]), frame, kept=asked)
    return found


def test_arms_are_set_aside_beside_several_versions_and_seeds_by_version() -> None:
    found = of_two_versions()
    assert found.frame["Model"].to_list() == ["OURS v5", "UNET_S", "OURS v1"]
    assert set(found.frame["Seeds"]) == {"3"}
    assert set(found.sure.gaps) == {"UNET_S", "OURS v1"}, "the arm is in no family of comparisons"
    assert any(note.startswith("Not shown: 1 arms") for note in found.footnotes)
    assert "Seeds that not all rows have are left out: OURS v5 3, 4, 5." in found.footnotes
    assert found.marks.loc[0, "Dice % (strict)"] == "best"


def test_an_arm_that_was_asked_for_stays_beside_several_versions() -> None:
    for asked in (None, ("mednext_tiny[sem=none]",)):
        assert of_two_versions(asked).frame["Model"].to_list()[0] == "OURS [sem=none] v5"


def test_no_arm_competes_in_the_committed_tables_of_acdc(tmp_path: Path) -> None:
    """Of the published networks two stand for all: tests/test_example.py compares the whole tables."""
    models = ("mednext_tiny", "mednext_tiny[sem=none]", "mednext_tiny[laffn=none]", "unet_s", "nnunet_s")
    example = copy_example(tmp_path / "example", models)
    (found,) = [
        table
        for table in results_tables(example, choice=Choice(dataset="acdc"))[0]
        if ", preset standard," in table.where
    ]
    assert not [title for title in found.frame["Model"] if "=none" in title]
    assert len(found.sure.gaps) == 2, "the two networks"
    assert "=none" not in view_text("conventions", example, dataset="acdc").partition("preset standard,")[2]
    assert "[sem=none]" not in to_csv([found])
