"""What to run, as one value: the same from the command line, from Python and from an ablation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.runs.arguments import (
    BUDGET,
    DEVICE,
    FLAG,
    FOLDER,
    MODELS,
    NUMBER,
    SEEDS,
    SETTINGS,
    argument,
    check_fields,
    names,
    or_none,
    text,
    whole,
)
from bench.runs.run_log import LOGS


@dataclass(frozen=True)
class Request:
    """Models x seeds (x folds) on each data set, under one preset; what is left out is the preset's or the data set's.

    Raises UserError for a value of another kind. Names are looked up when the request becomes jobs.

    Attributes:
        models: names by commas or in a list, as `bench.zoo.registry.select_models` takes them; `all`: the preset's.
        dataset: names by commas or in a list, or `all`.
        preset: of the protocol: `smoke`, `quick`, `standard`, `paper`.
        seeds: how many (`2`, `"2"`), which (`[0, 4]`, `"0,4,"`), or None for the preset's number.
        split: of the data set; `any` deals whatever files are there, which then count as a substitute. None: by layout.
        folds: cross-validation by patient or group in place of the split's own parts.
        budget: images seen in training (`48000`, `"48k"`), over which the whole schedule is laid; None: the preset's.
        train_patients: so many of the training patients or groups; None: all.
        train_fraction: such a share of them, in place of a number.
        data: where images come from: `real`, `phantom`, or `auto`, phantoms where no data are prepared.
        data_root: folder of prepared data; None: `MEDBENCH_DATA`, else the user's data folder.
        results: folder of records.
        settings: fields of the protocol in place of the preset's, `lr=3e-4`.
        threads: of each cell; None: the preset's.
        device: `cpu`, `cuda` (a GPU for each cell that runs), `cuda:N` (that one), or `auto`: `cuda` if there is one.
        pretrained: start from weights of the hub, where a model has some.
        predictions: keep what the test part's predictions are beside each record (`bench.records.predicted`).
        log: how cells are logged while they are trained: `csv`, `tensorboard` or `mlflow`; None: not.
    """

    models: str | Sequence[str] = argument("all", MODELS)
    dataset: str | Sequence[str] = argument("acdc", names("names of data sets", "acdc"))
    preset: str = argument("quick", text())
    seeds: str | int | Sequence[int] | None = argument(None, SEEDS)
    split: str | None = argument(None, or_none(text()))
    folds: int | None = argument(None, or_none(whole(3, 100)))
    budget: int | None = argument(None, or_none(BUDGET))
    train_patients: int | None = argument(None, or_none(whole()))
    train_fraction: float | None = argument(None, or_none(NUMBER))
    data: str = argument("auto", text("", "auto", "real", "phantom"))
    data_root: str | Path | None = argument(None, or_none(FOLDER))
    results: str | Path = argument("results", FOLDER)
    settings: Sequence[str] = argument((), SETTINGS)
    threads: int | None = argument(None, or_none(whole()))
    device: str = argument("cpu", DEVICE)
    pretrained: bool = argument(False, FLAG)
    predictions: bool = argument(True, FLAG)
    log: str | None = argument(None, or_none(text("", *LOGS)))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.train_patients is not None and self.train_fraction is not None:
            raise UserError("Expected --train-patients or --train-fraction, but got both.")
        if self.budget is not None and any(setting.startswith(("steps", "epochs=")) for setting in self.settings):
            raise UserError("Expected --budget, or --set steps, epochs, steps_min or steps_max, but got both.")
        if self.train_fraction is not None and not 0 < self.train_fraction <= 1:
            raise UserError(f"Expected --train-fraction to be above 0 and at most 1, but got {self.train_fraction}.")

    def divisions(self, split: str) -> list[tuple[str, int | None]]:
        """The divisions of the data that are run, by name and fold: a split's own parts, or its folds."""
        return [(split, None)] if self.folds is None else [(f"{split}/{self.folds}", k) for k in range(self.folds)]

    @property
    def subset(self) -> int | float | None:
        """How many of the training patients or groups, or which share of them; None: all."""
        return self.train_patients if self.train_fraction is None else self.train_fraction
