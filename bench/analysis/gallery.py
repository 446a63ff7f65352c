"""Which test cases are shown, and what the models predicted there: from records that keep predictions, and the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.analysis.asked_runs import ORDERS, Asked, Run, of_one_seed, runs_asked_for, with_predictions
from bench.errors import UserError, unknown
from bench.records.damage import Damaged
from bench.records.rows import task_of
from bench.zoo.registry import dataset_spec

if TYPE_CHECKING:
    from bench.datasets.base import Case, Prepared, Source


@dataclass(frozen=True, eq=False)
class Shot:
    """One model's answer to a case.

    Attributes:
        title: the model's. figures: its scores of this case, as text.
        answer: the label map (H, W) of the slice that is shown, or the probabilities (K,).
        folder: of the record.
    """

    title: str
    figures: str
    answer: np.ndarray
    folder: Path


@dataclass(frozen=True, eq=False)
class Scene:
    """One case with the answers of all models.

    Attributes:
        place: what of the case is shown, and the case's and the patient's name.
        image: (H, W), or (H, W, 3) uint8. truth: label map (H, W), or the class's index.
        classes: by label id.
        spacing: mm along (y, x), or None. unit: `mm` or `pixels`.
        index: of the case in the prepared data.
    """

    case: str
    place: str
    image: np.ndarray
    truth: np.ndarray | int
    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    spacing: tuple[float, float] | None = None
    index: int = 0

    @property
    def unit(self) -> str:
        return "pixels" if self.spacing is None else "mm"


@dataclass(frozen=True, eq=False)
class Gallery:
    """The scenes, what they are of, the figures by case (index) and model, and what was left out.

    Attributes:
        measure: what the figures are. seed: of the runs.
    """

    scenes: list[Scene]
    caption: str
    measure: str
    figures: pd.DataFrame
    data: Prepared = field(repr=False)
    seed: int
    notes: tuple[str, ...] = ()


def gallery(results: Path, asked: Asked, data_root: str | Path | None = None) -> Gallery:
    """The cases that were asked for, with image, reference and each model's prediction.

    Raises:
        UserError: no such records, records of several comparisons, none with predictions, an unknown case, or data
            that are not those of the records.
    """
    runs, notes = runs_asked_for(results, asked)
    return _made(runs, _chosen(_figures(runs), asked), asked, data_root, notes)


def galleries(
    records: Sequence[tuple[Path, dict[str, Any]]],
    titles: Mapping[str, str],
    count: int,
    data_root: str | Path | None = None,
) -> dict[str, Gallery]:
    """Order -> so many cases of the records of one comparison, no case twice: the worst, the best, then the median.

    Args:
        titles: by the records' keys.

    Raises:
        UserError: as `gallery`, or no records.
    """
    if not records:
        raise UserError("no run of it is finished.")
    name = records[0][1]["dataset"]["name"]
    kept, notes = with_predictions(records, name)
    runs = of_one_seed(kept, None, lambda record: titles[record["key"]])
    left, found = _figures(runs), dict[str, Gallery]()
    for order in ORDERS:
        asked = Asked(name, **{order: count})  # type: ignore[arg-type]  # the three are whole numbers
        chosen = _chosen(left, asked)
        left = left.drop(index=chosen)
        if chosen:
            found[order] = _made(runs, chosen, asked, data_root, notes)
    return found


def _made(
    runs: dict[str, list[Run]], chosen: list[str], asked: Asked, data_root: str | Path | None, notes: tuple[str, ...]
) -> Gallery:
    figures = _figures(runs)
    first = next(iter(runs.values()))[0].record
    data = _open(first, data_root)
    places = {case.case: i for i, case in enumerate(data.cases)}
    segments = task_of(first) == "segmentation"
    make = _slice_scene if segments else _image_scene
    scenes = [make(case, runs, data, places[case]) for case in chosen]
    cell = first["cell"]
    measure = "Dice %" if segments else "Probability of the true class %"
    caption = (
        f"{first['dataset']['name']}, {first['preset']}, split {cell['split']}, seed {cell['seed']}: "
        f"{_which(asked, len(chosen))} of {len(figures)} test cases"
    )
    return Gallery(scenes, caption, measure, 100 * figures.loc[chosen], data, cell["seed"], notes)


def _which(asked: Asked, count: int) -> str:
    if asked.cases:
        return f"{count} named"
    order = asked.order[0]
    return f"{count} in the middle" if order == "median" else f"the {order} {count}"


# -- which cases ---------------------------------------------------------------------------------------------


def _figures(runs: dict[str, list[Run]]) -> pd.DataFrame:
    """A case's figure (row) for each model: mean Dice over its classes, or the true class's probability."""
    columns = {}
    for title, of_model in runs.items():
        rows = pd.concat([run.rows for run in of_model])
        if "probability" in rows:
            columns[title] = rows[rows["reference"] == 1].groupby("case", sort=False)["probability"].mean()
        else:
            columns[title] = rows.groupby("case", sort=False)["dice_strict"].mean()
    return pd.DataFrame(columns).astype(float)


def _chosen(figures: pd.DataFrame, asked: Asked) -> list[str]:
    if asked.cases:
        for case in asked.cases:
            if case not in figures.index:
                raise unknown("test case", case, map(str, figures.index))
        return list(asked.cases)
    means = figures.mean(axis=1).dropna().sort_values(kind="stable")
    order, count = asked.order
    if order == "best":
        means = means.iloc[::-1]
    start = max(0, (len(means) - count) // 2) if order == "median" else 0
    return [str(case) for case in means.index[start : start + count]]


# -- what is shown of them -----------------------------------------------------------------------------------


def _open(record: dict[str, Any], data_root: str | Path | None) -> Prepared:
    from bench.datasets.cache.prepared import open_prepared, resolve_root

    cell = record["cell"]
    kind: Source = "phantom" if cell["source"]["kind"] == "phantom" else "real"
    data = open_prepared(dataset_spec(cell["dataset"], data_root), resolve_root(data_root)[0], kind)
    if data.fingerprint != cell["fingerprint"]:
        raise UserError(
            f"The prepared data in {data.folder} are not those of the records (fingerprint {data.fingerprint}, "
            f"expected {cell['fingerprint']}): name the others with --data-root."
        )
    return data


def _run_of(case: str, of_model: Sequence[Run]) -> Run | None:
    return next((run for run in of_model if case in run.kept.cases), None)


def _slice_scene(case: str, runs: dict[str, list[Run]], data: Prepared, index: int) -> Scene:
    """The slice on which most pixels are wrong, summed over the models."""
    image, reference, known = data.image(index), np.asarray(data.label(index)), data.cases[index]
    found = {title: run for title, of_model in runs.items() if (run := _run_of(case, of_model)) is not None}
    answers = {title: run.kept.of(case) for title, run in found.items()}
    for title, answer in answers.items():
        if answer.shape != reference.shape:
            raise Damaged(found[title].kept.path, f"holds a label map {answer.shape} of {case}, not {reference.shape}.")
    wrong = sum((answer != reference).sum(axis=(1, 2)) for answer in answers.values())
    z = int(np.argmax(wrong))
    shots = tuple(
        Shot(title, _dice_text(run.rows[run.rows["case"] == case]), answers[title][z], run.folder)
        for title, run in found.items()
    )
    place = _place(known)
    place += f", slice {z + 1} of {len(reference)}: the one with most wrong pixels" if len(reference) > 1 else ""
    spacing = None if known.spacing is None else (known.spacing[1], known.spacing[2])
    return Scene(case, place, _as_picture(image[z]), reference[z], data.spec.classes, shots, spacing, index)


def _image_scene(case: str, runs: dict[str, list[Run]], data: Prepared, index: int) -> Scene:
    known, classes = data.cases[index], data.spec.classes
    assert known.label is not None
    shots = []
    for title, of_model in runs.items():
        if (run := _run_of(case, of_model)) is not None:
            answer = run.kept.of(case)
            text = f"{classes[int(answer.argmax())]} {100 * answer.max():.0f} %"
            shots.append(Shot(title, f"says {text}", answer, run.folder))
    place = _place(known)
    place += f", in truth {classes[known.label]}"
    return Scene(case, place, _as_picture(data.image(index)), known.label, classes, tuple(shots), None, index)


def _place(case: Case) -> str:
    patient = case.patient.removeprefix("patient").strip()
    return case.case if case.patient == case.case else f"{case.case}, patient {patient}"


def _as_picture(image: np.ndarray) -> np.ndarray:
    """(H, W) or (C, H, W) -> (H, W) or (H, W, 3)."""
    array = np.array(image)
    if array.ndim == 2:
        return array
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)


def _dice_text(rows: pd.DataFrame) -> str:
    """`Dice 83.1 (RV 71.0, Myo 85.2), HD95 4.2 mm` of one case's rows, a row for each class."""
    dice = rows.set_index("class")["dice_strict"].astype(float)
    unit = "mm" if rows["hd95_mm_strict"].notna().any() else "vox"
    distance = rows[f"hd95_{unit}_strict"].astype(float).mean()
    text = f"Dice {100 * dice.mean():.1f} %" if dice.notna().any() else "no structure"
    return text + (f", HD95 {distance:.1f} {unit}" if np.isfinite(distance) else "")
