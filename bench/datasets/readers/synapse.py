"""Synapse: 30 abdominal CTs of the BTCV challenge, as the 2-D literature uses them: eight organs, 18 / 12 patients.

Two layouts are recognised, and give the same cases (`case0005`):

- `transunet`: `train_npz/case0005_slice000.npz` (keys image, label) and `test_vol_h5/case0001.npy.h5`, clipped to
  [-125, 275] HU and scaled to [0, 1] by their authors; no spacing;
- `btcv`: the challenge's NIfTI, `img/img0001.nii.gz` and `label/label0001.nii.gz`, clipped and scaled here.

Files of one layout are in circulation in different label orders. Which one it is, is told by the word `transunet`,
`cascade` or `btcv` in a file `label_order.txt`, or seen from the anatomy: the liver is many times the pancreas. The
layout's name records it, every case is checked against it, and a case that contradicts it is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.datasets.base import DatasetSpec, RawCase
from bench.datasets.phantoms import abdomen
from bench.datasets.readers.files import check_image, check_label, read_h5, read_npz, readable
from bench.datasets.readers.folders import walk
from bench.datasets.readers.nifti import nifti_files, read_pair
from bench.datasets.readers.stacks import CaseFiles, ImageAndLabel, read_stack
from bench.errors import UserError

CLASSES = (
    "background", "aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach",
)  # fmt: skip
WINDOW = (-125.0, 275.0)
WINDOWING = f"clipped to [{WINDOW[0]:g}, {WINDOW[1]:g}] HU and scaled to [0, 1]"
# Order -> class of each id in the files. `cascade` numbers BTCV's organs after leaving five out, `btcv` leaves them in
# (oesophagus 5, vena cava 9, portal and splenic vein 10, adrenal glands 12 and 13), which here are background.
ORDERS = {
    "transunet": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "cascade": (0, 7, 4, 3, 2, 6, 5, 8, 1),
    "btcv": (0, 7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0),
}
ORDER_FILE = "label_order.txt"
_LIVER, _PANCREAS = CLASSES.index("liver"), CLASSES.index("pancreas")
_LEFT, _RIGHT = CLASSES.index("left kidney"), CLASSES.index("right kidney")
_LOOK = {
    "transunet": "transunet: train_npz/case0005_slice000.npz and test_vol_h5/case0001.npy.h5",
    "btcv": "btcv: img/img0001.nii.gz with label/label0001.nii.gz",
}
_NAMES = {
    "train_npz": re.compile(r"case(?P<patient>\d{4})_slice(?P<slice>\d{3})\.npz"),
    "test_vol_h5": re.compile(r"case(?P<patient>\d{4})\.npy\.h5"),
    "img": re.compile(r"img(?P<patient>\d{4})"),
}
_DEPTH = 4


def find_layout(folder: Path) -> str:
    """`transunet`, `btcv`, or `transunet, labels as cascade`: the files' form and the order of their labels.

    Raises:
        UserError: neither form, both, or an order that is neither told nor to be seen.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder with Synapse files, but {folder} is not a folder.")
    forms = {"btcv" if place.name == "img" else "transunet" for place, _ in _places(folder)}
    if not forms:
        raise UserError(f"Found no Synapse files in {folder}. Known layouts are {'; '.join(_LOOK.values())}.")
    if len(forms) > 1:
        raise UserError(f"Expected one Synapse layout in {folder}, but found transunet and btcv: give one's folder.")
    form = forms.pop()
    order = _order_told(folder) or _order_seen(folder, form)
    return form if order == form else f"{form}, labels as {order}"


def list_cases(folder: Path, layout: str) -> list[Callable[[], RawCase]]:
    """The cases of a folder in order of their names, each to be read and checked by a call.

    Raises:
        UserError: a slice or patient twice; from a call, a stack with a hole, a damaged file, or another label order.
    """
    form, _, order = layout.partition(", labels as ")
    read = _read_btcv if form == "btcv" else _read_transunet
    return [partial(read, patient, files, order or form) for patient, files in sorted(_patients(folder).items())]


# -- files ---------------------------------------------------------------------------------------------------


