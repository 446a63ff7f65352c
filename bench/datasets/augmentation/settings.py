"""The fields of a protocol that augmentation reads; `bench.runs.protocol` says what each means."""

from __future__ import annotations

from typing import Protocol


class AugmentationSettings(Protocol):
    """What the geometry, the intensities and the mixing of a training batch depend on."""

    @property
    def flip(self) -> float: ...

    @property
    def upside_down(self) -> float: ...

    @property
    def rot90(self) -> float: ...

    @property
    def rotate(self) -> float: ...

    @property
    def rotate_degrees(self) -> float: ...

    @property
    def crop(self) -> float: ...

    @property
    def zoom(self) -> float: ...

    @property
    def shift(self) -> float: ...

    @property
    def intensity(self) -> float: ...

    @property
    def low_resolution(self) -> float: ...

    @property
    def colour(self) -> float: ...

    @property
    def erasing(self) -> float: ...

    @property
    def mixup(self) -> float: ...
