"""Tiny ACDC folders in the three layouts, of the same synthetic volumes, and small slices of lungs' kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from small_slices import write_slices

Volumes = dict[str, tuple[np.ndarray, np.ndarray]]
Writer = Callable[[Path, Volumes], Path]
FRAMES = {"ED": 1, "ES": 9}


@pytest.fixture(scope="module", autouse=True)
def _whole_phantoms(whole_phantoms: dict[str, Any]) -> Iterator[None]:
    """As many phantoms as users get."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in whole_phantoms.items():
            patch.setattr(name, value)
        yield


@pytest.fixture
def volumes() -> Volumes:
    """Two patients outside the published lists (their stacks may have any height), each (3, 6, 5), ED and ES."""
    rng = np.random.default_rng(0)
    return {
        f"patient{patient}_{phase}": (
            rng.random((3, 6, 5)).astype(np.float32),
            rng.integers(0, 4, (3, 6, 5)).astype(np.uint8),
        )
        for patient in ("101", "102")
        for phase in ("ED", "ES")
    }


def save_nifti(path: Path, volume: np.ndarray) -> None:
    file = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([1.5, 1.25, 9, 1]))
    file.header.set_xyzt_units("mm", "sec")
    nibabel.save(file, path)


def write_nifti(folder: Path, volumes: Volumes) -> Path:
    for case, (image, label) in volumes.items():
        patient, phase = case.split("_")
        place = folder / "training" / patient
        place.mkdir(parents=True, exist_ok=True)
        (place / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: NOR\nHeight: 170.0\nNbFrame: 30\nWeight: 70.0\n")
        stem = f"{patient}_frame{FRAMES[phase]:02d}"
        save_nifti(place / f"{stem}.nii.gz", image)
        save_nifti(place / f"{stem}_gt.nii.gz", label)
    return folder


def save_h5(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["image"], file["label"] = image, label


def write_ssl4mis(folder: Path, volumes: Volumes) -> Path:
    """Patient 101 as slices, 102 as volumes."""
    for case, (image, label) in volumes.items():
        stem = case.replace("ED", "frame01").replace("ES", "frame02")
        if "101" in case:
            for z in range(len(image)):
                save_h5(folder / "data" / "slices" / f"{stem}_slice_{z + 1}.h5", image[z], label[z])
        else:
            save_h5(folder / "data" / f"{stem}.h5", image, label)
    return folder


def save_npz(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, img=image, label=label)


def write_mtunet(folder: Path, volumes: Volumes) -> Path:
    """Patient 101 as training slices, 102 as test volumes; labels as floats, as some of these files have them."""
    for case, (image, label) in volumes.items():
        number, phase = case.removeprefix("patient").split("_")
        if number == "101":
            for z in range(len(image)):
                path = folder / "ACDC" / "train" / f"case_{number}_slice{phase}_{z}.npz"
                save_npz(path, image[z], label[z].astype(np.float64))
        else:
            save_npz(folder / "ACDC" / "test" / f"case_{number}_volume_{phase}.npz", image, label.astype(np.float64))
    return folder


@pytest.fixture
def writers() -> dict[str, Writer]:
    """Layout name -> function that writes volumes in it."""
    return {"nifti": write_nifti, "ssl4mis": write_ssl4mis, "mtunet": write_mtunet}


@pytest.fixture
def source(writers: dict[str, Writer], volumes: Volumes, tmp_path: Path) -> Path:
    """The volumes as SSL4MIS has them."""
    return writers["ssl4mis"](tmp_path / "source", volumes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder of caches."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def five_slices(tmp_path: Path) -> Path:
    """Five slices of SARS-COV2-CT-Scan's kind."""
    return write_slices(tmp_path / "source", covid=(1, 2, 10), other=(3, 4))


@pytest.fixture(scope="module")
def many_slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight blocks of COVID and seven of the others, the last ones not full."""
    return write_slices(tmp_path_factory.mktemp("many"), covid=range(1, 118), other=range(1, 101))