def _places(folder: Path) -> Iterator[tuple[Path, list[tuple[re.Match[str], Path]]]]:
    """The folders that hold files of either form, with the matches of the files' names."""
    for place in walk(folder, _DEPTH):
        names = _NAMES.get(place.name)
        if names is None:
            continue
        files = nifti_files(place) if place.name == "img" else {path.name: path for path in sorted(place.iterdir())}
        matching = [(match, path) for name, path in files.items() if (match := names.fullmatch(name))]
        if matching:
            yield place, matching


def _patients(folder: Path) -> dict[str, CaseFiles]:
    """Patient -> the files of the case; of BTCV the image is the volume."""
    patients: dict[str, CaseFiles] = {}
    for place, matching in _places(folder):
        for match, path in matching:
            number = int(match["slice"]) if place.name == "train_npz" else None
            patients.setdefault(match["patient"], CaseFiles()).add(path, number)
    return patients


def _read_transunet(patient: str, files: CaseFiles, order: str) -> RawCase:
    """A volume, or a stack of slices; where both are there they have to be the same."""
    image, label = _stack(patient, files)
    paths = (*([files.volume] if files.volume else []), *files.slice_paths())
    return RawCase(f"case{patient}", patient, image, _in_our_order(paths[0], label, order), None, paths)


def _stack(patient: str, files: CaseFiles) -> ImageAndLabel:
    """Image and label as the files have them."""
    case, paths = f"case{patient}", files.slice_paths()
    missing = next((number for number in range(len(paths)) if number not in files.slices), None)
    if missing is not None:
        name = paths[0].with_name(f"{case}_slice{missing:03d}.npz")
        raise UserError(f"Expected the slices of {case} from 000 on, but {name} is missing: copy it anew.")
    stack = read_stack(case, paths, lambda path: _pair(path, read_npz(path, ("image", "label")))) if paths else None
    if files.volume is None:
        assert stack is not None
        return stack
    volume = _pair(files.volume, read_h5(files.volume, ("image", "label")), axes=3)
    if stack and not all(map(np.array_equal, stack, volume)):
        raise UserError(f"Expected the slices of {case} to be those of {files.volume}, but they differ.")
    return volume


def _pair(path: Path, arrays: Sequence[np.ndarray], axes: int = 2) -> ImageAndLabel:
    image, label = check_image(path, arrays[0], axes), arrays[1]
    if image.min() < -1e-3 or image.max() > 1 + 1e-3:
        raise UserError(
            f"Expected intensities from 0 to 1 in {path}, as TransUNet's files have them, but found "
            f"{image.min():g} to {image.max():g}: give raw CT as BTCV's NIfTI files."
        )
    return image, check_label(path, label, image.shape, len(ORDERS["btcv"]))


def _read_btcv(patient: str, files: CaseFiles, order: str) -> RawCase:
    image_path = files.volume
    assert image_path is not None
    place = next(parent for parent in image_path.parents if parent.name == "img").with_name("label")
    label_path = nifti_files(place).get(f"label{patient}", place / f"label{patient}.nii.gz")
    units, label, volume = read_pair(image_path, label_path, len(ORDERS["btcv"]))
    image = windowed(units)
    label, paths = _in_our_order(label_path, label, order), (image_path, label_path)
    return RawCase(f"case{patient}", patient, image, label, volume.spacing, paths, volume.doubt)


def windowed(units: np.ndarray) -> np.ndarray:
    """Hounsfield units -> float32 from 0 to 1, clipped to `WINDOW`."""
    low, high = WINDOW
    return ((np.clip(units, low, high) - low) / (high - low)).astype(np.float32)


# -- label orders --------------------------------------------------------------------------------------------


def _order_told(folder: Path) -> str | None:
    """The label order that a file `label_order.txt` names; None without one."""
    for path in sorted(folder.rglob(ORDER_FILE)):
        with readable(path):
            word = path.read_text(encoding="utf-8-sig", errors="replace").strip().lower()
        if word not in ORDERS:
            raise UserError(f"Expected {path} to hold {' or '.join(ORDERS)}, but it has {word[:40]!r}.")
        return word
    return None


