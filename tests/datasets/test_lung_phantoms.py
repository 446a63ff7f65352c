"""Drawn lungs: the same seed gives the same bytes, only the finding tells the class, and seeing it takes a CNN."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from probes import SIDE, accuracies
from scipy import ndimage

from bench.datasets.phantoms import lung, thorax
from bench.errors import UserError

FOLDERS = {"non-COVID": "Non-Covid", "COVID": "Covid"}
HEIGHTS = (0.25, 0.4, 0.55, 0.7, 0.85)


def number(path: Path) -> int:
    return int(re.findall(r"\((\d+)\)", path.name)[0])


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Image.Image]]:
    """The default phantoms: class -> its images in the order of their numbers."""
    folder = tmp_path_factory.mktemp("phantoms")
    lung.draw(folder)
    found = {}
    for name, stem in FOLDERS.items():
        paths = sorted((folder / name).iterdir(), key=number)
        assert [p.name for p in paths] == [f"{stem} ({n}).png" for n in range(1, lung.PATIENTS * lung.SLICES + 1)]
        found[name] = [Image.open(p) for p in paths]
    return found


# -- files ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        lung.draw(tmp_path / name, seed, patients=1, slices=2)
    a, b, c = (tree(tmp_path / name) for name in "abc")
    assert a == b
    assert sorted(a) == sorted(c) == [f"{k}/{stem} ({n}).png" for k, stem in sorted(FOLDERS.items()) for n in (1, 2)]
    assert not set(a.values()) & set(c.values())
    assert len(set(a.values())) == 4


def test_a_patient_does_not_depend_on_the_others(tmp_path: Path) -> None:
    lung.draw(tmp_path / "few", patients=1, slices=2)
    lung.draw(tmp_path / "more", patients=2, slices=2)
    few, more = tree(tmp_path / "few"), tree(tmp_path / "more")
    assert len(more) == 2 * len(few)
    assert all(more[name] == content for name, content in few.items())


@pytest.mark.slow
def test_colour_modes_are_dealt_alike_to_both_classes_and_hold_grey(images: dict[str, list[Image.Image]]) -> None:
    modes = {name: [image.mode for image in found] for name, found in images.items()}
    assert modes["COVID"] == modes["non-COVID"]
    assert modes["COVID"].count("RGB") == modes["COVID"].count("RGBA")
    for image in (found[i] for found in images.values() for i in (0, lung.SLICES)):
        pixels = np.asarray(image)
        assert pixels.dtype == np.uint8
        assert (pixels[..., :3] == pixels[..., :1]).all()
        assert image.mode == "RGB" or (pixels[..., 3] == 255).all()


@pytest.mark.slow
def test_sizes_vary_and_do_not_tell_the_class(images: dict[str, list[Image.Image]]) -> None:
    sizes = {name: np.array([image.size for image in found]) for name, found in images.items()}
    for size in sizes.values():
        assert size.min() >= 140
        assert size.max() <= 440
        assert size[:, 0].std() > 25
        assert len(np.unique(size, axis=0)) > 30
    covid, other = sizes["COVID"].astype(float), sizes["non-COVID"].astype(float)
    for one, two in ((covid.prod(1), other.prod(1)), (covid[:, 0] / covid[:, 1], other[:, 0] / other[:, 1])):
        assert 0.3 < np.mean(one[:, None] > two) < 0.7  # the area under the ROC curve, for area and shape


@pytest.mark.slow
def test_slices_of_a_patient_resemble_each_other_as_real_ones_do(images: dict[str, list[Image.Image]]) -> None:
    small = [[np.ravel(i.convert("L").resize((64, 64))) for i in found] for found in images.values()]
    for found in small:
        correlation, n = np.corrcoef(found), np.arange(len(found))
        same = n[:, None] // lung.SLICES == n // lung.SLICES
        apart = np.abs(n[:, None] - n)
        assert 0.72 < np.median(correlation[same & (apart == 1)]) < 0.92
        assert np.median(correlation[same & (apart == 4)]) < np.median(correlation[same & (apart == 1)])
        assert 0.42 < np.median(correlation[~same]) < 0.66


# -- one slice -----------------------------------------------------------------------------------------------


def drawn(k: int, z: float, finding: str) -> np.ndarray:
    patient = lung.new_patient(np.random.default_rng([k, 0]), 1.1)
    return lung.slice_image(patient, z, finding, np.random.default_rng([k, 1])).astype(int)


def outline(k: int, z: float) -> np.ndarray:
    """The signed distance (mm) to the lungs in `drawn(k, z)`."""
    patient = lung.new_patient(np.random.default_rng([k, 0]), 1.1)
    y, x = lung._grid(patient, z, np.random.default_rng([k, 1]))
    return thorax.lungs(patient.body, z * patient.body.height, y, x)


@pytest.mark.slow
@pytest.mark.parametrize("finding", ["covid", "cap"])
def test_a_finding_brightens_the_lungs_and_nothing_else(finding: str) -> None:
    shares = []
    for k in range(8):
        for z in HEIGHTS:
            change, inside = drawn(k, z, finding) - drawn(k, z, "normal"), outline(k, z)
            assert change.min() >= -60  # ground glass is above the lung's tone, but a dark bronchus may now be seen
            assert not change[inside > 12].any()
            shares.append((change > 10).sum() / (inside < 0).sum())
    assert np.median(shares) > {"covid": 0.02, "cap": 0.05}[finding]
    assert np.mean(np.array(shares) > 0.002) > 0.9
    assert max(shares) < 0.5


@pytest.mark.slow
def test_consolidation_is_dense_and_ground_glass_lies_near_the_pleura() -> None:
    tones: dict[str, list[float]] = {"covid": [], "cap": []}
    rims: dict[str, list[float]] = {"covid": [], "cap": []}
    for k in range(8):
        patient = lung.new_patient(np.random.default_rng([k, 0]), 1.1)
        b, a = thorax.axes(patient.body, 0.5)
        for finding in tones:
            image = drawn(k, 0.5, finding)
            tones[finding] += list(image[image - drawn(k, 0.5, "normal") > 10])
            rims[finding] += [np.hypot(o.centre[1] / b, o.centre[2] / a) for o in patient.findings[finding]]
    assert np.median(tones["covid"]) < 150 < 180 < np.median(tones["cap"])
    assert np.median(rims["cap"]) < np.median(rims["covid"])


def test_a_finding_stays_where_it_is_between_neighbouring_slices() -> None:
    patient = lung.new_patient(np.random.default_rng(3), 1.1)
    changes = []
    for z in (0.5, 0.51):
        images = (lung.slice_image(patient, z, f, np.random.default_rng(4)) for f in ("cap", "normal"))
        cap, normal = (image[:170, :230].astype(int) for image in images)
        changes.append(cap - normal > 30)
    one, two = changes
    assert one.any()
    assert (one & two).sum() > 0.8 * (one | two).sum()


def test_lungs_are_dark_the_heart_is_bright_and_the_trachea_is_air() -> None:
    for k in range(8):
        patient = lung.new_patient(np.random.default_rng([k, 0]), 1.1)
        y, x = lung._grid(patient, 0.3, np.random.default_rng([k, 1]))
        image, inside = drawn(k, 0.3, "normal"), outline(k, 0.3)
        trachea = np.hypot(y - patient.body.spine + 28, x) < 5
        vertebra = np.hypot(y - patient.body.spine, x) < 10
        assert np.median(image[inside < -5]) < 115, k
        assert np.median(image[vertebra]) > 225, k
        assert np.median(image[trachea]) < np.median(image[inside < -5]), k
        low = drawn(k, 0.65, "normal")
        y, x = lung._grid(patient, 0.65, np.random.default_rng([k, 1]))
        assert np.median(low[np.hypot(y + 25, x - 10) < 15]) > 190, k


def test_two_lungs_widen_from_the_apex_and_the_heart_narrows_the_left_one() -> None:
    for k in range(8):
        areas = []
        for z in HEIGHTS:
            inside = thorax.smooth(outline(k, z), 3)
            pieces, count = ndimage.label(inside < 0)
            assert count == 2, (k, z)
            areas.append(np.bincount(pieces.ravel())[[pieces[len(pieces) // 2, 30], pieces[len(pieces) // 2, -30]]])
        assert sum(areas[0]) < sum(areas[2]), k
        assert areas[3][1] < areas[3][0], k  # the patient's left is on the right


def test_what_does_not_exist_is_refused() -> None:
    patient, rng = lung.new_patient(np.random.default_rng(0), 1.1), np.random.default_rng(0)
    with pytest.raises(UserError, match=r"Expected z in 0\.\.1 and a finding of normal, covid, cap, but got z=1\.5"):
        lung.slice_image(patient, 1.5, "normal", rng)
    with pytest.raises(UserError, match=r"but got z=0\.5 and 'flu'"):
        lung.slice_image(patient, 0.5, "flu", rng)


# -- how hard it is ------------------------------------------------------------------------------------------

MANY, EACH = 120, 3


def pixels(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 1, SIDE, SIDE), labels and whether the patient is held out: a third of them."""
    lung.draw(folder, seed, patients=MANY, slices=EACH)
    paths = [folder / name / f"{stem} ({n}).png" for name, stem in FOLDERS.items() for n in range(1, MANY * EACH + 1)]
    grey = [np.asarray(Image.open(p).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) for p in paths]
    held_out = np.tile(np.arange(MANY * EACH) // EACH % 3 == 0, 2)
    return np.stack(grey)[:, None].astype(np.float32), np.repeat([0, 1], MANY * EACH), held_out


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cnn_learns_the_classes_on_other_patients_and_a_linear_probe_does_not(tmp_path: Path, seed: int) -> None:
    linear, cnn = accuracies(*pixels(tmp_path, seed))
    print(f"seed {seed}: linear {linear:.3f}, CNN {cnn:.3f}")
    assert linear <= 0.75
    assert 0.85 <= cnn <= 0.97
