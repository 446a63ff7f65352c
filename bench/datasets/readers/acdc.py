"""ACDC: cine MRI of the heart in end-diastole and end-systole, with RV, myocardium and LV labelled.

Three layouts are recognised by their files' names and places, and give the same cases (`patient001_ED`):

- `nifti`: the challenge's own tree, `patientXXX/Info.cfg` and `patientXXX_frameNN.nii.gz` + `_gt.nii.gz`;
- `ssl4mis`: HDF5 with keys image, label; frame01 is end-diastole, frame02 end-systole; no spacing;
- `mtunet`: npz with keys img, label, as MT-UNet, CASCADE and their successors use it; no spacing.

The layouts ssl4mis and mtunet were preprocessed by their authors (min-max to [0, 1]).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench.datasets.base import DatasetSpec, RawCase
from bench.datasets.phantoms import cardiac
from bench.datasets.readers.files import check_image, check_label, read_h5, read_npz, readable
from bench.datasets.readers.folders import walk
from bench.datasets.readers.nifti import nifti_files, read_pair
from bench.datasets.readers.stacks import CaseFiles, read_stack
from bench.datasets.splits.assignment import load_list
from bench.errors import UserError

CLASSES = ("background", "RV", "Myo", "LV")
_PHASES = {"ED": "ED", "ES": "ES", "01": "ED", "02": "ES"}
_LOOK = {
    "nifti": "nifti: [training/]patient001/Info.cfg with patient001_frame01.nii.gz and _gt.nii.gz",
    "ssl4mis": "ssl4mis: data/slices/patient003_frame01_slice_1.h5 and data/patient001_frame01.h5",
    "mtunet": "mtunet: [ACDC/]train/case_001_sliceED_0.npz and test/case_002_volume_ED.npz",
}
_DEPTH = 4  # of the folders in which patients or slices lie, as database/training or ACDC/train
_NAMES = {
    "nifti": re.compile(r"patient(?P<patient>\d{3})"),
    "ssl4mis": re.compile(r"patient(?P<patient>\d{3})_frame(?P<phase>\d\d)(?:_slice_(?P<slice>\d+))?\.h5"),
    "mtunet": re.compile(
        r"case_(?P<patient>\d{3})_(?P<volume>volume_)?(?(volume)|slice)(?P<phase>E[DS])"
        r"(?(volume)|_(?P<slice>\d+))\.npz"
    ),
}
_FIRST_SLICE = {"ssl4mis": 1, "mtunet": 0}
_FRAME = re.compile(r"(patient\d{3})_frame(?P<frame>\d+)(?P<label>_gt)?")


def find_layout(folder: Path) -> str:
    """Which of the three layouts a folder has, by the names and places of its files.

    Raises:
        UserError: the folder does not exist, has none of them, or more than one.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder with ACDC files, but {folder} is not a folder.")
    layouts = [layout for layout in _LOOK if next(_matches(folder, layout), None)]
    if not layouts:
        raise UserError(f"Found no ACDC files in {folder}. Known layouts are {'; '.join(_LOOK.values())}.")
    if len(layouts) > 1:
        raise UserError(
            f"Expected one ACDC layout in {folder}, but found {' and '.join(layouts)}: give the folder of one of them."
        )
    return layouts[0]


def list_cases(folder: Path, layout: str) -> list[Callable[[], RawCase]]:
    """The cases of a folder in order of their names, each to be read and checked by a call.

    Raises:
        UserError: a missing phase, frame or Info.cfg; from a call, a slice or volume that is missing or damaged.
    """
    if layout == "nifti":
        return [
            partial(_read_frame, patient, patient_folder, phase, frame)
            for patient, patient_folder in sorted(_patient_folders(folder).items())
            for phase, frame in _frames(patient_folder).items()
        ]
    return [partial(_read_case, *key, files, layout) for key, files in _case_files(folder, layout).items()]


