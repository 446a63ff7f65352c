"""SARS-COV2-CT-Scan: its two splits, and what is counted."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_slices import part_of, prepared, slice_pixels

from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import lung
from bench.datasets.readers.sars_cov2_ct import BLOCK, CLASSES, SPEC, find_layout, list_cases
from bench.datasets.splits.assignment import assign, make_split
from bench.errors import UserError


def block(name: str) -> tuple[bool, int]:
    return name.startswith("Non"), (int(name.split("(")[1][:-1]) - 1) // BLOCK


def copied(many_slices: Path, folder: Path) -> Path:
    """The same files under hard links, so that some may be taken away."""
    return shutil.copytree(many_slices, folder, copy_function=os.link)


def test_blocks_stay_together_and_every_class_is_shared_out(many_slices: Path, tmp_path: Path) -> None:
    data = prepared(many_slices, tmp_path)
    split = make_split(SPEC, data, "blocks")
    parts = part_of(split)
    assert sorted(parts) == sorted(case.case for case in data.cases)
    assert all(len({parts[n] for n in parts if block(n) == b}) == 1 for b in map(block, parts))
    for label, total in ((0, 100), (1, 117)):
        counts = Counter(parts[c.case] for c in data.cases if c.label == label)
        assert abs(counts["train"] / total - 0.6) < 0.15
        assert abs(counts["test"] / total - 0.25) < 0.15
        assert counts["val"] >= 10
    assert split.flag is None
    assert "cannot exclude it: patients unknown" in split.source


def test_blocks_that_share_near_duplicates_are_one_group(many_slices: Path, tmp_path: Path) -> None:
    """A COVID image comes again under another number, and under the other class."""
    folder = copied(many_slices, tmp_path / "source")
    before = part_of(make_split(SPEC, prepared(folder, tmp_path / "before"), "blocks"))
    across = {b: next(n for n in before if block(n) == b) for b in set(map(block, before))}
    apart = [n for n in across.values() if before[n] != before["Covid (20)"]]
    far, other = (next(n for n in apart if n.startswith(stem)) for stem in ("Covid", "Non"))
    for name in (far, other):
        path = folder / ("COVID" if name.startswith("Covid") else "non-COVID") / f"{name}.png"
        path.unlink()
        noise = np.random.default_rng(0).integers(-6, 7, (40, 48))
        pixels = (slice_pixels(201).astype(int) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    data = prepared(folder, tmp_path / "after")
    assert [set(group) for group in data.manifest["groups"]] == [{"Covid (20)", far, other}]
    parts = part_of(make_split(SPEC, data, "blocks"))
    tied = {block(n) for n in ("Covid (20)", far, other)}
    assert len({parts[n] for n in parts if block(n) in tied}) == 1


@pytest.mark.parametrize("name", SPEC.splits)
def test_the_order_of_the_files_is_of_no_account(name: str, many_slices: Path, tmp_path: Path) -> None:
    def shuffled(folder: Path, layout: str) -> object:
        cases = list_cases(folder, layout)
        random.Random(1).shuffle(cases)
        return cases

    first = make_split(SPEC, prepared(many_slices, tmp_path / "a"), name)
    spec = replace(SPEC, list_cases=shuffled)
    second = make_split(spec, prepare(spec, many_slices, tmp_path / "b"), name)
    assert part_of(first) == part_of(second)


def test_a_missing_file_moves_no_other_image_of_the_blocks(many_slices: Path, tmp_path: Path) -> None:
    full = part_of(make_split(SPEC, prepared(many_slices, tmp_path / "full"), "blocks"))
    folder = copied(many_slices, tmp_path / "source")
    for stem, numbers in (("COVID/Covid", (1, 17, 40, 41, 117)), ("non-COVID/Non-Covid", (15, 60, 99))):
        for number in numbers:
            (folder / f"{stem} ({number}).png").unlink()
    less = part_of(make_split(SPEC, prepared(folder, tmp_path / "less"), "blocks"))
    assert len(less) == len(full) - 8
    assert all(full[name] == part for name, part in less.items())


def test_random_80_20_is_flagged_and_splits_neighbours(many_slices: Path, tmp_path: Path) -> None:
    data = prepared(many_slices, tmp_path)
    split = make_split(SPEC, data, "random-80-20")
    assert split.flag == "images of one patient may stand in training and test"
    parts = part_of(split)
    counts = {label: Counter(parts[c.case] for c in data.cases if c.label == label) for label in (0, 1)}
    assert counts == {0: {"train": 72, "val": 8, "test": 20}, 1: {"train": 85, "val": 9, "test": 23}}
    assert len({parts[n] for n in parts if block(n) == (False, 0)}) > 1


def test_counts_have_no_official_list_and_partial_is_of_the_published_images(many_slices: Path, tmp_path: Path) -> None:
    data = prepared(many_slices, tmp_path)
    split = make_split(SPEC, data, "random-80-20")
    result = assign(data.cases, split)
    assert result.counts["test"] == {"present_patients": 43, "official_patients": None, "cases": 43}
    assert result.partial
    assert result.left_out == 0
    assert sorted(i for part in result.indices.values() for i in part) == list(range(217))
    assert not assign(data.cases, replace(split, official_cases=271)).partial  # 217 are 80.07 %
    assert assign(data.cases, replace(split, official_cases=272)).partial
    assert split.official_cases == 2481


def test_too_few_images_for_a_split_are_named(five_slices: Path, tmp_path: Path) -> None:
    data = prepared(five_slices, tmp_path)
    with pytest.raises(UserError, match="split 'blocks' to have every class in every part, but val has no image of"):
        make_split(SPEC, data, "blocks")
    with pytest.raises(UserError, match="Did you mean: blocks"):
        make_split(SPEC, data, "block")


def test_the_specification(many_slices: Path) -> None:
    assert set(SPEC.split_functions) == set(SPEC.splits) == set(SPEC.split_notes)
    assert SPEC.default_split == {find_layout(many_slices): "blocks"}
    assert (SPEC.classes, SPEC.phantom_version) == (CLASSES, lung.VERSION)
