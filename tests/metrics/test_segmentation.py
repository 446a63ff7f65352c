"""Dice and HD95 against medpy and by hand; the empty policies by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics.cases import score_case
from bench.metrics.segmentation import assd, diagonal, dice, hd95, jaccard, nsd, precision, sensitivity

binary = pytest.importorskip("medpy.metric.binary", reason="medpy is the oracle: pip install medbench[check]")

NAMES = ("background", "RV", "Myo")
FACTS = ("class", "outcome", "reference", "predicted")


def sphere(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def adversarial() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shape = (7, 20, 24)
    empty, full = np.zeros(shape, bool), np.ones(shape, bool)
    ball = sphere(shape, (3, 9, 10), 5)
    one, line, corner, island, wall = (empty.copy() for _ in range(5))
    one[0, 0, 0] = line[3, 9, :] = corner[-1, -1, -1] = True
    island |= ball
    island[6, 19, 20:] = True
    wall[:, :, 0] = True
    hollow = ball & ~sphere(shape, (3, 9, 10), 3)
    return {
        "single voxel": (one, ball),
        "single voxels in opposite corners": (one, corner),
        "same voxel": (one, one),
        "thin line": (line, ball),
        "touching the image border": (wall, ball | corner),
        "touching each other": (wall, np.roll(wall, 1, axis=2)),
        "full": (full, ball),
        "both full": (full, full),
        "hollow": (hollow, ball),
        "far island": (island, ball),
        "disjoint": (wall, corner),
        "one slice": (ball[3:4], hollow[3:4]),
        "2-D": (ball[3], np.roll(hollow[3], 2, axis=0)),
        "1-D": (line[3, 9], ball[3, 9]),
    }


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = [rng.random(shape) < draw(st.sampled_from([0.02, 0.2, 0.5, 0.9])) for _ in range(2)]
    for mask in masks:
        mask[tuple(rng.integers(0, n) for n in shape)] = True
    spacing = tuple(draw(st.floats(0.3, 12)) for _ in shape)
    return masks[0], masks[1], spacing


@given(mask_pairs())
@settings(max_examples=150, deadline=None)
def test_random_masks_equal_medpy(pair: tuple[np.ndarray, np.ndarray, tuple[float, ...]]) -> None:
    prediction, reference, spacing = pair
    assert dice(prediction, reference) == pytest.approx(binary.dc(prediction, reference), abs=1e-9)
    assert hd95(prediction, reference) == pytest.approx(binary.hd95(prediction, reference), abs=1e-9)
    ours = hd95(prediction, reference, spacing)
    assert ours == pytest.approx(binary.hd95(prediction, reference, spacing), abs=1e-9)
    assert assd(prediction, reference, spacing) == pytest.approx(binary.assd(prediction, reference, spacing), abs=1e-9)
    assert jaccard(prediction, reference) == pytest.approx(binary.jc(prediction, reference), abs=1e-9)
    assert sensitivity(prediction, reference) == pytest.approx(binary.recall(prediction, reference), abs=1e-9)
    assert precision(prediction, reference) == pytest.approx(binary.precision(prediction, reference), abs=1e-9)


@pytest.mark.parametrize("name", adversarial())
@pytest.mark.parametrize("anisotropic", [False, True])
def test_adversarial_masks_equal_medpy(name: str, anisotropic: bool) -> None:
    prediction, reference = adversarial()[name]
    spacing = (10.0, 1.5625, 0.75)[-prediction.ndim :] if anisotropic else None
    expected = binary.hd95(prediction, reference, spacing)
    assert hd95(prediction, reference, spacing) == pytest.approx(expected, abs=1e-9)
    assert dice(prediction, reference) == pytest.approx(binary.dc(prediction, reference), abs=1e-9)
    expected = binary.assd(prediction, reference, spacing)
    assert assd(prediction, reference, spacing) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("spacing", "gap"), [(0.4, 5), (0.2, 10), (0.1, 20)])
def test_nsd_at_exactly_the_tolerance_is_the_same_wherever_the_structure_lies(spacing: float, gap: int) -> None:
    found = set()
    for shift in range(40):
        prediction, reference = np.zeros((2, 70, 3), bool)
        prediction[shift], reference[shift + gap] = True, True
        found.add(nsd(prediction, reference, (spacing, spacing), tolerance=2.0))
    assert found == {1.0}


@given(mask_pairs(), st.floats(0, 6))
@settings(max_examples=50, deadline=None)
def test_nsd_is_the_share_of_border_voxels_within_the_tolerance(
    pair: tuple[np.ndarray, np.ndarray, tuple[float, ...]], tolerance: float
) -> None:
    prediction, reference, spacing = pair
    surface = binary.__surface_distances
    both = np.concatenate([surface(prediction, reference, spacing), surface(reference, prediction, spacing)])
    if np.abs(both - tolerance).min() > 1e-9:
        assert nsd(prediction, reference, spacing, tolerance) == pytest.approx((both <= tolerance).mean(), abs=1e-9)
    assert nsd(prediction, reference, spacing, 1e6) == 1.0


def test_overlaps_by_hand() -> None:
    prediction, reference = np.array([1, 1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 1], bool)
    assert dice(prediction, reference) == pytest.approx(4 / 7)
    assert jaccard(prediction, reference) == pytest.approx(2 / 5)
    assert sensitivity(prediction, reference) == pytest.approx(2 / 4)
    assert precision(prediction, reference) == pytest.approx(2 / 3)


@given(mask_pairs())
@settings(max_examples=50, deadline=None)
def test_max_is_the_larger_directed_percentile(
    pair: tuple[np.ndarray, np.ndarray, tuple[float, ...]],
) -> None:
    prediction, reference, spacing = pair
    surface = binary.__surface_distances
    there = np.percentile(surface(prediction, reference, spacing), 95)
    back = np.percentile(surface(reference, prediction, spacing), 95)
    assert hd95(prediction, reference, spacing, "max") == pytest.approx(max(there, back), abs=1e-9)


def test_the_definitions_differ_by_hand() -> None:
    prediction, reference = np.zeros((1, 101), bool), np.zeros((1, 101), bool)
    reference[0, :20] = True
    prediction[0, [0, 100]] = True
    there, back = [0.0, 81.0], list(range(20))
    assert hd95(prediction, reference, definition="pooled") == pytest.approx(np.percentile(there + back, 95))
    assert hd95(prediction, reference, definition="max") == pytest.approx(0.95 * 81)


@given(mask_pairs(), st.floats(0.1, 20))
@settings(max_examples=50, deadline=None)
def test_symmetry_scale_and_translation(pair: tuple[np.ndarray, np.ndarray, tuple[float, ...]], factor: float) -> None:
    prediction, reference, spacing = pair
    assert dice(prediction, reference) == dice(reference, prediction)
    for definition in ("pooled", "max"):
        distance = hd95(prediction, reference, spacing, definition)
        assert hd95(reference, prediction, spacing, definition) == pytest.approx(distance, abs=1e-9)
        scaled = hd95(prediction, reference, [factor * s for s in spacing], definition)
        assert scaled == pytest.approx(factor * distance, rel=1e-9, abs=1e-9)
        padding = [(3, 1)] * prediction.ndim
        moved = hd95(np.pad(prediction, padding), np.pad(reference, padding), spacing, definition)
        assert moved == pytest.approx(distance, abs=1e-9)
        assert distance <= diagonal(prediction.shape, spacing) + 1e-9


def test_one_slice_is_not_a_plane() -> None:
    plane, hole = np.ones((9, 9), bool), np.ones((9, 9), bool)
    hole[4, 4] = False
    assert hd95(plane, hole) > hd95(plane[None], hole[None]) == 0.0


def test_empty_masks_are_nan() -> None:
    empty, one = np.zeros((3, 3), bool), np.eye(3, dtype=bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, one) == 0.0
    for distance in (hd95, assd, nsd):
        assert all(math.isnan(distance(*pair)) for pair in [(empty, one), (one, empty), (empty, empty)])
    assert math.isnan(jaccard(empty, empty))
    assert jaccard(empty, one) == sensitivity(empty, one) == precision(one, empty) == 0.0
    assert math.isnan(sensitivity(one, empty))
    assert math.isnan(precision(empty, one))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: dice(m.astype(int), m), "Expected prediction to be a boolean array, but got int64."),
        (lambda m: dice(m, [1]), "Expected reference to be a boolean array, but got list."),
        (lambda m: hd95(m, m[:2]), "Expected prediction to be of shape (2, 3), but got (3, 3)."),
        (lambda m: hd95(m, m, definition="x"), "Expected definition to be 'pooled' or 'max', but got 'x'."),
        (lambda m: hd95(m, m, (1.0,)), "Expected spacing to be 2 positive numbers, but got (1.0,)."),
        (lambda m: nsd(m, m, tolerance=-1), "Expected tolerance to be at least 0, but got -1."),
        (lambda m: hd95(m, m, (1, 0)), "Expected spacing to be 2 positive numbers, but got (1, 0)."),
        (
            lambda m: diagonal((2, 2), (1, math.nan)),
            "Expected spacing to be 2 positive numbers, but got (1, nan).",
        ),
        (lambda m: score_case(m, m, NAMES, None), "Expected prediction to be a uint8 array, but got bool."),
        (
            lambda m: score_case(m.astype(np.uint8) * 0, m.astype(np.uint8) * 3, NAMES, None),
            "Expected reference to be below 3 (classes), but got 3.",
        ),
    ],
)
def test_errors(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"Expected") as error:
        call(np.eye(3, dtype=bool))  # type: ignore[operator]
    assert str(error.value) == message


def test_diagonal_by_hand() -> None:
    assert diagonal((1, 4, 5)) == 5.0
    assert diagonal((2, 4, 5), (12.0, 1.0, 1.0)) == 13.0
    assert diagonal((1, 1, 1)) == 0.0
    corners = np.zeros((2, 3, 4, 5), bool)
    corners[0, 0, 0, 0] = corners[1, 2, 3, 4] = True
    assert hd95(corners[0], corners[1], (3.0, 2.0, 1.0)) == diagonal((3, 4, 5), (3.0, 2.0, 1.0))


def label_map(*filled: tuple[int, int]) -> np.ndarray:
    """(2, 4, 5) with label l at (0, 0, x) for each (l, x)."""
    labels = np.zeros((2, 4, 5), np.uint8)
    for label, x in filled:
        labels[0, 0, x] = label
    return labels


@pytest.mark.parametrize(
    ("predicted", "present", "outcome", "strict", "transunet"),
    [
        (True, True, "both", (0.0, 2.0, 4.0), (0.0, 2.0, 4.0)),
        (True, False, "invented", (0.0, 26**0.5, 13.0), (1.0, 0.0, 0.0)),
        (False, True, "missed", (0.0, 26**0.5, 13.0), (0.0, 0.0, 0.0)),
        (False, False, "absent", (None, None, None), (0.0, 0.0, 0.0)),
    ],
)
def test_policies_by_hand(
    predicted: bool, present: bool, outcome: str, strict: tuple[float, ...], transunet: tuple[float, ...]
) -> None:
    prediction = label_map(*([(1, 0)] if predicted else []))
    reference = label_map(*([(1, 2)] if present else []))
    spacing = (math.sqrt(169 - 36 - 64), 2.0, 2.0)  # the diagonal is 13 mm
    row = score_case(prediction, reference, NAMES, spacing)[0]
    columns = ("dice", "hd95_vox", "hd95_mm")
    further = {key: row.pop(key) for key in list(row) if not key.startswith(("dice", "hd95_", *FACTS))}
    overlap, vox, mm = strict
    assert further == {
        "jaccard_strict": overlap,
        "sensitivity_strict": 0.0 if present else None,
        "precision_strict": 0.0 if predicted else None,
        **{f"{name}_vox_strict": vox if vox is None else pytest.approx(vox) for name in ("hd95max", "assd")},
        **{f"{name}_mm_strict": mm if mm is None else pytest.approx(mm) for name in ("hd95max", "assd")},
        "nsd_vox_strict": overlap,  # two voxels and 4 mm apart: beyond both tolerances
        "nsd_mm_strict": overlap,
    }
    assert row == {
        "class": "RV",
        "outcome": outcome,
        "reference_voxels": int(present),
        "predicted_voxels": int(predicted),
        **{f"{c}_strict": None if v is None else pytest.approx(v) for c, v in zip(columns, strict, strict=True)},
        **{f"{c}_transunet": pytest.approx(v) for c, v in zip(columns, transunet, strict=True)},
    }


def test_case_has_a_row_per_foreground_class_and_no_mm_without_spacing() -> None:
    rows = score_case(label_map((1, 0), (2, 1)), label_map((1, 0), (2, 4)), NAMES, None)
    assert [row["class"] for row in rows] == ["RV", "Myo"]
    assert [row["dice_strict"] for row in rows] == [1.0, 0.0]
    assert [row["hd95_vox_strict"] for row in rows] == [0.0, 3.0]
    assert all(row[f"hd95_mm_{policy}"] is None for row in rows for policy in ("strict", "transunet"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("spacing", [None, (5.0, 1.5, 0.7)])
def test_all_classes_at_once_are_each_class_alone(threads: int, spacing: tuple[float, ...] | None) -> None:
    rng = np.random.default_rng(3)
    names = ("background", "a", "b", "c", "d")
    prediction, reference = (rng.integers(0, 5, (4, 9, 11), dtype=np.uint8) for _ in range(2))
    prediction[prediction == 4], reference[reference == 3] = 0, 0  # one missed, one invented
    for label, row in enumerate(score_case(prediction, reference, names, spacing, threads), start=1):
        masks = prediction == label, reference == label
        assert row["class"] == names[label]
        assert row["dice_strict"] == float(f"{dice(*masks):.9g}")  # the digits that records keep
        assert row["reference_voxels"] == masks[1].sum()
        if row["outcome"] == "both":
            for name, figure in (("hd95", hd95), ("assd", assd), ("nsd", nsd)):
                assert row[f"{name}_vox_strict"] == pytest.approx(figure(*masks), rel=5e-9)
            assert row["hd95max_vox_strict"] == pytest.approx(hd95(*masks, definition="max"), rel=5e-9)
            mm = None if spacing is None else pytest.approx(hd95(*masks, spacing), rel=5e-9)
            assert row["hd95_mm_strict"] == mm
            near = None if spacing is None else pytest.approx(nsd(*masks, spacing, tolerance=2.0), rel=5e-9)
            assert row["nsd_mm_strict"] == near


@pytest.mark.parametrize("shape", [(1, 9, 11), (9, 1, 11), (9, 11, 1), (1, 1, 11), (1, 11, 1), (1, 1, 1)])
def test_axes_of_a_single_voxel_are_left_out(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    prediction, reference = (rng.random(shape) < 0.7 for _ in range(2))
    prediction.flat[0] = reference.flat[0] = True
    sizes = (5.0, 1.5, 0.7)
    axes = [axis for axis in range(3) if shape[axis] > 1] or [2]
    plane = tuple(shape[axis] for axis in axes)
    row = score_case(prediction.astype(np.uint8), reference.astype(np.uint8), ("background", "a"), sizes)[0]
    masks = prediction.reshape(plane), reference.reshape(plane)
    assert row["hd95_mm_strict"] == pytest.approx(hd95(*masks, tuple(sizes[axis] for axis in axes)))
    assert row["nsd_vox_strict"] == pytest.approx(nsd(*masks, tolerance=1.0))
    assert row["dice_strict"] == pytest.approx(dice(*masks), rel=5e-9)
    missed = score_case(0 * prediction.astype(np.uint8), reference.astype(np.uint8), ("background", "a"), sizes)[0]
    assert missed["hd95_mm_strict"] == pytest.approx(diagonal(shape, sizes))
