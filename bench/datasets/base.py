"""What a dataset is: its description, a case as its files give it, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from bench.datasets.prepared import Prepared
    from bench.datasets.splits import Split

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
        doubt: what the files' headers say against themselves (`nifti.Volume.doubt`); empty where nothing.
    """

    case: str
    patient: str
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float] | None
    files: tuple[Path, ...]
    doubt: str = ""


@dataclass(frozen=True)
class RawImage:
    """One classified image as its file gives it.

    Attributes:
        case: name of the image, unique in the dataset, e.g. `Covid (12)`.
        patient: the patient or subject, where it is known; else the case's own name.
        image: (C, H, W) uint8, C the dataset's channels; its longer side at most `images.LONGEST_SIDE`.
        label: index into the dataset's classes.
        files: the files read, for their hashes.
        facts: what is known of the image beside its pixels (`images.file_facts`, columns of metadata), for the audit:
            a network never sees it.
        levels: of a file of 16 bits how many grey levels it has, and how many its 8 bits here keep apart; else None.
    """

    case: str
    patient: str
    image: np.ndarray
    label: int
    files: tuple[Path, ...]
    facts: dict[str, str | int] = field(default_factory=dict)
    levels: tuple[int, int] | None = None


@dataclass(frozen=True)
class Row:
    """One case as published metadata have it, whether its file is there or not; fields as in `RawImage`."""

    case: str
    patient: str
    label: int
    facts: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset's description, and the functions that read and draw it.

    Attributes:
        channels: of an image as the network gets it: 1 grey, 3 RGB.
        classes: class names by label id; in segmentation the first is the background.
        how_to_get: the steps by which a user gets the files.
        splits: names of the splits: shipped lists, and the keys of `split_functions`.
        default_split: layout name -> name of the split used when none is asked for.
        find_layout: folder -> layout name; raises UserError when the folder has none of the known layouts.
        list_cases: (folder, layout) -> a function for each case that reads it (RawCase in segmentation, RawImage in
            classification), in one order whatever the file system's; raises UserError for bad names, the functions
            for a bad file. They may be called side by side.
        draw_phantom: (folder, seed) -> None; writes phantoms in one of the original layouts.
        phantom_version: changes whenever the same seed draws other images.
        split_functions: name -> function of the prepared cases, for splits that are computed instead of listed.
        split_notes: name -> how a computed split comes about, and what is wrong with it.
        official_cases: layout -> how many cases were published in it, where no official split lists them.
        list_rows: (folder, layout) -> the published metadata, for the audit; None where there are none.
        photograph_of: case -> the photograph of which it is an augmented copy (or itself), where names tell that.
        units: the prepared cases -> case -> what counts as one in an interval, where that is not the patient.
        unit: what one of these is, in the plural.
        variant_of: the data set of which this one is another view; `all` leaves it out.
        note: what a user has to know of the files, e.g. counts that differ from the paper's.
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
    list_cases: Callable[[Path, str], Sequence[Callable[[], RawCase]] | Sequence[Callable[[], RawImage]]]
    draw_phantom: Callable[[Path, int], None]
    phantom_version: int
    split_functions: dict[str, Callable[[Prepared], Split]] = field(default_factory=dict)
    split_notes: dict[str, str] = field(default_factory=dict)
    official_cases: dict[str, int] = field(default_factory=dict)
    list_rows: Callable[[Path, str], Sequence[Row]] | None = None
    photograph_of: Callable[[str], str] | None = None
    units: Callable[[Prepared], dict[str, str]] | None = None
    unit: str = "patients"
    variant_of: str | None = None
    note: str = ""

    def read_cases(self, folder: Path, layout: str) -> Iterator[RawCase | RawImage]:
        """The cases of a folder, each read as it is asked for; raises UserError for the first bad file."""
        for read in self.list_cases(folder, layout):
            yield read()
