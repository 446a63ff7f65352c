"""What a dataset is: its description, a case as its files give it, its opened cache, and a split of it.

The types that readers, cache, splits and audit share; none of these rooms is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from bench.datasets.stored import Values, broken, read_json
from bench.errors import UserError

if TYPE_CHECKING:
    import torch

Task = Literal["classification", "segmentation"]
Source = Literal["real", "phantom"]
PARTS = ("train", "val", "test")
# Beside the pixels: what is known of each case, and the published metadata. Not part of the fingerprint.
FACTS, ROWS = "facts.json", "rows.json"
# The general split, and the layout of a data set that has only one; the split that comes with the files themselves.
BY_PATIENT, FILES, GIVEN = "patient", "files", "given"
DOUBT = "header"  # the fact of a volume whose header contradicts itself
T = TypeVar("T")


@dataclass(frozen=True)
class RawCase:
    """One labelled volume as its files give it.

    Attributes:
        case: name of the volume, unique in the dataset, e.g. `patient001_ED`.
        patient: patient id as the published split lists spell it, e.g. `001`.
        image: (D, H, W) float32, the file's own intensities; of pictures in colour (D, H, W, 3) uint8.
        label: (D, H, W) uint8, values are indices into the dataset's classes.
        spacing: (z, y, x) in mm, or None where the files do not carry it.
        files: the files read, for their hashes.
        doubt: what the files' headers say against themselves (`nifti.Volume.doubt`); empty where nothing.
        part: the part that the data set's own division gives it; None where it has none.
    """

    case: str
    patient: str
    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float] | None
    files: tuple[Path, ...]
    doubt: str = ""
    part: str | None = None


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
        part: as in `RawCase`.
    """

    case: str
    patient: str
    image: np.ndarray
    label: int
    files: tuple[Path, ...]
    facts: dict[str, str | int] = field(default_factory=dict)
    levels: tuple[int, int] | None = None
    part: str | None = None


@dataclass(frozen=True)
class Row:
    """One case as published metadata have it, whether its file is there or not; fields as in `RawImage`."""

    case: str
    patient: str
    label: int
    facts: dict[str, str | int] = field(default_factory=dict)


def any_folder(folder: Path) -> str:
    """The layout of a data set that has only one.

    Raises:
        UserError: no folder.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder, but {folder} is not a folder.")
    return FILES


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset's description, and the functions that read and draw it.

    The first five fields are all that a dataset needs; what is left out is filled in: any folder is the layout `files`,
    and the split is `patient`, which is made of the prepared cases (`splits.by_patient`).

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
        draw_phantom: (folder, seed) -> None; writes phantoms in one of the original layouts; None: there are none.
        phantom_version: changes whenever the same seed draws other images.
        split_functions: name -> function of the prepared cases, for splits that are computed instead of listed.
        split_notes: name -> how a computed split comes about, and what is wrong with it.
        official_cases: layout -> how many cases were published in it, where no official split lists them.
        list_rows: (folder, layout) -> the published metadata, for the audit; None where there are none.
        photograph_of: case -> the photograph of which it is an augmented copy (or itself), where names tell that.
        units: the prepared cases -> case -> what counts as one in an interval, where that is not the patient.
        unit: what one of these is, in the plural.
        has_published_classes: a publication fixes the classes' names, so that no fingerprint covers them.
        variant_of: the data set of which this one is another view; `all` leaves it out.
        intensities: an image's values as scanners write them -> those of the cache; None: these are the same.
            windowing: what it does, in words.
        reading: what beside classes and layout decides how the files are read, as text: an interrupted preparation
            goes on only where it is the same.
        modality: `mri`, `ct`, `photo`, ...: what its images may be corrupted by (`bench.runs.corruptions`).
        note: what a user has to know of the files, e.g. counts that differ from the paper's.
    """

    name: str
    task: Task
    channels: int
    classes: tuple[str, ...]
    list_cases: Callable[[Path, str], Sequence[Callable[[], RawCase]] | Sequence[Callable[[], RawImage]]]
    title: str = ""
    citation: str = "not given"
    licence: str = "not given"
    homepage: str = "not given"
    how_to_get: tuple[str, ...] = ("It is not said where the files are: ask who gave you this data set",)
    splits: tuple[str, ...] = (BY_PATIENT,)
    default_split: dict[str, str] = field(default_factory=lambda: {FILES: BY_PATIENT})
    find_layout: Callable[[Path], str] = any_folder
    draw_phantom: Callable[[Path, int], None] | None = None
    phantom_version: int = 0
    split_functions: dict[str, Callable[[Prepared], Split]] = field(default_factory=dict)
    split_notes: dict[str, str] = field(default_factory=dict)
    official_cases: dict[str, int] = field(default_factory=dict)
    list_rows: Callable[[Path, str], Sequence[Row]] | None = None
    photograph_of: Callable[[str], str] | None = None
    units: Callable[[Prepared], dict[str, str]] | None = None
    unit: str = "patients"
    has_published_classes: bool = False
    variant_of: str | None = None
    intensities: Callable[[np.ndarray], np.ndarray] | None = None
    windowing: str = ""
    reading: Callable[[], str] | None = None
    modality: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def is_divided_here(self) -> bool:
        """Whether its split `patient` is the general one, made of whatever cases are prepared."""
        return BY_PATIENT in self.splits and BY_PATIENT not in self.split_functions

    def read_cases(self, folder: Path, layout: str) -> Iterator[RawCase | RawImage]:
        """Reads the cases of a folder one by one; raises UserError for the first bad file."""
        for read in self.list_cases(folder, layout):
            yield read()


