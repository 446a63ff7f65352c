"""A trained network scored on other images than those of its run: another data set's, or its own, corrupted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.base import DatasetSpec, Prepared
from bench.datasets.cache.prepared import locate
from bench.datasets.splits.assignment import assign, make_split
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.metrics.cases import score_case
from bench.metrics.segmentation import dice
from bench.records import store
from bench.runs.corruptions import MODALITIES, SEVERITIES, corrupted, corruptions_of
from bench.runs.evaluate import IMAGES, as_stored
from bench.runs.held import cases_of_test
from bench.runs.trained import Trained
from bench.zoo.registry import dataset_spec

Count = Callable[[str, int, int], object]
CLEAN = "clean"


def plain_name(name: str) -> str:
    """A class's name as two data sets are compared by: `Left Kidney` is `left_kidney`, but `HER2+` is not `HER2-`."""
    kept = "".join(c for c in name.lower() if c.isalnum() or c in "+-")
    return re.sub(r"(?<=\w)-(?=\w)", "", kept)


def shared_classes(trained: Trained, classes: Sequence[str], given: Mapping[str, str]) -> dict[int, int]:
    """Label of the network -> label of the data set, by name; in segmentation without the background.

    Args:
        classes: of the data set. given: the data set's name of a class -> the network's, where they differ.

    Raises:
        UserError: no class in common, a class of images that the network does not know, or a name that neither has.
    """
    for theirs, ours in given.items():
        if theirs not in classes or ours not in trained.classes:
            raise UserError(
                f"Expected --map THEIRS=OURS of the data set's classes ({', '.join(classes)}) and the network's "
                f"({', '.join(trained.classes)}), but got {theirs}={ours}."
            )
    meant = {name: _meant(given.get(name, name), trained.classes) for name in classes}
    _reject_twice([(name, trained.classes[own]) for name, own in meant.items() if own is not None])
    first = 1 if trained.task == "segmentation" else 0
    pairs = {own: k for k, name in enumerate(classes) if k >= first and (own := meant[name]) is not None}
    known = sorted(pairs.values())
    if trained.task == "classification" and known != list(range(len(classes))):
        unknown = [name for k, name in enumerate(classes) if k not in known]
        raise UserError(
            f"The network in {trained.folder} does not know the class {', '.join(unknown)}: it knows "
            f"{', '.join(trained.classes)}. Where one of these is meant, say so: --map {unknown[0]!r}=NAME."
        )
    if not known:
        raise UserError(
            f"No class in common: the network in {trained.folder} knows {', '.join(trained.classes[first:])}, the data "
            f"set has {', '.join(classes[first:])}. Where one is the other, say so: --map THEIRS=OURS."
        )
    return pairs


def _meant(name: str, classes: Sequence[str]) -> int | None:
    """Which of the network's classes a name is: the one that is written so, else the only one that is read so."""
    if name in classes:
        return classes.index(name)
    alike = [k for k, own in enumerate(classes) if plain_name(own) == plain_name(name)]
    if len(alike) > 1:
        raise UserError(f"{name} may be {' or '.join(classes[k] for k in alike)} of the network: say which by --map.")
    return alike[0] if alike else None


def _reject_twice(named: Sequence[tuple[str, str]]) -> None:
    """Raises UserError where two classes of a data set are one of the network's.

    Args:
        named: of each class in common the data set's name and the network's.
    """
    meant: dict[str, str] = {}
    for theirs, ours in named:
        if (twin := meant.setdefault(ours, theirs)) != theirs:
            raise UserError(
                f"Expected each class of the network for one of the data set's, but both {twin} and {theirs} are "
                f"{ours}: mend --map."
            )


def data_elsewhere(trained: Trained, name: str, source: str = "auto", data_root: str | Path | None = None) -> Prepared:
    """The prepared data of another data set, of the network's task and channels.

    Raises:
        UserError: another task or number of channels, or data that are not here.
    """
    spec = dataset_spec(name, data_root)
    for what, own, theirs in (("task", trained.task, spec.task), ("channels", trained.channels, spec.channels)):
        if own != theirs:
            raise UserError(f"The network in {trained.folder} takes {what} {own}, but {name} has {theirs}.")
    return locate(spec, source, data_root)


def has_own_images(trained: Trained, data: Prepared, data_root: str | Path | None = None) -> bool:
    """Whether the data are of the run's own data set, or another view of it: training may have held their test part."""
    cell = trained.cell
    if data.fingerprint == cell.fingerprint:
        return True
    own = next((spec.variant_of or spec.name for spec in _specs(cell.dataset, data_root)), cell.dataset)
    same_kind = (cell.source["kind"] == "phantom") == (data.kind == "phantom")
    return same_kind and own == (data.spec.variant_of or data.spec.name)


def _specs(name: str, data_root: str | Path | None) -> list[DatasetSpec]:
    """The description of a data set, or none where it is not known here."""
    try:
        return [dataset_spec(name, data_root)]
    except UserError:
        return []


def own_units(trained: Trained, data_root: str | Path | None = None) -> dict[str, Any] | None:
    """The run's table of units (`unit_table`): of its results, else of its data where they are here; None: patients."""
    for results in trained.folder.absolute().parents:
        if (table := store.read_units(results, trained.dataset, trained.cell.fingerprint)) is not None:
            return table
    try:
        return unit_table(cases_of_test(trained, data_root)[0], trained.dataset)
    except UserError:
        return None


