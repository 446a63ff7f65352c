"""Volumes that lie in a file for each slice, in one file, or in both, as the 2-D literature hands them around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.errors import UserError

ImageAndLabel = tuple[np.ndarray, np.ndarray]


@dataclass
class CaseFiles:
    """The files of one case: a volume, slices by number, or both."""

    volume: Path | None = None
    slices: dict[int, Path] = field(default_factory=dict)

    def add(self, path: Path, number: int | None) -> None:
        """Takes the file of a slice, or of the volume where there is no number.

        Raises:
            UserError: the case has a file of that slice, or a volume, already.
        """
        known = self.volume if number is None else self.slices.get(number)
        if known:
            raise UserError(f"Expected each volume and slice once, but both {known} and {path} exist.")
        if number is None:
            self.volume = path
        else:
            self.slices[number] = path

    def slice_paths(self) -> list[Path]:
        """The slices' files in order of their numbers."""
        return [self.slices[number] for number in sorted(self.slices)]


def read_stack(case: str, paths: Sequence[Path], read_slice: Callable[[Path], ImageAndLabel]) -> ImageAndLabel:
    """Image and label map, (D, H, W) each, of the files of a case's slices.

    Raises:
        UserError: slices of several shapes, and as `read_slice`.
    """
    slices = [read_slice(path) for path in paths]
    first_shape = slices[0][0].shape
    for path, (image, _) in zip(paths, slices, strict=True):
        if image.shape != first_shape:
            raise UserError(
                f"Expected the slices of {case} to have one shape, but {path} has {image.shape} "
                f"and {paths[0].name} has {first_shape}."
            )
    images, labels = zip(*slices, strict=True)
    return np.stack(images), np.stack(labels)
