"""The cases of a user's folder as they are found: where each lies, and what names, tables and folders say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.datasets.base import Task

IMAGES = (".png", ".jpg", ".jpeg")
FOREIGN_IMAGES = (".bmp", ".tif", ".tiff", ".gif", ".webp")
DICOM = (".dcm", ".dicom", ".ima")
# Names of folders and words of tables that say which part a case is of.
PART_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "ts"), "test"),
}


@dataclass(frozen=True)
class Item:
    """One case, not read yet.

    Attributes:
        case: its name, unique in the data set.
        image: its file; of an archive the archive's; of a DICOM series the series' folder.
        label: the class of an image; None in segmentation.
        mask: the file of its label map; in classification None.
        more_masks: further maps of the same image, whose structures are added.
        row: which image of an archive, `(part, index)`; else None.
        patient: whose it is, where that is known.
        part: `train`, `val` or `test`, where something says so.
    """

    case: str
    image: Path
    label: int | None = None
    mask: Path | None = None
    more_masks: tuple[Path, ...] = ()
    row: tuple[str, int] | None = None
    patient: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class Found:
    """What a folder was understood to be.

    Attributes:
        layout: one of `description.LAYOUTS`.
        classes: names by label id; in segmentation the first is the background; empty: the label maps tell.
        notes: what else was seen, a sentence each.
        holding: by label id, in how many label maps it stands; empty: nothing was counted.
        told: files and folders that the notes name as left out.
    """

    layout: str
    task: Task
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...] = field(default=())
    holding: tuple[int, ...] = ()
    told: tuple[Path, ...] = ()