@dataclass(frozen=True)
class Case:
    """One volume or image in the cache.

    Attributes:
        patient: the patient where it is known, else the case's own name.
        shape: (D, H, W) of a volume, (C, H, W) of an image.
        spacing: (z, y, x) in mm, or None where the files do not carry it.
        offset: index of its first value in the flat arrays.
        voxels: a volume's voxels of each class, by label id; of an image none.
        label: an image's class; of a volume None.
        part: the part that the data set's own division gives it; None where it has none.
    """

    case: str
    patient: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    offset: int
    voxels: tuple[int, ...] = ()
    label: int | None = None
    part: str | None = None


@dataclass(frozen=True)
class Prepared:
    """An opened cache.

    Attributes:
        fingerprint: 12 hex digits of the content: preparation version, values, shapes, spacing, classes, ids.
        images: where all images lie, one after another. labels: all label maps, or None in classification.
        kept: `prepare` found the same content there already and wrote nothing.
    """

    spec: DatasetSpec = field(repr=False)
    folder: Path
    kind: Source
    layout: str
    fingerprint: str
    cases: tuple[Case, ...] = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)
    images: Values = field(repr=False)
    labels: Values | None = field(repr=False)
    kept: bool = False

    @property
    def name(self) -> str:
        """The data set's name in tables: `acdc`, or `acdc-phantom`."""
        return cache_name(self.spec, self.kind)

    def image(self, i: int) -> np.ndarray:
        """Case i as the file has it, read-only: an image (C, H, W) uint8, or a volume (D, H, W) float32.

        Of pictures in colour with label maps (D, 3, H, W) uint8.
        """
        return _in_channels(self.stored_image(i))

    def image_slice(self, i: int, k: int) -> np.ndarray:
        """Slice k of volume i, in a volume of it alone."""
        return _in_channels(self._read(self.images, i, k))

    def stored_image(self, i: int) -> np.ndarray:
        """The values of case i as they lie in the file: of pictures in colour (D, H, W) of three bytes each."""
        return self._read(self.images, i)

    def label(self, i: int) -> np.ndarray:
        """Label map i of a segmentation as the file has it, read-only: (D, H, W) uint8."""
        assert self.labels is not None, f"{self.name} has classes, no label maps: see `cases[i].label`"
        return self._read(self.labels, i)

    def label_slice(self, i: int, k: int) -> np.ndarray:
        """The label map of slice k of volume i, in a volume of it alone."""
        assert self.labels is not None, f"{self.name} has classes, no label maps: see `cases[i].label`"
        return self._read(self.labels, i, k)

    def _read(self, values: Values, i: int, k: int | None = None) -> np.ndarray:
        case = self.cases[i]
        return values.read(case.case, case.shape, case.offset, k)

    def facts(self) -> dict[str, dict[str, str | int]]:
        """Case -> what its file and the metadata say of it beside the pixels; {} where nothing was kept.

        Raises:
            UserError: the cache was prepared before such facts were kept, or they are damaged.
        """
        if self.spec.task == "segmentation":
            return {}
        return self._beside(FACTS, lambda facts: {case.case: dict(facts[case.case]) for case in self.cases})

    def doubts(self) -> dict[str, str]:
        """Case -> what the header of its volume says against itself; {} where none does.

        Raises:
            UserError: the facts that were kept are damaged.
        """
        if self.spec.task != "segmentation" or not (self.folder / FACTS).exists():
            return {}
        return self._beside(FACTS, lambda facts: {name: str(fact[DOUBT]) for name, fact in facts.items()})

    def rows(self) -> list[Row]:
        """The published metadata, also of cases that are not present; [] where there are none.

        Raises:
            UserError: as `facts`.
        """
        if self.spec.list_rows is None:
            return []
        return self._beside(ROWS, lambda rows: [Row(**row) for row in rows])

    def _beside(self, name: str, read: Callable[[Any], T]) -> T:
        path = self.folder / name
        try:
            return read(read_json(path))
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing: give `medbench data prepare {self.spec.name} --from DIR` again, which adds it."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise broken(self.folder, f"{name} cannot be read ({type(error).__name__}: {error})") from error


