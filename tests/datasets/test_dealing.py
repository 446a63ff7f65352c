"""Dealing groups to parts: shares, classes, and that nothing depends on the order."""

from __future__ import annotations

import numpy as np
import pytest

from bench.datasets.splits.dealing import SHARES, by_part, deal, deal_randomly, order


def shares(groups: dict[str, dict[int, int]], parts: dict[str, str], label: int) -> dict[str, float]:
    total = sum(sizes.get(label, 0) for sizes in groups.values())
    return {p: sum(s.get(label, 0) for n, s in groups.items() if parts[n] == p) / total for p in SHARES}


def blocks(per_class: int) -> dict[str, dict[int, int]]:
    return {f"{label}-{i}": {label: 15} for label in (0, 1) for i in range(per_class)}


@pytest.mark.parametrize("per_class", [14, 40, 84])
def test_the_shares_of_each_class_are_60_15_25(per_class: int) -> None:
    groups = blocks(per_class)
    parts = deal(groups, "seed", slack=15)
    assert set(parts) == set(groups)
    for label in (0, 1):
        found = shares(groups, parts, label)
        assert all(abs(found[part] - share) < 1.01 / per_class for part, share in SHARES.items())


@pytest.mark.parametrize("per_class", range(3, 10))
def test_from_three_groups_on_every_part_gets_each_class(per_class: int) -> None:
    groups = blocks(per_class)
    parts = deal(groups, "seed", slack=15)
    assert all(min(shares(groups, parts, label).values()) > 0 for label in (0, 1))


def test_groups_of_all_sizes_and_both_classes_keep_near_the_shares() -> None:
    rng = np.random.default_rng(0)
    groups = blocks(60) | {
        f"m{i}": {0: 15 * int(rng.integers(1, 5)), 1: 15 * int(rng.integers(1, 5))} for i in range(8)
    }
    parts = deal(groups, "seed", slack=15)
    for label in (0, 1):
        assert all(abs(shares(groups, parts, label)[part] - share) < 0.03 for part, share in SHARES.items())


def test_a_group_too_large_for_a_small_part_trains() -> None:
    groups = blocks(10) | {"giant": {0: 150, 1: 150}}
    parts = deal(groups, "seed", slack=15)
    assert parts["giant"] == "train"
    assert set(parts.values()) == set(SHARES)


def test_neither_order_nor_a_lacking_name_moves_the_others() -> None:
    groups = blocks(20)
    parts = deal(groups, "seed", slack=15)
    assert deal(dict(reversed(groups.items())), "seed", slack=15) == parts
    assert deal(groups, "other", slack=15) != parts
    names = [str(i) for i in range(50)]
    shuffled = order(names, "seed")
    assert shuffled != names
    assert order(names[::-1], "seed") == shuffled
    assert order([n for n in names if n != "7"], "seed") == [n for n in shuffled if n != "7"]


def test_random_parts_are_72_8_20_of_each_class() -> None:
    names = {0: [f"a{i}" for i in range(100)], 1: [f"b{i}" for i in range(300)]}
    parts = deal_randomly(names, "seed")
    for label, members in names.items():
        counts = {p: sum(parts[n] == p for n in members) for p in SHARES}
        assert counts == {p: s * (label * 2 + 1) for p, s in {"train": 72, "val": 8, "test": 20}.items()}
    assert deal_randomly({k: v[::-1] for k, v in names.items()}, "seed") == parts
    neighbours = sum(parts[f"b{i}"] != parts[f"b{i + 1}"] for i in range(299))
    assert 80 < neighbours < 180  # 2 x .2 x .8 ... of 299 by chance: about 130
    assert by_part(["a1", "a0"], parts.__getitem__)[parts["a0"]][-1] == "a0"
