"""SARS-COV2-CT-Scan: slices of chest CT of patients with and without COVID-19, from hospitals of São Paulo.

`COVID/Covid (N).png` and `non-COVID/Non-Covid (N).png`, 8-bit screenshots of many sizes. The files name no patient, and
neighbouring numbers are often neighbouring slices of one: a random split of the images, which most of the literature
uses, tests on patients that were trained on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.base import DatasetSpec, RawImage, Row, Split
from bench.datasets.phantoms import lung
from bench.datasets.readers.folders import class_places, image_files, read_image_case, single_place
from bench.datasets.splits.dealing import by_part, deal, random_split
from bench.datasets.splits.duplicates import join
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

CLASSES = ("non-COVID", "COVID")
BLOCK = 15
_LAYOUT = "folders"
_LOOK = "COVID/Covid (1).png and non-COVID/Non-Covid (1).png"
_STEM = ("Non-Covid", "Covid")
_NAME = re.compile(r"(?P<stem>(?:non-)?covid) ?\((?P<number>[0-9]{1,6})\)", re.IGNORECASE)
_FOLDERS = {"noncovid": 0, "covid": 1}
_SPLITS = {
    "blocks": (
        f"ours: runs of {BLOCK} consecutive numbers of a class, merged where they share near-duplicates, dealt about "
        "60/15/25 % by a constant seed; reduces leakage, cannot exclude it: patients unknown"
    ),
    "random-80-20": (
        "ours: 80/20 % of each class's images at random by a constant seed, as in most of the literature, whose lists "
        "are not published; validation is a fixed tenth of train"
    ),
}
_LEAK = "images of one patient may stand in training and test"


def find_layout(folder: Path) -> str:
    """`folders`, where the folder, or one inside it, has the two folders of the classes.

    Raises:
        UserError: no folder, no class folder in it, only one of them, or more than one pair.
    """
    _class_folders(folder)
    return _LAYOUT


def list_cases(folder: Path, layout: str) -> list[Callable[[], RawImage]]:
    """The images, class by class, in order of their numbers; each is its own patient, since patients are unknown.

    Raises:
        UserError: an empty class, or a file that is no image or has another name.
    """
    cases: list[Callable[[], RawImage]] = []
    for label, number, path in _files(folder):
        name = case_name(label, number)
        cases.append(partial(read_image_case, path, 1, Row(name, name, label)))
    return cases


def case_name(label: int, number: int) -> str:
    """The case's name `Covid (12)`, whatever case of letters and blanks the file's name has."""
    return f"{_STEM[label]} ({number})"


# -- files ---------------------------------------------------------------------------------------------------


def _class_folders(folder: Path) -> dict[int, Path]:
    """The folders of the classes, by label."""
    return single_place(folder, class_places(folder, _FOLDERS), CLASSES, "SARS-COV2-CT-Scan files", _LOOK)


def _files(folder: Path) -> list[tuple[int, int, Path]]:
    """(label, number, path) of every image, in that order."""
    files: dict[tuple[int, int], Path] = {}
    for label, place in _class_folders(folder).items():
        for path in image_files(place, CLASSES[label]):
            number = _number(path, label)
            if (label, number) in files:
                raise UserError(f"Expected each image once, but both {files[label, number]} and {path} exist.")
            files[label, number] = path
    return [(*key, files[key]) for key in sorted(files)]


def _number(path: Path, label: int) -> int:
    """The number in a file's name; a name of the other class is refused."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match["stem"].lower() != _STEM[label].lower() or int(match["number"]) == 0:
        raise UserError(f"Expected a name like `{case_name(label, 12)}{path.suffix}`, but found {path}.")
    return int(match["number"])


# -- splits --------------------------------------------------------------------------------------------------


