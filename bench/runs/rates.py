"""One grid of learning rates for everybody: which of it each network takes, and where that is written down.

A rate is chosen once for each network and task, on folds of training patients (`medbench develop --store-rates`). Where
a protocol says `rates=grid`, a cell takes what was chosen: first from `<results>/rates.json`, the user's own, then from
the file that ships beside this module. A network without a choice takes the protocol's rate, and tables say so. An arm
(`mednext_tiny[sem=none]`) takes the rate of its base network. The test part chooses nothing: a rate that was chosen on
a data set's training patients serves no other division of the same images, which may test some of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.datasets.splits.folds import INNER
from bench.errors import unknown
from bench.records import store
from bench.records.damage import NUMBER, Damaged, Shape, check_schema, fault, read_json
from bench.records.keys import dataset_of
from bench.records.leases import hold
from bench.runs.protocol import Protocol
from bench.zoo.registry import dataset_names, dataset_spec, model_names, parse_model

GRID = {"classification": (3e-4, 1e-3, 3e-3), "segmentation": (3e-4, 1e-3, 2e-3)}
FILE, SCHEMA = "rates.json", 1
SHIPPED = Path(__file__).with_name(FILE)
# What a choice is used by; beside it stands how it came about: figures, folds, steps, seconds, dataset, protocol.
CHOICE: Shape = {"task": (str,), "model": (str,), "version": (int, str), "source": (str,), "lr": NUMBER}
Choice = dict[str, Any]


def read_choices(path: Path) -> list[Choice]:
    """The choices of a file; none where there is no file.

    Raises:
        Damaged: it cannot be read, or a choice in it is none.
    """
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    check_schema(path, content, "file of learning rates", SCHEMA)
    choices = content.get("choices")
    if not isinstance(choices, list):
        raise Damaged(path, "is no file of learning rates: it holds no list of choices. Move it away.")
    for choice in choices:
        odd = fault(choice, CHOICE) if isinstance(choice, dict) else "holds a choice that is no object"
        if odd is None and choice["lr"] not in GRID.get(choice["task"], ()):
            odd = f"holds the rate {choice['lr']:g} of {choice['model'][:40]!r}, which is not of the grid of its task"
        if odd:
            raise Damaged(path, f"{odd}: mend it, or move it away and choose anew by `medbench develop --store-rates`.")
    return choices


def store_choices(results: Path, choices: Sequence[Choice]) -> Path:
    """Writes choices into the user's file, in place of older ones of the same network, task and kind of images.

    Raises:
        Damaged: the file that is there cannot be read; it is left as it is.
    """
    store.check_writable(results)
    path = results / FILE
    with hold(results / f".{FILE}.lease", wait=True):
        kept = {_identity(choice): choice for choice in (*read_choices(path), *choices)}
        ordered = [kept[key] for key in sorted(kept, key=str)]
        store.write_json(path, {"schema": SCHEMA, "choices": ordered})
    return path


def _identity(choice: Choice) -> tuple[str, str, str, int | str]:
    return choice["task"], choice["model"], choice["source"], choice["version"]


def chosen_rate(
    results: Path,
    task: str,
    model: str,
    version: int | str,
    source: str = "real",
    dataset: str | None = None,
    split: str | None = None,
    divided: str | None = None,
) -> float | None:
    """The rate that was chosen for a network, by its plain name; None where none was.

    Args:
        source: kind of the images that are trained on: what was chosen on drawn images serves drawn images alone.
        dataset, split: what is trained on, `acdc` and `ssl4mis` or a fold of it: a choice on training patients of
            another division of these images is passed over.
        divided: whom the split puts in each part (`base_parts`): a user's split may be another one under the same name.

    Raises:
        Damaged: a file of rates cannot be read.
    """
    places = [read_choices(path) for path in (results / FILE, SHIPPED)]
    for kind in dict.fromkeys((source, "real")):
        for choices in places:
            found = {_identity(choice): choice for choice in choices}
            choice = found.get((task, model, kind, version))
            of_kind = divided if kind == source else None
            same_images = (kind == "phantom") == (source == "phantom")
            if choice is not None and not (same_images and _may_test_its_patients(choice, dataset, split, of_kind)):
                return float(choice["lr"])
    return None


def _may_test_its_patients(choice: Choice, dataset: str | None, split: str | None, divided: str | None) -> bool:
    """Whether a division of the images that a rate was chosen on is another one than that of the choice."""
    if dataset is None or split is None or _images_of(str(choice.get("dataset"))) != _images_of(dataset):
        return False
    if divided is not None and choice.get("divided", divided) != divided:
        return True
    base, _, folds = split.partition("/")
    return base != str(choice.get("split")).partition("/")[0] or bool(folds and not folds.startswith(INNER))


def _images_of(dataset: str) -> str:
    """The data set, or the one that it is another view of; by its name, or as tables call it (`acdc-substitute`)."""
    dataset = dataset_of(dataset)
    return (dataset_spec(dataset).variant_of if dataset in dataset_names() else None) or dataset


def note_unknown(results: Path, protocol: Protocol, say: Callable[[str], None]) -> None:
    """Says where rates are from the grid which choices of the user's file are of no network: a misspelt one, maybe."""
    if protocol.rates != "grid":
        return
    names = {choice["model"] for choice in read_choices(results / FILE)}
    strange = sorted(name for name in names if ":" not in name and name not in model_names())
    for name in strange:
        say(f"{results / FILE}: a rate is not used. {unknown('model', name, model_names())}")


def grid_values(
    results: Path,
    protocol: Protocol,
    task: str,
    source: str,
    costs: Mapping[str, Mapping[str, Any]],
    dataset: str,
    split: str,
    divided: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Model -> `tuned` of its cells, where the protocol has a rate from the grid for each network; else {}.

    What has nothing to train has the protocol's rate, as if it were chosen.

    Args:
        costs: of the models, by their names.
        dataset, split, divided: as in `chosen_rate`.
    """
    if protocol.rates != "grid":
        return {}
    values = {}
    for name, cost in costs.items():
        entry, _ = parse_model(name)
        trained = entry.family != "chance" and cost["params"] > 0
        which = (entry.name, entry.version, source, dataset, split, divided)
        rate = chosen_rate(results, task, *which) if trained else protocol.lr
        values[name] = {
            "grid": list(GRID[task]),
            "chosen": rate is not None,
            "lr": protocol.lr if rate is None else rate,
            "weight_decay": protocol.weight_decay,
        }
    return values


def with_own_rate(settings: Sequence[str]) -> tuple[str, ...]:
    """The settings of a request; one that sets `lr` means it, whatever was chosen from the grid."""
    named = {setting.partition("=")[0] for setting in settings}
    return (*settings, "rates=protocol") if "lr" in named and "rates" not in named else tuple(settings)
