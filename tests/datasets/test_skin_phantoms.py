"""Phantoms of MSLD: their files, their subjects, and how hard they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from probes import SIDE, accuracies

from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import skin
from bench.datasets.readers.msld import SPEC
from bench.datasets.splits.assignment import assign, make_split


def originals(folder: Path) -> list[Path]:
    return sorted((folder / "Original Images").rglob("*.jpg"))


@pytest.mark.slow
def test_the_same_seed_draws_the_same_and_another_does_not(tmp_path: Path) -> None:
    for name, seed, subjects in (("a", 1, 2), ("b", 1, 3), ("c", 2, 2)):
        (tmp_path / name).mkdir()
        skin.draw(tmp_path / name, seed, subjects, copies=1)
    content = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.jpg")}
        for name in "abc"
    }
    assert all(content["b"][path] == picture for path, picture in content["a"].items())
    assert not set(content["a"].values()) & set(content["c"].values())


@pytest.mark.slow
def test_every_split_can_be_made_of_them(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    skin.draw(tmp_path / "raw", 0, copies=2)
    data = prepare(SPEC, tmp_path / "raw", tmp_path / "root", kind="phantom")
    assert data.layout == "originals+augmented"
    assert {shape for case in data.cases for shape in [case.shape]} == {(3, skin.SIDE, skin.SIDE)}
    views = {case.patient: 0 for case in data.cases}
    for case in data.cases:
        views[case.patient] += case.case.count("_") == 1
    assert len(views) == 2 * skin.SUBJECTS
    assert min(views.values()) >= 1
    assert max(views.values()) > 1
    for name in SPEC.splits:
        counts = assign(data.cases, make_split(SPEC, data, name)).counts
        assert all(part["cases"] for part in counts.values()), name


@pytest.mark.slow
def test_views_of_a_subject_resemble_each_other_more_in_colour_than_those_of_others(tmp_path: Path) -> None:
    skin.draw(tmp_path, 0, copies=0)
    means: dict[str, list[np.ndarray]] = {}
    for path in originals(tmp_path):
        means.setdefault(path.stem.split("_")[0], []).append(np.asarray(Image.open(path)).mean((0, 1)))
    within = [np.std(found, axis=0).mean() for found in means.values() if len(found) > 1]
    between = np.std([np.mean(found, axis=0) for found in means.values()], axis=0).mean()
    assert np.mean(within) < 0.6 * between


# -- how hard it is ------------------------------------------------------------------------------------------

MANY = 120


def pixels(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 3, SIDE, SIDE), labels and whether the subject is held out: a third of them."""
    skin.draw(folder, seed, MANY, copies=0)
    paths = originals(folder)
    small = [np.asarray(Image.open(p).resize((SIDE, SIDE), Image.Resampling.BOX)).transpose(2, 0, 1) for p in paths]
    subjects = [int(path.stem.split("_")[0].removeprefix("N").removeprefix("M")) for path in paths]
    labels = np.array([path.stem.startswith("M") for path in paths]).astype(int)
    return np.stack(small).astype(np.float32), labels, np.array(subjects) % 3 == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cnn_learns_the_classes_on_other_subjects_and_a_linear_probe_does_not(tmp_path: Path, seed: int) -> None:
    linear, cnn = accuracies(*pixels(tmp_path, seed))
    print(f"seed {seed}: linear {linear:.3f}, CNN {cnn:.3f}")
    assert linear <= 0.75
    assert 0.85 <= cnn <= 0.97