def _case_name(patient: str, phase: str) -> str:
    return f"patient{patient}_{phase}"


def _matches(folder: Path, layout: str) -> Iterator[tuple[Path, re.Match[str]]]:
    """Paths that belong to a layout, with the parts of their names."""
    for searched in walk(folder, _DEPTH):
        for path in sorted(searched.iterdir()):
            match = _NAMES[layout].fullmatch(path.name)
            if match and path.is_dir() == (layout == "nifti") and (layout != "nifti" or _is_patient(path)):
                yield path, match


def _is_patient(folder: Path) -> bool:
    return (folder / "Info.cfg").is_file() or bool(_frame_files(folder))


def _frame_files(folder: Path) -> dict[tuple[int, bool], Path]:
    """(frame, whether its labels) -> file."""
    named = ((_FRAME.fullmatch(name), path) for name, path in nifti_files(folder).items())
    return {(int(match["frame"]), bool(match["label"])): path for match, path in named if match}


# -- nifti ---------------------------------------------------------------------------------------------------


def _patient_folders(folder: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path, match in _matches(folder, "nifti"):
        if match["patient"] in folders:
            raise UserError(f"Expected each patient once, but both {folders[match['patient']]} and {path} exist.")
        folders[match["patient"]] = path
    return folders


def _read_frame(patient: str, folder: Path, phase: str, frame: int) -> RawCase:
    files = _frame_files(folder)
    image_path = files[frame, False]
    label_path = files.get((frame, True))
    if label_path is None:
        missing = folder / f"{folder.name}_frame{frame:02d}_gt.nii.gz"
        raise UserError(
            f"File {missing} is missing: every frame needs its _gt labels "
            "(for an archive whose testing part has none, give the training folder alone)."
        )
    image, label, volume = read_pair(image_path, label_path, len(CLASSES))
    paths = (image_path, label_path)
    return RawCase(_case_name(patient, phase), patient, image, label, volume.spacing, paths, volume.doubt)


def _frames(folder: Path) -> dict[str, int]:
    """Frame numbers of ED and ES as Info.cfg gives them, checked against the files' names.

    In all published patients the lower frame is ED; another order would swap the phases between the layouts.
    """
    path = folder / "Info.cfg"
    if not path.exists() and not path.is_symlink():
        raise UserError(f"File {path} is missing: it says which frame is ED and which is ES.")
    with readable(path):
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    info = dict(re.findall(r"^\s*(ED|ES)\s*:\s*(\d+)\s*$", text, flags=re.MULTILINE))
    if set(info) != {"ED", "ES"}:
        raise UserError(
            f"Expected {path} to have the lines `ED: n` and `ES: n`, but it has {' and '.join(info) or 'neither'}."
        )
    ed, es = int(info["ED"]), int(info["ES"])
    if ed >= es:
        raise UserError(f"Expected {path} to have a lower frame for ED than for ES, but it has ED {ed} and ES {es}.")
    frames = sorted(frame for frame, is_label in _frame_files(folder) if not is_label)
    if frames != [ed, es]:
        raise UserError(f"Expected the frames {ed} and {es} that {path} names, but the files have frames {frames}.")
    return {"ED": ed, "ES": es}


# -- ssl4mis and mtunet --------------------------------------------------------------------------------------


def _case_files(folder: Path, layout: str) -> dict[tuple[str, str], CaseFiles]:
    """(patient, phase) -> the case's files, in order of the cases' names; both phases of every patient are there."""
    cases: dict[tuple[str, str], CaseFiles] = {}
    for path, match in _matches(folder, layout):
        if match["phase"] not in _PHASES:
            raise UserError(f"Expected frame01 (ED) or frame02 (ES), but found {path}.")
        files = cases.setdefault((match["patient"], _PHASES[match["phase"]]), CaseFiles())
        files.add(path, int(match["slice"]) if match["slice"] else None)
    for patient, phase in cases:
        missing = (patient, "ES" if phase == "ED" else "ED")
        if missing not in cases:
            case, absent = _case_name(patient, phase), _case_name(*missing)
            raise UserError(f"Expected {case} and {absent} in {folder}, but there is no file of {absent}.")
    return dict(sorted(cases.items()))


def _read_case(patient: str, phase: str, files: CaseFiles, layout: str) -> RawCase:
    """A volume where there is one, else the stack of all slices."""
    case = _case_name(patient, phase)
    if files.volume:
        image, label = _read_pair(files.volume, layout, axes=3)
        return RawCase(case, patient, image, label, None, (files.volume,))
    _check_complete(patient, phase, files.slices, layout)
    paths = files.slice_paths()
    image, label = read_stack(case, paths, partial(_read_pair, layout=layout, axes=2))
    return RawCase(case, patient, image, label, None, tuple(paths))


def _read_pair(path: Path, layout: str, axes: int) -> tuple[np.ndarray, np.ndarray]:
    if layout == "ssl4mis":
        image, label = read_h5(path, ("image", "label"))
    else:
        image, label = read_npz(path, ("img", "label"))
    image = check_image(path, image, axes)
    return image, check_label(path, label, image.shape, len(CLASSES))


MOST_SLICES = 1000  # far above any short-axis stack: a number beyond it is a stray file's


def _check_complete(patient: str, phase: str, slices: dict[int, Path], layout: str) -> None:
    """Rejects a stack with a hole; its published height is known for all 100 patients of the split lists."""
    case, first, last = _case_name(patient, phase), _FIRST_SLICE[layout], max(slices)
    if min(slices) < first:
        raise UserError(f"Expected slices from {first} on, but found {slices[min(slices)]}.")
    if last > MOST_SLICES:
        raise UserError(f"Expected at most {MOST_SLICES} slices of {case}, but found {slices[last]}.")
    published = load_list("acdc", "ssl4mis")["slices"].get(patient, {}).get(phase, 0)
    expected = range(first, max(last + 1, first + published))
    missing = [number for number in expected if number not in slices]
    if missing:
        example = slices[last]
        stem = example.name[: example.name.rindex("_") + 1]
        names = ", ".join(f"{stem}{number}{example.suffix}" for number in missing[:4])
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise UserError(
            f"Expected {len(expected)} slices of {case}, but {len(missing)} are missing in "
            f"{example.parent}: {names}{more}. Copy them from the original data set."
        )


SPEC = DatasetSpec(
    name="acdc",
    title="ACDC",
    task="segmentation",
    channels=1,
    classes=CLASSES,
    has_published_classes=True,
    citation=(
        "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al. Deep Learning Techniques for Automatic MRI "
        "Cardiac Multi-Structures Segmentation and Diagnosis: Is the Problem Solved? IEEE Transactions on "
        "Medical Imaging 37(11):2514-2525, 2018. doi:10.1109/TMI.2018.2837502"
    ),
    licence="CC BY-NC-SA 4.0",
    homepage="https://www.creatis.insa-lyon.fr/Challenge/acdc/",
    how_to_get=(
        "The NIfTI files: register at https://humanheart-project.creatis.insa-lyon.fr/database/: ACDC, training",
        "Or the HDF5 files of SSL4MIS: https://github.com/HiLab-git/SSL4MIS, folder data/ACDC",
        "Or the npz files of MT-UNet: linked in the readme of https://github.com/Dootmaan/MT-UNet",
        "Then: medbench data prepare acdc --from DIR",
    ),
    splits=("mtunet", "ssl4mis"),
    default_split={"nifti": "mtunet", "mtunet": "mtunet", "ssl4mis": "ssl4mis"},
    find_layout=find_layout,
    list_cases=list_cases,
    draw_phantom=cardiac.draw,
    phantom_version=cardiac.VERSION,
)