def _in_channels(stored: np.ndarray) -> np.ndarray:
    """Pictures in colour (D, H, W) of three bytes each as (D, 3, H, W) uint8; anything else as it is."""
    if stored.dtype.kind != "V":
        return stored
    return stored.view(np.uint8).reshape(*stored.shape, -1).transpose(0, 3, 1, 2)


def count_images(cases: Sequence[Case], indices: Iterable[int]) -> int:
    """How many images, or slices of volumes, these cases have."""
    return sum(1 if cases[i].label is not None else cases[i].shape[0] for i in indices)


def cache_name(spec: DatasetSpec, kind: Source) -> str:
    """The name of a cache's folder under the root."""
    return spec.name if kind == "real" else f"{spec.name}-phantom"


class Selected(Protocol):
    """Images or labels of which a batch takes some: a tensor, or what makes them when they are asked for."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def index_select(self, dim: int, index: torch.Tensor, /) -> torch.Tensor: ...


Counts = dict[str, dict[str, int | None]]


class HasPatient(Protocol):
    """Anything that belongs to one patient, such as a prepared case."""

    @property
    def case(self) -> str: ...

    @property
    def patient(self) -> str: ...


@dataclass(frozen=True)
class Split:
    """A division of a dataset by patients, published or computed.

    Attributes:
        source: where the lists were published, or how they were made.
        parts: `train`, `val`, `test` -> patient ids; of a dataset without known patients the cases' names.
        note: what the caption has to say of it, or "".
        by_case: the parts hold cases' names though patients are known: one patient may stand in several parts.
        flag: why results of this split are not to be trusted, or None.
        official_cases: how many cases were published, where the parts are no official list; else None.
        groups: patient (or case's name) -> what the split keeps together, where that is more than a patient.
        unpublished: nobody published how many cases there are to be; whatever is there is all of it.
        untested: it has no test part: a division of another split's training part, to choose recipes and designs by.
    """

    name: str
    source: str
    parts: dict[str, tuple[str, ...]]
    flag: str | None = None
    official_cases: int | None = None
    groups: dict[str, str] = field(default_factory=dict)
    by_case: bool = False
    note: str = ""
    untested: bool = False
    unpublished: bool = False

    def member(self, case: HasPatient) -> str:
        """The name under which the parts list a case."""
        return case.case if self.by_case else case.patient


@dataclass(frozen=True)
class Assignment:
    """Which of the present cases a split gives to which part.

    Attributes:
        indices: part -> positions in the given cases, in their order.
        counts: part -> `present_patients`, `official_patients` (None without an official list), `cases`.
        left_out: how many cases no part lists; they are not used.
        partial: under 80 % of the official test patients are present, or of the published cases without such a list.
    """

    indices: dict[str, tuple[int, ...]]
    counts: Counts
    left_out: int
    partial: bool
