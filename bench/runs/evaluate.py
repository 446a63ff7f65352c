"""Predictions case by case, slices back to volumes, and their scores: rows of case x class x metric.

Both tasks: label maps of volumes and their Dice and HD95, and class probabilities of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bench.datasets.base import Prepared
from bench.datasets.loading import class_labels, images_input, is_large, label_map, network_input
from bench.datasets.splits.assignment import check_validation
from bench.metrics import classification
from bench.metrics.cases import score_case
from bench.metrics.segmentation import dice
from bench.runs.devices import laid_out
from bench.runs.protocol import Protocol

if TYPE_CHECKING:
    from bench.records.predicted import Kept
    from bench.runs.averaging import State
    from bench.runs.train import Progress

Keep = Callable[[str, np.ndarray], None]
BATCH = 16  # slices a forward pass; no result depends on it but by rounding
NOT_FINITE = "the network's outputs are not finite"
IMAGES = 64  # images a forward pass, likewise


@torch.inference_mode()
def predict_volume(model: nn.Module, image: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Label map (D, H, W) uint8 of a volume (D, H, W), slice by slice, in the file's own grid.

    Pictures in colour are (D, 3, H, W).

    The model is put into eval mode, and left in the mode it was in.

    Raises:
        FloatingPointError: a logit is not finite: its argmax would read as the background, or as any class.
    """
    mode = model.training
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    slices = laid_out(network_input(image, protocol), device)
    shape = (image.shape[-2], image.shape[-1])
    try:
        batches = (finite(model(batch.to(device))) for batch in slices.split(BATCH))
        return np.concatenate([label_map(logits, shape, protocol) for logits in batches])
    finally:
        model.train(mode)


def finite(logits: torch.Tensor) -> torch.Tensor:
    """The logits themselves. Raises FloatingPointError where one is not finite."""
    if not logits.isfinite().all():
        raise FloatingPointError(NOT_FINITE)
    return logits


def forget(case: str, prediction: np.ndarray) -> None:
    """The keeper of predictions that keeps none."""


def score_cases(
    model: nn.Module, data: Prepared, cases: Sequence[int], protocol: Protocol, keep: Keep = forget
) -> list[dict[str, Any]]:
    """A row for each case and class (in segmentation the foreground ones), the columns of cases.csv from `case` on.

    Args:
        keep: is given each case's name and its label map, or its probabilities.

    Raises:
        FloatingPointError: a logit is not finite.
    """
    if data.spec.task == "classification":
        return _score_images(model, data, cases, protocol, keep)
    rows = []
    for i in cases:
        case = data.cases[i]
        prediction = predict_volume(model, data.image(i), protocol)
        keep(case.case, prediction)
        labels = np.asarray(data.label(i))
        scores = score_case(prediction, labels, data.spec.classes, case.spacing, protocol.threads)
        rows += [{"case": case.case, "patient": case.patient, **score} for score in scores]
    return rows


def score_weights(
    model: nn.Module,
    data: Prepared,
    parts: Mapping[str, Sequence[int]],
    protocol: Protocol,
    progress: Progress,
    kept: Kept | None = None,
) -> list[dict[str, Any]]:
    """The rows of these parts' cases under each set of weights that a run leaves, with its part and weights.

    The sets are `last` (as the model has them), `best-val`, and those of the average, where there is one. Leaves the
    model at the last set that was scored.

    Args:
        kept: takes the test part's predictions, at the end those of the last set: the average's best, or the best.

    Raises:
        FloatingPointError: a logit is not finite.
    """
    sets: list[tuple[str, int, State]] = [
        ("last", progress.step, {}),
        ("best-val", progress.best.step, progress.best.state),
    ]
    if progress.average:
        best = progress.average_best
        sets += [("average-last", progress.step, progress.average), ("average-best-val", best.step, best.state)]
    rows: list[dict[str, Any]] = []
    scored: dict[str, list[dict[str, Any]]] = {}
    for weights, step, state in sets:
        same_as_last = weights.endswith("best-val") and step == progress.step
        if not same_as_last:
            if state:
                model.load_state_dict(state)
            with _emptied(kept) as keep:
                scored = {
                    part: score_cases(model, data, cases, protocol, keep if part == "test" else forget)
                    for part, cases in parts.items()
                }
        rows += [{"part": part, "weights": weights, **row} for part, of_part in scored.items() for row in of_part]
    return rows


@contextmanager
def _emptied(kept: Kept | None) -> Iterator[Keep]:
    """The keeper of one set's predictions, of which nothing stays after an error."""
    if kept is None:
        yield forget
        return
    kept.clear()
    try:
        yield kept.add
    except BaseException:
        kept.clear()
        raise


def validation_dice(model: nn.Module, data: Prepared, cases: Iterable[int], protocol: Protocol) -> float:
    """Mean foreground Dice over cases and classes under `strict`: both empty = left out, one empty = 0.

    nan where a logit is not finite: no score of any other round is below it, so that it is never selected.
    """
    values = []
    for i in cases:
        try:
            prediction = predict_volume(model, data.image(i), protocol)
        except FloatingPointError:
            return math.nan
        reference = np.asarray(data.label(i))
        values += [dice(prediction == k, reference == k) for k in range(1, len(data.spec.classes))]
    return float(np.nanmean(values))


