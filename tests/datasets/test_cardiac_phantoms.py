"""Drawn hearts: the same seed gives the same bytes, and the anatomy holds in every stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bench.datasets.base import RawCase
from bench.datasets.phantoms import cardiac
from bench.datasets.readers.acdc import SPEC
from bench.datasets.splits.assignment import assign, load_split

RV, MYO, LV = 1, 2, 3


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[RawCase]:
    folder = tmp_path_factory.mktemp("phantoms")
    cardiac.draw(folder)
    assert SPEC.find_layout(folder) == "nifti"
    return list(SPEC.read_cases(folder, "nifti"))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    one = {"train": 1}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        cardiac.draw(tmp_path / name, seed, one)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")
    assert sorted(tree(tmp_path / "a"))[0] == "training/patient001/Info.cfg"
    assert len(tree(tmp_path / "a")) == 5


@pytest.mark.slow
def test_a_patient_does_not_depend_on_the_others(tmp_path: Path) -> None:
    cardiac.draw(tmp_path / "few", patients={"train": 2})
    cardiac.draw(tmp_path / "more", patients={"val": 1, "train": 3})
    few, more = tree(tmp_path / "few"), tree(tmp_path / "more")
    assert all(more[name] == content for name, content in few.items())


@pytest.mark.slow
def test_counts_by_part(cases: list[RawCase]) -> None:
    counts = assign(cases, load_split("acdc", "mtunet")).counts
    assert {part: c["present_patients"] for part, c in counts.items()} == cardiac.PATIENTS
    assert all(c["cases"] == 2 * c["present_patients"] for c in counts.values())


@pytest.mark.slow
def test_sizes_and_spacing(cases: list[RawCase]) -> None:
    for c in cases:
        assert 7 <= c.image.shape[0] <= 9
        assert all(120 <= n <= 150 for n in c.image.shape[1:])
        assert c.spacing is not None
        assert 8 <= c.spacing[0] <= 10
        assert 1.4 <= c.spacing[1] == c.spacing[2] <= 1.7
        assert set(np.unique(c.label)) == {0, 1, 2, 3}
        assert c.image.min() >= 0
        assert 100 < c.image.max() < 2000


def grown(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask, np.ones((1, 3, 3), bool))


@pytest.mark.slow
def test_the_lv_is_enclosed_by_myocardium(cases: list[RawCase]) -> None:
    for c in cases:
        around = grown(c.label == LV) & (c.label != LV)
        assert set(np.unique(c.label[around])) == {MYO}, c.case


def test_the_rv_touches_the_myocardium_and_ends_before_the_apex(cases: list[RawCase]) -> None:
    for c in cases:
        heights = {k: np.flatnonzero((c.label == k).any(axis=(1, 2))) for k in (RV, LV)}
        for z in heights[RV]:
            assert (grown(c.label == RV) & (c.label == MYO))[z].any(), (c.case, z)
        assert heights[RV].max() < heights[LV].max(), c.case


def test_the_lv_tapers_towards_the_apex(cases: list[RawCase]) -> None:
    for c in cases:
        areas = (c.label == LV).sum(axis=(1, 2))
        present = np.flatnonzero(areas)
        assert areas[present[-1]] < 0.7 * areas[present[0]], c.case


def test_end_systole_has_smaller_cavities_and_a_thicker_wall(cases: list[RawCase]) -> None:
    def thickness(c: RawCase) -> float:
        """Myocardium's area over the length of its middle line, in the middle of the ventricle."""
        z = int(np.flatnonzero((c.label == LV).any(axis=(1, 2))).mean())
        inner, outer = (np.sqrt((c.label[z] >= k).sum() / np.pi) for k in (LV, MYO))
        return outer - inner

    for ed, es in zip(cases[::2], cases[1::2], strict=True):
        assert (ed.patient, ed.case[-2:], es.case[-2:]) == (es.patient, "ED", "ES")
        for cavity in (LV, RV):
            assert (es.label == cavity).sum() < (ed.label == cavity).sum(), ed.case
        assert thickness(es) > thickness(ed), ed.case


def test_there_are_slices_without_structures_at_both_ends(cases: list[RawCase]) -> None:
    present = [(c.label > 0).any(axis=(1, 2)) for c in cases]
    assert all(not p[-1] for p in present)
    assert any(not p[0] for p in present)
    assert any(p[0] for p in present)
    assert all(np.diff(np.flatnonzero(p)).max() == 1 for p in present)  # no hole within a heart


def test_blood_is_brighter_than_muscle_but_not_everything_bright_is_a_ventricle(cases: list[RawCase]) -> None:
    for c in cases:
        lv, myo = (np.median(c.image[c.label == k]) for k in (LV, MYO))
        assert lv > 1.4 * myo, c.case
        assert (c.image[c.label == 0] > 0.9 * lv).sum() > 200, c.case
