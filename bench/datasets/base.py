"""What a dataset is: its description, a case as its files give it, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Task = Literal["classification", "segmentation"]
Source = Literal["real", "phantom"]


@dataclass(frozen=True)
class RawCase:
    """One labelled volume as its files give it.

    Attributes:
        case: name of the volume, unique in the dataset, e.g. `patient001_ED`.
        patient: patient id as the published split lists spell it, e.g. `001`.
        image: (D, H, W) float32, the file's own intensities.
        label: (D, H, W) uint8, values are indices into the dataset's classes.
        spacing: (z, y, x) in mm, or None where the files do not carry it.
        files: the files read, for their hashes.
    """

    case: str
    patient: str
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float] | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset's description, and the functions that read and draw it.

    Attributes:
        classes: class names by label id; in segmentation the first is the background.
        how_to_get: the steps by which a user gets the files.
        default_split: layout name -> name of the split used when none is asked for.
        find_layout: folder -> layout name; raises UserError when the folder has none of the known layouts.
        read_cases: (folder, layout) -> cases, in order of their names; raises UserError for a bad file.
        count_cases: (folder, layout) -> how many cases `read_cases` will give, for a progress bar; quick.
        draw_phantom: (folder, seed) -> None; writes phantoms in one of the original layouts.
        phantom_version: changes whenever the same seed draws other images.
    """

    name: str
    title: str
    task: Task
    channels: int
    classes: tuple[str, ...]
    citation: str
    licence: str
    homepage: str
    how_to_get: tuple[str, ...]
    splits: tuple[str, ...]
    default_split: dict[str, str]
    find_layout: Callable[[Path], str]
    read_cases: Callable[[Path, str], Iterator[RawCase]]
    count_cases: Callable[[Path, str], int]
    draw_phantom: Callable[[Path, int], None]
    phantom_version: int
