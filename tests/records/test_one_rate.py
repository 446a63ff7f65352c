"""Of cells that differ in their rate of the grid alone one stands, and the others are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.records.one_rate import one_rate_each


def stored(key: str, seed: int, tuned: dict[str, Any] | None, fold: int | None = None) -> tuple[Path, dict[str, Any]]:
    cell = {
        "dataset": "acdc",
        "fingerprint": "f",
        "source": {"kind": "real"},
        "split": "s",
        "parts": "p",
        "fold": fold,
        "model": {"name": "unet_s", "config": {}, "version": 1},
        "protocol": {"steps": 1},
        "seed": seed,
        "tuned": tuned,
    }
    return Path(key), {"key": key, "status": "complete", "cell": cell, "model": {"name": "unet_s"}, "comparison": "c"}


def grid(rate: float, chosen: bool) -> dict[str, Any]:
    return {"grid": [3e-4, 1e-3], "lr": rate, "weight_decay": 0.05, "chosen": chosen}


def test_a_chosen_rate_stands_and_the_middle_of_the_grid_gives_way() -> None:
    records = [stored("a", 0, grid(1e-3, False)), stored("b", 0, grid(3e-4, True)), stored("c", 1, grid(1e-3, False))]
    kept, notes = one_rate_each(records)
    assert [record["key"] for _, record in kept] == ["b"], "a row is not a mean over two rates: seed 1 is missing"
    (note,) = notes
    assert note.startswith("Left out: a and 1 more, trained with the rate 0.001; the cells of unet_s with 0.0003 stand")


def test_of_two_chosen_rates_the_one_with_more_seeds_stands_in_all_of_them() -> None:
    records = [stored(f"{rate:g}-{seed}", seed, grid(rate, True)) for seed in range(4) for rate in (3e-4, 1e-3)]
    records += [stored("more", 4, grid(1e-3, True))]
    kept, notes = one_rate_each(records)
    assert {record["cell"]["tuned"]["lr"] for _, record in kept} == {1e-3}
    assert [record["cell"]["seed"] for _, record in kept] == [0, 1, 2, 3, 4]
    assert len(notes) == 1


def test_what_has_no_grid_or_another_seed_or_fold_is_left_alone() -> None:
    records = [stored("a", 0, None), stored("b", 0, None), stored("c", 0, grid(1e-3, True), 0)]
    records += [stored("d", 0, grid(1e-3, True), 1), stored("e", 1, {"trials": 2, "lr": 1.0, "weight_decay": 0.0})]
    assert one_rate_each(records) == (records, [])