def score_elsewhere(
    trained: Trained,
    data: Prepared,
    given: Mapping[str, str] | None = None,
    report: Count = lambda name, done, total: None,
) -> list[dict[str, Any]]:
    """Rows as in cases.csv of the test part of the data's default split, of the classes in common.

    Raises:
        UserError: no class in common.
    """
    spec = data.spec
    pairs = shared_classes(trained, spec.classes, given or {})
    cases = assign(data.cases, make_split(spec, data, spec.default_split[data.layout], None)).indices["test"]
    make = _volume_rows if spec.task == "segmentation" else _image_rows
    return list(make(trained, data, cases, pairs, report))


def _volume_rows(
    trained: Trained, data: Prepared, cases: Sequence[int], pairs: Mapping[int, int], report: Count
) -> Iterator[dict[str, Any]]:
    lookup = np.zeros(len(trained.classes), np.uint8)
    for own, theirs in pairs.items():
        lookup[own] = theirs
    names = {data.spec.classes[k] for k in pairs.values()}
    for done, i in enumerate(cases, start=1):
        case, labels = data.cases[i], lookup[trained.predict(data.image(i))]
        scores = score_case(
            labels, np.asarray(data.label(i)), data.spec.classes, case.spacing, trained.protocol.threads
        )
        yield from ({"case": case.case, "patient": case.patient, **row} for row in scores if row["class"] in names)
        report(case.case, done, len(cases))


def _image_rows(
    trained: Trained, data: Prepared, cases: Sequence[int], pairs: Mapping[int, int], report: Count
) -> Iterator[dict[str, Any]]:
    """Probabilities of the classes in common, which are made to sum to 1."""
    own = [next(k for k, theirs in pairs.items() if theirs == label) for label in range(len(data.spec.classes))]
    for start in range(0, len(cases), IMAGES):
        chunk = cases[start : start + IMAGES]
        for i, found in zip(chunk, trained.predict([data.image(i) for i in chunk]), strict=True):
            case, total = data.cases[i], found[own].sum()
            if not total:
                raise UserError(
                    f"{trained.name} gives every class that {data.name} has a probability of 0: {case.case}."
                )
            probabilities = as_stored(found[own] / total)
            predicted = probabilities.index(max(probabilities))
            for k, name in enumerate(data.spec.classes):
                hits = {"reference": int(k == case.label), "predicted": int(k == predicted)}
                row = {"case": case.case, "patient": case.patient, "class": name, **hits}
                yield {**row, "probability": probabilities[k]}
        report(data.cases[chunk[-1]].case, start + len(chunk), len(cases))


# -- corrupted -----------------------------------------------------------------------------------------------


def score_corrupted(
    trained: Trained, data_root: str | Path | None = None, report: Count = lambda name, done, total: None
) -> list[dict[str, Any]]:
    """Rows of the run's own test part: clean, and under each corruption of its modality in each severity.

    Columns: corruption, severity (0: clean), case, patient, class, and `value`: Dice of a structure (None where neither
    has it), or 1 where the image's class is predicted.

    Raises:
        UserError: the data are not here.
    """
    data, cases = cases_of_test(trained, data_root)
    modality = data.spec.modality or MODALITIES.get(data.spec.name)
    asked = [(CLEAN, 0), *((name, level) for name in corruptions_of(modality) for level in SEVERITIES)]
    rows: list[dict[str, Any]] = []
    for done, (name, severity) in enumerate(asked, start=1):
        values = (
            _volumes(trained, data, cases, name, severity)
            if trained.task == "segmentation"
            else (_images(trained, data, cases, name, severity))
        )
        rows += [{"corruption": name, "severity": severity, **row} for row in values]
        report(f"{name} {severity or ''}".strip(), done, len(asked))
    return rows


def _image_of(data: Prepared, i: int, name: str, severity: int) -> np.ndarray:
    image = data.image(i)
    return image if severity == 0 else corrupted(image, name, severity, data.cases[i].case)


def _volumes(
    trained: Trained, data: Prepared, cases: Sequence[int], name: str, severity: int
) -> Iterator[dict[str, Any]]:
    for i in cases:
        case, labels = data.cases[i], trained.predict(_image_of(data, i, name, severity))
        reference = np.asarray(data.label(i))
        for k, of_class in enumerate(trained.classes[1:], start=1):
            value = dice(labels == k, reference == k)
            shown = None if np.isnan(value) else float(value)
            yield {"case": case.case, "patient": case.patient, "class": of_class, "value": shown}


def _images(
    trained: Trained, data: Prepared, cases: Sequence[int], name: str, severity: int
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(cases), IMAGES):
        chunk = cases[start : start + IMAGES]
        images = [_image_of(data, i, name, severity) for i in chunk]
        for i, found in zip(chunk, trained.predict(images), strict=True):
            case = data.cases[i]
            assert case.label is not None
            row = {"case": case.case, "patient": case.patient, "class": trained.classes[case.label]}
            yield {**row, "value": float(int(found.argmax()) == case.label)}