def blocks(prepared: Prepared) -> Split:
    """Blocks of 15 consecutive numbers of a class, those that share near-duplicates as one, dealt about 60/15/25 %.

    A block counts as 15 images however many of them are there, so that a missing file moves no other image (unless it
    is the one through which two blocks hang together, or the only one of its block).
    """
    block_of = {case.case: _block(case.case) for case in prepared.cases}
    blocks_present = sorted(set(block_of.values()))
    position = {block: i for i, block in enumerate(blocks_present)}
    alike = [[position[block_of[case]] for case in group] for group in prepared.manifest["groups"]]
    sizes: dict[str, dict[int, int]] = {}
    group_of: dict[tuple[int, int], str] = {}
    for members in join(len(blocks_present), alike):
        joined = [blocks_present[i] for i in members]
        first_label, first_block = joined[0]
        name = case_name(first_label, BLOCK * first_block + 1)
        sizes[name] = {label: BLOCK * n for label, n in Counter(label for label, _ in joined).items()}
        group_of |= dict.fromkeys(joined, name)
    parts = deal(sizes, "sars-cov2-ct blocks 1", slack=BLOCK)
    groups = {case: group_of[block] for case, block in block_of.items()}
    return Split("blocks", _SPLITS["blocks"], by_part(list(groups), lambda case: parts[groups[case]]), groups=groups)


def units(prepared: Prepared) -> dict[str, str]:
    """Case -> its block of the split `blocks`: what counts as one in an interval, whatever the split.

    Near-duplicates alone would not do: 119 test images make 101 groups of them, and no interval changes, while
    neighbouring slices of one patient correlate less than near-duplicates do. Whether a network is right on an image
    still hangs together within a block: for images of one class, the variance of a mean over blocks was up to 4 times
    that of as many independent images in the six networks trained on the 419 images at hand (over near-duplicates up
    to 1.5). A patient whose slices lie across the border of two blocks still counts as two.
    """
    return blocks(prepared).groups


def random_80_20(prepared: Prepared) -> Split:
    """80/20 % of the images at random, as in most of the literature, whose lists are not published."""
    seed = "sars-cov2-ct random-80-20 1"
    return random_split(prepared.cases, "random-80-20", _SPLITS["random-80-20"], _LEAK, seed)


def _block(case: str) -> tuple[int, int]:
    """(label, block) of a case's name."""
    stem, number = case.removesuffix(")").split(" (")
    return _STEM.index(stem), (int(number) - 1) // BLOCK


SPEC = DatasetSpec(
    name="sars-cov2-ct",
    title="SARS-COV2-CT-Scan",
    task="classification",
    channels=1,
    classes=CLASSES,
    has_published_classes=True,
    citation=(
        "E. Soares, P. Angelov, S. Biaso, M. Higa Froes, D. Kanda Abe. SARS-CoV-2 CT-scan dataset: A large dataset of "
        "real patients CT scans for SARS-CoV-2 identification. medRxiv 2020.04.24.20078584, 2020."
    ),
    licence="CC BY-NC-SA 4.0",
    homepage="https://www.kaggle.com/datasets/plameneduardo/sarscov2-ctscan-dataset",
    how_to_get=(
        "Sign in at https://www.kaggle.com and download plameneduardo/sarscov2-ctscan-dataset",
        "Unpack it: COVID/Covid (N).png and non-COVID/Non-Covid (N).png",
        "Then: medbench data prepare sars-cov2-ct --from DIR",
    ),
    splits=tuple(_SPLITS),
    default_split={_LAYOUT: "blocks"},
    find_layout=find_layout,
    list_cases=list_cases,
    draw_phantom=lung.draw,
    phantom_version=lung.VERSION,
    split_functions={"blocks": blocks, "random-80-20": random_80_20},
    split_notes={**_SPLITS, "random-80-20": f"{_SPLITS['random-80-20']}; {_LEAK}"},
    official_cases={_LAYOUT: 2481},
    units=units,
    unit=f"blocks of {BLOCK} consecutive images or more (near-duplicates together; patients unknown)",
    note=(
        "1,252 COVID + 1,229 non-COVID = 2,481 images are in the published files (the authors state 2,482); their "
        "names tell no patients"
    ),
)