def _order_seen(folder: Path, form: str) -> str:
    """The label order that the first case with enough organs shows; files without any label count as TransUNet's."""
    if form == "btcv":
        return "btcv"
    ids: set[int] = set()
    for patient, files in sorted(_patients(folder).items()):
        _, label = _stack(patient, files)
        counts = np.bincount(label.ravel(), minlength=len(ORDERS["btcv"]))
        ids |= set(np.flatnonzero(counts).tolist()) - {0}
        if counts[9:].any():
            return "btcv"
        if counts[5] and counts[6]:
            return "transunet" if counts[5] > counts[6] else "cascade"
    if ids:
        raise UserError(
            f"Expected liver and pancreas in a case of {folder}, from which the order of the labels is seen, but found "
            f"only the labels {', '.join(map(str, sorted(ids)))}: write {' or '.join(ORDERS)} into "
            f"{folder / ORDER_FILE}."
        )
    return "transunet"


def _in_our_order(path: Path, label: np.ndarray, order: str) -> np.ndarray:
    """The labels renumbered to `CLASSES`, after a check that anatomy does not contradict the order.

    Raises:
        UserError: an id that the order does not have, a pancreas larger than the liver, or a right kidney that lies
            farther from the liver than the left one.
    """
    highest = int(label.max(initial=0))
    if highest >= len(ORDERS[order]):
        raise UserError(
            f"Expected labels from 0 to {len(ORDERS[order]) - 1} in {path} (order {order}), but found {highest}."
        )
    label = np.array(ORDERS[order], dtype=np.uint8)[label]
    counts = np.bincount(label.ravel(), minlength=len(CLASSES))
    wrong = ""
    if counts[_LIVER] and counts[_PANCREAS] > counts[_LIVER]:
        wrong = f"the pancreas ({counts[_PANCREAS]} voxels) would be larger than the liver ({counts[_LIVER]})"
    elif counts[_LIVER] and counts[_LEFT] and counts[_RIGHT]:
        across = [np.flatnonzero((label == k).any((0, 1))).mean() for k in (_LIVER, _LEFT, _RIGHT)]
        down = [np.flatnonzero((label == k).any((0, 2))).mean() for k in (_LIVER, _LEFT, _RIGHT)]
        liver, left, right = np.array([across, down]).T
        if np.linalg.norm(right - liver) > np.linalg.norm(left - liver):
            wrong = "the right kidney would lie farther from the liver than the left one"
    if wrong:
        raise UserError(
            f"Expected the labels in {path} in the order {order}, as the other cases or {ORDER_FILE} have it, but then "
            f"{wrong}: keep files of one order in a folder."
        )
    return label


SPEC = DatasetSpec(
    name="synapse",
    title="Synapse",
    task="segmentation",
    channels=1,
    classes=CLASSES,
    has_published_classes=True,
    citation=(
        "B. Landman, Z. Xu, J. E. Igelsias, M. Styner, T. R. Langerak, A. Klein. MICCAI Multi-Atlas Labeling Beyond "
        "the Cranial Vault: Workshop and Challenge, 2015. doi:10.7303/syn3193805"
    ),
    licence="terms of use of Synapse, with registration",
    homepage="https://www.synapse.org/Synapse:syn3193805",
    how_to_get=(
        "The NIfTI files: register at https://www.synapse.org/Synapse:syn3193805: RawData.zip, folder Training",
        "Or the npz and h5 files: linked in datasets/README.md of https://github.com/Beckschen/TransUNet",
        "Then: medbench data prepare synapse --from DIR_OR_ZIP",
    ),
    splits=("transunet",),
    default_split={
        f"{form}{'' if order == form else f', labels as {order}'}": "transunet" for form in _LOOK for order in ORDERS
    },
    find_layout=find_layout,
    list_cases=list_cases,
    draw_phantom=abdomen.draw,
    phantom_version=abdomen.VERSION,
    intensities=windowed,
    windowing=WINDOWING,
    note=f"intensities are {WINDOWING} in both layouts, as the literature does",
)