def predict_logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Logits (N, K) float64 of network inputs (N, C, S, S), in eval mode; leaves the model in the mode it was in."""
    mode = model.training
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        batches = (laid_out(batch, device).to(device) for batch in images.split(IMAGES))
        logits = torch.cat([model(batch).double().cpu() for batch in batches])
    model.train(mode)
    return logits


def make_validation(data: Prepared, cases: Sequence[int], protocol: Protocol) -> Callable[[nn.Module], float]:
    """The function that scores a model on these cases, higher is better: mean Dice, or minus the mean cross-entropy.

    The cross-entropy is a mean of float64; nan where a logit is not finite.

    Raises:
        UserError: label maps of which none has any structure, so that no weights could be chosen by them.
    """
    if data.spec.task == "segmentation":
        check_validation(data, cases)
        return lambda model: validation_dice(model, data, cases, protocol)
    labels, large = class_labels(data, cases), is_large(data, cases, protocol)
    kept = None if large else images_input(data, cases, protocol)

    def score(model: nn.Module) -> float:
        logits = _logits_of(model, data, cases, protocol) if kept is None else predict_logits(model, kept)
        return -nn.functional.cross_entropy(logits, labels).item() if logits.isfinite().all() else math.nan

    return score


def _logits_of(model: nn.Module, data: Prepared, cases: Sequence[int], protocol: Protocol) -> torch.Tensor:
    """Logits (N, K) of images that are read a batch at a time."""
    chunks = [cases[start : start + IMAGES] for start in range(0, len(cases), IMAGES)]
    return torch.cat([predict_logits(model, images_input(data, chunk, protocol)) for chunk in chunks])


def accuracy(model: nn.Module, data: Prepared, cases: Sequence[int], protocol: Protocol) -> float:
    """The share of these images of a classification dataset whose class the model predicts; nan as in validation."""
    logits = _logits_of(model, data, cases, protocol)
    if not logits.isfinite().all():
        return math.nan
    predicted = logits.argmax(dim=1)
    return (predicted == class_labels(data, cases)).double().mean().item()


def _score_images(
    model: nn.Module, data: Prepared, cases: Sequence[int], protocol: Protocol, keep: Keep = forget
) -> list[dict[str, Any]]:
    """A row for each image and class; the predicted class is the one of the highest probability, the first on ties.

    Raises:
        FloatingPointError: a logit is not finite.
    """
    rows = []
    for start in range(0, len(cases), IMAGES):
        chunk = cases[start : start + IMAGES]
        logits = finite(predict_logits(model, images_input(data, chunk, protocol)))
        for i, exact in zip(chunk, logits.softmax(dim=1).tolist(), strict=True):
            probabilities = as_stored(exact)
            case, predicted = data.cases[i], probabilities.index(max(probabilities))
            keep(case.case, np.array(probabilities))
            for k, (name, probability) in enumerate(zip(data.spec.classes, probabilities, strict=True)):
                hits = {"reference": int(k == case.label), "predicted": int(k == predicted)}
                row = {"case": case.case, "patient": case.patient, "class": name, **hits, "probability": probability}
                rows.append(row)
    return rows


def as_stored(probabilities: Iterable[float]) -> list[float]:
    """Probabilities to 9 significant digits, of those over a half of what they lack to 1; the others would fill files.

    Single precision tells no more apart, and no two that a network tells apart become equal near 0 or near 1.
    """
    return [_shortened(probability) for probability in probabilities]


def _shortened(probability: float) -> float:
    lacking = 1 - probability
    if probability < 0.5 or lacking <= 0:
        return float(f"{probability:.9g}")
    return round(probability, 8 - math.floor(math.log10(lacking)))


def headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell's figures from its rows of one part, and the number of its cases.

    Classification: those of `bench.metrics.classification`, None where one is not defined; `confusion` by class index,
    a row for each true class.
    """
    out = _classification_figures(rows) if "probability" in rows[0] else _segmentation_figures(rows)
    return {**out, "cases": len({row["case"] for row in rows})}


def _classification_figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(row["class"] for row in rows))
    by_class = np.array([row["probability"] for row in rows]).reshape(-1, len(names))
    reference = np.array([row["reference"] for row in rows]).reshape(-1, len(names)).argmax(axis=1)
    figures = classification.score_images(reference, by_class)
    classes = {
        name: {label: _defined(value) for label, value in zip(names, values.tolist(), strict=True)}
        for name, values in classification.score_classes(reference, by_class).items()
    }
    return {
        **{name: _defined(value) for name, value in figures.items()},
        "sensitivity": classes["sensitivity"],
        "by_class": classes,
        "confusion": classification.confusion(reference, by_class).tolist(),
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _segmentation_figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over cases within each class, then over classes.

    The order of the two means is the literature's; under `strict` a class's mean leaves out the cases without it.
    Missed and invented structures are counted.
    """
    out: dict[str, Any] = {}
    for metric in [k for k in rows[0] if k.endswith(("_strict", "_transunet"))]:
        by_class: dict[str, list[float]] = {}
        for row in rows:
            if row[metric] is not None:
                by_class.setdefault(row["class"], []).append(row[metric])
        means = [sum(values) / len(values) for values in by_class.values()]
        out[metric] = sum(means) / len(means) if means else None
    for outcome in ("missed", "invented"):
        out[outcome] = sum(row["outcome"] == outcome for row in rows)
    return out
