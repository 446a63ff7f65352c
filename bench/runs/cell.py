"""WHAT to run: a cell, one training run fully resolved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench.records.keys import cell_key, comparison_key, dataset_label
from bench.runs.protocol import GONE, Protocol


@dataclass(frozen=True)
class Cell:
    """One training run, fully resolved: nothing in it reads `auto` or `default`.

    Attributes:
        dataset: its name, `acdc`.
        fingerprint: hash of the prepared cache's manifest and of the preparation's version.
        source: {"kind": "real"}, {"kind": "phantom", "version": ...}, or {"kind": "substitute"}: files that are not the
            published ones.
        split: name of the split, `blocks`, or `blocks/5` in a cross-validation over five folds.
        parts: hash of the patients that it puts in each part.
        fold: number in a cross-validation, or None.
        model: {"name", "config", "version"}, the config with every field.
        protocol: every field of `Protocol`.
        seed: feeds initialisation, order, augmentation and dropout, and which patients a smaller training part keeps.
        train_patients: so many of the training patients (or groups) are used; None: all.
        tuned: lr and weight_decay in place of the protocol's, with `trials` and `seed` of the search that found them,
            or `trial`, the number of one of its trials, or `grid` and whether a rate of it was `chosen` for the network
            (`bench.runs.rates`); None: the protocol's.
        init: {"weights", "sha256"} of the pretrained weights that it starts from; None: random ones.
        unscored: True for a trial of a search over models: validation data alone, the test part is not read.
    """

    dataset: str
    fingerprint: str
    source: dict[str, Any]
    split: str
    parts: str
    fold: int | None
    model: dict[str, Any]
    protocol: dict[str, Any]
    seed: int
    train_patients: int | None = None
    tuned: dict[str, Any] | None = None
    init: dict[str, str] | None = None
    unscored: bool | None = None

    @property
    def key(self) -> str:
        """What names the cell (`bench.records.keys.cell_key`)."""
        return cell_key(asdict(self))

    @property
    def comparison(self) -> str:
        """What may stand in one table with it (`bench.records.keys.comparison_key`)."""
        return comparison_key(asdict(self))

    def settings(self) -> Protocol:
        """The protocol that the cell is trained with."""
        tuned = {name: self.tuned[name] for name in ("lr", "weight_decay")} if self.tuned else {}
        return Protocol(**{name: value for name, value in (self.protocol | tuned).items() if name not in GONE})

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of a search, which the test part must not see."""
        return bool(self.unscored) or (self.tuned is not None and "trial" in self.tuned)

    @property
    def dataset_label(self) -> str:
        """`acdc`, `acdc-phantom` or `acdc-substitute`: how the dataset reads everywhere."""
        return dataset_label(self.dataset, self.source)
